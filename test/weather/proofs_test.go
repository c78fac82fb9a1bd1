package weather

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"hearth/core/erasure"
)

// Hosts that hold what they are paid for prove it, period for period. One that has
// dropped half of it is caught by the draws alone, while no client and no steward
// looks for what is missing: the period isn't paid, its owner is told why, and what
// was stored reads back from the others. After all that, whoever tells of a host's
// figures tells the same.
func TestAHostThatDropsHalfIsCaughtAndUnpaid(t *testing.T) {
	t.Parallel()
	w := start(t, 5, erasure.Class{K: 2, N: 4})
	w.stewards(t, 0)
	files := map[string][]byte{}
	for i := range 6 {
		key := fmt.Sprintf("file-%d", i)
		files[key] = content(uint64(100+i), 8*mib)
		w.put(t, key, files[key])
	}
	victim := -1
	soon(t, patient, "prove what is stored", func() error {
		for i := range w.Hosts {
			h, err := w.host(i)
			if err != nil {
				return err
			}
			if h.Used > 0 && h.Proofs < 1 {
				return fmt.Errorf("%s has proven %d periods, missed %d: %s %s", w.Hosts[i].Name, h.Proofs, h.Misses, h.Proof, h.ProofCause)
			}
			if h.Used >= 16*mib {
				victim = i
			}
		}
		return nil
	})
	if victim < 0 {
		t.Fatal("no host has a few shards")
	}
	w.Client.Stop(patient) // it would find and replace what is missing before a draw does
	before, err := w.host(victim)
	if err != nil {
		t.Fatal(err)
	}
	if n := wreck(t, w.Hosts[victim].Dir); n < 2 {
		t.Fatalf("only %d shards were dropped", n)
	}
	soon(t, patient, "catch the host", func() error {
		h, err := w.host(victim)
		if err != nil {
			return err
		}
		if h.Misses <= before.Misses || h.ProofCause == "" {
			return fmt.Errorf("%d periods proven, %d missed, cause %q", h.Proofs, h.Misses, h.ProofCause)
		}
		return nil
	})
	caught, err := w.host(victim)
	if err != nil {
		t.Fatal(err)
	}
	soon(t, patient, "pay the others on", func() error {
		for i := range w.Hosts {
			h, err := w.host(i)
			if err != nil {
				return err
			}
			if i != victim && h.Used > 0 && h.Proofs <= caught.Proofs {
				return fmt.Errorf("%s has proven %d periods, the other one %d: %s", w.Hosts[i].Name, h.Proofs, caught.Proofs, h.ProofCause)
			}
		}
		return nil
	})
	w.run(t, w.Client)
	for key, b := range files {
		w.mustRead(t, key, b)
	}
	w.Client.Stop(patient) // what is signed meanwhile would change the figures
	w.agree(t, victim)
	w.agree(t, (victim+1)%len(w.Hosts))
}

// wreck overwrites every second shard in the volumes of a host that runs, and
// says how many.
func wreck(t *testing.T, dir string) (dropped int) {
	t.Helper()
	const page = 4096
	volumes, err := filepath.Glob(filepath.Join(dir, "data", "shards", "volumes", "*.volume"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range volumes {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		for off := page; off+2*page <= len(b); off += page {
			if string(b[off:off+8]) != "HRTHSHRD" {
				continue
			}
			if seen++; seen%2 == 0 {
				continue
			}
			size := int(binary.BigEndian.Uint64(b[off+40:]))
			if _, err := f.WriteAt(make([]byte, size), int64(off+page)); err != nil {
				t.Fatal(err)
			}
			dropped++
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dropped
}
