package instance

import (
	"bytes"
	"math/bits"
	"slices"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/quote"
)

// MaxRoster is how many instances one lease has at most.
const MaxRoster = 64

const rosterLabel = "hearth/roster/1"

// ID names an instance; who makes it draws it.
type ID [16]byte

// An Entry is an instance in its lease's roster. A stopped one reserves its disk only.
type Entry struct {
	ID    ID
	Spec  [32]byte // its digest
	Units quote.Units
}

// A Roster is what a lease reserves, in the order of the ids. It is a value: what
// changes it gives another.
type Roster []Entry

// Check refuses a roster that no statement can stand for.
func (r Roster) Check() error {
	if len(r) > MaxRoster {
		return fault.New(fault.TooLarge, "roster: %d instances, a lease has at most %d", len(r), MaxRoster)
	}
	for i, e := range r {
		if i > 0 && bytes.Compare(r[i-1].ID[:], e.ID[:]) >= 0 {
			return fault.New(fault.BadRequest, "roster: instance %x is out of order or there twice", e.ID)
		}
	}
	var sum quote.Units
	for _, e := range r {
		for d, u := range e.Units {
			var carry uint64
			if sum[d], carry = bits.Add64(sum[d], u, 0); carry > 0 {
				return fault.New(fault.BadRequest, "roster: what it reserves can't be counted")
			}
		}
	}
	return nil
}

// Units is what all of them reserve. r is checked.
func (r Roster) Units() (sum quote.Units) {
	for _, e := range r {
		for d, u := range e.Units {
			sum[d] += u
		}
	}
	return sum
}

// With is r with e, in the place of what had its id.
func (r Roster) With(e Entry) Roster {
	at, found := slices.BinarySearchFunc(r, e.ID, byID)
	if found {
		next := slices.Clone(r)
		next[at] = e
		return next
	}
	return slices.Insert(slices.Clone(r), at, e)
}

// Without is r without an instance.
func (r Roster) Without(id ID) Roster {
	at, found := slices.BinarySearchFunc(r, id, byID)
	if !found {
		return r
	}
	return slices.Delete(slices.Clone(r), at, at+1)
}

// Get finds an instance.
func (r Roster) Get(id ID) (Entry, bool) {
	at, found := slices.BinarySearchFunc(r, id, byID)
	if !found {
		return Entry{}, false
	}
	return r[at], true
}

func byID(e Entry, id ID) int { return bytes.Compare(e.ID[:], id[:]) }

// Root is what a statement says of it: SHA-256("hearth/roster/1" || canonical
// bytes), and zero where nothing is reserved.
func (r Roster) Root() (root [32]byte) {
	if len(r) == 0 {
		return root
	}
	return canon.Digest(rosterLabel, r.Encode())
}

// Encode gives the canonical bytes.
func (r Roster) Encode() []byte {
	w := canon.New(major).Uint64(uint64(len(r)))
	for _, e := range r {
		w.Fixed(e.ID[:]).Fixed(e.Spec[:])
		for _, u := range e.Units {
			w.Uint64(u)
		}
	}
	return w.Bytes()
}

// DecodeRoster reads Encode's bytes, and checks them.
func DecodeRoster(b []byte) (Roster, error) {
	r := canon.Read(b, major)
	n := r.Uint64()
	if n > MaxRoster {
		return nil, fault.New(fault.TooLarge, "read roster: %d instances, a lease has at most %d", n, MaxRoster)
	}
	var out Roster
	for range n {
		var e Entry
		r.Fixed(e.ID[:])
		r.Fixed(e.Spec[:])
		for d := range e.Units {
			e.Units[d] = r.Uint64()
		}
		out = append(out, e)
	}
	if err := r.Done(); err != nil {
		return nil, fault.New(fault.CodeOf(err), "read roster: %w", err)
	}
	return out, out.Check()
}
