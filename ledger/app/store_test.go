package app_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"

	hoststypes "hearth/ledger/hosts/types"
	markettypes "hearth/ledger/market/types"
)

// Clients ask for Merkle proofs under these keys; they are wire format.
func TestStoreKeys(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 10_000, bert), anna)
	l.block()
	for name, tt := range map[string]struct {
		store string
		key   []byte
		read  func([]byte) string
		want  string
	}{
		"lease": {"market", binary.BigEndian.AppendUint64([]byte{1}, 1), func(b []byte) string {
			var x markettypes.Lease
			return fmt.Sprint(x.Unmarshal(b), x.Client)
		}, anna.address},
		"purse": {"market", append([]byte{2}, anna.address...), func(b []byte) string {
			var x markettypes.Purse
			return fmt.Sprint(x.Unmarshal(b), x.Owner)
		}, anna.address},
		"mandate": {"market", append(append([]byte{3}, anna.address+"\x00"...), public(deviceKey())...), func(b []byte) string {
			var x markettypes.Mandate
			return fmt.Sprint(x.Unmarshal(b), x.Grantor)
		}, anna.address},
		"host": {"hosts", append([]byte{1}, bert.address...), func(b []byte) string {
			var x hoststypes.Host
			return fmt.Sprint(x.Unmarshal(b), x.Address)
		}, bert.address},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := l.Query(t.Context(), &abci.RequestQuery{Path: "/store/" + tt.store + "/key", Data: tt.key, Prove: true})
			if err != nil || res.Code != 0 || len(res.ProofOps.GetOps()) != 2 {
				t.Fatal(res, err)
			}
			if got := tt.read(res.Value); got != "<nil>"+tt.want && got != "<nil> "+tt.want {
				t.Errorf("read %s", got)
			}
		})
	}
}
