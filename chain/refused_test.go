package chain

import (
	"strings"
	"testing"

	"hearth/core/fault"
)

func TestARefusalShowsNoSourceOfTheSDK(t *testing.T) {
	err := refused("sdk", 6, "no_funds: spendable balance 1uember is smaller than 2uember: insufficient funds "+
		"[cosmos/cosmos-sdk@v0.54.4/x/bank/keeper/send.go:324] with gas used: '37261': unknown request")
	if fault.CodeOf(err) != fault.NoFunds || strings.Contains(err.Error(), ".go:") || strings.Contains(err.Error(), "gas used") {
		t.Error(err)
	}
}
