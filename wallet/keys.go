package wallet

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// Labels of HKDF-SHA256 over the seed. They are part of the format: changing one
// loses what it opened.
const (
	labelStorage  = "hearth/1/storage-root"
	labelIndex    = "hearth/1/index"
	labelNames    = "hearth/1/names"
	labelPointer  = "hearth/1/pointer"
	labelDoors    = "hearth/1/doors"
	labelLinks    = "hearth/1/links"
	labelNode     = "hearth/1/node"     // and /<device>
	labelSpending = "hearth/1/spending" // and /<device>
)

// Keys is everything that comes from one phrase on one device.
type Keys struct {
	redacted
	device   uint64
	account  *Account
	spending *Spending
	node     *ed25519.PrivateKey
	pointer  *ed25519.PrivateKey
	storage  Secret
	index    Secret
	names    Secret
	doors    Secret
	links    Secret
}

// NewDevice draws the number of a device, so that two machines with one phrase
// never share a key that a peer sees.
func NewDevice() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("draw device number: %w", err)
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

// Derive computes the keys of a phrase on a device.
func Derive(p Phrase, device uint64) (*Keys, error) {
	if p.IsZero() {
		return nil, errors.New("derive keys: no phrase")
	}
	seed := p.seed()
	defer clear(seed)
	account, err := deriveAccount(seed)
	if err != nil {
		return nil, fmt.Errorf("derive keys: %w", err)
	}
	k := &Keys{device: device, account: account}
	var node, spending, pointer Secret
	of := fmt.Sprintf("/%016x", device)
	for label, into := range map[string]*Secret{
		labelStorage: &k.storage, labelIndex: &k.index, labelNames: &k.names, labelPointer: &pointer, labelDoors: &k.doors, labelLinks: &k.links,
		labelNode + of: &node, labelSpending + of: &spending,
	} {
		b, err := hkdf.Key(sha256.New, seed, nil, label, 32)
		if err != nil {
			return nil, fmt.Errorf("derive keys: %s: %w", label, err)
		}
		into.b = (*[32]byte)(b)
	}
	nodeKey := ed25519.NewKeyFromSeed(node.b[:])
	spendingKey := ed25519.NewKeyFromSeed(spending.b[:])
	pointerKey := ed25519.NewKeyFromSeed(pointer.b[:])
	k.node, k.spending, k.pointer = &nodeKey, &Spending{key: &spendingKey}, &pointerKey
	return k, nil
}

// Device is the device's number.
func (k *Keys) Device() uint64 { return k.device }

// Account is the key of the account: money and mandates.
func (k *Keys) Account() *Account { return k.account }

// Spending is this device's key, which acts for the account under a mandate.
func (k *Keys) Spending() *Spending { return k.spending }

// Node is this device's identity towards peers. It is the private key itself.
func (k *Keys) Node() ed25519.PrivateKey { return *k.node }

// Storage is the root that the keys of stored files come from.
func (k *Keys) Storage() Secret { return k.storage }

// Index seals the list of files.
func (k *Keys) Index() Secret { return k.index }

// Names is the root of the keys of names.
func (k *Keys) Names() Secret { return k.names }

// Pointer is the account's key for pointers to its logs, the same on all its
// devices: an empty machine can check them.
func (k *Keys) Pointer() ed25519.PrivateKey { return *k.pointer }

// Doors is the root of the capabilities that this account's doors give out.
func (k *Keys) Doors() Secret { return k.doors }

// Link is the account of a link whose owner pays, and the key in the link that
// spends what is on it.
func (k *Keys) Link(serial [16]byte) (*Account, *Spending, error) {
	var account, spending [32]byte
	for label, into := range map[string]*[32]byte{"account": &account, "spending": &spending} {
		b, err := hkdf.Key(sha256.New, k.links.b[:], serial[:], labelLinks+"/"+label, 32)
		if err != nil {
			return nil, nil, fmt.Errorf("derive keys of a link: %s: %w", label, err)
		}
		*into = [32]byte(b)
	}
	key := ed25519.NewKeyFromSeed(spending[:])
	return &Account{key: secp256k1.PrivKeyFromBytes(account[:])}, &Spending{key: &key}, nil
}

// SpendingOf is the key that a link carries.
func SpendingOf(seed [32]byte) *Spending {
	key := ed25519.NewKeyFromSeed(seed[:])
	return &Spending{key: &key}
}
