package market

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

var signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func recordOf(lease, seq uint64) Record {
	s := statement.Statement{ChainID: "hearth-test", Lease: lease, Seq: seq, Total: money.Amount(seq * 10), Units: quote.Units{seq}}
	signed := s.SignClient(signer)
	return Record{Newest: signed, Agreed: signed.SignHost(signer), Rent: money.Amount(seq), Use: quote.Use{In: seq << 20, Out: seq << 10, Gas: seq << 30}}
}

func openAt(t testing.TB, path string) *journal {
	t.Helper()
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.close() })
	return j
}

func add(t testing.TB, j *journal, lease, seq uint64) {
	t.Helper()
	if err := j.append(lease, recordOf(lease, seq)); err != nil {
		t.Fatal(err)
	}
}

func wantSeq(t testing.TB, j *journal, lease, seq uint64) {
	t.Helper()
	if got := j.get(lease); seq == 0 && got.Newest.Seq != 0 || seq > 0 && !reflect.DeepEqual(got, recordOf(lease, seq)) {
		t.Fatalf("lease %d: record %+v, want number %d", lease, got, seq)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestJournalKeepsTheNewestOfEachLease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := openAt(t, path)
	for seq := range uint64(5) {
		add(t, j, 1, seq+1)
		add(t, j, 2, seq+10)
	}
	add(t, j, 3, 1)
	if err := j.forget(3); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		if err := j.append(1, recordOf(1, 99)); err == nil {
			t.Fatal("a closed journal takes nothing")
		}
		j = openAt(t, path)
		wantSeq(t, j, 1, 5)
		wantSeq(t, j, 2, 14)
		wantSeq(t, j, 3, 0)
	}
}

func TestJournalNeverGoesBack(t *testing.T) {
	j := openAt(t, filepath.Join(t.TempDir(), "j"))
	add(t, j, 1, 5)
	if err := j.append(1, recordOf(1, 4)); fault.CodeOf(err) != fault.Stale {
		t.Fatal(err)
	}
	add(t, j, 1, 5) // the same number: other counts of traffic
	wantSeq(t, j, 1, 5)
}

// crashed copies the file as it is now, as if the power had gone.
func crashed(t testing.TB, path string) []byte {
	t.Helper()
	return bytes.Clone(read(t, path))
}

func TestJournalCutsATornEndAtEveryByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := openAt(t, path)
	add(t, j, 1, 1)
	add(t, j, 2, 1)
	before := len(crashed(t, path))
	add(t, j, 1, 2)
	whole := crashed(t, path)
	for end := before; end <= len(whole); end++ {
		for _, rest := range [][]byte{nil, make([]byte, len(whole)-end)} { // cut short, or zeros where nothing was written
			b := append(bytes.Clone(whole[:end]), rest...)
			want := uint64(1)
			if bytes.Equal(b, whole) {
				want = 2
			}
			all, err := readJournal(b)
			if err != nil || all[1].Newest.Seq != want || all[2].Newest.Seq != 1 {
				t.Fatalf("torn at byte %d of %d: %v", end, len(whole), err)
			}
			if end%211 > 0 {
				continue
			}
			write(t, path+".copy", b)
			c := openAt(t, path+".copy")
			add(t, c, 1, 2)
			again := openAt(t, path+".copy")
			wantSeq(t, again, 1, 2)
			wantSeq(t, again, 2, 1)
		}
	}
}

func TestJournalReportsDamageAndKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := openAt(t, path)
	add(t, j, 1, 1)
	if err := j.close(); err != nil { // all of it is whole now
		t.Fatal(err)
	}
	j = openAt(t, path)
	sealed := len(crashed(t, path))
	add(t, j, 2, 1)
	middle := len(crashed(t, path))
	add(t, j, 3, 1)
	whole := crashed(t, path)
	for at := range middle {
		b := bytes.Clone(whole)
		b[at] ^= 1 << (at % 8)
		// The last frame that was known to be whole may even be the last one there is.
		for _, end := range []int{len(whole), sealed} {
			if at < end {
				damaged(t, b[:end], at%211 == 0)
			}
		}
	}
	for end := 1; end < sealed; end++ { // it had been whole beyond that
		damaged(t, whole[:end], end%211 == 0)
	}
}

func damaged(t *testing.T, b []byte, onDisk bool) {
	t.Helper()
	if _, err := readJournal(b); err == nil {
		t.Fatalf("%d bytes with damage were read", len(b))
	}
	if !onDisk {
		return
	}
	path := filepath.Join(t.TempDir(), "j")
	write(t, path, b)
	if _, err := openJournal(path); fault.CodeOf(err) != fault.DamagedFile {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, path), b) {
		t.Fatal("the damaged file was changed")
	}
}

func TestJournalGivesOneFsyncToAllThatWait(t *testing.T) {
	j := openAt(t, filepath.Join(t.TempDir(), "j"))
	f := &failing{disk: j.f, hold: make(chan struct{})}
	j.f = f
	var wg sync.WaitGroup
	put := func(lease uint64) {
		wg.Go(func() {
			if err := j.append(lease, recordOf(lease, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	put(0)
	until(t, "the first is being written", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.syncs == 1 })
	for lease := range uint64(99) {
		put(lease + 1)
	}
	until(t, "the others wait", func() bool { j.mu.Lock(); defer j.mu.Unlock(); return len(j.queue) == 99 })
	close(f.hold)
	wg.Wait()
	if f.syncs != 2 {
		t.Errorf("%d fsyncs for one record and 99 that waited together", f.syncs)
	}
}

// until waits for something that happens in another goroutine.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came true that %s", what)
		}
	}
}

// A file that has grown far beyond what its records need is written anew.
func TestJournalThrowsGarbageAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := openAt(t, path)
	seq := uint64(0)
	for range 12 { // about 6 MB
		var batch []*entry
		for range 1000 {
			seq++
			batch = append(batch, &entry{lease: seq % 3, rec: recordOf(seq%3, seq), done: make(chan error, 1)})
		}
		if err := j.put(batch...); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(read(t, path)); n > journalSlack+1<<20 {
		t.Errorf("%d bytes for three records", n)
	}
	write(t, path+".copy", crashed(t, path))
	wantSeq(t, openAt(t, path+".copy"), seq%3, seq)
}

// older is a record as it was before there was gas.
func older(r Record, lease uint64) []byte {
	b := r.encode(lease)
	b[0] = beforeGas
	gas := len(b) - 8 - 1 - 8 // it stands before the flag and the refund
	return append(b[:gas:gas], b[gas+8:]...)
}

func TestJournalsOfTheOlderFormOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	want := map[uint64]Record{}
	var records [][]byte
	for lease := range uint64(3) {
		r := recordOf(lease, lease+1)
		r.Gas, r.Ended, r.Refund = 0, lease == 2, money.Amount(lease)
		want[lease] = r
		records = append(records, older(r, lease))
	}
	file, _ := newJournal(append(records, gone(1)))
	delete(want, 1)
	write(t, path, file)
	for range 2 { // written anew by the first
		j := openAt(t, path)
		if !reflect.DeepEqual(j.all, want) {
			t.Fatalf("read as %+v, want %+v", j.all, want)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := decodeRecord(append([]byte{recordMajor + 1}, records[0][1:]...)); fault.CodeOf(err) != fault.UnknownFormat {
		t.Error(err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(recordOf(1, 2).encode(1))
	f.Add(Record{}.encode(9))
	f.Add(gone(7))
	f.Add(older(recordOf(1, 2), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		lease, r, err := decodeRecord(b)
		again := r.encode(lease)
		if err == nil && b[0] == beforeGas {
			again = older(r, lease)
		}
		if err == nil && !bytes.Equal(again, b) {
			t.Error("two encodings of one record")
		}
	})
}

func FuzzReadJournal(f *testing.F) {
	file, salt := newJournal([][]byte{recordOf(1, 1).encode(1), gone(2)})
	f.Add(file)
	f.Add(appendFrame(file, salt, [][]byte{recordOf(2, 1).encode(2)}))
	f.Add([]byte(journalMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := readJournal(b)
		if err != nil && fault.CodeOf(err) == fault.Internal {
			t.Error(err)
		}
		if err != nil && all != nil {
			t.Error("records of a damaged file")
		}
	})
}
