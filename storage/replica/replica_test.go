package replica

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/core/proof"
	"hearth/storage/index"
)

func TestTwoMachinesSeeEachOthersChanges(t *testing.T) {
	w := newTown(t, 6)
	a, b := w.machine(1), w.machine(2)
	a.list.set("x", "of a")
	b.list.set("y", "of b")
	a.flush()
	b.flush()
	a.merge()
	b.merge()
	for _, m := range []*machine{a, b} {
		if m.list.get("x") != "of a" || m.list.get("y") != "of b" {
			t.Errorf("machine %d: %q, %q", m.device, m.list.get("x"), m.list.get("y"))
		}
	}
	b.list.set("x", "of b, later")
	b.flush()
	for range 20 { // it asks a few hosts at a time
		a.must(a.Merge(t.Context()))
	}
	if a.list.get("x") != "of b, later" {
		t.Errorf("x is %q", a.list.get("x"))
	}
	puts := w.hosts[0].puts
	a.flush()
	a.merge()
	if w.hosts[0].puts != puts || len(w.slabs) != 0 {
		t.Errorf("nothing has changed: %d pointers more, %d slabs", w.hosts[0].puts-puts, len(w.slabs))
	}
}

func TestHalfTheHostsReplayingAnOldPointerChangesNothing(t *testing.T) {
	w := newTown(t, 8)
	a := w.machine(1)
	a.list.set("x", "old")
	a.flush()
	for i := range 3 { // as many as a flush can do without
		w.hosts[i].frozen = true
	}
	a.list.set("x", "new")
	a.flush()
	w.hosts[7].dead = true
	b := w.machine(2)
	found, err := b.Restore(t.Context())
	if err != nil || b.list.get("x") != "new" || found.Answered != 7 || len(found.Logs) != 1 {
		t.Errorf("x is %q; %+v, %v", b.list.get("x"), found, err)
	}
	// Those that know better keep silent, half answer with old pointers: the ledger knows.
	a.must(a.Leave(t.Context()))
	for i := 3; i < 7; i++ {
		w.hosts[i].dead = true
	}
	w.hosts[7].dead, w.hosts[7].list = false, w.hosts[0].list
	_, err = w.machine(3).Restore(t.Context())
	if fault.CodeOf(err) != fault.PointerBehind {
		t.Errorf("older than the ledger's: %v", err)
	}
	w.hosts[0].dead = true
	if _, err = w.machine(4).Restore(t.Context()); fault.CodeOf(err) != fault.NotEnoughHosts {
		t.Errorf("less than half: %v", err)
	}
}

// Of two who meet the later one knows what the earlier has, whichever hosts each reaches.
func TestOfTwoWhoMeetTheLaterLearnsOfTheEarlier(t *testing.T) {
	w := newTown(t, 5)
	a, b := w.machine(1), w.machine(2)
	a.list.set("x", "of a")
	w.hosts[0].dead, w.hosts[1].dead = true, true
	a.must(a.Meet(t.Context()))
	b.list.set("y", "of b")
	w.hosts[0].dead, w.hosts[1].dead, w.hosts[3].dead, w.hosts[4].dead = false, false, true, true
	b.must(b.Meet(t.Context()))
	if b.list.get("x") != "of a" {
		t.Errorf("x is %q", b.list.get("x"))
	}
	w.hosts[2].dead = true // it has both
	if err := b.Meet(t.Context()); fault.CodeOf(err) != fault.NotEnoughHosts {
		t.Errorf("less than half: %v", err)
	}
	w.hosts[2].dead = false
	a.must(a.Meet(t.Context()))
	if a.list.get("y") != "of b" {
		t.Errorf("y is %q", a.list.get("y"))
	}
}

func TestAFlushNeedsMoreThanHalfOfTheHosts(t *testing.T) {
	w := newTown(t, 6)
	a := w.machine(1)
	a.list.set("x", "one")
	for i := range 3 {
		w.hosts[i].dead = true
	}
	if err := a.Flush(t.Context()); fault.CodeOf(err) != fault.NotEnoughHosts {
		t.Errorf("half: %v", err)
	}
	if len(a.list.changes) != 1 {
		t.Error("what isn't placed was forgotten")
	}
	a.open() // whatever happens in between
	w.hosts[0].dead = false
	a.flush()
	if len(a.list.changes) != 0 {
		t.Error("what is placed is still listed")
	}
	// Hosts that come back are given what they missed.
	w.hosts[1].dead, w.hosts[2].dead = false, false
	a.must(a.Spread(t.Context()))
	for _, h := range w.hosts {
		if len(h.list) != 1 || h.list[0].Seq != a.s.pointer.Seq {
			t.Errorf("%s has %v", h.at.Host, h.list)
		}
	}
}

func TestTheLogGrowsIntoSegmentsAndSnapshots(t *testing.T) {
	w := newTown(t, 6)
	a := w.machine(1)
	most := 0
	for i := range 600 {
		a.list.set(fmt.Sprintf("key %d", i%150), strings.Repeat(fmt.Sprint(i, " "), 500))
		if i%3 == 0 {
			a.flush()
		}
		if i%100 == 0 {
			a.open()
		}
		plain, err := a.s.head.encode()
		if err != nil || len(plain) > MaxHead {
			t.Fatalf("a head of %d bytes, %v", len(plain), err)
		}
		most = max(most, len(a.s.head.segments))
		if want := len(a.s.head.entries()); len(a.kept) != want {
			t.Fatalf("%d slabs' names are kept, the log has %d", len(a.kept), want)
		}
	}
	a.flush()
	if a.s.head.snapshot == nil || most < 2 || most > maxSegments {
		t.Errorf("snapshot %v, at most %d segments", a.s.head.snapshot != nil, most)
	}
	// A machine that reads along and one that begins now see the same.
	b := w.machine(2)
	b.merge()
	c := w.machine(3)
	if _, err := c.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key := range a.list.words {
		if want := a.list.get(key); b.list.get(key) != want || c.list.get(key) != want {
			t.Fatalf("%s differs", key)
		}
	}
	// One change larger than a head is a segment by itself.
	a.list.set("large", strings.Repeat("x", 3<<20))
	a.flush()
	b.merge()
	if len(b.list.get("large")) != 3<<20 {
		t.Error("the large change is missing")
	}
}

func TestALogWithoutHostsWaits(t *testing.T) {
	w := newTown(t, 0)
	a := w.machine(1)
	a.flush() // nothing to do
	a.list.set("x", "one")
	w.broke = true
	if err := a.Flush(t.Context()); fault.CodeOf(err) != fault.NotEnoughHosts || len(a.list.changes) != 1 {
		t.Errorf("%v", err)
	}
}

func TestAnIndexThatWasNeverLoggedGoesInWhole(t *testing.T) {
	w := newTown(t, 6)
	x := newList(1)
	x.set("x", "before logs were")
	x.changes = nil
	a := w.machineIn(1, t.TempDir(), x)
	a.flush()
	b := w.machine(2)
	if _, err := b.Restore(t.Context()); err != nil || b.list.get("x") != "before logs were" {
		t.Errorf("x is %q, %v", b.list.get("x"), err)
	}
}

func TestARestoredMachineLogsEverythingAnew(t *testing.T) {
	w := newTown(t, 6)
	a := w.machine(1)
	a.list.set("x", strings.Repeat("x", maxTail+1)) // a segment
	a.flush()
	b := w.machine(2)
	if _, err := b.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.list.set("y", "of b")
	b.open()
	b.flush()
	clear(w.slabs) // the first machine is gone, and with it what nobody repairs
	for name, list := range b.kept {
		b.list.mu.Lock()
		_ = name
		for _, s := range list {
			w.slabs[s.ID] = nil
		}
		b.list.mu.Unlock()
	}
	b.s.whole = true
	b.flush()
	c := w.machine(3)
	found, err := c.Restore(t.Context())
	if err != nil || c.list.get("y") != "of b" || len(c.list.get("x")) != maxTail+1 {
		t.Fatalf("%v", err)
	}
	bad := 0
	for _, f := range found.Logs {
		if f.Err != nil {
			bad++
		}
	}
	if len(found.Logs) != 2 || bad != 1 {
		t.Errorf("the first machine's log can't be read and should be said so: %+v", found.Logs)
	}
}

func TestALostStateGoesOnWithTheChain(t *testing.T) {
	w := newTown(t, 6)
	for _, how := range []string{"lost", "damaged"} {
		a := w.machine(uint64(len(how)))
		a.list.set("x", "one")
		a.flush()
		a.list.set("y", "two")
		path := filepath.Join(a.dir, "log")
		err := os.Remove(path)
		if how == "damaged" {
			err = os.WriteFile(path, []byte{stateMajor, 9, 9, 9}, 0o600)
		}
		a.must(err)
		a.open()
		a.merge()
		a.flush()
		if a.s.pointer.Seq < 2 || w.hosts[0].list[len(w.hosts[0].list)-1].Seq != a.s.pointer.Seq {
			t.Errorf("%s: pointer %d", how, a.s.pointer.Seq)
		}
		b := w.machine(99)
		if _, err := b.Restore(t.Context()); err != nil || b.list.get("x") != "one" || b.list.get("y") != "two" {
			t.Errorf("%s: %v", how, err)
		}
	}
	a := w.machine(50)
	a.must(os.WriteFile(filepath.Join(a.dir, "log"), []byte{stateMajor + 1}, 0o600))
	_, err := Open(t.Context(), a.c)
	if fault.CodeOf(err) != fault.UnknownFormat {
		t.Errorf("an unknown format: %v", err)
	}
}

func TestACopiedFolderLosesNothing(t *testing.T) {
	w := newTown(t, 6)
	a, b := w.machine(1), w.machine(1) // one device number twice
	a.list.set("x", "of a")
	a.flush()
	b.list.set("y", "of b")
	if err := b.Flush(t.Context()); fault.CodeOf(err) != fault.Stale {
		t.Errorf("a second log under one number: %v", err)
	}
	b.must(b.Merge(t.Context()))
	b.flush()
	a.list.set("z", "of a")
	if err := a.Flush(t.Context()); fault.CodeOf(err) != fault.Stale {
		t.Errorf("the first goes on: %v", err)
	}
	a.must(a.Merge(t.Context()))
	a.flush()
	c := w.machine(3)
	if _, err := c.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"x": "of a", "y": "of b", "z": "of a"} {
		if c.list.get(key) != want {
			t.Errorf("%s is %q", key, c.list.get(key))
		}
	}
}

func TestALogThatIsBehindNeverOvertakes(t *testing.T) {
	w := newTown(t, 6)
	a, b := w.machine(1), w.machine(1) // one device number twice
	a.list.set("x", "of a")
	a.flush()
	a.list.set("x2", "of a")
	a.flush()
	b.list.set("y", "of b")
	for try := 0; ; try++ {
		err := b.Flush(t.Context())
		if err == nil {
			break
		}
		if fault.CodeOf(err) != fault.Stale || try > 3 {
			t.Fatalf("try %d: %v", try, err)
		}
	}
	c := w.machine(3)
	if _, err := c.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"x": "of a", "x2": "of a", "y": "of b"} {
		if c.list.get(key) != want {
			t.Errorf("%s is %q", key, c.list.get(key))
		}
	}
}

func TestOneHostThatClaimsANewerLogStopsNothing(t *testing.T) {
	w := newTown(t, 5)
	a := w.machine(1)
	w.hosts[2].stale = true
	for i := range 3 {
		a.list.set("x", fmt.Sprint(i))
		a.flush()
	}
	c := w.machine(3)
	if _, err := c.Restore(t.Context()); err != nil || c.list.get("x") != "2" {
		t.Errorf("x is %q, %v", c.list.get("x"), err)
	}
	// While too few answer to know, nothing is written.
	a.behind = true
	for i := range 3 {
		w.hosts[i].dead = true
	}
	seq := a.s.pointer.Seq
	a.list.set("x", "3")
	if err := a.Flush(t.Context()); fault.CodeOf(err) != fault.NotEnoughHosts || a.s.pointer.Seq != seq {
		t.Errorf("pointer %d after %d: %v", a.s.pointer.Seq, seq, err)
	}
	for i := range 3 {
		w.hosts[i].dead = false
	}
	a.flush()
}

func TestTheLedgerIsToldOnceADay(t *testing.T) {
	w := newTown(t, 6)
	a := w.machine(1)
	write := func(text string) uint64 {
		a.list.set("x", text)
		a.flush()
		a.must(a.post(t.Context(), a.c.Post))
		return w.ledger[0].Seq
	}
	first := write("one")
	if got := write("two"); got != first {
		t.Errorf("told again at once: %d", got)
	}
	a.open()
	w.now = w.now.Add(a.c.Post)
	if got := write("three"); got != a.s.pointer.Seq {
		t.Errorf("not told after a day: %d", got)
	}
	w.now = w.now.Add(a.c.Post)
	a.must(a.Leave(t.Context()))
	if len(w.ledger) != 1 || w.ledger[0] != a.s.pointer {
		t.Error("the ledger has another pointer")
	}
}

func TestMovedSlabsAreToldToHosts(t *testing.T) {
	w := newTown(t, 8)
	a := w.machine(1)
	a.list.set("x", strings.Repeat("x", maxTail+1))
	a.flush()
	for _, list := range a.kept {
		list[0].At[0] = w.hosts[7].at // as a repair does
	}
	before := a.s.pointer.Seq
	a.must(a.Spread(t.Context()))
	if a.s.pointer.Seq != before+1 || a.s.head.segments[0].slabs[0].At[0] != w.hosts[7].at {
		t.Errorf("pointer %d", a.s.pointer.Seq)
	}
	a.must(a.Spread(t.Context()))
	if a.s.pointer.Seq != before+1 {
		t.Error("a pointer without a reason")
	}
}

// Whatever was flushed is restored, whichever minority of hosts was deaf at any
// flush, and whichever of half of them is silent at the end.
func TestNothingFlushedIsLost(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const hosts = 7
		w := newTown(t, hosts)
		machines := []*machine{w.machine(1), w.machine(2)}
		flushed := [3]int{}
		wrote := [3]int{}
		for range rapid.IntRange(5, 40).Draw(r, "steps") {
			m := rapid.SampledFrom(machines).Draw(r, "machine")
			switch rapid.IntRange(0, 5).Draw(r, "act") {
			case 0, 1:
				wrote[m.device]++
				m.list.set(fmt.Sprintf("%d", m.device), strings.Repeat("x", rapid.IntRange(1, 9000).Draw(r, "size"))+fmt.Sprintf(" %d", wrote[m.device]))
			case 2:
				deaf := rapid.SliceOfDistinct(rapid.IntRange(0, hosts-1), func(i int) int { return i }).Draw(r, "deaf")
				for i, h := range w.hosts {
					h.frozen = i < len(deaf) && len(deaf) > 0 && contains(deaf, i)
				}
				if m.Flush(t.Context()) == nil {
					flushed[m.device] = wrote[m.device]
				}
			case 3:
				_ = m.Catch(t.Context())
			case 4:
				m.open()
			case 5:
				_ = m.Spread(t.Context())
			}
		}
		silent := rapid.SliceOfNDistinct(rapid.IntRange(0, hosts-1), 0, hosts/2, func(i int) int { return i }).Draw(r, "silent")
		for i, h := range w.hosts {
			h.dead = contains(silent, i)
		}
		c := w.machine(3)
		if _, err := c.Restore(t.Context()); err != nil {
			r.Fatal(err)
		}
		for device := 1; device <= 2; device++ {
			n := 0
			text := c.list.get(fmt.Sprint(device))
			fmt.Sscanf(text[strings.LastIndex(text, " ")+1:], "%d", &n)
			if n < flushed[device] {
				r.Fatalf("device %d flushed %d, restored is %d", device, flushed[device], n)
			}
		}
	})
}

func contains(list []int, i int) bool {
	for _, x := range list {
		if x == i {
			return true
		}
	}
	return false
}

func TestAHeadReadsBack(t *testing.T) {
	h := goldenHead()
	plain, err := h.encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := decodeHead(plain)
	if err != nil || fmt.Sprintf("%+v", again.entries()) == "" || again.end() != h.end() {
		t.Fatal(err)
	}
	sealedHead, err := closeHead([32]byte{1}, h.device, plain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openHead([32]byte{1}, h.device, sealedHead); err != nil {
		t.Error(err)
	}
	if strings.Contains(string(sealedHead), "hearth1") {
		t.Error("a sealed head shows a name")
	}
	if _, err := openHead([32]byte{2}, h.device, sealedHead); fault.CodeOf(err) != fault.BadSignature {
		t.Errorf("another key: %v", err)
	}
	if _, err := openHead([32]byte{1}, h.device+1, sealedHead); fault.CodeOf(err) != fault.BadSignature {
		t.Errorf("another device: %v", err)
	}
	sealedHead[0]++
	if _, err := openHead([32]byte{1}, h.device, sealedHead); fault.CodeOf(err) != fault.UnknownFormat {
		t.Errorf("another major: %v", err)
	}
	plain[0]++
	if _, err := decodeHead(plain); fault.CodeOf(err) != fault.UnknownFormat {
		t.Errorf("another major inside: %v", err)
	}
}

func goldenHead() *head {
	slab := func(id byte, size int64) index.PlacedSlab {
		s := index.PlacedSlab{At: []index.Place{{Host: "hearth1a", Lease: 7}, {}, {Host: "hearth1b", Lease: 9}}}
		s.ID = index.SlabID{id}
		s.Class.K, s.Class.N, s.Size, s.ShardSize = 2, 3, size, 64
		s.Roots = make([]proof.Hash, 3)
		return s
	}
	return &head{
		device: 42, snapshot: &entry{to: 5, made: 3, size: 100, sum: pointer.Hash{1}, slabs: []index.PlacedSlab{slab(1, 100)}},
		covers: []mark{{43, 9}}, segments: []entry{{from: 5, to: 8, made: 4, size: 90, sum: pointer.Hash{2}, slabs: []index.PlacedSlab{slab(2, 90)}}},
		from: 8, tail: [][]byte{[]byte("one"), []byte("two")},
	}
}
