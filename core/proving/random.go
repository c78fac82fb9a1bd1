package proving

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/proof"
)

// Hash is a SHA-256.
type Hash = [32]byte

const (
	beaconLabel = "hearth/beacon/1"
	slotLabel   = "hearth/slot/1"
	seedLabel   = "hearth/draw/1"
	numberLabel = "hearth/number/1"
)

func digest(label string, parts ...[]byte) Hash {
	h := sha256.New()
	h.Write([]byte(label))
	for _, p := range parts {
		h.Write(p)
	}
	return Hash(h.Sum(nil))
}

// Mix is the beacon after a block.
func Mix(r Hash, block []byte) Hash { return digest(beaconLabel, r[:], block) }

// Beacon is the ledger's randomness: it goes on with every block.
type Beacon struct {
	R      Hash
	Start  Hash  // R at the first block of Period
	Period int64 // of the newest block, 0 before the first
	Marked int64 // slots of Period that have their R
}

// Block takes a block's time and hash in, before the block's transactions. The
// slots from `from` up to, not including, `to` take R as theirs: those that have
// begun since the block before. Most blocks have none, and never more than
// Slots. What other slots have kept from the period before is void.
func (b Beacon) Block(now int64, hash []byte, p Params) (after Beacon, from, to int64) {
	b.R = Mix(b.R, hash)
	period := p.At(now)
	if period == 0 {
		return b, 0, 0
	}
	if period != b.Period {
		b.Period, b.Start, b.Marked = period, b.R, 0
	}
	from = b.Marked
	b.Marked = max(b.Marked, p.begun(now))
	return b, from, b.Marked
}

// Slot is the slot of a host in a period, start being R at the period's first block.
func Slot(host string, period int64, start Hash, slots int64) int64 {
	w := (&canon.Writer{}).String(host).Int64(period).Fixed(start[:])
	return int64(below(digest(slotLabel, w.Bytes()), "slot", 0, uint64(slots)))
}

// Seed is where all draws of a host in one period come from.
type Seed Hash

// SeedOf is the seed of a host's draws, r being R at its slot.
func SeedOf(host string, period int64, r Hash) Seed {
	w := (&canon.Writer{}).String(host).Int64(period).Fixed(r[:])
	return Seed(digest(seedLabel, w.Bytes()))
}

// Rate is the i-th draw among the host's leases: a number below the total of
// their rates, which Fenwick.Find turns into a lease. total is not 0.
func (s Seed) Rate(i int, total uint64) uint64 { return below(Hash(s), "rate", i, total) }

// Leaf is the i-th draw among the drawn lease's leaves. leaves is not 0.
func (s Seed) Leaf(i int, leaves uint64) uint64 { return below(Hash(s), "leaf", i, leaves) }

// below is a number below n, each equally likely: numbers of the last, broken
// run of n below 2^64 are drawn again.
func below(seed Hash, what string, i int, n uint64) uint64 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(i))
	broken := (math.MaxUint64%n + 1) % n
	for try := uint64(0); ; try++ {
		binary.BigEndian.PutUint64(b[8:], try)
		h := digest(numberLabel, seed[:], []byte(what), b[:])
		if x := binary.BigEndian.Uint64(h[:]); x <= math.MaxUint64-broken {
			return x % n
		}
	}
}

// Verify checks the answer to the i-th draw, in a lease with this root. A lease
// without leaves has nothing to show but that; a zero root not even that.
func (s Seed) Verify(i int, root proof.Hash, a proof.Answer) error {
	return verify(root, a, func(leaves uint64) uint64 { return s.Leaf(i, leaves) })
}

func verify(root proof.Hash, a proof.Answer, leaf func(leaves uint64) uint64) error {
	if root == (proof.Hash{}) {
		return nil
	}
	_, leaves, err := a.Path.Verify(root)
	if err != nil {
		return fault.New(fault.CodeOf(err), "verify answer: path to the lease's root: %w", err)
	}
	if leaves == 0 {
		return nil
	}
	n := leaf(leaves)
	if err := a.Verify(root, leaves, n); err != nil {
		return fault.New(fault.CodeOf(err), "verify answer: leaf %d of %d: %w", n, leaves, err)
	}
	return nil
}
