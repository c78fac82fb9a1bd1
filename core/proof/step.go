package proof

import (
	"hearth/core/canon"
	"hearth/core/fault"
)

// StepMajor is the format of a step on the wire; MaxStep bounds its length.
const (
	StepMajor = 1
	MaxStep   = 1 + 1 + 1 + 8 + 2*40 + 8 + MaxHeight*40
)

const (
	stepGrow = 1 << iota
	stepFrom
	stepTo
)

// Step is one slot of a lease's tree that changes its shard: From leaves (or the
// slot was empty), To comes (or the slot is emptied). The siblings, from the
// bottom up, are those of the slot before and after.
//
// A step that grows the tree doubles its slots: it fills the first slot of the
// new half, and its last sibling is the top of the old tree.
type Step struct {
	Slot     uint64
	From, To Shard
	Grow     bool
	Siblings []Node
}

// check refuses what no honest tree gives.
func (s Step) check() error {
	h := len(s.Siblings)
	bad := h > MaxHeight || s.Slot>>h != 0 || s.From == s.To ||
		(s.From != Shard{} && !s.From.valid()) || (s.To != Shard{} && !s.To.valid())
	for _, n := range s.Siblings {
		bad = bad || !n.valid()
	}
	if s.Grow && !bad {
		bad = h == 0 || s.Slot != 1<<(h-1) || s.From != Shard{}
		for i := 0; i < h-1 && !bad; i++ {
			bad = s.Siblings[i] != Node{}
		}
	}
	if bad {
		return fault.New(fault.BadStatement, "follow slot %d: the step has the wrong shape", s.Slot)
	}
	return nil
}

// after is the root after the step, once it is shown to start at root.
func (s Step) after(root Hash) (Hash, error) {
	if err := s.check(); err != nil {
		return Hash{}, err
	}
	path := Path{Slot: s.Slot, Siblings: s.Siblings}
	var before Hash
	if h := len(s.Siblings); s.Grow {
		before = seal(h-1, s.Siblings[h-1])
	} else {
		before, _ = path.climb(s.From.node())
	}
	if before != root {
		return Hash{}, fault.New(fault.BadStatement, "follow slot %d: the step doesn't start at the lease's root", s.Slot)
	}
	next, _ := path.climb(s.To.node())
	return next, nil
}

// Follow is how one who knows only the root of a lease computes the root after
// some steps. Each must start where the one before ended.
func Follow(root Hash, steps []Step) (Hash, error) {
	var err error
	for _, s := range steps {
		if root, err = s.after(root); err != nil {
			return Hash{}, err
		}
	}
	return root, nil
}

// FollowExactly is Follow for a client that asked for a change: it refuses steps
// that don't add and remove exactly these shards. grown is by how many bytes the
// lease has grown; the sizes of removed shards are those the old root binds.
func FollowExactly(root Hash, steps []Step, add []Shard, remove []Hash) (next Hash, grown int64, err error) {
	if next, err = Follow(root, steps); err != nil {
		return Hash{}, 0, err
	}
	in := make(map[Shard]int, len(add))
	for _, s := range add {
		in[s]++
	}
	out := make(map[Hash]int, len(remove))
	for _, r := range remove {
		out[r]++
	}
	added, removed := 0, 0
	for _, s := range steps {
		grown += s.To.Size - s.From.Size
		if s.To != (Shard{}) {
			in[s.To]--
			added++
			if in[s.To] < 0 {
				return Hash{}, 0, fault.New(fault.BadStatement, "follow slot %d: shard %x comes unasked", s.Slot, s.To.Root[:8])
			}
		}
		if s.From != (Shard{}) {
			out[s.From.Root]--
			removed++
			if out[s.From.Root] < 0 {
				return Hash{}, 0, fault.New(fault.BadStatement, "follow slot %d: shard %x leaves unasked", s.Slot, s.From.Root[:8])
			}
		}
	}
	if added != len(add) || removed != len(remove) {
		return Hash{}, 0, fault.New(fault.BadStatement, "follow change: %d of %d shards come, %d of %d leave", added, len(add), removed, len(remove))
	}
	return next, grown, nil
}

// Encode gives the one encoding of a step that was staged. Empty siblings cost a bit.
func (s Step) Encode() []byte {
	var flags uint8
	if s.Grow {
		flags |= stepGrow
	}
	if s.From != (Shard{}) {
		flags |= stepFrom
	}
	if s.To != (Shard{}) {
		flags |= stepTo
	}
	w := canon.New(StepMajor).Uint8(flags).Uint8(uint8(len(s.Siblings))).Uint64(s.Slot)
	for _, shard := range []Shard{s.From, s.To} {
		if shard != (Shard{}) {
			w.Int64(shard.Size).Fixed(shard.Root[:])
		}
	}
	var mask uint64
	for i, n := range s.Siblings {
		if n != (Node{}) {
			mask |= 1 << i
		}
	}
	w.Uint64(mask)
	for _, n := range s.Siblings {
		if n != (Node{}) {
			w.Uint64(n.Leaves).Fixed(n.Hash[:])
		}
	}
	return w.Bytes()
}

// DecodeStep reads a step and refuses one of a shape that no tree gives.
func DecodeStep(b []byte) (Step, error) {
	if len(b) > MaxStep {
		return Step{}, fault.New(fault.TooLarge, "decode step: %d bytes, at most %d are allowed", len(b), MaxStep)
	}
	r := canon.Read(b, StepMajor)
	flags, h := r.Uint8(), int(r.Uint8())
	s := Step{Slot: r.Uint64(), Grow: flags&stepGrow != 0}
	if flags&stepFrom != 0 {
		s.From.Size = r.Int64()
		r.Fixed(s.From.Root[:])
	}
	if flags&stepTo != 0 {
		s.To.Size = r.Int64()
		r.Fixed(s.To.Root[:])
	}
	mask := r.Uint64()
	if h > MaxHeight || mask>>h != 0 || flags>>3 != 0 {
		return Step{}, fault.New(fault.BadFrame, "decode step: height %d, siblings %x, flags %x don't fit", h, mask, flags)
	}
	s.Siblings = make([]Node, h)
	for i := range s.Siblings {
		if mask>>i&1 == 1 {
			s.Siblings[i].Leaves = r.Uint64()
			r.Fixed(s.Siblings[i].Hash[:])
			if s.Siblings[i] == (Node{}) {
				return Step{}, fault.New(fault.BadFrame, "decode step: an empty sibling is spelled out")
			}
		}
	}
	if err := r.Done(); err != nil {
		return Step{}, fault.New(fault.CodeOf(err), "decode step: %w", err)
	}
	if (flags&stepFrom != 0) != (s.From != Shard{}) || (flags&stepTo != 0) != (s.To != Shard{}) {
		return Step{}, fault.New(fault.BadFrame, "decode step: an empty shard is spelled out")
	}
	return s, s.check()
}

// DecodeSteps reads the steps of one change, at most MaxSteps.
func DecodeSteps(list [][]byte) ([]Step, error) {
	if len(list) > MaxSteps {
		return nil, fault.New(fault.TooLarge, "decode steps: %d, at most %d are allowed", len(list), MaxSteps)
	}
	steps := make([]Step, len(list))
	for i, b := range list {
		var err error
		if steps[i], err = DecodeStep(b); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

// EncodeSteps is the wire form of the change's steps.
func (c *Change) EncodeSteps() [][]byte {
	list := make([][]byte, len(c.Steps))
	for i, s := range c.Steps {
		list[i] = s.Encode()
	}
	return list
}
