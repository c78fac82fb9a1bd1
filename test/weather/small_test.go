package weather

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/sdk"
)

// Small objects that were acknowledged from the journal survive a node that is
// killed while writers go on and others are being packed; and a node that ends in
// good order has brought them to hosts.
func TestSmallObjectsOutliveANodeThatIsKilled(t *testing.T) {
	t.Parallel()
	w := start(t, 5, twoOfFour)
	if _, err := w.api.MakeBucket(within(t, patient), bucket); err != nil {
		t.Fatal(err)
	}
	small := func(i int) (string, []byte) {
		return fmt.Sprintf("small-%d", i), content(uint64(5000+i), 4<<10+i*7919%(60<<10))
	}
	var mu sync.Mutex
	acknowledged := map[int]bool{}
	next := 0
	for round, kill := range []bool{true, true, false} {
		var writers sync.WaitGroup
		enough := make(chan struct{})
		for range 8 {
			writers.Go(func() {
				for {
					mu.Lock()
					i := next
					next++
					mu.Unlock()
					key, b := small(i)
					o, err := w.api.Put(within(t, patient), bucket, key, bytes.NewReader(b), int64(len(b)), sdk.PutOptions{NoWait: true})
					if err != nil {
						return // the node is gone
					}
					if o.Size != int64(len(b)) {
						t.Errorf("%s: %+v", key, o)
					}
					mu.Lock()
					acknowledged[i] = true
					if len(acknowledged) == 200*(round+1) {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		select {
		case <-enough:
		case <-within(t, patient).Done():
			t.Fatal("nothing is acknowledged")
		}
		if kill {
			w.Client.Kill()
		} else {
			w.Client.Stop(30 * time.Second)
		}
		writers.Wait()
		w.run(t, w.Client)
	}
	if len(acknowledged) < 600 {
		t.Fatalf("%d objects were acknowledged", len(acknowledged))
	}
	for i := range next {
		key, b := small(i)
		if acknowledged[i] {
			w.mustRead(t, key, b)
		} else if w.listed(t, key) {
			w.mustRead(t, key, b) // it was stored, and the answer got lost
		}
	}
	soon(t, patient, "bring everything to hosts", func() error {
		for i := range next {
			key, _ := small(i)
			if o, err := w.api.Stat(within(t, patient), bucket, key); err == nil && o.Pending > 0 || err != nil && fault.CodeOf(err) != fault.NotFound {
				return fmt.Errorf("%s: %d shards pending: %w", key, o.Pending, err)
			}
		}
		return nil
	})
	soon(t, patient, "empty the journal", func() error {
		names, err := os.ReadDir(filepath.Join(w.Client.Dir, "data", "journal"))
		for _, n := range names {
			if info, e := n.Info(); err == nil && e == nil && info.Size() > 1<<20 {
				return fmt.Errorf("%s has %d bytes", n.Name(), info.Size())
			}
		}
		return err
	})
	for i := range acknowledged {
		key, b := small(i)
		w.mustRead(t, key, b)
	}
}
