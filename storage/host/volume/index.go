package volume

import (
	"errors"
	"fmt"

	"hearth/core/fault"
	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2"
)

func get(r pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.DamagedFile, "read index: %w", err)
	}
	own := append([]byte{}, v...)
	return own, closer.Close()
}

func each(r pebble.Reader, prefix []byte, fn func(key, value []byte) error) error {
	return eachAfter(r, prefix, prefix, func(key, value []byte) (bool, error) { return true, fn(key, value) })
}

// eachAfter begins at a key of the prefix, and ends when fn says so.
func eachAfter(r pebble.Reader, prefix, first []byte, fn func(key, value []byte) (more bool, err error)) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: after(prefix)})
	if err != nil {
		return fault.New(fault.DamagedFile, "read index: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		more, err := fn(it.Key(), it.Value())
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if !more {
			break
		}
	}
	if err := it.Close(); err != nil {
		return fault.New(fault.DamagedFile, "read index: %w", err)
	}
	return nil
}

// after is the first key behind all keys of a prefix; nil: there is none.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

func lookup(r pebble.Reader, root proof.Hash) (Entry, bool, error) {
	b, err := get(r, shardKey(root))
	if err != nil || b == nil {
		return Entry{}, false, err
	}
	e, err := parseEntry(root, b)
	if err != nil {
		return Entry{}, false, fault.New(fault.DamagedFile, "read index: shard %x: %w", root[:8], err)
	}
	return e, true, nil
}

// Get reads a key of the index; nil means that it isn't there.
func (s *Store) Get(key []byte) ([]byte, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	return get(s.index, key)
}

// Each calls fn with every key of the prefix, in order, until fn returns an error.
func (s *Store) Each(prefix []byte, fn func(key, value []byte) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return each(s.index, prefix, fn)
}

// Lookup finds a shard; fault.NotFound when it isn't there.
func (s *Store) Lookup(root proof.Hash) (Entry, error) {
	if err := s.enter(); err != nil {
		return Entry{}, err
	}
	defer s.leave()
	e, ok, err := lookup(s.index, root)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "no shard %x here", root[:8])
	}
	if err != nil {
		return Entry{}, fmt.Errorf("look up shard: %w", err)
	}
	return e, nil
}

// quiet is Pebble's logger: its chatter is dropped. A fatal error must not
// return; it ends the write that met it (see Store.write).
type quiet struct{ log func(string, ...any) }

func (q quiet) Infof(string, ...any) {}

func (q quiet) Errorf(format string, args ...any) { q.log(fmt.Sprintf(format, args...)) }

func (q quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
