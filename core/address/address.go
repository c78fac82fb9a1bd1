// Package address reads the names that accounts have on the ledger: bech32 (BIP 173)
// with the prefix "hearth". It refuses what no account can be called.
package address

import (
	"github.com/cosmos/btcutil/bech32"

	"hearth/core/fault"
)

// Prefix begins every address.
const Prefix = "hearth"

// Bytes are those that an address stands for: 20 of an account, 32 of what a module owns.
func Bytes(s string) ([]byte, error) {
	prefix, words, err := bech32.Decode(s, 90)
	if err == nil && prefix != Prefix {
		return nil, fault.New(fault.BadRequest, "address %q doesn't begin with %s1", s, Prefix)
	}
	if err != nil {
		return nil, fault.New(fault.BadRequest, "address %q: %w", s, err)
	}
	b, err := bech32.ConvertBits(words, 5, 8, false)
	if err != nil || len(b) != 20 && len(b) != 32 {
		return nil, fault.New(fault.BadRequest, "address %q isn't an account", s)
	}
	return b, nil
}

// Of is the address that 20 or 32 bytes have.
func Of(b []byte) string {
	words, err := bech32.ConvertBits(b, 8, 5, true)
	if err != nil {
		panic(err) // whole bytes always convert
	}
	s, err := bech32.Encode(Prefix, words)
	if err != nil {
		panic(err) // five-bit words always encode
	}
	return s
}
