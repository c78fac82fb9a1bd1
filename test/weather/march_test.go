package weather

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/erasure"
	"hearth/core/money"
	"hearth/node"
	"hearth/node/cloud"
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

// Hosts die for good, one after the other, and others join, while two clients write
// and read; for a part of it one of them is away and a steward keeps house for it.
// Nothing is lost, what is missing is made anew, and nobody spends more than he may.
//
// HEARTH_MARCH_HOSTS, _DEATHS, _EVERY (seconds) make it longer: see `make soak`.
func TestDeathMarch(t *testing.T) {
	t.Parallel()
	hosts, deaths := number(t, "HEARTH_MARCH_HOSTS", 24), number(t, "HEARTH_MARCH_DEATHS", 6)
	every := time.Duration(number(t, "HEARTH_MARCH_EVERY", 6)) * time.Second
	class := erasure.Class{K: 4, N: 8}
	w := start(t, hosts, class)
	g := w.customer(t, class)
	m := &march{
		w: w, t: t, spares: class.N - class.K - 1, dead: map[string]bool{}, rng: rand.New(rand.NewPCG(1, uint64(deaths))),
		owner: newWalker(w, "owner"), other: newWalker(g.as(w), "other"),
	}
	m.all(func(c *walker) error { return c.live(every / 2) })
	m.hired = m.steward()
	away := max(1, deaths/3) // a third while the owner is there, a third without him, then the rest
	for range max(1, deaths/3) {
		m.replace()
		m.all(func(c *walker) error { return c.live(every) })
	}
	earlier := m.leave()
	m.alone(away, every)
	m.comeBack()
	for m.killed < deaths {
		m.replace()
		m.all(func(c *walker) error { return c.live(every) })
	}
	m.all((*walker).whole)
	m.all((*walker).checkAll)
	s := m.within(m.owner)
	m.device(m.other)
	care := s.Care
	care.Remade, care.Bytes = care.Remade+earlier.Remade, care.Bytes+earlier.Bytes
	t.Logf("hosts killed %d, joined %d, %d of them while the owner was away; repaired %d bytes: %d shards by the owner, %d by the steward; "+
		"objects checked %d, none lost; writes %d (%d tried again), reads %d (%d tried again); steward spent %s of %s",
		m.killed, m.joined, away, care.Bytes+s.Stewards[0].Bytes, care.Remade, s.Stewards[0].Restored,
		m.owner.checked+m.other.checked, m.owner.writes+m.other.writes, m.owner.writesAgain+m.other.writesAgain,
		m.owner.reads+m.other.reads, m.owner.readsAgain+m.other.readsAgain, s.Stewards[0].Spent, s.Stewards[0].Cap)
}

// customer is a machine of another account that stores files of its own.
func (w *world) customer(t *testing.T, class erasure.Class) *second {
	t.Helper()
	g := w.guest(t)
	g.stop()
	set, err := node.LoadSettings(g.dir)
	if err != nil {
		t.Fatal(err)
	}
	set.Local, set.Client.Code = true, class.String()
	if err := set.Save(g.dir); err != nil {
		t.Fatal(err)
	}
	g.up()
	return g
}

// march is a death march under way.
type march struct {
	w              *world
	t              *testing.T
	rng            *rand.Rand
	owner, other   *walker
	spares         int             // so many dead hosts may hold shards of a slab at once, and one more
	dead           map[string]bool // hosts that won't come back
	hired          int             // the owner's steward, among hosts
	killed, joined int
}

// all has both clients do something at the same time.
func (m *march) all(f func(*walker) error) {
	m.t.Helper()
	var owner, other error
	var wg sync.WaitGroup
	wg.Go(func() { owner = f(m.owner) })
	wg.Go(func() { other = f(m.other) })
	wg.Wait()
	if err := errors.Join(owner, other); err != nil {
		m.t.Fatal(err)
	}
}

// replace kills a host for good and has another join. It comes at its time, but
// not while one more death could by itself take what nobody had time to make anew.
func (m *march) replace() {
	m.t.Helper()
	soon(m.t, patient, "make anew what the dead held", func() error {
		return errors.Join(m.owner.recovered(m.dead, m.spares), m.other.recovered(m.dead, m.spares))
	})
	m.kill(func(string) bool { return true })
}

// kill has one of some hosts die and returns its name; another joins.
func (m *march) kill(which func(name string) bool) string {
	m.t.Helper()
	var alive []int
	for i, p := range m.w.Hosts {
		if i != m.hired && p.PID() != 0 && which(m.w.account(m.t, i)) {
			alive = append(alive, i)
		}
	}
	if len(alive) == 0 {
		m.t.Fatal("no such host is left to die")
	}
	i := alive[m.rng.IntN(len(alive))]
	victim, name := m.w.Hosts[i], m.w.account(m.t, i)
	victim.Kill()
	m.killed++
	m.dead[name] = true
	if err := os.RemoveAll(victim.Dir + "/data/shards"); err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.w.Join(within(m.t, patient), cloud.Config{Settle: 2 * time.Second}); err != nil {
		m.t.Fatal(err)
	}
	m.joined++
	return name
}

// leave has the owner go, once everything is made anew and the steward knows of it:
// what that finds to do afterwards is its own.
func (m *march) leave() api.Care {
	m.t.Helper()
	soon(m.t, patient, "make anew all that the dead held", func() error { return m.owner.recovered(m.dead, 0) })
	whole := time.Now()
	var last api.Care
	soon(m.t, patient, "tell the steward everything", func() error {
		s, err := m.w.api.Stewards(within(m.t, patient))
		if err == nil && (len(s.Stewards) == 0 || s.Stewards[0].Slabs < int64(s.Care.Slabs) || s.Stewards[0].Heard.Before(whole.Add(10*time.Second))) {
			err = fmt.Errorf("%+v", s)
		}
		last = s.Care
		return err
	})
	if err := m.owner.look(); err != nil {
		m.t.Fatal(err)
	}
	m.w.Client.Stop(patient)
	return last
}

// alone has so many hosts die without the owner, each with shards of his. The steward
// makes anew all that was at them.
func (m *march) alone(deaths int, every time.Duration) {
	m.t.Helper()
	before := m.restored(m.hired)
	lost := make([]int, 0, deaths) // shards of the owner's, death for death
	restore := func(deaths int) {
		m.t.Helper()
		due := 0
		for _, n := range lost[:max(0, deaths)] {
			due += n
		}
		soon(m.t, patient, "have the steward restore shards", func() error {
			if n := m.restored(m.hired) - before; n < due {
				return fmt.Errorf("%d of %d shards", n, due)
			}
			return nil
		})
	}
	for i := range deaths {
		restore(i - m.spares)
		soon(m.t, patient, "make anew what the dead held", func() error { return m.other.recovered(m.dead, m.spares) })
		lost = append(lost, m.owner.at[m.kill(func(name string) bool { return m.owner.at[name] > 0 })])
		if err := m.other.live(every); err != nil {
			m.t.Fatal(err)
		}
	}
	restore(deaths)
}

// comeBack has the owner take over what the steward did.
func (m *march) comeBack() {
	m.t.Helper()
	m.w.run(m.t, m.w.Client)
	soon(m.t, patient, "take over what the steward did", func() error {
		s, err := m.w.api.Stewards(within(m.t, patient))
		if err == nil && (len(s.Stewards) == 0 || s.Stewards[0].Restored == 0) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
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

var restored = regexp.MustCompile(`(?m)^hearth_steward_shards_total (\d+)`)

// restored is how many shards a steward says it has put elsewhere.
func (m *march) restored(i int) int {
	m.t.Helper()
	socket := api.Socket(m.w.Hosts[i].Dir)
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
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

// within checks that neither the owner nor a steward spent more than he may.
func (m *march) within(c *walker) api.Stewards {
	m.t.Helper()
	s, err := c.w.api.Stewards(within(m.t, patient))
	if err != nil || len(s.Stewards) == 0 {
		m.t.Fatalf("%+v, %v", s, err)
	}
	for _, one := range s.Stewards {
		if m.value(one.Spent) > m.value(one.Cap) {
			m.t.Errorf("steward %s spent %s, its cap is %s", one.Host, one.Spent, one.Cap)
		}
	}
	m.device(c)
	return s
}

func (m *march) device(c *walker) {
	m.t.Helper()
	wallet, err := c.w.api.Wallet(within(m.t, patient))
	if err != nil || wallet.Mandate == nil || m.value(wallet.Mandate.Used) > m.value(wallet.Mandate.Cap) {
		m.t.Errorf("the device of the %s spent %+v, %v", c.name, wallet.Mandate, err)
	}
}

func (m *march) value(a api.Money) money.Amount {
	m.t.Helper()
	v, err := a.Value()
	if err != nil {
		m.t.Fatal(err)
	}
	return v
}
