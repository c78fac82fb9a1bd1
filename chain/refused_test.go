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

func TestOnlyAnAccountsAddressIsOne(t *testing.T) {
	for _, bad := range []string{"", "hearth1abc", "cosmos1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5lzv7xu"} {
		if CheckAddress(bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
	if err := CheckAddress("hearth1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5uslvgg"); err != nil {
		t.Error(err)
	}
}
