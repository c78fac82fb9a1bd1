package weather

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/erasure"
	"hearth/core/money"
	"hearth/node/cloud"
	"hearth/sdk"
)

// number is a setting of the march's length, from the environment.
func number(t *testing.T, name string, short int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return short
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, it should be a number", name, text)
	}
	return n
}

// Hosts die for good, one after the other, and others join, while files are
// written and read; for a part of it the owner is away and a steward keeps house.
// Nothing is lost, what is missing is made anew, and nobody spends more than he may.
//
// HEARTH_MARCH_HOSTS, _DEATHS, _EVERY (seconds) make it longer: see `make soak`.
func TestDeathMarch(t *testing.T) {
	t.Parallel()
	hosts, deaths := number(t, "HEARTH_MARCH_HOSTS", 24), number(t, "HEARTH_MARCH_DEATHS", 6)
	every := time.Duration(number(t, "HEARTH_MARCH_EVERY", 6)) * time.Second
	class := erasure.Class{K: 4, N: 8}
	w := start(t, hosts, class)
	m := &march{w: w, t: t, objects: map[string][]byte{}, rng: rand.New(rand.NewPCG(1, uint64(deaths)))}
	for range 6 {
		m.write()
	}
	hired := m.steward()
	away := deaths / 2 // deaths while the owner is there, then as many without him, then the rest
	for range max(1, deaths-away) / 2 {
		m.replace(hired)
		m.live(every)
	}
	soon(t, patient, "tell the steward everything", func() error {
		s, err := w.api.Stewards(within(t, patient))
		if err == nil && (len(s.Stewards) == 0 || s.Stewards[0].Slabs < int64(s.Care.Slabs)) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
	earlier, err := w.api.Stewards(within(t, patient))
	if err != nil {
		t.Fatal(err)
	}
	w.Client.Stop(5 * time.Second)
	before := m.restored(hired)
	for range max(1, away) {
		m.replace(hired)
		time.Sleep(every)
	}
	soon(t, patient, "have the steward restore shards", func() error {
		if n := m.restored(hired) - before; n == 0 {
			return fmt.Errorf("%d shards", n)
		}
		return nil
	})
	w.run(t, w.Client)
	soon(t, patient, "take over what the steward did", func() error {
		s, err := w.api.Stewards(within(t, patient))
		if err == nil && (len(s.Stewards) == 0 || s.Stewards[0].Restored == 0) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
	for m.killed < deaths {
		m.replace(hired)
		m.live(every)
	}
	m.whole()
	for key := range m.objects {
		m.read(key)
	}
	s := m.within()
	s.Care.Remade, s.Care.Bytes = s.Care.Remade+earlier.Care.Remade, s.Care.Bytes+earlier.Care.Bytes
	t.Logf("hosts killed %d, joined %d; shards made anew %d here, %d by the steward, %d bytes in all; objects checked %d, reads %d, writes %d; steward spent %s of %s",
		m.killed, m.joined, s.Care.Remade, s.Stewards[0].Restored, s.Care.Bytes+s.Stewards[0].Bytes, len(m.objects), m.reads, m.writes, s.Stewards[0].Spent, s.Stewards[0].Cap)
}

// march is a death march under way.
type march struct {
	w              *world
	t              *testing.T
	rng            *rand.Rand
	objects        map[string][]byte
	killed, joined int
	reads, writes  int
}

func (m *march) write() {
	m.t.Helper()
	key := fmt.Sprintf("march-%03d", len(m.objects))
	b := content(uint64(len(m.objects)), 1+m.rng.IntN(2*mib))
	soon(m.t, patient, "write "+key, func() error {
		_, err := m.w.api.Put(within(m.t, patient), bucket, key, bytes.NewReader(b), int64(len(b)), sdk.PutOptions{})
		return err
	})
	m.objects[key] = b
	m.writes++
}

func (m *march) read(key string) {
	m.t.Helper()
	if err := m.w.reads(within(m.t, patient), key, m.objects[key]); err != nil {
		m.t.Errorf("%s is lost: %v", key, err)
	}
	m.reads++
}

// live writes and reads for a while.
func (m *march) live(d time.Duration) {
	m.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		m.write()
		for range 3 {
			m.read(fmt.Sprintf("march-%03d", m.rng.IntN(len(m.objects))))
		}
	}
}

// steward is which host the client has hired.
func (m *march) steward() (hired int) {
	m.t.Helper()
	var address string
	soon(m.t, patient, "hire a steward", func() error {
		s, err := m.w.api.Stewards(within(m.t, patient))
		if err == nil && (len(s.Stewards) == 0 || s.Stewards[0].State != "working") {
			return fmt.Errorf("%+v", s)
		}
		if err == nil {
			address = s.Stewards[0].Host
		}
		return err
	})
	for i := range m.w.Hosts {
		if m.w.account(m.t, i) == address {
			return i
		}
	}
	m.t.Fatalf("the steward %s is none of the hosts", address)
	return 0
}

// replace kills a host for good and has another join.
func (m *march) replace(not int) {
	m.t.Helper()
	var alive []int
	for i, p := range m.w.Hosts {
		if i != not && p.PID() != 0 {
			alive = append(alive, i)
		}
	}
	victim := m.w.Hosts[alive[m.rng.IntN(len(alive))]]
	victim.Kill()
	m.killed++
	if err := os.RemoveAll(victim.Dir + "/data/shards"); err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.w.Join(within(m.t, patient), cloud.Config{Settle: 2 * time.Second}); err != nil {
		m.t.Fatal(err)
	}
	m.joined++
}

var restored = regexp.MustCompile(`(?m)^hearth_steward_shards_total (\d+)`)

// restored is how many shards a steward says it has put elsewhere.
func (m *march) restored(i int) int {
	m.t.Helper()
	socket := cloud.Socket(m.w.Hosts[i].Dir)
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	res, err := c.Get("http://node/metrics")
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	found := restored.FindSubmatch(b)
	if found == nil {
		m.t.Fatal("the steward shows no figures")
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// whole waits until every slab has all its shards again, on hosts that run.
func (m *march) whole() {
	m.t.Helper()
	good := map[string]bool{}
	soon(m.t, patient, "restore all redundancy", func() error {
		for key := range m.objects {
			if good[key] {
				continue
			}
			h, err := m.w.api.Health(within(m.t, patient), bucket, key)
			if err != nil {
				return err
			}
			for _, s := range h.Slabs {
				held := 0
				for _, sh := range s.Shards {
					if sh.State == "held" {
						held++
					}
				}
				if held < len(s.Shards) {
					return fmt.Errorf("%s: %d of %d shards are held", key, held, len(s.Shards))
				}
			}
			good[key] = true
		}
		return nil
	})
}

// within checks that nobody spent more than he may.
func (m *march) within() api.Stewards {
	m.t.Helper()
	s, err := m.w.api.Stewards(within(m.t, patient))
	if err != nil || len(s.Stewards) == 0 {
		m.t.Fatalf("%+v, %v", s, err)
	}
	value := func(a api.Money) money.Amount {
		v, err := a.Value()
		if err != nil {
			m.t.Fatal(err)
		}
		return v
	}
	for _, one := range s.Stewards {
		if value(one.Spent) > value(one.Cap) {
			m.t.Errorf("steward %s spent %s, its cap is %s", one.Host, one.Spent, one.Cap)
		}
	}
	wallet, err := m.w.api.Wallet(within(m.t, patient))
	if err != nil || wallet.Mandate == nil || value(wallet.Mandate.Used) > value(wallet.Mandate.Cap) {
		m.t.Errorf("the device spent %+v, %v", wallet.Mandate, err)
	}
	return s
}
