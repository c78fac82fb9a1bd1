package netns

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/sdk"
)

// What is stored is on no machine but the hosts' when the client's burns down.
// Its recovery sheet brings all of it back on another machine, every version byte
// for byte, also while half the hosts tell of a past that they really signed for.
func TestTheSheetBringsEverythingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reaches()
	ledger := w.machine("ledger", "198.18.1.2")
	client := w.machine("client", "198.18.2.2")
	name := found(ledger, client)
	var hosts []*machine
	for i := range 6 {
		h := w.machine(fmt.Sprintf("host%d", i), fmt.Sprintf("198.18.%d.2", 11+i))
		h.join(name)
		hosts = append(hosts, h)
	}
	replayers := hosts[3:]
	client.offers(6)
	client.signal(syscall.SIGTERM)
	client.setting("code", "2/5") // any five of six: three that tell the truth have two shards
	client.start("hearth", "up")
	client.says("ready")
	first := client.storesMany("early", 3)
	client.flushed()
	client.signal(syscall.SIGTERM)
	for _, h := range replayers {
		h.signal(syscall.SIGTERM)
		h.copies()
		h.start("hearth", "up")
		h.says("ready")
	}
	client.start("hearth", "up")
	client.says("ready")
	client.offers(6)

	stored := client.storesMany("bucket", 500)
	maps.Copy(stored, first)
	door := client.door()
	versions := client.ages(door, 40)
	old := client.aged(door)
	read := 0
	for _, v := range old {
		if !v.marker {
			read++
		}
	}
	if len(old) != versions || read == versions {
		t.Fatalf("%d versions are listed, %d of them no delete markers; %d were written", len(old), read, versions)
	}
	sheet, err := os.ReadFile(filepath.Join(w.dir, "words"))
	if err != nil {
		t.Fatal(err)
	}
	client.flushed(aged)
	client.signal(syscall.SIGKILL)
	if err := os.RemoveAll(client.dir); err != nil {
		t.Fatal(err)
	}

	other := w.machine("other", "198.18.3.2")
	words := filepath.Join(w.dir, "sheet")
	if err := os.WriteFile(words, sheet, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	said := other.run("hearth", "restore", "--network", name, "--phrase-file", words)
	listed := time.Since(began)
	whole := fmt.Sprintf("%d versions in 7 buckets", len(stored)+read)
	if !strings.Contains(said, whole) {
		t.Errorf("%s; want %s", said, whole)
	}
	other.start("hearth", "up")
	other.says("ready")
	other.has(stored)
	same(t, other.aged(other.door()), old)
	t.Logf("%d versions listed after %s, all of them read after %s", len(stored)+versions, listed, time.Since(began))
	other.run("hearth", "fsck")

	// Both go on: the new machine's own log is complete without the old one's. Half
	// the hosts replay what they once held, and are heard.
	other.signal(syscall.SIGTERM)
	for _, h := range replayers {
		h.signal(syscall.SIGTERM)
		h.replays()
		h.start("hearth", "up")
		h.says("ready")
	}
	third := w.machine("third", "198.18.4.2")
	said = third.run("hearth", "restore", "--network", name, "--phrase-file", words)
	if !strings.Contains(said, whole) || !strings.Contains(said, "6 of 6 with a lease answered") {
		t.Errorf("%s; want %s", said, whole)
	}
	third.start("hearth", "up")
	third.says("ready")
	third.has(sample(stored, 60))
	same(t, third.aged(third.door()), old)

	// Other words are nobody's, and make nothing.
	empty := w.machine("empty", "198.18.5.2")
	wrong := filepath.Join(w.dir, "wrong")
	if err := os.WriteFile(wrong, []byte(strings.Repeat("zoo ", 11)+"wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty.refused(fault.UnknownIdentity, "has no account", "hearth", "restore", "--network", name, "--phrase-file", wrong)
	if left, err := os.ReadDir(empty.dir); err != nil || len(left) != 0 {
		t.Errorf("%d files in the folder of nobody, %v", len(left), err)
	}
}

// flushed waits until hosts have all that these buckets hold, and the list of files.
func (m *machine) flushed(buckets ...string) {
	m.w.Helper()
	web := &http.Client{Timeout: patient, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", api.Socket(m.dir))
	}}}
	defer web.CloseIdleConnections()
	c := m.client()
	m.w.eventually(func() error {
		for _, b := range buckets {
			page, err := c.Check(m.w.Context(), b, api.CheckQuery{})
			if err != nil {
				return err
			}
			for _, f := range page.Findings {
				if f.State != "healthy" {
					return fmt.Errorf("%s: %+v", b, f)
				}
			}
		}
		r, err := web.Get("http://node/metrics")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err == nil && !strings.Contains(string(text), "\nhearth_index_log_unflushed_changes 0\n") {
			err = errors.New("a part of the list of files is on this machine only")
		}
		return err
	})
}

// reaches gives the test itself an address on the street. One world may.
func (w *world) reaches() {
	w.Helper()
	w.ip("link", "set", "lo", "up")
	w.ip("addr", "add", "198.18.0.1/16", "dev", w.mark+"street")
}

// copies keeps the folder of a machine whose program doesn't run as it is now.
func (m *machine) copies() {
	m.w.Helper()
	if out, err := exec.Command("cp", "-a", m.dir, m.dir+".old").CombinedOutput(); err != nil {
		m.w.Fatalf("copy %s: %v: %s", m.dir, err, out)
	}
}

// replays puts the copy in the place of what has become of it.
func (m *machine) replays() {
	m.w.Helper()
	if err := errors.Join(os.RemoveAll(m.dir), os.Rename(m.dir+".old", m.dir)); err != nil {
		m.w.Fatal(err)
	}
}

// sample is some of what was stored.
func sample(all map[sdk.Name][32]byte, n int) map[sdk.Name][32]byte {
	some := map[sdk.Name][32]byte{}
	for name, sum := range all {
		if some[name] = sum; len(some) == n {
			break
		}
	}
	return some
}

// odd names, of which none may be taken for another.
var odd = []string{
	"a b", "a+b", "a%20b", "ä/ö/ü", "日本語.txt", "..", ".", "a//b", "/leading", "trailing/", "a\nb", "quote\"'`", "back\\slash",
	"emoji 🔥", "*?[x]", "-rf", "hearth://x/y", strings.Repeat("long/", 200), "CON", "a\tb", "#fragment?query=1&x=y",
}

// storesMany puts n files of very different sizes and odd names, some several
// times, into buckets of that name, and returns the hash of each.
func (m *machine) storesMany(bucket string, n int) map[sdk.Name][32]byte {
	m.w.Helper()
	c := m.client()
	r := rand.New(rand.NewPCG(1, 2))
	sizes := []int{200 << 20, 30 << 20, 12 << 20, 10 << 20}
	if n <= len(sizes) {
		sizes = sizes[3:]
	}
	var jobs []job
	for i := range n {
		size := 0
		switch {
		case i < len(sizes):
			size = sizes[i]
		case i%50 == 0:
			size = 1<<20 + r.IntN(1<<20)
		case i%7 == 0:
			size = r.IntN(200 << 10)
		case i%11 != 0:
			size = r.IntN(12 << 10)
		}
		key := fmt.Sprintf("plain/%03d", i)
		if from := n - len(odd); from > 0 && i >= from {
			key = odd[i-from]
		}
		jobs = append(jobs, job{sdk.Name{Bucket: fmt.Sprintf("%s-%d", bucket, i%3), Key: key}, size, uint64(i)})
	}
	out := map[sdk.Name][32]byte{}
	var mu sync.Mutex
	m.each(len(jobs), func(ctx context.Context, i int) error {
		j := jobs[i]
		if j.size < 5<<10 && i%5 == 0 { // an older content that doesn't count any more
			if _, err := c.Put(ctx, j.name.Bucket, j.name.Key, bytes.NewReader([]byte("old")), 3, sdk.PutOptions{}); err != nil {
				return err
			}
		}
		sum := sha256.New()
		_, err := c.Put(ctx, j.name.Bucket, j.name.Key, io.TeeReader(j.content(), sum), int64(j.size), sdk.PutOptions{})
		mu.Lock()
		defer mu.Unlock()
		out[j.name] = [32]byte(sum.Sum(nil))
		return err
	})
	return out
}

// A job is one file to store.
type job struct {
	name sdk.Name
	size int
	seed uint64
}

func (j job) content() io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{byte(j.seed), byte(j.seed >> 8)}), int64(j.size))
}

// each does n things, a few at a time.
func (m *machine) each(n int, f func(ctx context.Context, i int) error) {
	m.w.Helper()
	ctx, cancel := context.WithTimeout(m.w.Context(), 5*time.Minute)
	defer cancel()
	slots := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(ctx, i); err != nil {
				m.w.Errorf("%s: file %d: %v", m.name, i, err)
			}
		})
	}
	wg.Wait()
	if m.w.Failed() {
		m.w.FailNow()
	}
}

// has reads everything and compares it.
func (m *machine) has(want map[sdk.Name][32]byte) {
	m.w.Helper()
	c := m.client()
	var names []sdk.Name
	for name := range want {
		names = append(names, name)
	}
	m.each(len(names), func(ctx context.Context, i int) error {
		sum := sha256.New()
		d, err := c.Get(ctx, names[i].Bucket, names[i].Key, sdk.GetOptions{})
		if err != nil {
			return err
		}
		_, err = io.Copy(sum, d)
		if err := errors.Join(err, d.Close()); err != nil {
			return err
		}
		if [32]byte(sum.Sum(nil)) != want[names[i]] {
			return fmt.Errorf("%s: other bytes than were stored", names[i])
		}
		return nil
	})
}
