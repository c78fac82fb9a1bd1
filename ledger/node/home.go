// Package node runs one ledger node: CometBFT and the application in one
// process, behind one public URL. It refuses a home whose genesis isn't the one
// its chain id says, and a second process on the same home.
package node

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	"github.com/cosmos/cosmos-sdk/types/bech32"
	"github.com/pelletier/go-toml/v2"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/internal/durable"
	"hearth/ledger/app"
)

// A Home is a ledger node's folder.
type Home string

func (h Home) in(parts ...string) string {
	return filepath.Join(append([]string{string(h)}, parts...)...)
}

func (h Home) settings() string { return h.in("ledger.toml") }
func (h Home) genesis() string  { return h.in("config", "genesis.json") }
func (h Home) valKey() string   { return h.in("config", "priv_validator_key.json") }
func (h Home) valState() string { return h.in("data", "priv_validator_state.json") }
func (h Home) nodeKey() string  { return h.in("config", "node_key.json") }
func (h Home) sponsor() string  { return h.in("config", "sponsor.key") }
func (h Home) data() string     { return h.in("data") }

// Settings are what a node's owner may change, in ledger.toml.
type Settings struct {
	Listen    string   `toml:"listen" comment:"the public URL is served here"`
	P2P       string   `toml:"p2p" comment:"other ledger nodes connect here"`
	External  string   `toml:"external" comment:"host:port under which other ledger nodes reach p2p, if another"`
	Peers     []string `toml:"peers" comment:"nodes to stay connected with: <id>@host:port"`
	BlockMS   int      `toml:"block_ms" comment:"pause after each block, in milliseconds; the same on all validators"`
	KeepState int      `toml:"keep_state" comment:"how many of the newest states can be asked for, at least 2"`
	Sponsor   Sponsor  `toml:"sponsor"`
}

// Sponsor bounds what the node pays for newcomers.
type Sponsor struct {
	Off           bool   `toml:"off"`
	PerHour       int    `toml:"per_hour" comment:"accounts an hour"`
	PerSourceHour int    `toml:"per_source_hour" comment:"accounts an hour and /24 or /48 network"`
	Allowance     uint64 `toml:"allowance" comment:"uember each, for fees only"`
	Days          int    `toml:"days" comment:"how long it lasts"`
}

// Defaults are the settings of a node on a network for good.
func Defaults() Settings {
	return Settings{
		Listen: "127.0.0.1:26657", P2P: "0.0.0.0:26656", BlockMS: 1000, KeepState: 1000,
		Sponsor: Sponsor{PerHour: 60, PerSourceHour: 5, Allowance: 200_000, Days: 30},
	}
}

// LocalDefaults are those of a cloud on one machine.
func LocalDefaults() Settings {
	s := Defaults()
	s.P2P, s.BlockMS = "127.0.0.1:0", 500
	s.Sponsor.PerHour, s.Sponsor.PerSourceHour = 100_000, 100_000
	return s
}

func (s Settings) check() error {
	switch {
	case s.Listen == "" || s.P2P == "":
		return fault.New(fault.BadConfig, "ledger.toml: listen or p2p is empty")
	case s.BlockMS < 10 || s.BlockMS > 60_000:
		return fault.New(fault.BadConfig, "ledger.toml: block_ms is %d, allowed are 10 to 60000", s.BlockMS)
	case s.KeepState < 2:
		return fault.New(fault.BadConfig, "ledger.toml: keep_state is %d, at least 2 are needed", s.KeepState)
	case !s.Sponsor.Off && (s.Sponsor.Allowance == 0 || s.Sponsor.Days < 1):
		return fault.New(fault.BadConfig, "ledger.toml: a sponsor's allowance or days are 0")
	}
	return nil
}

// InitConfig says what network a new home is of.
type InitConfig struct {
	Settings   Settings
	Genesis    []byte     // of a network that exists; else a new one is founded:
	Params     app.Params // with these parameters,
	Balances   map[string]money.Amount
	Validators []app.Validator // these validators (this node's own alone, if none),
	Stake      money.Amount    // this much stake of the own one,
	Funds      money.Amount    // and this much for its sponsor's account.
	Time       time.Time
}

// Init makes a home: keys, settings, genesis. It never overwrites one.
func (h Home) Init(c InitConfig) (err error) {
	if err := c.Settings.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return fmt.Errorf("make home: %w", err)
	}
	unlock, err := h.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := h.fresh(); err != nil {
		return err
	}
	id, err := h.makeKeys()
	if err != nil {
		return err
	}
	raw := c.Genesis
	if raw == nil {
		if raw, err = c.found(id); err != nil {
			return err
		}
	}
	if _, err := app.ReadGenesis(raw); err != nil {
		return err
	}
	text, err := toml.Marshal(c.Settings)
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	if err := durable.Write(h.settings(), text, 0o600); err != nil {
		return err
	}
	return durable.Write(h.genesis(), raw, 0o644) // last: it makes the home one
}

// Identity is what a founder tells the others of its node.
type Identity struct {
	Operator string // the account that owns the stake and pays for newcomers
	Key      []byte // ed25519 consensus key
	Node     string // id of the node on the network of ledger nodes
}

// MakeKeys makes the keys of a home that has no genesis yet.
func (h Home) MakeKeys() error {
	if err := h.fresh(); err != nil {
		return err
	}
	_, err := h.makeKeys()
	return err
}

// fresh says whether there is no genesis here yet.
func (h Home) fresh() error {
	if _, err := os.Stat(h.genesis()); !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.IdentityExists, "init %s: it is a ledger node's home already", h)
	}
	return nil
}

func (h Home) makeKeys() (Identity, error) {
	for _, dir := range []string{filepath.Dir(h.genesis()), h.data()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return Identity{}, fmt.Errorf("make home: %w", err)
		}
	}
	if _, err := os.Stat(h.valKey()); errors.Is(err, fs.ErrNotExist) {
		privval.GenFilePV(h.valKey(), h.valState()).Save()
	} else if _, err := os.Stat(h.valState()); errors.Is(err, fs.ErrNotExist) {
		// A key from elsewhere. Here it has signed nothing: there is no chain yet.
		privval.LoadFilePVEmptyState(h.valKey(), h.valState()).Save()
	}
	if _, err := p2p.LoadOrGenNodeKey(h.nodeKey()); err != nil {
		return Identity{}, fmt.Errorf("make node key: %w", err)
	}
	if _, err := os.Stat(h.sponsor()); errors.Is(err, fs.ErrNotExist) {
		key := hex.EncodeToString(secp256k1.GenPrivKey().Key)
		if err := durable.Write(h.sponsor(), []byte(key+"\n"), 0o600); err != nil {
			return Identity{}, err
		}
	}
	return h.Identity()
}

// Identity reads who the node is.
func (h Home) Identity() (Identity, error) {
	for _, path := range []string{h.valKey(), h.valState()} {
		if _, err := os.Stat(path); err != nil { // CometBFT would end the process
			return Identity{}, fault.New(fault.NoIdentity, "read %s: no ledger node's home, or a damaged one: %w", h, err)
		}
	}
	key, err := privval.LoadFilePV(h.valKey(), h.valState()).GetPubKey()
	if err != nil {
		return Identity{}, fmt.Errorf("read validator key: %w", err)
	}
	node, err := p2p.LoadNodeKey(h.nodeKey())
	if err != nil {
		return Identity{}, fault.New(fault.NoIdentity, "read node key: %w", err)
	}
	sponsor, err := h.sponsorKey()
	if err != nil {
		return Identity{}, err
	}
	operator, err := addressOf(sponsor)
	return Identity{operator, key.Bytes(), string(node.ID())}, err
}

func addressOf(key *secp256k1.PrivKey) (string, error) {
	return bech32.ConvertAndEncode(app.Prefix, key.PubKey().Address())
}

func (h Home) sponsorKey() (*secp256k1.PrivKey, error) {
	text, err := os.ReadFile(h.sponsor())
	if err != nil {
		return nil, fault.New(fault.NoIdentity, "read sponsor key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != secp256k1.PrivKeySize {
		return nil, fault.New(fault.KeyUnreadable, "read sponsor key %s: not 64 hex digits", h.sponsor())
	}
	return &secp256k1.PrivKey{Key: key}, nil
}

// found makes the genesis of a new network.
func (c InitConfig) found(id Identity) ([]byte, error) {
	g := app.Genesis{Params: c.Params, Time: c.Time, Balances: map[string]money.Amount{}, Validators: c.Validators}
	for address, amount := range c.Balances {
		g.Balances[address] = amount
	}
	g.Balances[id.Operator] = money.AddCap(g.Balances[id.Operator], c.Funds)
	if len(g.Validators) == 0 {
		if len(id.Key) != ed25519.PublicKeySize {
			return nil, fault.New(fault.KeyUnreadable, "found network: the validator's key has %d bytes", len(id.Key))
		}
		g.Validators = []app.Validator{{Name: "founder", Operator: id.Operator, Key: id.Key, Stake: c.Stake}}
	}
	return g.Build()
}

// Settings reads ledger.toml.
func (h Home) Settings() (Settings, error) {
	text, err := os.ReadFile(h.settings())
	if err != nil {
		return Settings{}, fault.New(fault.NoIdentity, "read settings: %w", err)
	}
	s := Defaults()
	d := toml.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return Settings{}, fault.New(fault.BadConfig, "read %s: %w", h.settings(), err)
	}
	return s, s.check()
}

// Genesis reads the genesis, and checks that it is what its chain id says.
func (h Home) Genesis() ([]byte, error) {
	raw, err := os.ReadFile(h.genesis())
	if err != nil {
		return nil, fault.New(fault.NoIdentity, "read genesis: %w", err)
	}
	return raw, nil
}
