package address_test

import (
	"encoding/hex"
	"testing"

	"hearth/core/address"
	"hearth/core/fault"
)

const abandon = "hearth19rl4cm2hmr8afy4kldpxz3fka4jguq0alj703p"

func TestOnlyAnAccountsAddressIsOne(t *testing.T) {
	for good, want := range map[string]string{
		abandon: "28ff5c6d57d8cfd492b6fb42614536ed648e01fd",
		"hearth1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5uslvgg": "0102030405060708090a0b0c0d0e0f1011121314",
	} {
		if b, err := address.Bytes(good); err != nil || hex.EncodeToString(b) != want {
			t.Errorf("%s: %x %v", good, b, err)
		} else if again := address.Of(b); again != good {
			t.Errorf("%s is written %s", good, again)
		}
	}
	for _, bad := range []string{
		"", "hearth1", "hearth1abc", "cosmos19rl4cm2hmr8afy4kldpxz3fka4jguq0auqdal4", "cosmos1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5lzv7xu",
		abandon[:40] + "q" + abandon[41:], "hearth1qqqsyqcyq5rqwzqf",
	} {
		if _, err := address.Bytes(bad); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("address %q: %v", bad, err)
		}
	}
}
