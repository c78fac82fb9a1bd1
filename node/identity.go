package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/network"
	"hearth/wallet"
)

// keystore is where a node's phrase lies.
func keystore(dir string) string { return filepath.Join(dir, "identity") }

// CreateIdentity writes a phrase and a new device number into dir, sealed where
// there is a passphrase. An identity that stands there already is never overwritten.
func CreateIdentity(dir string, phrase wallet.Phrase, networkName string, passphrase []byte) error {
	device, err := wallet.NewDevice()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return wallet.Create(keystore(dir), wallet.Identity{Phrase: phrase, Device: device, Network: networkName}, passphrase)
}

// NeedsPassphrase says whether the identity in dir is sealed.
func NeedsPassphrase(dir string) (bool, error) {
	sealed, err := wallet.Sealed(keystore(dir))
	if errors.Is(err, os.ErrNotExist) {
		return false, fault.New(fault.NoIdentity, "open %s: it holds no identity", dir)
	}
	return sealed, err
}

// OpenIdentity reads the identity in dir.
func OpenIdentity(dir string, passphrase []byte) (wallet.Identity, error) {
	if _, err := NeedsPassphrase(dir); err != nil {
		return wallet.Identity{}, err
	}
	return wallet.Open(keystore(dir), passphrase)
}

// An InitConfig says what identity is wanted.
type InitConfig struct {
	Dir        string
	Network    string        // the network's whole name
	Phrase     wallet.Phrase // zero: a new one
	Passphrase []byte        // empty: the file's mode alone protects it
	Settings   Settings      // Network is filled in
	Trust      string        // a checkpoint, HEIGHT:HASH, where the genesis is too old; may be empty
}

// Init makes a node's folder. A phrase that is given must be of an account that
// the ledger knows: a wrong one is an error and never an empty node.
func Init(ctx context.Context, c InitConfig) (wallet.Identity, error) {
	name, err := network.Parse(c.Network)
	if err != nil {
		return wallet.Identity{}, err
	}
	if _, err := os.Stat(keystore(c.Dir)); err == nil {
		return wallet.Identity{}, fault.New(fault.IdentityExists, "init %s: it holds an identity already", c.Dir)
	}
	restored := !c.Phrase.IsZero()
	if !restored {
		if c.Phrase, err = wallet.NewPhrase(); err != nil {
			return wallet.Identity{}, err
		}
	}
	keys, err := wallet.Derive(c.Phrase, 0)
	if err != nil {
		return wallet.Identity{}, err
	}
	from, err := chain.ParseCheckpoint(c.Trust)
	if err != nil {
		return wallet.Identity{}, err
	}
	ledger, err := chain.Dial(ctx, chain.Config{Network: name, Checkpoint: from})
	if err != nil {
		return wallet.Identity{}, err
	}
	defer ledger.Close()
	if restored {
		known, err := ledger.Known(ctx, keys.Account().Address())
		if err != nil {
			return wallet.Identity{}, err
		}
		if !known {
			return wallet.Identity{}, fault.New(fault.UnknownIdentity, "restore identity: %s has no account %s", name.ChainID, keys.Account().Address())
		}
	}
	c.Settings.Network = name.String()
	if err := c.Settings.Save(c.Dir); err != nil {
		return wallet.Identity{}, err
	}
	if err := CreateIdentity(c.Dir, c.Phrase, c.Settings.Network, c.Passphrase); err != nil {
		return wallet.Identity{}, err
	}
	return wallet.Open(keystore(c.Dir), c.Passphrase)
}
