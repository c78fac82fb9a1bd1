package node

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/wallet"

	"hearth/p2p"
)

// The most urgent warning is the one that is said.
func TestWarnings(t *testing.T) {
	for left, want := range map[time.Duration]string{
		time.Hour: "runway_24h", 30 * time.Hour: "runway_72h", 5 * 24 * time.Hour: "runway_14d", 15 * 24 * time.Hour: "",
	} {
		if got := warningFor(left); got != want {
			t.Errorf("%s left: %q, want %q", left, got, want)
		}
	}
}

// A listener hears what is told from then on, in order, and ends with its context.
func TestNews(t *testing.T) {
	var n news
	n.tell("info", "early", "nobody hears it")
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan api.Event, 1)
	done := make(chan error, 1)
	go func() {
		done <- n.listen(ctx, func(e api.Event) error {
			select {
			case heard <- e:
			default: // told once more before it was looked at
			}
			return nil
		})
	}()
	for e := (api.Event{}); e.Code != "paid"; {
		n.tell("info", "paid", "lease %d", 7)
		select {
		case e = <-heard:
		case <-time.After(10 * time.Millisecond): // not listening yet
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	stop := errors.New("enough")
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	go func() { done <- n.listen(ctx, func(api.Event) error { return stop }) }()
	for {
		n.tell("info", "again", "")
		select {
		case err := <-done:
			if !errors.Is(err, stop) {
				t.Error(err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// What is really paid is held against --max-price: a part of a uember counts as one.
func TestAMachineThatCostsMoreThanIsAllowedIsNotReserved(t *testing.T) {
	p := quote.Prices{Unit: [quote.Dims]uint64{3}}
	units := quote.Units{2 << 30}
	costs := p.Rate(units).OverUp(month)
	for most, code := range map[money.Amount]fault.Code{costs: "", money.Max: "", costs - 1: fault.PriceTooHigh, 0: fault.PriceTooHigh} {
		if err := notDearer("hearth1host", p, units, most); code == "" && err != nil || code != "" && fault.CodeOf(err) != code {
			t.Errorf("%s a month, %s allowed: %v", costs, most, err)
		}
	}
}

// One folder has one node; the next one may have it when the first has gone.
func TestOneNodeAFolder(t *testing.T) {
	dir := t.TempDir()
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); fault.CodeOf(err) != fault.AlreadyRunning {
		t.Errorf("a second node: %v", err)
	}
	unlock()
	unlock, err = Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := Lock(filepath.Join(dir, "none")); fault.CodeOf(err) != fault.NoIdentity {
		t.Errorf("no folder: %v", err)
	}
}

// The API's token is made once, is nobody else's to read, and stays.
func TestToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.token")
	first, err := apiToken(path)
	if err != nil || len(first) < 32 {
		t.Fatalf("%q, %v", first, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if again, err := apiToken(path); err != nil || again != first {
		t.Errorf("%q after %q, %v", again, first, err)
	}
}

// An identity is made once and never overwritten.
func TestIdentityStays(t *testing.T) {
	dir := t.TempDir()
	phrase, err := wallet.NewPhrase()
	if err != nil {
		t.Fatal(err)
	}
	const name = "hearth-0123456789abcdef0123@http://127.0.0.1:1"
	if err := CreateIdentity(dir, phrase, name, []byte("pass")); err != nil {
		t.Fatal(err)
	}
	if sealed, err := NeedsPassphrase(dir); err != nil || !sealed {
		t.Errorf("sealed %v, %v", sealed, err)
	}
	if err := CreateIdentity(dir, phrase, name, nil); fault.CodeOf(err) != fault.IdentityExists {
		t.Errorf("a second identity: %v", err)
	}
	if _, err := OpenIdentity(dir, []byte("wrong")); fault.CodeOf(err) != fault.WrongPassphrase {
		t.Errorf("a wrong passphrase: %v", err)
	}
	if id, err := OpenIdentity(dir, []byte("pass")); err != nil || id.Network != name {
		t.Errorf("%v, %v", id.Network, err)
	}
	if _, err := OpenIdentity(t.TempDir(), nil); fault.CodeOf(err) != fault.NoIdentity {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		list []string
		want netip.Addr
	}{
		{[]string{"/ip4/10.1.2.3/tcp/4101", "/ip6/2001:db8::1/udp/4101/quic-v1", "/dns4/x.example/tcp/1", "nonsense"}, netip.MustParseAddr("2001:db8::1")},
		{[]string{"/ip4/10.1.2.3/tcp/4101"}, netip.MustParseAddr("10.1.2.3")}, // a network of its own
	} {
		if got := p2p.IPs(tt.list); !slices.Equal(got, []netip.Addr{tt.want}) {
			t.Errorf("%v: %v", tt.list, got)
		}
	}
}

func TestListeners(t *testing.T) {
	control, bulk, err := listeners("10.0.0.1:4101")
	if err != nil || control[0] != "/ip4/10.0.0.1/tcp/4101" || control[1] != "/ip4/10.0.0.1/udp/4101/quic-v1" || bulk[0] != "/ip4/10.0.0.1/tcp/4102/tls" {
		t.Errorf("%v %v %v", control, bulk, err)
	}
	for _, bad := range []string{"", "localhost:1", "10.0.0.1", "10.0.0.1:99999"} {
		if _, _, err := listeners(bad); fault.CodeOf(err) != fault.BadConfig {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
