package netns

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/sdk"
)

// What is stored is on no machine but the hosts' when the client's burns down.
// Its recovery sheet brings all of it back on another machine, byte for byte.
func TestTheSheetBringsEverythingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ledger := w.machine("ledger", "198.18.1.2")
	client := w.machine("client", "198.18.2.2")
	name := found(ledger, client)
	for i := range 5 {
		h := w.machine(fmt.Sprintf("host%d", i), fmt.Sprintf("198.18.%d.2", 11+i))
		h.join(name)
	}
	client.offers(5)
	client.signal(syscall.SIGTERM)
	client.setting("code", "2/4")
	client.start("hearth", "up")
	client.says("ready")

	stored := client.storesMany(500)
	sheet, err := os.ReadFile(filepath.Join(w.dir, "words"))
	if err != nil {
		t.Fatal(err)
	}
	client.signal(syscall.SIGTERM) // what was written in the last seconds goes out as well
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
	took := time.Since(began)
	if !strings.Contains(said, fmt.Sprintf("%d versions in 3 buckets", len(stored))) {
		t.Errorf("%s", said)
	}
	if took > time.Minute {
		t.Errorf("it took %s", took)
	}
	t.Logf("%d files listed after %s", len(stored), took)
	other.start("hearth", "up")
	other.says("ready")
	other.has(stored)
	other.run("hearth", "fsck")

	// Both go on: the new machine's own log is complete without the old one's.
	other.signal(syscall.SIGTERM)
	third := w.machine("third", "198.18.4.2")
	third.run("hearth", "restore", "--network", name, "--phrase-file", words)
	third.start("hearth", "up")
	third.says("ready")
	for key := range stored {
		third.has(map[sdk.Name][32]byte{key: stored[key]})
		break
	}

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

// odd names, of which none may be taken for another.
var odd = []string{
	"a b", "a+b", "a%20b", "ä/ö/ü", "日本語.txt", "..", ".", "a//b", "/leading", "trailing/", "a\nb", "quote\"'`", "back\\slash",
	"emoji 🔥", "*?[x]", "-rf", "hearth://x/y", strings.Repeat("long/", 200), "CON", "a\tb", "#fragment?query=1&x=y",
}

// storesMany puts n files of very different sizes and odd names, some several
// times, and returns the hash of each.
func (m *machine) storesMany(n int) map[sdk.Name][32]byte {
	m.w.Helper()
	c := m.client()
	r := rand.New(rand.NewPCG(1, 2))
	sizes := []int{200 << 20, 30 << 20, 12 << 20, 10 << 20}
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
		if i >= n-len(odd) {
			key = odd[i-(n-len(odd))]
		}
		jobs = append(jobs, job{sdk.Name{Bucket: fmt.Sprintf("bucket-%d", i%3), Key: key}, size, uint64(i)})
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
