package bargain_test

import (
	"flag"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

var histories = flag.Int("histories", 10_000, "how many histories of the bargain are tried")

const (
	workers = 2
	steps   = 80 // of a history, on average
)

// Whatever happens, in whatever order, the laws of the bargain hold after every
// step. A failure prints its seed: -rapid.seed tries it again.
func TestTheBargain(t *testing.T) {
	for name, value := range map[string]int{"rapid.checks": (*histories + workers - 1) / workers, "rapid.steps": steps} {
		was := flag.Lookup(name).Value.String()
		if err := flag.Set(name, strconv.Itoa(value)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := flag.Set(name, was); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("histories", func(t *testing.T) {
		for i := range workers {
			t.Run(strconv.Itoa(i+1), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, history)
			})
		}
	})
}

func history(t *rapid.T) {
	w := newWorld(t)
	t.Repeat(w.actions())
}
