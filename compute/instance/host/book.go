package host

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/core/quote"
	"hearth/internal/durable"
)

const (
	// stagedFor is how long room is kept for a roster that no statement carries yet;
	// who stages another meanwhile keeps room for twice as long at most.
	stagedFor = 2 * time.Minute
	// restFor is how long a lease is kept no room again for which room was kept in vain.
	restFor = 10 * time.Minute
)

// pageMajor is the version of a lease's page; another is refused.
const pageMajor = 1

// A page is a lease's in the book, as its file has it.
type page struct {
	Major  int               `json:"major"`
	Roster []byte            `json:"roster"`           // what a statement covers
	Staged []byte            `json:"staged,omitempty"` // what is to be covered next; nil: nothing
	Until  int64             `json:"until,omitempty"`  // of Staged, unix seconds
	Specs  map[string][]byte `json:"specs"`            // by id, of both rosters
	Gone   []string          `json:"gone,omitempty"`   // instances that are to be destroyed
	Owed   int64             `json:"owed,omitempty"`   // seconds, see debt
	Still  int64             `json:"still,omitempty"`  // since when they stand still, unix seconds; 0: they don't
}

// account is what one lease reserves.
type account struct {
	roster instance.Roster
	staged instance.Roster
	until  time.Time // of staged; zero: nothing is staged
	// promised says that staged is about to be signed: nothing takes its place until it
	// is made, or its time is over. After a crash the newest statement says which.
	promised bool
	signed   bool // staged is, and couldn't be written down as the truth yet
	specs    map[instance.ID]instance.Spec
	gone     []instance.ID
	// What its instances have stood still, and what of that is written down.
	debt, written debt
}

// book is what leases reserve on this machine, durably. It is safe for concurrent use.
type book struct {
	dir string
	now func() time.Time

	mu     sync.Mutex
	leases map[uint64]*account
	kept   map[uint64]kept // by lease
}

// kept is room that is kept for what isn't signed yet.
type kept struct{ since, until time.Time }

// openBook reads what was kept.
func openBook(dir string, now func() time.Time) (*book, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open instances: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open instances: %w", err)
	}
	b := &book{dir: dir, now: now, leases: map[uint64]*account{}, kept: map[uint64]kept{}}
	for _, e := range names {
		number, ok := strings.CutSuffix(e.Name(), ".json")
		lease, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil {
			continue // a write that a crash has cut off
		}
		path := filepath.Join(dir, e.Name())
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("open instances: %w", err)
		}
		if b.leases[lease], err = readPage(content); err != nil {
			return nil, fault.New(fault.DamagedFile, "open instances: %s: %w", path, err)
		}
	}
	return b, nil
}

func readPage(content []byte) (*account, error) {
	var p page
	if err := json.Unmarshal(content, &p); err != nil {
		return nil, err
	}
	if p.Major != pageMajor {
		return nil, fmt.Errorf("version %d, this program reads %d", p.Major, pageMajor)
	}
	a := &account{specs: map[instance.ID]instance.Spec{}, debt: debt{owed: time.Duration(p.Owed) * time.Second}}
	if p.Still != 0 {
		a.debt.since, a.debt.still = time.Unix(p.Still, 0), true
	}
	a.written = a.debt
	var err error
	if a.roster, err = instance.DecodeRoster(p.Roster); err != nil {
		return nil, err
	}
	if p.Staged != nil {
		if a.staged, err = instance.DecodeRoster(p.Staged); err != nil {
			return nil, err
		}
		a.until = time.Unix(p.Until, 0)
	}
	for name, spec := range p.Specs {
		id, err := parseID(name)
		if err != nil {
			return nil, err
		}
		if a.specs[id], err = instance.Decode(spec); err != nil {
			return nil, err
		}
	}
	for _, name := range p.Gone {
		id, err := parseID(name)
		if err != nil {
			return nil, err
		}
		a.gone = append(a.gone, id)
	}
	for _, r := range []instance.Roster{a.roster, a.staged} {
		for _, e := range r {
			if s, ok := a.specs[e.ID]; !ok || s.Digest() != e.Spec {
				return nil, fmt.Errorf("the spec of instance %x is missing or another", e.ID)
			}
		}
	}
	return a, nil
}

func parseID(s string) (id instance.ID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%q is no instance's id", s)
	}
	return instance.ID(b), nil
}

func nameOf(id instance.ID) string { return hex.EncodeToString(id[:]) }

// keep makes a lease's account what it is from now on, once it is durable. The caller
// holds mu.
func (b *book) keep(lease uint64, a account) error {
	path := filepath.Join(b.dir, strconv.FormatUint(lease, 10)+".json")
	if len(a.roster) == 0 && a.until.IsZero() && len(a.gone) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(b.leases, lease)
		return durable.SyncDir(b.dir)
	}
	p := page{Major: pageMajor, Roster: a.roster.Encode(), Specs: map[string][]byte{}}
	if !a.until.IsZero() {
		p.Staged, p.Until = a.staged.Encode(), a.until.Unix()
	}
	specs := map[instance.ID]instance.Spec{}
	for _, r := range []instance.Roster{a.roster, a.staged} {
		for _, e := range r {
			specs[e.ID] = a.specs[e.ID]
			p.Specs[nameOf(e.ID)] = a.specs[e.ID].Encode()
		}
	}
	a.specs = specs
	for _, id := range a.gone {
		p.Gone = append(p.Gone, nameOf(id))
	}
	p.Owed = int64(a.debt.owed.Round(time.Second) / time.Second)
	if a.debt.still {
		p.Still = a.debt.since.Unix()
	}
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := durable.Write(path, content, 0o600); err != nil {
		return err
	}
	a.written = a.debt
	b.leases[lease] = &a
	return nil
}

// of is a copy of a lease's account, without a staging whose time is over. The
// caller holds mu.
func (b *book) of(lease uint64) account {
	have := b.leases[lease]
	if have == nil {
		return account{specs: map[instance.ID]instance.Spec{}}
	}
	a := *have
	a.specs = maps.Clone(a.specs)
	a.gone = slices.Clone(a.gone)
	if !a.until.IsZero() && b.now().After(a.until) && !a.signed {
		a.staged, a.until, a.promised = nil, time.Time{}, false
	}
	return a
}

// reserved is what all leases reserve, staged rosters included. The caller holds mu.
func (b *book) reserved(but uint64) (sum quote.Units) {
	for lease := range b.leases {
		if lease == but {
			continue
		}
		a := b.of(lease)
		now, next := a.roster.Units(), a.staged.Units()
		for d := range sum {
			sum[d] += max(now[d], next[d])
		}
	}
	return sum
}

// stage keeps room for what change makes of a lease's roster, instead of what was
// staged before; fault.Busy while that is being signed. all is what this machine has
// to give.
func (b *book) stage(lease uint64, all quote.Units, change func(instance.Roster) (instance.Roster, *instance.Spec, error)) (_ instance.Roster, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(lease)
	next, spec, err := change(a.roster)
	if err != nil {
		return nil, err
	}
	if err := next.Check(); err != nil {
		return nil, err
	}
	if a.promised {
		if next.Root() == a.staged.Root() {
			return next, nil
		}
		return nil, fault.New(fault.Busy, "reserve machine under lease %d: another change is being signed", lease)
	}
	want, others, now := next.Units(), b.reserved(lease), a.roster.Units()
	until := b.now().Add(stagedFor)
	if grows(now, want) {
		room, err := b.room(lease)
		if err != nil {
			return nil, err
		}
		defer func() {
			if err == nil {
				b.kept[lease] = room
			}
		}()
		until = room.until
	}
	for d, what := range [...]string{"2^30ths of a core", "bytes of memory", "bytes of disk"} {
		if want[d] > now[d] && (others[d] > all[d] || want[d] > all[d]-others[d]) {
			left := all[d] - min(all[d], others[d]+now[d])
			return nil, fault.New(fault.HostFull, "reserve machine: %d more %s are wanted, %d are left", want[d]-now[d], what, left)
		}
	}
	if spec != nil {
		for _, e := range next {
			if e.Spec == spec.Digest() {
				a.specs[e.ID] = *spec
			}
		}
	}
	a.staged, a.until = next, until
	return next, b.keep(lease, a)
}

// room says until when room is kept for what a lease wants to have more. It is refused
// to who has had it for nothing a while ago: else one could keep all of it from others
// and pay for none. The caller holds mu.
func (b *book) room(lease uint64) (kept, error) {
	now := b.now()
	maps.DeleteFunc(b.kept, func(_ uint64, k kept) bool { return now.After(k.until.Add(restFor)) })
	k, there := b.kept[lease]
	if there && now.After(k.until) {
		return kept{}, fault.New(fault.HostRefused, "reserve machine under lease %d: room was kept for it that nobody has signed for; again in %s", lease, k.until.Add(restFor).Sub(now).Round(time.Second))
	}
	if !there {
		k.since = now
	}
	k.until = now.Add(stagedFor)
	if most := k.since.Add(2 * stagedFor); most.Before(k.until) {
		k.until = most
	}
	return k, nil
}

// grows says whether next has more of anything than prev.
func grows(prev, next quote.Units) bool {
	for d := range prev {
		if next[d] > prev[d] {
			return true
		}
	}
	return false
}

// covers says whether a change to this root and these units is staged, or made
// already. From then on it is kept until it is made: who asks is about to sign. Where
// that comes to nothing its time ends.
func (b *book) covers(lease uint64, units quote.Units, root [32]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(lease)
	switch {
	case a.roster.Root() == root && a.roster.Units() == units:
		return nil
	case a.until.IsZero() || a.staged.Root() != root:
		return fault.New(fault.Stale, "reserve machine under lease %d: no staged change leads to the root %x", lease, root[:8])
	case a.staged.Units() != units:
		return fault.New(fault.BadStatement, "reserve machine under lease %d: %v are signed, the instances reserve %v", lease, units, a.staged.Units())
	}
	a.until, a.promised = b.now().Add(stagedFor), true
	return b.keep(lease, a)
}

// commit makes what is staged the truth. To commit again changes nothing. What is in
// it no more is to be destroyed: gone says so until forget.
func (b *book) commit(lease uint64, root [32]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(lease)
	if have := b.leases[lease]; have != nil && a.until.IsZero() && !have.until.IsZero() {
		a.staged, a.until = have.staged, have.until // both have signed: its time doesn't matter
	}
	if a.roster.Root() == root {
		return nil
	}
	if a.until.IsZero() || a.staged.Root() != root {
		return fault.New(fault.DamagedFile, "reserve machine under lease %d: a statement has the root %x, nothing here leads to it", lease, root[:8])
	}
	if grows(a.roster.Units(), a.staged.Units()) {
		delete(b.kept, lease)
	}
	for _, e := range a.roster {
		if _, stays := a.staged.Get(e.ID); !stays {
			a.gone = append(a.gone, e.ID)
		}
	}
	a.roster, a.staged, a.until, a.promised, a.signed = a.staged, nil, time.Time{}, false, false
	err := b.keep(lease, a)
	if have := b.leases[lease]; err != nil && have != nil {
		have.promised, have.signed = true, true
	}
	return err
}

// finish makes the truth what is signed and couldn't be written down, as after a full disk.
func (b *book) finish() error {
	b.mu.Lock()
	roots := map[uint64][32]byte{}
	for lease, a := range b.leases {
		if a.signed {
			roots[lease] = a.staged.Root()
		}
	}
	b.mu.Unlock()
	var err error
	for lease, root := range roots {
		err = errors.Join(err, b.commit(lease, root))
	}
	return err
}

// drop ends all that a lease reserves.
func (b *book) drop(lease uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(lease)
	for _, e := range a.roster {
		a.gone = append(a.gone, e.ID)
	}
	a.roster, a.staged, a.until, a.promised, a.signed = nil, nil, time.Time{}, false, false
	a.debt = debt{}
	return b.keep(lease, a)
}

// forget says that an instance which is gone has been destroyed.
func (b *book) forget(lease uint64, id instance.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.of(lease)
	a.gone = slices.DeleteFunc(a.gone, func(g instance.ID) bool { return g == id })
	return b.keep(lease, a)
}

// find gives a covered instance of a lease.
func (b *book) find(lease uint64, id instance.ID) (instance.Spec, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.leases[lease]; a != nil {
		if _, ok := a.roster.Get(id); ok {
			return a.specs[id], nil
		}
	}
	return instance.Spec{}, fault.New(fault.NoInstance, "instance %x: none such is under lease %d", id, lease)
}

// roster is what a lease's newest statement covers.
func (b *book) roster(lease uint64) instance.Roster {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(lease).roster
}

// all lists the covered instances, and those that are to be destroyed, by lease.
func (b *book) all() (covered, gone map[uint64][]instance.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	covered, gone = map[uint64][]instance.ID{}, map[uint64][]instance.ID{}
	for lease, a := range b.leases {
		for _, e := range a.roster {
			covered[lease] = append(covered[lease], e.ID)
		}
		if len(a.gone) > 0 {
			gone[lease] = slices.Clone(a.gone)
		}
	}
	return covered, gone
}

// free is what is left of all.
func (b *book) free(all quote.Units) (left quote.Units) {
	b.mu.Lock()
	defer b.mu.Unlock()
	used := b.reserved(0)
	for d := range left {
		left[d] = all[d] - min(all[d], used[d])
	}
	return left
}
