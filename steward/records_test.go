package steward

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
)

func sample() Slab {
	return Slab{
		ID: index.SlabID{1, 2, 3}, Class: erasure.Class{K: 1, N: 3}, ShardSize: 4096, MaskKey: [32]byte{9},
		Roots: []proof.Hash{{1}, {2}, {3}}, At: []index.Place{{Host: "hearth1a", Lease: 7}, {}, {Host: "hearth1b", Lease: 8}},
	}
}

func sampleAct() Act {
	return Act{
		Seq: 5, Slab: index.SlabID{1, 2, 3}, Shard: 2, Old: index.Place{Host: "hearth1b", Lease: 8}, New: index.Place{Host: "hearth1c", Lease: 9},
		Root: proof.Hash{3}, Size: 4096, At: 1_800_000_000, Sure: true,
	}
}

// golden are the bytes that docs/formats/placement.md shows.
func golden(t *testing.T) map[string][]byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", "formats", "testdata", "placement.txt"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for line := range strings.Lines(string(b)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if out[name], err = hex.DecodeString(text); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func slip() Slip {
	return Slip{ChainID: "hearth-00", Account: "hearth1a", Steward: [32]byte{1}, Peer: [32]byte{2}, Until: 1_800_000_000}
}

func TestRecordsAreTheBytesThatAreWrittenDown(t *testing.T) {
	want := golden(t)
	for name, got := range map[string][]byte{
		"slab": sample().Encode(), "gone": Slab{ID: index.SlabID{1, 2, 3}, Gone: true}.Encode(), "act": sampleAct().Encode(),
		"slip": slip().Sign(ed25519.NewKeyFromSeed(make([]byte, 32))),
	} {
		if !bytes.Equal(got, want[name]) {
			t.Errorf("%s is\n%x\nwant\n%x", name, got, want[name])
		}
	}
	s, err := DecodeSlab(want["slab"])
	if err != nil || !reflect.DeepEqual(s, sample()) {
		t.Errorf("%+v, %v", s, err)
	}
	a, err := DecodeAct(want["act"])
	if err != nil || a != sampleAct() {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestRecordsOfAnotherFormatAreRefused(t *testing.T) {
	for name, b := range map[string][]byte{"slab": sample().Encode(), "act": sampleAct().Encode()} {
		decode := func(b []byte) error {
			if name == "slab" {
				_, err := DecodeSlab(b)
				return err
			}
			_, err := DecodeAct(b)
			return err
		}
		later := bytes.Clone(b)
		later[0] = 2
		if err := decode(later); fault.CodeOf(err) != fault.UnknownFormat {
			t.Errorf("a later %s: %v", name, err)
		}
		for i := range b {
			if decode(b[:i]) == nil {
				t.Errorf("a %s cut to %d bytes is read", name, i)
			}
		}
		if decode(append(bytes.Clone(b), 0)) == nil {
			t.Errorf("a %s with a byte too many is read", name)
		}
	}
}

func FuzzDecodeSlab(f *testing.F) {
	f.Add(sample().Encode())
	f.Add(Slab{ID: index.SlabID{4}, Gone: true}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSlab(b)
		if err == nil && !bytes.Equal(s.Encode(), b) {
			t.Errorf("%x is read and written as %x", b, s.Encode())
		}
	})
}

func FuzzDecodeAct(f *testing.F) {
	f.Add(sampleAct().Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAct(b)
		if err == nil && !bytes.Equal(a.Encode(), b) {
			t.Errorf("%x is read and written as %x", b, a.Encode())
		}
	})
}

func TestASlipIsGoodForOnePeerOneStewardAndAWhile(t *testing.T) {
	key := newKey(t)
	pub := key.Public().(ed25519.PublicKey)
	sig := slip().Sign(key)
	now := slip().Until - 100
	if err := slip().Verify(pub, sig, now); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Slip){
		"another account": func(s *Slip) { s.Account = "hearth1b" }, "another steward": func(s *Slip) { s.Steward[0]++ },
		"another peer": func(s *Slip) { s.Peer[0]++ }, "another network": func(s *Slip) { s.ChainID += "1" }, "longer": func(s *Slip) { s.Until++ },
	} {
		s := slip()
		change(&s)
		if err := s.Verify(pub, sig, now); fault.CodeOf(err) != fault.BadSignature {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, at := range map[string]int64{"later": slip().Until + 1000, "long before": slip().Until - 2*SlipTime} {
		if err := slip().Verify(pub, sig, at); fault.CodeOf(err) != fault.Unauthorized {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Its records are one of many things of a node. The disk has room for what is begun, or
// not even that.
func TestAFullDiskEndsNoSteward(t *testing.T) {
	for name, hard := range map[string]bool{"with room for what is begun": false, "with none": true} {
		t.Run(name, func(t *testing.T) {
			var full atomic.Bool
			fs := vfs.NewCrashableMem()
			failing := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if !full.Load() || op.Kind != errorfs.OpFileWrite && op.Kind != errorfs.OpFileSyncData {
					return nil
				}
				if _, err := fs.Stat("/s-ballast"); !hard && err != nil && !strings.HasSuffix(op.Path, "-ballast") {
					return nil
				}
				return syscall.ENOSPC
			}))
			s, err := openStore("/s", failing)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.hire("anna", 100); err != nil {
				t.Fatal(err)
			}
			full.Store(true)
			_, err = s.hire("bert", 100)
			if (err != nil) != hard || hard && fault.CodeOf(err) != fault.DiskFull {
				t.Errorf("%v", err)
			}
			for range 2 {
				if _, err := s.hire("cora", 100); fault.CodeOf(err) != fault.DiskFull {
					t.Errorf("%v", err)
				}
				if _, _, err := s.report("anna", 0, 10); fault.CodeOf(err) != fault.DiskFull {
					t.Errorf("%v", err)
				}
				if c, found, err := s.contract("anna"); !found || err != nil {
					t.Errorf("%+v, %v", c, err)
				}
			}
			full.Store(false)
			want := []string{"anna"}
			if !hard { // it goes on by itself
				if _, err := s.hire("cora", 100); err != nil {
					t.Error(err)
				}
				want = []string{"anna", "bert", "cora"}
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			again, err := openStore("/s", fs.CrashClone(vfs.CrashCloneCfg{}))
			if err != nil {
				t.Fatal(err)
			}
			defer again.close()
			list, err := again.contracts()
			var got []string
			for _, c := range list {
				got = append(got, c.account)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%v, %v; want %v", got, err, want)
			}
		})
	}
}

func TestWhatAStewardRemembers(t *testing.T) {
	fs := vfs.NewMem()
	open := func() *store {
		t.Helper()
		s, err := openStore("/s", fs)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	slab := sample()
	update := func(from, to int64, slabs ...Slab) (int64, error) {
		c, err := s.update("anna", from, to, slabs, 2)
		return c.known, err
	}
	if _, err := update(0, 1, slab); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("not hired: %v", err)
	}
	if _, err := s.hire("anna", 100); err != nil {
		t.Fatal(err)
	}
	if known, err := update(0, 7, slab); known != 7 || err != nil {
		t.Fatalf("%d, %v", known, err)
	}
	if known, err := update(3, 9, slab); known != 7 || fault.CodeOf(err) != fault.Stale {
		t.Errorf("%d, %v", known, err)
	}
	// A shard is put elsewhere; the client tells the old place once more.
	act, err := s.intend("anna", Act{Slab: slab.ID, Shard: 0, Old: slab.At[0], New: index.Place{Host: "x", Lease: 50}, Root: slab.Roots[0], Size: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if list, _, _ := s.report("anna", 0, 10); len(list) != 0 {
		t.Error("it tells of what is under way")
	}
	if err := s.done("anna", act); err != nil {
		t.Fatal(err)
	}
	if _, err := update(7, 8, sample()); err != nil {
		t.Fatal(err)
	}
	check := func(host string) {
		t.Helper()
		got, err := s.slab("anna", slab.ID)
		if err != nil || got.At[0].Host != host {
			t.Errorf("shard 0 lies at %v, %v; want %s", got.At, err, host)
		}
	}
	check("x")
	// What the client has changed itself counts.
	other := sample()
	other.At[0] = index.Place{Host: "y", Lease: 51}
	if _, err := update(8, 9, other); err != nil {
		t.Fatal(err)
	}
	check("y")
	if _, err := s.intend("anna", act); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.close()
	list, more, err := s.report("anna", 0, 10)
	if err != nil || more || len(list) != 2 || !list[0].Sure || list[1].Sure {
		t.Errorf("after a crash: %+v, %v", list, err)
	}
	if list, _, _ = s.report("anna", 1, 10); len(list) != 1 || list[0].Seq != 2 {
		t.Errorf("after 1: %+v", list)
	}
	// Settled acts hold nothing back any more.
	if _, err := update(9, 10, sample()); err != nil {
		t.Fatal(err)
	}
	check("hearth1a")
	// What the client has put elsewhere while its steward did stays where the client has it.
	late, err := s.intend("anna", Act{Slab: slab.ID, Shard: 0, Old: index.Place{Host: "gone", Lease: 52}, New: index.Place{Host: "z", Lease: 53}, Root: slab.Roots[0], Size: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.done("anna", late); err != nil {
		t.Fatal(err)
	}
	check("hearth1a")
	two, three := sample(), sample()
	two.ID[0], three.ID[0] = 2, 3
	if _, err := update(10, 11, two, three); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("more slabs than allowed: %v", err)
	}
	if _, err := update(10, 11, Slab{ID: slab.ID, Gone: true}, two, three); err != nil {
		t.Errorf("one gone, two come: %v", err)
	}
	var seen []byte
	for after := (index.SlabID{}); ; {
		list, err := s.slabsAfter("anna", after, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		after = list[0].ID
		seen = append(seen, after[0])
	}
	if string(seen) != "\x02\x03" {
		t.Errorf("slabs %v", seen)
	}
	if err := s.dismiss("anna"); err != nil {
		t.Fatal(err)
	}
	if list, err := s.contracts(); err != nil || len(list) != 0 {
		t.Errorf("after the end: %v, %v", list, err)
	}
}
