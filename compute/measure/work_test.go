package measure

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"os"
	"testing"
	"time"

	"hearth/compute/wasm"
)

// The test binary is its own worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		if err := wasm.Work(os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// own is the work as Go does it.
func own(x, rounds uint64) (sum uint64) {
	table := make([]uint64, words)
	for range rounds {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		sum = bits.RotateLeft64(sum, 5) ^ (table[x>>3%words] + x)
		if sum&1 == 1 {
			sum += x * sum
		}
		table[x>>3%words] = sum
	}
	return sum
}

func TestTheWorkIsTheSameEverywhere(t *testing.T) {
	e, err := wasm.Open(wasm.Config{Dir: t.TempDir(), Program: []string{os.Args[0], "worker"}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	info, err := e.Add(t.Context(), work())
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range [][2]uint64{{1, 1}, {7, 2}, {0xdeadbeef, 100_000}} {
		r, err := e.Call(t.Context(), info.Digest, wasm.Call{Input: input(in[0], in[1]), Gas: 1 << 40, Deadline: time.Minute})
		if err != nil || r.Fault != "" || len(r.Output) != 8 {
			t.Fatalf("%+v, %v", r, err)
		}
		if got, want := binary.LittleEndian.Uint64(r.Output), own(in[0], in[1]); got != want {
			t.Errorf("%d rounds from %d: %x, want %x", in[1], in[0], got, want)
		}
		if in[1] == 100_000 && r.Gas != 5_089_733 {
			t.Errorf("%d rounds use %d gas", in[1], r.Gas)
		}
	}
	sum := sha256.Sum256(work())
	if got := hex.EncodeToString(sum[:]); got != "fe352f405a6bea0f02fbbac432efa1a87614def9af844ccbf7bab5275cc26f26" {
		t.Errorf("another module: %s", got)
	}
}
