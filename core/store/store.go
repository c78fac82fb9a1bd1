// Package store holds the small key-value store of a function: what it keeps from
// one call to the next. A store is a value: the same keys and values are the same
// canonical bytes, so a call can name the store that it begins with and an outcome
// the one that it leaves. It keeps nothing anywhere.
package store

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"hearth/core/canon"
	"hearth/core/fault"
)

// Limits of a store.
const (
	MaxSize  = 1 << 20            // as Size counts
	MaxKey   = 256                // bytes; a key has one at least
	MaxValue = 64 << 10           // bytes
	MaxBytes = MaxSize + Overhead // of the canonical form
	Overhead = 1 + 8              // bytes of the canonical form that Size doesn't count
)

const (
	major = 1
	label = "hearth/store/1"
	entry = 4 + 4 // bytes of the canonical form beside a key and its value
)

// A Store is keys in the order of their bytes, and values. The zero Store is empty and
// has no room. It isn't safe for concurrent use.
type Store struct {
	items []item
	size  int
	most  int
}

type item struct {
	key   string
	value []byte
}

// New gives an empty store that may become so large, as Size counts.
func New(most int) *Store { return &Store{most: most} }

// A Status is what became of a Set.
type Status uint32

// What becomes of a Set.
const (
	Done    Status = iota
	Full           // there is no room; nothing has changed
	Refused        // the key isn't one, or the value is too large; nothing has changed
)

// IsKey says whether a store can have this key: text in UTF-8 of 1 to MaxKey bytes.
func IsKey(key string) bool { return key != "" && len(key) <= MaxKey && utf8.ValidString(key) }

// Size is the bytes of all keys and values, and 8 for each.
func (s *Store) Size() int { return s.size }

// Len is how many keys there are.
func (s *Store) Len() int { return len(s.items) }

func (s *Store) find(key string) (at int, found bool) {
	return slices.BinarySearchFunc(s.items, key, func(i item, key string) int { return strings.Compare(i.key, key) })
}

// Get gives the value of a key. It stays the store's, until the next change.
func (s *Store) Get(key string) (value []byte, ok bool) {
	if i, found := s.find(key); found {
		return s.items[i].value, true
	}
	return nil, false
}

// Has says whether there is a key.
func (s *Store) Has(key string) bool {
	_, ok := s.find(key)
	return ok
}

// Set gives a key a value, in the place of what it has. The value is copied.
func (s *Store) Set(key string, value []byte) Status {
	if !IsKey(key) || len(value) > MaxValue {
		return Refused
	}
	i, found := s.find(key)
	more := len(value)
	if found {
		more -= len(s.items[i].value)
	} else {
		more += entry + len(key)
	}
	if s.size+more > s.most {
		return Full
	}
	if !found {
		s.items = slices.Insert(s.items, i, item{key: key})
	}
	s.items[i].value = bytes.Clone(value) // of a longer one nothing stays
	s.size += more
	return Done
}

// Delete removes a key, and says whether it was there.
func (s *Store) Delete(key string) bool {
	i, found := s.find(key)
	if found {
		s.size -= entry + len(key) + len(s.items[i].value)
		s.items = slices.Delete(s.items, i, i+1)
	}
	return found
}

// Next gives the first key behind after, in the order of their bytes, that begins
// with prefix. No key is before the first one of all, "".
func (s *Store) Next(prefix, after string) (key string, ok bool) {
	i, found := s.find(max(prefix, after))
	if found && after >= prefix {
		i++
	}
	if i == len(s.items) || !strings.HasPrefix(s.items[i].key, prefix) {
		return "", false
	}
	return s.items[i].key, true
}

// Encode gives the canonical bytes.
func (s *Store) Encode() []byte {
	w := canon.New(major).Uint64(uint64(len(s.items)))
	for _, i := range s.items {
		w.String(i.key).Blob(i.value)
	}
	return w.Bytes()
}

// Decode reads what Encode has written, and nothing else. The store may become as
// large as most, and is no larger.
func Decode(b []byte, most int) (*Store, error) {
	bad := func(format string, args ...any) (*Store, error) {
		return nil, fault.New(fault.BadFrame, "read a function's store: "+format, args...)
	}
	if len(b) > most+Overhead {
		return nil, fault.New(fault.TooLarge, "read a function's store: %d bytes, at most %d are allowed", len(b), most+Overhead)
	}
	r := canon.Read(b, major)
	count := r.Uint64()
	if count > uint64(len(b)/entry) {
		return bad("%d keys in %d bytes", count, len(b))
	}
	s := &Store{items: make([]item, 0, count), size: max(0, len(b)-Overhead), most: most}
	for n := range count {
		i := item{key: r.String(MaxKey), value: r.Blob(MaxValue)}
		switch {
		case !IsKey(i.key): // also where the bytes have ended
			return bad("key %d isn't one", n)
		case n > 0 && i.key <= s.items[n-1].key:
			return bad("key %d isn't behind the one before", n)
		}
		s.items = append(s.items, i)
	}
	if err := r.Done(); err != nil {
		return nil, fault.New(fault.CodeOf(err), "read a function's store: %w", err)
	}
	return s, nil
}

// Digest names canonical bytes of a store: SHA-256("hearth/store/1" || bytes).
func Digest(b []byte) [32]byte { return canon.Digest(label, b) }
