package types_test

import (
	"testing"

	"hearth/core/machine"
	"hearth/ledger/hosts/types"
)

func TestANetworkForGoodAsksForAMachineAndALocalOneForNothing(t *testing.T) {
	for name, p := range map[string]types.Params{"for good": types.Main(), "local": types.Local()} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var back types.Params
		if err := back.Unmarshal(b); err != nil || back != p {
			t.Errorf("%s: %+v became %+v, %v", name, p, back, err)
		}
	}
	if got := machine.Least(types.Main().Least); got != machine.Usual() {
		t.Errorf("for good: %+v", got)
	}
	if got := machine.Least(types.Local().Least); got != (machine.Least{}) {
		t.Errorf("local: %+v", got)
	}
}
