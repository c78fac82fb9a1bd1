package netns

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
)

// The whole road between machines, with the parameters of a network for good:
// strangers become hosts with one command and no money; two in one network are
// never both used; a file outlives the death of as many hosts as its code
// allows; and the ledger pays hosts for it, less a tenth.
func TestTheRoadBetweenMachines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ledger := w.machine("ledger", "198.18.1.2")
	client := w.machine("client", "198.18.2.2")
	name := found(ledger, client)

	a, b := w.machine("a", "198.18.11.2"), w.machine("b", "198.18.12.2")
	c, d := w.machine("c", "198.18.13.2"), w.machine("d", "198.18.13.3")
	hosts := []*machine{a, b, c, d}
	file, want := w.file(24 << 20)

	// Three strangers of all newcomers; two of them are neighbours.
	for _, h := range []*machine{a, c, d} {
		h.join(name)
	}
	client.offers(3)
	client.refused(fault.NotEnoughHosts, `2 of \d+ hosts found: 1 share a network`, "hearth", "put", "--code", "2/4", file, "hearth://road/file")

	// One more comes, and a neighbour moves away with all it has.
	b.join(name)
	d.signal(syscall.SIGTERM)
	d.moveTo("198.18.14.2")
	d.start("hearth", "up")
	client.offers(4)
	client.run("hearth", "put", "--code", "2/4", file, "hearth://road/file")
	client.apart("road", "file", 4)

	// Two die, as in a power cut.
	a.signal(syscall.SIGKILL)
	d.signal(syscall.SIGKILL)
	client.gets("hearth://road/file", want)

	// They come back, and all are paid.
	for _, h := range hosts {
		h.signal(syscall.SIGTERM)
		h.setting("settle_every", "1s")
		h.start("hearth", "up")
	}
	for _, h := range hosts {
		h.paid()
	}
	client.gets("hearth://road/file", want)
	if laws := ledger.run("hearth-ledger", "status", "--home", ledger.dir); !strings.Contains(laws, "laws hold") {
		t.Errorf("status of the ledger: %s", laws)
	}
}

// found starts a network whose money is the client's, and the client.
func found(ledger, client *machine) (name string) {
	w := ledger.w
	w.Helper()
	words := filepath.Join(w.dir, "words")
	var made struct {
		Account string `json:"account"`
		Phrase  string `json:"phrase"`
	}
	if err := json.Unmarshal([]byte(client.run("hearth", "wallet", "new", "-o", "json")), &made); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(words, []byte(made.Phrase), 0o600); err != nil {
		w.Fatal(err)
	}
	name = strings.TrimSpace(ledger.run("hearth-ledger", "init", "--home", ledger.dir, "--block-time", "500ms",
		"--listen", ledger.addr+":26657", "--p2p", ledger.addr+":26656", "--fund", made.Account+"=1000000000", "--sponsor-fund", "1000000000"))
	ledger.start("hearth-ledger", "start", "--home", ledger.dir, "--check-laws")
	ledger.says(`(?m)^block \d`)
	client.run("hearth", "init", "--network", name, "--phrase-file", words)
	client.start("hearth", "up")
	client.says("ready")
	return name
}

// join makes a machine a host with one command, and looks at what it says.
func (m *machine) join(name string) {
	m.w.Helper()
	m.start("hearth", "host", "join", name, "--storage", "1GB")
	m.says(`It serves until`)
	for _, line := range []string{
		"HEARTH RECOVERY SHEET", name, `State +serving`, `Reach +direct`, `Offered +953.7 MiB`, `Check: ledger +ok`,
		`Announces +/ip4/` + m.addr + `/tcp/4002/tls`, `Price of a GiB +0.004 ember`,
	} {
		m.says(line)
	}
}

// offers waits until so many hosts answer with a price.
func (m *machine) offers(n int) {
	m.w.Helper()
	c := m.client()
	m.w.eventually(func() error {
		q, err := c.Quotes(m.w.Context(), "storage")
		if err == nil && len(q.Quotes) != n {
			err = fmt.Errorf("%d hosts answer, %d don't, want %d", len(q.Quotes), q.Silent, n)
		}
		return err
	})
}

func (w *world) file(size int) (path string, content []byte) {
	w.Helper()
	content = make([]byte, size)
	_, _ = rand.Read(content) // it never fails
	path = filepath.Join(w.dir, "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.Fatal(err)
	}
	return path, content
}

// apart checks that each slab of an object lies whole on so many hosts.
func (m *machine) apart(bucket, key string, n int) {
	m.w.Helper()
	h, err := m.client().Health(m.w.Context(), bucket, key)
	if err != nil {
		m.w.Fatal(err)
	}
	for i, slab := range h.Slabs {
		on := map[string]bool{}
		for _, s := range slab.Shards {
			if s.State == "held" {
				on[s.Host] = true
			}
		}
		if len(on) != n {
			m.w.Errorf("slab %d is held by %d hosts, want %d: %+v", i, len(on), n, slab.Shards)
		}
	}
}

func (m *machine) gets(object string, want []byte) {
	m.w.Helper()
	back := filepath.Join(m.w.dir, "back")
	m.run("hearth", "get", "--force", object, back)
	got, err := os.ReadFile(back)
	if err != nil {
		m.w.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		m.w.Errorf("get %s: %d bytes, and not those that were put", object, len(got))
	}
}

// paid waits until the ledger has paid a host all that it holds signatures for,
// and checks the commission and where the rest went.
func (m *machine) paid() {
	m.w.Helper()
	c, ctx := m.client(), m.w.Context()
	var paid money.Amount
	m.w.eventually(func() error {
		paid = 0
		for l, err := range c.Leases(ctx) {
			if err != nil {
				return err
			}
			got, signed := m.amount(l.Paid), m.amount(l.Signed)
			if got < signed || got == 0 {
				return fmt.Errorf("%s: lease %d: %s signed, %s paid", m.name, l.ID, signed, got)
			}
			paid += got
		}
		if paid == 0 {
			return fmt.Errorf("%s has no lease", m.name)
		}
		return nil
	})
	s, err := c.Host(ctx)
	if err != nil {
		m.w.Fatal(err)
	}
	if earned := m.amount(s.Earned); earned != paid-paid/10 {
		m.w.Errorf("%s: the ledger has paid %s, of which it got %s: want all but a tenth", m.name, paid, earned)
	}
	if bond := m.amount(s.Bond); bond == 0 || bond > paid {
		m.w.Errorf("%s: bond %s of %s paid: a newcomer's is held back from what it earns", m.name, bond, paid)
	}
}

func (m *machine) amount(a api.Money) money.Amount {
	m.w.Helper()
	v, err := a.Value()
	if err != nil {
		m.w.Fatal(err)
	}
	return v
}
