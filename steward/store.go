package steward

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/storage/index"
)

// A store holds what a steward has promised and done, durably. Keys begin with a
// letter and the account, ended by a zero byte, which no account contains:
//
//	'c' account          the contract
//	's' account slab     a slab's record
//	'a' account seq      an act
type store struct {
	db      *pebble.DB
	full    atomic.Bool // the disk is, or was: the ballast is gone
	ballast ballast
	mu      sync.Mutex // one change at a time; guards what follows
	broken  error      // the records can't be written any more
	// under are acts under way: nobody is told of them yet.
	under map[string]map[uint64]bool
}

// A contract is what is kept of a client.
type contract struct {
	account string
	known   int64  // the number of the newest change of places it told
	acts    uint64 // the number of the newest act
	hired   int64  // unix second
	slabs   int64
}

func openStore(dir string, fs vfs.FS) (*store, error) {
	s := &store{ballast: ballast{fs, dir + "-ballast"}, under: map[string]map[uint64]bool{}}
	o := &pebble.Options{
		FS: vfs.OnDiskFull(fs, func() {
			s.full.Store(true)
			s.ballast.drop() // then it is tried once more
		}), MemTableSize: 4 << 20, Logger: quiet{}, FormatMajorVersion: pebble.FormatNewest,
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open steward's records: %w", err)
	}
	s.db = db
	if err := s.ballast.fill(); err != nil { // what can be read is, meanwhile
		s.full.Store(true)
	}
	b, err := s.get([]byte("format"))
	if err == nil && b == nil {
		err = s.set([]byte("format"), []byte{major})
	} else if err == nil && !bytes.Equal(b, []byte{major}) {
		err = fault.New(fault.UnknownFormat, "open steward's records: format %x, known is %d", b, major)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// A ballast is a file that takes room. When the disk is full Pebble gets it, to come to an
// end with what it has begun, since not everything it does then can be caught; nothing new
// is begun until there is room for it again.
type ballast struct {
	fs   vfs.FS
	path string
}

const ballastSize = 16 << 20

func (b ballast) drop() { _ = b.fs.Remove(b.path) }

// fill takes the room, unless it does already. The content looks like chance: zeros take
// none in a file system that compresses.
func (b ballast) fill() (err error) {
	if info, err := b.fs.Stat(b.path); err == nil && info.Size() == ballastSize {
		return nil
	}
	if u, err := b.fs.GetDiskUsage(b.fs.PathDir(b.path)); err == nil && u.AvailBytes < 2*ballastSize {
		return syscall.ENOSPC
	}
	f, err := b.fs.Create(b.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	chunk, chance := make([]byte, 64<<10), rand.NewChaCha8([32]byte{})
	for n := 0; n < ballastSize && err == nil; n += len(chunk) {
		_, _ = chance.Read(chunk) // never fails
		_, err = f.Write(chunk)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		b.drop()
	}
	return err
}

// quiet keeps the database's chatter out of the log; its errors come as such. A fatal
// one must not return; it ends the write that met it.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func (s *store) close() error {
	if s.broken != nil {
		return nil // else Pebble would wait for itself
	}
	return s.db.Close()
}

// write makes a change durable; the caller holds the lock. While the disk is full nothing
// is. After a write that Pebble can't go on from, what was written is safe and reads go
// on; writes need a restart.
func (s *store) write(b *pebble.Batch) (err error) {
	if s.broken != nil {
		return s.broken
	}
	if s.full.Load() {
		if err := s.ballast.fill(); err != nil {
			return fault.New(fault.DiskFull, "write steward's records: %w", err)
		}
		s.full.Store(false)
	}
	defer func() {
		if r := recover(); r != nil {
			code := fault.DamagedFile
			if s.full.Load() {
				code = fault.DiskFull
			}
			s.broken = fault.New(code, "write steward's records: %v; the node must be started again", r)
			err = s.broken
		}
	}()
	return b.Commit(pebble.Sync)
}

func (s *store) set(k, v []byte) error {
	b := s.db.NewBatch()
	defer b.Close()
	return errors.Join(b.Set(k, v, nil), s.write(b))
}

func key(kind byte, account string, rest ...byte) []byte {
	return append(append(append([]byte{kind}, account...), 0), rest...)
}

func actKey(account string, seq uint64) []byte {
	return key('a', account, binary.BigEndian.AppendUint64(nil, seq)...)
}

func (s *store) get(k []byte) ([]byte, error) {
	b, done, err := s.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read steward's records: %w", err)
	}
	defer done.Close()
	return bytes.Clone(b), nil
}

// each calls f for the keys that begin with prefix, from one on, until f says
// that it has enough.
func (s *store) each(prefix, from []byte, f func(k, v []byte) (more bool, err error)) error {
	end := bytes.Clone(prefix)
	end[len(end)-1]++
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: end})
	if err != nil {
		return fmt.Errorf("read steward's records: %w", err)
	}
	for ok := it.SeekGE(append(bytes.Clone(prefix), from...)); ok; ok = it.Next() {
		more, err := f(it.Key(), it.Value())
		if err != nil || !more {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

func (c contract) encode() []byte {
	return canon.New(major).String(c.account).Int64(c.known).Uint64(c.acts).Int64(c.hired).Int64(c.slabs).Bytes()
}

func parseContract(b []byte) (contract, error) {
	r := canon.Read(b, major)
	c := contract{account: r.String(maxName), known: r.Int64(), acts: r.Uint64(), hired: r.Int64(), slabs: r.Int64()}
	if err := r.Done(); err != nil {
		return c, fault.New(fault.DamagedFile, "read steward's contract: %w", err)
	}
	return c, nil
}

// contracts lists all of them.
func (s *store) contracts() (out []contract, err error) {
	err = s.each([]byte{'c'}, nil, func(_, v []byte) (bool, error) {
		c, err := parseContract(v)
		out = append(out, c)
		return true, err
	})
	return out, err
}

func (s *store) contract(account string) (c contract, found bool, err error) {
	b, err := s.get(key('c', account))
	if err != nil || b == nil {
		return c, false, err
	}
	c, err = parseContract(b)
	return c, true, err
}

func (s *store) hire(account string, now int64) (contract, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, found, err := s.contract(account)
	if err != nil || found {
		return c, or(err, s.broken) // what couldn't be written can be read
	}
	c = contract{account: account, hired: now}
	return c, s.set(key('c', account), c.encode())
}

// dismiss forgets an account and all that was known of it.
func (s *store) dismiss(account string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.db.NewBatch()
	defer b.Close()
	var errs []error
	for _, kind := range []byte{'s', 'a', 'c'} {
		from := key(kind, account)
		end := bytes.Clone(from)
		end[len(end)-1]++
		errs = append(errs, b.DeleteRange(from, end, nil))
	}
	return errors.Join(append(errs, s.write(b))...)
}

// update takes over what a client tells of its slabs, up to number to. A shard
// that was put elsewhere here, and of which the client still tells the old place,
// stays where it was put: the client hasn't heard of it yet.
func (s *store) update(account string, from, to int64, slabs []Slab, most int64) (contract, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, found, err := s.contract(account)
	if err != nil || !found {
		return c, or(err, notHired(account))
	}
	if from != c.known || to < from {
		return c, fault.New(fault.Stale, "placements of %s: they follow number %d, known is %d", account, from, c.known)
	}
	moved, err := s.moved(account)
	if err != nil {
		return c, err
	}
	b := s.db.NewBatch()
	defer b.Close()
	for _, slab := range slabs {
		k := key('s', account, slab.ID[:]...)
		old, err := s.get(k)
		if err != nil {
			return c, err
		}
		if slab.Gone {
			if old != nil {
				c.slabs--
				err = b.Delete(k, nil)
			}
		} else {
			if old == nil {
				c.slabs++
			}
			for i, at := range slab.At {
				if a, ok := moved[shardOf{slab.ID, i}]; ok && a.Old == at {
					slab.At[i] = a.New
				}
			}
			err = b.Set(k, slab.Encode(), nil)
		}
		if err != nil {
			return c, err
		}
	}
	if c.slabs > most {
		return c, fault.New(fault.TooLarge, "placements of %s: %d slabs, at most %d are looked after", account, c.slabs, most)
	}
	c.known = to
	if err := b.Set(key('c', account), c.encode(), nil); err != nil {
		return c, err
	}
	return c, s.write(b)
}

func or(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func notHired(account string) error {
	return fault.New(fault.NotFound, "%s hasn't hired this steward", account)
}

type shardOf struct {
	slab  index.SlabID
	shard int
}

// moved are the shards that were put elsewhere and of which the client hasn't
// heard yet.
func (s *store) moved(account string) (map[shardOf]Act, error) {
	out := make(map[shardOf]Act)
	err := s.each(key('a', account), nil, func(_, v []byte) (bool, error) {
		a, err := DecodeAct(v)
		if err == nil && a.Sure {
			k := shardOf{a.Slab, a.Shard}
			if first, ok := out[k]; ok {
				a.Old = first.Old // what the client knows
			}
			out[k] = a
		}
		return true, err
	})
	return out, err
}

// slab finds one.
func (s *store) slab(account string, id index.SlabID) (Slab, error) {
	b, err := s.get(key('s', account, id[:]...))
	if err != nil {
		return Slab{}, err
	}
	if b == nil {
		return Slab{}, fault.New(fault.NotFound, "there is no slab %s", id)
	}
	return DecodeSlab(b)
}

func (s *store) slabsAfter(account string, after index.SlabID, limit int) (out []index.PlacedSlab, err error) {
	err = s.each(key('s', account), after[:], func(k, v []byte) (bool, error) {
		if bytes.HasSuffix(k, after[:]) && len(k) == len(key('s', account))+len(after) {
			return true, nil
		}
		slab, err := DecodeSlab(v)
		out = append(out, slab.placed())
		return len(out) < limit, err
	})
	return out, err
}

// intend notes durably that a shard is about to be put somewhere.
func (s *store) intend(account string, a Act) (Act, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, found, err := s.contract(account)
	if err != nil || !found {
		return a, or(err, notHired(account))
	}
	c.acts++
	a.Seq, a.Sure = c.acts, false
	b := s.db.NewBatch()
	defer b.Close()
	err = errors.Join(b.Set(key('c', account), c.encode(), nil), b.Set(actKey(account, a.Seq), a.Encode(), nil))
	if err = errors.Join(err, s.write(b)); err == nil {
		if s.under[account] == nil {
			s.under[account] = make(map[uint64]bool)
		}
		s.under[account][a.Seq] = true
	}
	return a, err
}

// failed ends an act that may have come to nothing: it stays as one to be cleaned up.
func (s *store) failed(account string, a Act) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.under[account], a.Seq)
}

// done notes that the new host has signed: the shard lies there now.
func (s *store) done(account string, a Act) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.under[account], a.Seq)
	slab, err := s.slab(account, a.Slab)
	if err != nil {
		return err // the intent stays, as something to be removed
	}
	a.Sure = true
	if slab.At[a.Shard] == a.Old { // else its client has put it elsewhere meanwhile
		slab.At[a.Shard] = a.New
	}
	b := s.db.NewBatch()
	defer b.Close()
	err = errors.Join(
		b.Set(actKey(account, a.Seq), a.Encode(), nil),
		b.Set(key('s', account, a.Slab[:]...), slab.Encode(), nil),
	)
	return errors.Join(err, s.write(b))
}

// report lists acts after a number, and forgets those up to it: the client has
// taken them over.
func (s *store) report(account string, after uint64, limit int) (out []Act, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.db.NewBatch()
	defer b.Close()
	if err := errors.Join(b.DeleteRange(actKey(account, 0), actKey(account, after+1), nil), s.write(b)); err != nil {
		return nil, false, fmt.Errorf("forget acts: %w", err)
	}
	err = s.each(key('a', account), nil, func(_, v []byte) (bool, error) {
		a, err := DecodeAct(v)
		if err != nil || s.under[account][a.Seq] {
			return false, err
		}
		if len(out) == limit {
			more = true
			return false, nil
		}
		out = append(out, a)
		return true, nil
	})
	return out, more, err
}
