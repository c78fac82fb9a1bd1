package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"

	"hearth/compute/door"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/network"
	"hearth/core/quote"
	"hearth/internal/durable"
	"hearth/internal/size"
	"hearth/p2p"
)

// Settings are a node's configuration, the file config.toml of its folder. A
// word the file has and this type doesn't is an error. Sizes are written like
// `50GB` or `465GiB`, amounts like `1.25 ember`, times like `24h`.
type Settings struct {
	Network string   `toml:"network"`         // <chain-id>@url[,url]
	Roles   []string `toml:"roles"`           // client, host, steward
	Local   bool     `toml:"local,omitempty"` // a cloud on one machine: placement looks at no addresses
	API     APISettings
	P2P     P2PSettings
	Client  ClientSettings
	Host    HostSettings
	S3      S3Settings
	Images  ImageSettings
}

// APISettings say where the local API listens beside its unix socket.
type APISettings struct {
	Listen string `toml:"listen"` // loopback address; empty: the socket only
}

// P2PSettings say where peers reach this node.
type P2PSettings struct {
	Listen   string   `toml:"listen"`   // `ip:port`; port 0: any
	Announce []string `toml:"announce"` // multiaddrs others shall use; empty: found out
}

// ClientSettings are the buying side's.
type ClientSettings struct {
	Code        string        `toml:"code"`              // k/n of new files
	PurseTarget string        `toml:"purse_target"`      // the purse is kept at this from the account; "0": by hand
	Cap         string        `toml:"cap_30d"`           // what this device may put into leases in 30 days
	IdleLease   string        `toml:"idle_lease"`        // a lease that holds nothing and isn't used for so long is given back
	Pointer     string        `toml:"pointer_every"`     // so often the ledger is told where the log of the list of files ends
	Storage     PriceSet      `toml:"ceiling"`           // the most that storage may cost
	Functions   GasPrices     `toml:"functions_ceiling"` // and runs of functions
	Instances   MachinePrices `toml:"instances_ceiling"` // and machines for instances
	Stewards    int           `toml:"stewards"`          // so many are hired by the node itself

	FunctionDoor FunctionDoorSettings `toml:"functions"` // over HTTP
}

// HostSettings are the selling side's.
type HostSettings struct {
	Storage     string           `toml:"storage"` // capacity
	Region      string           `toml:"region"`
	Owner       string           `toml:"owner"` // account it belongs to; empty: the machine's own
	Price       PriceSet         `toml:"price"`
	SettleEvery string           `toml:"settle_every"`
	PendingFor  string           `toml:"pending_for"` // how long a shard without a statement is kept
	TrashFor    string           `toml:"trash_for"`   // how long what nobody needs is kept, while there is room
	ScrubEvery  string           `toml:"scrub_every"` // in which every shard is read once and compared with its root
	Limits      LimitSettings    `toml:"limits"`
	Functions   FunctionSettings `toml:"functions"`
	Instances   InstanceSettings `toml:"instances"`
	Figures     string           `toml:"figures,omitempty"` // file with what the machine can do; empty: in the folder
}

// FunctionSettings say whether a host runs others' functions, and for how much.
type FunctionSettings struct {
	Sell   bool   `toml:"sell"`
	Memory string `toml:"memory"` // that one call may have
	GasPrices
}

// GasPrices is a price list of runs of functions as people write it, in ember.
type GasPrices struct {
	Tgas string `toml:"tgas"` // 10^12 units of gas, about four minutes of one core
	In   string `toml:"gib_in"`
	Out  string `toml:"gib_out"`
}

// Prices turns what people write into the ledger's figures.
func (p GasPrices) Prices() (out quote.Prices, err error) {
	for _, v := range []struct {
		text string
		into *uint64
	}{{p.Tgas, &out.Gas}, {p.In, &out.In}, {p.Out, &out.Out}} {
		amount, err := money.Parse(v.text)
		if err != nil {
			return out, err
		}
		*v.into = uint64(amount)
	}
	return out, nil
}

// PriceSet is a price list as people write it, in ember.
type PriceSet struct {
	Month string `toml:"gib_month"` // a GiB stored for 30 days
	In    string `toml:"gib_in"`
	Out   string `toml:"gib_out"`
}

const month = 30 * 24 * 3600

// Prices turns what people write into the ledger's figures.
func (p PriceSet) Prices() (quote.Prices, error) {
	var out quote.Prices
	m, err := money.Parse(p.Month)
	if err != nil {
		return out, err
	}
	in, err := money.Parse(p.In)
	if err != nil {
		return out, err
	}
	o, err := money.Parse(p.Out)
	if err != nil {
		return out, err
	}
	out.Unit[0] = money.MulDiv(uint64(m), money.RateUnit, month)
	out.In, out.Out = uint64(in), uint64(o)
	return out, nil
}

// Default are the settings of a new node.
func Default() Settings {
	return Settings{
		Roles:  []string{"client"},
		P2P:    P2PSettings{Listen: "0.0.0.0:4101"}, // a host whose port changes has to tell everybody
		Client: ClientSettings{Code: erasure.DefaultClass.String(), PurseTarget: "50 ember", Cap: "500 ember", IdleLease: "15m", Pointer: "24h", Storage: PriceSet{Month: "0.02 ember", In: "0.01 ember", Out: "0.05 ember"}, Functions: GasPrices{Tgas: "0.005 ember", In: "0.01 ember", Out: "0.05 ember"}, Instances: MachinePrices{Core: "7.5 ember", Memory: "2.5 ember", Disk: "0.1 ember"}, FunctionDoor: FunctionDoorSettings{Rate: door.DefaultRate}},
		Host: HostSettings{
			Region: "unknown", Price: PriceSet{Month: "0.004 ember", In: "0.001 ember", Out: "0.005 ember"}, SettleEvery: "24h", PendingFor: "24h", TrashFor: "24h", ScrubEvery: "720h",
			Functions: FunctionSettings{Sell: true, Memory: "256MiB", GasPrices: GasPrices{Tgas: "0.001 ember", In: "0.001 ember", Out: "0.005 ember"}},
			Instances: InstanceSettings{Sell: true, Disk: "20GiB", MachinePrices: MachinePrices{Core: "1.5 ember", Memory: "0.5 ember", Disk: "0.02 ember"}},
		},
		Images: ImageSettings{Listen: ImagesListen},
	}
}

// file is where a node's settings lie.
func file(dir string) string { return filepath.Join(dir, "config.toml") }

// LoadSettings reads dir's settings; what the file leaves out is as in Default.
func LoadSettings(dir string) (Settings, error) {
	s := Default()
	f, err := os.Open(file(dir))
	if errors.Is(err, os.ErrNotExist) {
		return s, fault.New(fault.NoIdentity, "open %s: there is no node in this folder", dir)
	}
	if err != nil {
		return s, fmt.Errorf("read settings: %w", err)
	}
	defer f.Close()
	if err := toml.NewDecoder(f).DisallowUnknownFields().Decode(&s); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) {
			return s, fault.New(fault.BadConfig, "read %s: %s", f.Name(), strict.String())
		}
		return s, fault.New(fault.BadConfig, "read %s: %w", f.Name(), err)
	}
	_, err = s.check()
	return s, err
}

// Check says which setting is wrong, if one is.
func (s Settings) Check() error {
	_, err := s.check()
	return err
}

// Save writes the settings so that a crash leaves the old file or the new one.
func (s Settings) Save(dir string) error {
	if _, err := s.check(); err != nil {
		return err
	}
	b, err := toml.Marshal(s)
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return durable.Write(file(dir), b, 0o600)
}

// terms are the settings as the program uses them.
type terms struct {
	network      network.Name
	client       bool
	host         bool
	class        erasure.Class
	target, cap  money.Amount
	ceiling      quote.Prices
	capacity     uint64
	price        quote.Prices
	settleEvery  time.Duration
	pendingFor   time.Duration
	trashFor     time.Duration
	scrubEvery   time.Duration
	limits       limits
	idleLease    time.Duration
	pointerEvery time.Duration
	steward      bool

	functions       bool // sold
	functionPages   uint32
	functionPrice   quote.Prices
	functionCeiling quote.Prices
	machines        bool        // rented out, where containers can run
	machine         quote.Units // what of this one
	machinePrice    [quote.Dims]uint64
}

// ceilings are the most that this client pays for each kind.
func (t terms) ceilings() map[quote.Kind]quote.Prices {
	return map[quote.Kind]quote.Prices{quote.Storage: t.ceiling, quote.Compute: t.functionCeiling}
}

// check reads every setting and names the one that is wrong.
func (s Settings) check() (terms, error) {
	var t terms
	var err error
	wrong := func(field string, err error) (terms, error) {
		return t, fault.New(fault.BadConfig, "setting %s: %w", field, err)
	}
	if t.network, err = network.Parse(s.Network); err != nil {
		return t, err
	}
	for _, r := range s.Roles {
		switch r {
		case "client":
			t.client = true
		case "host":
			t.host = true
		case "steward":
			t.steward = true
		default:
			return wrong("roles", fmt.Errorf("%q is neither client, host nor steward", r))
		}
	}
	if err := s.S3.check(); err != nil {
		return wrong("S3", err)
	}
	if err := s.Images.check(); err != nil {
		return wrong("Images", err)
	}
	if t.steward && !t.host {
		return wrong("roles", errors.New("a steward is reached as a host is: it needs the role host too"))
	}
	if err := p2p.CheckAddrs(s.P2P.Announce); err != nil {
		return wrong("p2p.announce", err)
	}
	if t.class, err = erasure.Parse(s.Client.Code); err != nil {
		return wrong("client.code", err)
	}
	if t.target, err = money.Parse(s.Client.PurseTarget); err != nil {
		return wrong("client.purse_target", err)
	}
	if t.cap, err = money.Parse(s.Client.Cap); err != nil {
		return wrong("client.cap_30d", err)
	}
	if t.ceiling, err = s.Client.Storage.Prices(); err != nil {
		return wrong("client.ceiling", err)
	}
	if t.price, err = s.Host.Price.Prices(); err != nil {
		return wrong("host.price", err)
	}
	if t.functionCeiling, err = s.Client.Functions.Prices(); err != nil {
		return wrong("client.functions_ceiling", err)
	}
	if err = s.Client.FunctionDoor.check(); err != nil {
		return wrong("client.functions", err)
	}
	if t.functionPrice, err = s.Host.Functions.Prices(); err != nil {
		return wrong("host.functions", err)
	}
	memory, err := size.Parse(s.Host.Functions.Memory)
	if err != nil || memory < 1<<20 || memory > 4<<30 {
		return wrong("host.functions.memory", fmt.Errorf("%q isn't a size from 1MiB to 4GiB", s.Host.Functions.Memory))
	}
	t.functions, t.functionPages = t.host && s.Host.Functions.Sell, uint32(memory/page)
	if t.functionCeiling.Unit, err = s.Client.Instances.Units(); err != nil {
		return wrong("client.instances_ceiling", err)
	}
	if err = s.Host.Instances.into(&t); err != nil {
		return wrong("host.instances", err)
	}
	if t.settleEvery, err = time.ParseDuration(s.Host.SettleEvery); err != nil {
		return wrong("host.settle_every", err)
	}
	if t.pendingFor, err = time.ParseDuration(s.Host.PendingFor); err != nil {
		return wrong("host.pending_for", err)
	}
	if t.trashFor, err = time.ParseDuration(s.Host.TrashFor); err != nil || t.trashFor < 0 {
		return wrong("host.trash_for", fmt.Errorf("%q isn't a time, like 24h, or 0s", s.Host.TrashFor))
	}
	if t.scrubEvery, err = time.ParseDuration(s.Host.ScrubEvery); err != nil || t.scrubEvery < time.Minute {
		return wrong("host.scrub_every", fmt.Errorf("%q isn't a time of a minute or more, like 720h", s.Host.ScrubEvery))
	}
	if t.limits, err = s.Host.Limits.parse(); err != nil {
		return wrong("host.limits", err)
	}
	if t.pointerEvery, err = time.ParseDuration(s.Client.Pointer); err != nil || t.pointerEvery < time.Second || t.pointerEvery > 24*time.Hour {
		return wrong("client.pointer_every", fmt.Errorf("%q isn't a time from a second to a day, like 24h", s.Client.Pointer))
	}
	if t.idleLease, err = time.ParseDuration(s.Client.IdleLease); err != nil || t.idleLease < time.Second {
		return wrong("client.idle_lease", fmt.Errorf("%q isn't a time of a second or more, like 15m", s.Client.IdleLease))
	}
	if t.host {
		if t.capacity, err = size.Parse(s.Host.Storage); err != nil {
			return wrong("host.storage", err)
		}
	}
	return t, nil
}
