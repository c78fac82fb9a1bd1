package wallet

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	//lint:ignore SA1019 part of the address format
	"golang.org/x/crypto/ripemd160" //nolint:staticcheck // the same for golangci-lint

	"hearth/core/address"
)

// Algorithms of the keys that sign transactions.
const (
	Secp256k1 = "secp256k1"
	Ed25519   = "ed25519"
)

// An Account is the key of an account on the ledger.
type Account struct {
	redacted
	key *secp256k1.PrivateKey
}

// Address is the account's name: bech32 of RIPEMD160(SHA256(public key)).
func (a *Account) Address() string {
	sum := sha256.Sum256(a.public())
	h := ripemd160.New()
	h.Write(sum[:])
	return address.Of(h.Sum(nil))
}

func (a *Account) public() []byte { return a.key.PubKey().SerializeCompressed() }

// PublicKey is the compressed point, 33 bytes, with its algorithm.
func (a *Account) PublicKey() (algorithm string, key []byte) { return Secp256k1, a.public() }

// Sign returns r||s over SHA256(doc), with the low s that the ledger demands.
func (a *Account) Sign(doc []byte) ([]byte, error) {
	digest := sha256.Sum256(doc)
	return ecdsa.SignCompact(a.key, digest[:], true)[1:], nil // the first byte is a recovery code
}

// Spending is an ed25519 key that signs statements, grants and transactions.
type Spending struct {
	redacted
	key *ed25519.PrivateKey
}

// Address is the key's own account on the ledger, which pays no fees itself.
func (s *Spending) Address() string { return AddressOfEd25519(s.Public()) }

// Public is the key's public half.
func (s *Spending) Public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// PublicKey is the public half, 32 bytes, with its algorithm.
func (s *Spending) PublicKey() (algorithm string, key []byte) { return Ed25519, s.Public() }

// Sign signs doc.
func (s *Spending) Sign(doc []byte) ([]byte, error) { return ed25519.Sign(*s.key, doc), nil }

// Key is the private key itself.
func (s *Spending) Key() ed25519.PrivateKey { return *s.key }

// AddressOfEd25519 is the ledger account of an ed25519 key: bech32 of the first
// 20 bytes of SHA256(public key).
func AddressOfEd25519(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return address.Of(sum[:20])
}

const hardened = 1 << 31

// deriveAccount takes m/44'/118'/0'/0/0, what every Cosmos wallet derives.
func deriveAccount(seed []byte) (*Account, error) {
	key, err := deriveBIP32(seed, []uint32{44 | hardened, 118 | hardened, 0 | hardened, 0, 0})
	if err != nil {
		return nil, err
	}
	return &Account{key: key}, nil
}

// deriveBIP32 walks from the master key of seed along path. It is thirty lines
// because the libraries for it bring a chain's parameters and wire format along.
func deriveBIP32(seed []byte, path []uint32) (*secp256k1.PrivateKey, error) {
	split := func(key, data []byte) (scalar secp256k1.ModNScalar, chain []byte, err error) {
		mac := hmac.New(sha512.New, key)
		mac.Write(data)
		sum := mac.Sum(nil)
		if overflow := scalar.SetByteSlice(sum[:32]); overflow {
			return scalar, nil, errors.New("bip32: invalid child") // 1 in 2^127
		}
		return scalar, sum[32:], nil
	}
	k, chain, err := split([]byte("Bitcoin seed"), seed)
	if err != nil {
		return nil, err
	}
	for _, index := range path {
		var data []byte
		if index >= hardened {
			private := k.Bytes()
			data = append([]byte{0}, private[:]...)
		} else {
			data = secp256k1.NewPrivateKey(&k).PubKey().SerializeCompressed()
		}
		tweak, next, err := split(chain, binary.BigEndian.AppendUint32(data, index))
		if err != nil {
			return nil, err
		}
		k.Add(&tweak)
		if k.IsZero() {
			return nil, errors.New("bip32: invalid child")
		}
		chain = next
	}
	return secp256k1.NewPrivateKey(&k), nil
}
