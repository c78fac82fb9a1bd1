package replica

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/seal"
)

// A town is hosts and a ledger in memory, and machines with one phrase.
type town struct {
	t      testing.TB
	hosts  []*booth
	ledger []pointer.Signed
	slabs  map[index.SlabID][]byte
	mu     sync.Mutex
	key    ed25519.PrivateKey
	secret [32]byte
	now    time.Time
	broke  bool   // no new slabs are taken
	made   uint64 // slabs
}

// A booth is one host: what it was told last, for each device.
type booth struct {
	at     index.Place
	list   []pointer.Signed
	heads  map[uint64][]byte
	dead   bool // doesn't answer
	frozen bool // takes nothing and shows what it has
	stale  bool // says of every pointer that it has a newer one
	puts   int
}

func newTown(t testing.TB, hosts int) *town {
	w := &town{
		t: t, slabs: map[index.SlabID][]byte{}, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)),
		secret: [32]byte{2}, now: time.Unix(1_800_000_000, 0),
	}
	for i := range hosts {
		w.hosts = append(w.hosts, &booth{at: index.Place{Host: fmt.Sprintf("hearth1host%d", i), Lease: uint64(i + 1)}, heads: map[uint64][]byte{}})
	}
	return w
}

func (w *town) at(p index.Place) *booth { return w.hosts[p.Lease-1] }

// Hosts.

func (w *town) Leased(context.Context) (out []index.Place, err error) {
	for _, h := range w.hosts {
		out = append(out, h.at)
	}
	return out, nil
}

func (w *town) Put(_ context.Context, at index.Place, p pointer.Signed, head []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.at(at)
	if h.dead || h.frozen {
		return fault.New(fault.HostUnreachable, "%s doesn't answer", at.Host)
	}
	if h.stale {
		return fault.New(fault.Stale, "%s claims more", at.Host)
	}
	list, err := pointer.Admit(h.list, p)
	if err != nil {
		return err
	}
	h.list, h.heads[p.Device] = list, head
	h.puts++
	return nil
}

func (w *town) Pointers(_ context.Context, at index.Place) ([]pointer.Signed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.at(at); !h.dead {
		return slices.Clone(h.list), nil
	}
	return nil, fault.New(fault.HostUnreachable, "%s doesn't answer", at.Host)
}

func (w *town) Head(_ context.Context, at index.Place, p pointer.Signed) (pointer.Signed, []byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.at(at)
	for _, have := range h.list {
		if !h.dead && have.Device == p.Device && have.Seq >= p.Seq {
			return have, h.heads[p.Device], nil
		}
	}
	return p, nil, fault.New(fault.Stale, "%s doesn't have it", at.Host)
}

// chain is the town's ledger.
type chain struct{ *town }

func (c chain) Pointers(context.Context) ([]pointer.Signed, error) { return c.ledger, nil }

func (c chain) SetPointer(_ context.Context, p pointer.Signed) (err error) {
	c.ledger, err = pointer.Admit(c.ledger, p)
	return err
}

// A machine is one device: its list, its own slabs, its log.
type machine struct {
	*Log
	w      *town
	device uint64
	dir    string
	list   *list
	kept   map[string][]index.PlacedSlab
}

func (w *town) machine(device uint64) *machine {
	return w.machineIn(device, w.t.TempDir(), newList(device))
}

func (w *town) machineIn(device uint64, dir string, x *list) *machine {
	w.t.Helper()
	m := &machine{w: w, device: device, dir: dir, list: x, kept: map[string][]index.PlacedSlab{}}
	m.open()
	return m
}

// open is a new process.
func (m *machine) open() {
	m.w.t.Helper()
	l, err := Open(m.w.t.Context(), Config{
		ChainID: "net", Account: "anna", Device: m.device, Signer: m.w.key, Key: m.w.secret, Path: filepath.Join(m.dir, "log"),
		Index: m.list, Slabs: m, Hosts: m.w, Ledger: chain{m.w}, Now: func() time.Time { return m.w.now },
	})
	if err != nil {
		m.w.t.Fatal(err)
	}
	m.Log = l
}

func (m *machine) must(err error) {
	m.w.t.Helper()
	if err != nil {
		m.w.t.Fatal(err)
	}
}

func (m *machine) flush() { m.w.t.Helper(); m.must(m.Flush(m.w.t.Context())) }
func (m *machine) merge() { m.w.t.Helper(); m.must(m.Catch(m.w.t.Context())) }

// Slabs.

const cut = 1 << 20

func (m *machine) Keep(_ context.Context, name string, src io.Reader) ([]index.PlacedSlab, error) {
	b, err := io.ReadAll(src)
	if err != nil {
		return nil, err
	}
	if m.w.broke {
		return nil, fault.New(fault.NotEnoughHosts, "nobody takes slabs")
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	var out []index.PlacedSlab
	for len(b) > 0 {
		part := b[:min(cut, len(b))]
		b = b[len(part):]
		s := index.PlacedSlab{Slab: index.Slab{Slab: seal.Slab{
			Class: erasure.Class{K: 3, N: 6}, Size: int64(len(part)), ShardSize: (int64(len(part))/3/64 + 1) * 64, Roots: make([]proof.Hash, 6),
		}}}
		m.w.made++
		binary.BigEndian.PutUint64(s.ID[:], m.w.made)
		for i := range 6 {
			s.At = append(s.At, index.Place{})
			if i < len(m.w.hosts) {
				s.At[i] = m.w.hosts[i].at
			}
		}
		m.w.slabs[s.ID] = slices.Clone(part)
		out = append(out, s)
	}
	for _, s := range m.kept[name] {
		delete(m.w.slabs, s.ID)
	}
	m.kept[name] = out
	return clone(out), nil
}

func clone(list []index.PlacedSlab) []index.PlacedSlab {
	list = slices.Clone(list)
	for i := range list {
		list[i].At = slices.Clone(list[i].At)
	}
	return list
}

func (m *machine) Drop(_ context.Context, name string) error {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for _, s := range m.kept[name] {
		delete(m.w.slabs, s.ID)
	}
	delete(m.kept, name)
	return nil
}

func (m *machine) Names(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(m.kept)), nil
}

func (m *machine) Placed(_ context.Context, id index.SlabID) (*index.PlacedSlab, error) {
	for _, list := range m.kept {
		for i := range list {
			if list[i].ID == id {
				return &list[i], nil
			}
		}
	}
	return nil, fault.New(fault.NotFound, "there is no slab %s", id)
}

func (m *machine) Read(_ context.Context, slabs []index.PlacedSlab, w io.Writer) error {
	for _, s := range slabs {
		m.w.mu.Lock()
		b, ok := m.w.slabs[s.ID]
		m.w.mu.Unlock()
		if !ok {
			return fault.New(fault.NotEnoughShards, "slab %s is gone", s.ID)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// A list is an index of words: the last writer of a key wins.
type list struct {
	mu      sync.Mutex
	device  uint64
	clock   uint64
	seq     int64
	words   map[string]word
	changes []Change
}

type word struct {
	clock, device uint64
	text          string
}

func newList(device uint64) *list { return &list{device: device, words: map[string]word{}} }

func (x *list) set(key, text string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clock++
	x.seq++
	v := word{x.clock, x.device, text}
	x.words[key] = v
	x.changes = append(x.changes, Change{x.seq, encodeWord(key, v)})
}

func (x *list) get(key string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.words[key].text
}

func encodeWord(key string, v word) []byte {
	b := binary.BigEndian.AppendUint64(nil, v.clock)
	b = binary.BigEndian.AppendUint64(b, v.device)
	b = append(b, byte(len(key)))
	return append(append(b, key...), v.text...)
}

func (x *list) Used(context.Context) (bool, error) { return len(x.words) > 0, nil }

func (x *list) Changes(_ context.Context, after int64, limit int) (out []Change, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.changes {
		if c.Seq > after && (limit > 0 || len(out) == 0) {
			out = append(out, c)
			limit -= len(c.Body)
		}
	}
	return out, nil
}

func (x *list) Flushed(_ context.Context, upTo int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes = slices.DeleteFunc(x.changes, func(c Change) bool { return c.Seq <= upTo })
	return nil
}

func (x *list) Apply(_ context.Context, _ uint64, bodies [][]byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, b := range bodies {
		v := word{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), string(b[17+int(b[16]):])}
		key := string(b[17 : 17+int(b[16])])
		x.clock = max(x.clock, v.clock)
		if old := x.words[key]; cmp.Or(cmp.Compare(v.clock, old.clock), cmp.Compare(v.device, old.device)) > 0 {
			x.words[key] = v
		}
	}
	return nil
}

func (x *list) Snapshot(_ context.Context, w io.Writer) (int64, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var bodies [][]byte
	for key, v := range x.words {
		bodies = append(bodies, encodeWord(key, v))
	}
	return x.seq, writeSegment(w, bodies)
}

func (x *list) ApplySnapshot(ctx context.Context, r io.Reader) error {
	return readSegment(r, func(b [][]byte) error { return x.Apply(ctx, 0, b) })
}
