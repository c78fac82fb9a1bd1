package node_test

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/quote"
	"hearth/node"
)

const someNetwork = "hearth-0123456789abcdef0123@http://127.0.0.1:26657"

func saved(t *testing.T, change func(*node.Settings)) (string, error) {
	t.Helper()
	dir := t.TempDir()
	s := node.Default()
	s.Network = someNetwork
	change(&s)
	return dir, s.Save(dir)
}

// What was saved is what is loaded.
func TestSettingsComeBack(t *testing.T) {
	dir, err := saved(t, func(s *node.Settings) { s.Roles = []string{"client", "host"}; s.Host.Storage = "50GB" })
	if err != nil {
		t.Fatal(err)
	}
	s, err := node.LoadSettings(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Network != someNetwork || len(s.Roles) != 2 || s.Host.Storage != "50GB" || s.Client.Code != "10/20" {
		t.Errorf("other settings came back: %+v", s)
	}
}

// A setting that is wrong is named, and nothing is written.
func TestWrongSettingsAreNamed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*node.Settings)
		word   string
		code   fault.Code
	}{
		{"a bare URL", func(s *node.Settings) { s.Network = "http://127.0.0.1:26657" }, "chain id", fault.BareURL},
		{"an unknown role", func(s *node.Settings) { s.Roles = []string{"king"} }, "roles", fault.BadConfig},
		{"a code that loses nothing", func(s *node.Settings) { s.Client.Code = "5/5" }, "client.code", fault.BadConfig},
		{"a price in beans", func(s *node.Settings) { s.Host.Price.Out = "3 beans" }, "host.price", fault.BadConfig},
		{"a host without room", func(s *node.Settings) { s.Roles = []string{"host"} }, "host.storage", fault.BadConfig},
		{"no patience at all", func(s *node.Settings) { s.Client.IdleLease = "0s" }, "client.idle_lease", fault.BadConfig},
		{"functions at no port", func(s *node.Settings) { s.Client.FunctionDoor.Listen = "127.0.0.1" }, "client.functions: listen", fault.BadConfig},
		{"functions that nobody may call", func(s *node.Settings) { s.Client.FunctionDoor.Rate = 0 }, "client.functions: rate", fault.BadConfig},
		{"a rate that is no number", func(s *node.Settings) { s.Client.FunctionDoor.Rate = math.NaN() }, "client.functions: rate", fault.BadConfig},
		{"more checks than there may be", func(s *node.Settings) { s.Client.FunctionDoor.Verify = 9 }, "client.functions: verify", fault.BadConfig},
		{"a name with a port", func(s *node.Settings) { s.Client.FunctionDoor.Names = []string{"a.example:80"} }, "client.functions: names", fault.BadConfig},
		{"a pause without a unit", func(s *node.Settings) { s.Host.SettleEvery = "5" }, "host.settle_every", fault.BadConfig},
	} {
		dir, err := saved(t, tt.change)
		if fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.word) {
			t.Errorf("%s: %v (%s)", tt.name, err, fault.CodeOf(err))
		}
		if _, err := os.Stat(filepath.Join(dir, "config.toml")); err == nil {
			t.Errorf("%s: written all the same", tt.name)
		}
	}
}

// A word that the file has and the program doesn't know is a mistake and no wish.
func TestUnknownSettingsAreRefused(t *testing.T) {
	dir, err := saved(t, func(*node.Settings) {})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.toml")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append([]byte("capactiy = \"1GB\"\n"), b...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = node.LoadSettings(dir); fault.CodeOf(err) != fault.BadConfig || !strings.Contains(err.Error(), "capactiy") {
		t.Errorf("%v", err)
	}
	if _, err = node.LoadSettings(t.TempDir()); fault.CodeOf(err) != fault.NoIdentity {
		t.Errorf("an empty folder: %v", err)
	}
}

// A month of a GiB at the price people write costs that price on the ledger, to a uember.
func TestPricesAreTheLedgers(t *testing.T) {
	p, err := node.PriceSet{Month: "0.004 ember", In: "0.001", Out: "5000uember"}.Prices()
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Rate(quote.Units{quote.GiB}).OverUp(30 * 24 * 3600); got != 4000 {
		t.Errorf("a month of a GiB costs %d uember", got)
	}
	if p.In != 1000 || p.Out != 5000 {
		t.Errorf("traffic costs %d in, %d out", p.In, p.Out)
	}
}

// What an owner allows is kept in config.toml, also where no node runs; what makes no
// sense changes nothing.
func TestLimitsComeBack(t *testing.T) {
	dir, err := saved(t, func(s *node.Settings) { s.Roles, s.Host.Storage = []string{"host"}, "50GB" })
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := node.SavedLimits(dir)
	if err != nil || fresh.WhenActive != "go" || fresh.ActiveFor != "5m" || fresh.Now.Compute != "go" || fresh.CPU != "" {
		t.Errorf("%+v, %v", fresh, err)
	}
	wish := fresh
	wish.CPU, wish.Memory, wish.WhenActive, wish.ActiveFor = "1.5", "4GiB", "pause", "10m"
	wish.Schedule = []string{"00:00-24:00 cpu=0.5 compute=pause"}
	if _, err := node.SaveLimits(dir, wish); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(l *api.HostLimits){
		func(l *api.HostLimits) { l.CPU = "-3" }, func(l *api.HostLimits) { l.WhenActive = "stop" }, func(l *api.HostLimits) { l.Schedule = []string{"08:00-09:00 cpu=many"} },
	} {
		bad := wish
		change(&bad)
		if _, err := node.SaveLimits(dir, bad); fault.CodeOf(err) != fault.BadConfig {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	got, err := node.SavedLimits(dir)
	want := wish
	want.Now = api.LimitsNow{CPU: 500, Memory: 4 << 30, Compute: "closed"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v: %v", got, want, err)
	}
}
