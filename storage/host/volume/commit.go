package volume

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2"
)

// An op is one transaction that waits for the committer: its data first, then
// its changes of the index.
type op struct {
	v    *volume // whose data must be durable first; may be nil
	do   func(*Tx) error
	done chan error
}

// Tx is one transaction on the index. Transactions run one after another, so
// that what one decides on still holds when it is written. It reads what the
// ones before have written, not its own writes; when its function returns an
// error, nothing of it is written.
type Tx struct {
	s      *Store
	batch  *pebble.Batch
	writes []write
	freed  []place
	gained []Entry
	lost   []Entry
	after  []func()
}

type write struct{ key, value []byte } // value nil: delete

// Get reads a key; nil means that it isn't there. The caller owns the value.
func (tx *Tx) Get(key []byte) ([]byte, error) { return get(tx.batch, key) }

// Each calls fn with every key of the prefix, in order, until fn returns an
// error. Key and value are valid during the call only.
func (tx *Tx) Each(prefix []byte, fn func(key, value []byte) error) error {
	return each(tx.batch, prefix, fn)
}

// Set writes a key when the transaction ends. The store takes both slices over.
func (tx *Tx) Set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	tx.writes = append(tx.writes, write{key, value})
}

// Then has do called once the transaction is durable. It must not wait.
func (tx *Tx) Then(do func()) { tx.after = append(tx.after, do) }

// Delete removes a key when the transaction ends.
func (tx *Tx) Delete(key []byte) { tx.writes = append(tx.writes, write{key, nil}) }

// Lookup finds a shard.
func (tx *Tx) Lookup(root proof.Hash) (Entry, bool, error) { return lookup(tx.batch, root) }

// Free removes a shard; its room is given back once that is durable. A shard
// that isn't there is no error.
func (tx *Tx) Free(root proof.Hash) error {
	e, ok, err := tx.Lookup(root)
	if err != nil || !ok {
		return err
	}
	tx.Delete(shardKey(root))
	tx.lose(e)
	return nil
}

// lose notes that an entry goes; its room is given back by settle.
func (tx *Tx) lose(e Entry) {
	tx.lost = append(tx.lost, e)
	if p, ok := tx.s.placeOf(e); ok {
		tx.freed = append(tx.freed, p)
	}
}

func (tx *Tx) put(e Entry) {
	tx.Set(shardKey(e.Root), e.encode())
	tx.gained = append(tx.gained, e)
}

// placeOf finds the volume of an entry.
func (s *Store) placeOf(e Entry) (place, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.volumes[e.volume]
	return place{v, e.off, footprint(e.Size)}, ok
}

// Apply runs a transaction and returns when it is durable. One that writes
// nothing returns when everything it has read is.
func (s *Store) Apply(do func(*Tx) error) error { return s.apply(nil, do) }

func (s *Store) apply(v *volume, do func(*Tx) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	o := &op{v, do, make(chan error, 1)}
	s.ops <- o // the committer runs until everyone has left
	return <-o.done
}

const maxGroup = 256

// commit is the committer: it gives one sync to everything that waits.
func (s *Store) commit() {
	defer s.committer.Done()
	for {
		var group []*op
		select {
		case o := <-s.ops:
			group = append(group, o)
		case <-s.quit:
			return
		}
		for more := true; more && len(group) < maxGroup; {
			select {
			case o := <-s.ops:
				group = append(group, o)
			default:
				more = false
			}
		}
		s.commitGroup(group)
	}
}

func (s *Store) commitGroup(group []*op) {
	start := time.Now()
	results := make([]error, len(group))
	for v, err := range s.syncVolumes(group) {
		for i, o := range group {
			if o.v == v {
				results[i] = err
			}
		}
	}
	txs, err := s.write(group, results)
	for i := range group {
		if err != nil && results[i] == nil {
			results[i] = err
		}
	}
	if err == nil {
		for _, tx := range txs {
			s.settle(tx)
		}
	}
	if s.c.Synced != nil {
		s.c.Synced.Observe(time.Since(start).Seconds())
	}
	for i, o := range group {
		o.done <- results[i]
	}
}

// syncVolumes makes the group's data durable; it returns what failed. After a
// failed sync the kernel may have dropped the data and call the next one a
// success, so nothing is written to that volume again.
func (s *Store) syncVolumes(group []*op) map[*volume]error {
	seen := map[*volume]error{}
	for _, o := range group {
		if o.v == nil {
			continue
		}
		if _, ok := seen[o.v]; ok {
			continue
		}
		err := o.v.sync()
		if err != nil {
			err = full(fmt.Errorf("sync %s: %w", o.v.path, err))
			s.c.Log.Error("volume is sealed", "err", err)
			s.mu.Lock()
			o.v.sealed = true
			s.mu.Unlock()
		}
		seen[o.v] = err
	}
	return seen
}

// write runs the group's transactions and commits what they wrote in one batch.
func (s *Store) write(group []*op, results []error) (txs []*Tx, err error) {
	if b := s.broken.Load(); b != nil {
		return nil, *b
	}
	defer func() {
		if r := recover(); r != nil {
			// Pebble can't go on after it. What was acknowledged is safe, reads go
			// on; writes need a restart, and room where that was missing.
			code := fault.DamagedFile
			if s.ballast.gone.Load() {
				code = fault.DiskFull
			}
			err = fault.New(code, "write index: %v", r)
			s.broken.Store(&err)
			s.c.Log.Error("index can't be written any more; restart", "err", err, "stack", string(debug.Stack()))
		}
	}()
	batch := s.index.NewIndexedBatch()
	for i, o := range group {
		if results[i] != nil {
			continue
		}
		tx := &Tx{s: s, batch: batch}
		if results[i] = o.do(tx); results[i] != nil {
			continue
		}
		for _, w := range tx.writes {
			if w.value == nil {
				err = batch.Delete(w.key, nil)
			} else {
				err = batch.Set(w.key, w.value, nil)
			}
			if err != nil {
				return nil, errors.Join(fmt.Errorf("write index: %w", err), batch.Close())
			}
		}
		txs = append(txs, tx)
	}
	if batch.Empty() {
		return txs, batch.Close()
	}
	if err = batch.Commit(pebble.Sync); err != nil {
		return nil, full(fmt.Errorf("write index: %w", err))
	}
	return txs, batch.Close()
}

// settle counts what a durable transaction has changed and gives room back.
func (s *Store) settle(tx *Tx) {
	s.mu.Lock()
	for _, e := range tx.gained {
		s.stored += e.Size
		s.shards++
	}
	for _, e := range tx.lost {
		s.stored -= e.Size
		s.shards--
		if e.Damaged {
			s.bad--
		}
	}
	s.mu.Unlock()
	for _, do := range tx.after {
		do()
	}
	for _, p := range tx.freed {
		s.release(p)
	}
}
