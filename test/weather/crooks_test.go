package weather

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/reedsolomon"

	"hearth/api"
	"hearth/core/erasure"
	"hearth/core/proof"
	"hearth/node"
	"hearth/sdk"
)

// An edit is what a crook's program has in the place of a line of the real one.
type edit struct{ was, is string }

// crook builds the program of a host that takes shards, proves them and tells who
// asks that it holds them, and gives none of them out: CROOK says whether it refuses
// or lets its readers wait. What is built is the program itself but for that.
func crook(t *testing.T) (program string) {
	t.Helper()
	return crooked(t, "storage/host/server.go",
		edit{"\t\"log/slog\"\n", "\t\"log/slog\"\n\t\"os\"\n"},
		edit{"\tswitch ask := r.Ask.(type) {\n", `	if r.GetGet() != nil || r.GetRange() != nil {
		if os.Getenv("CROOK") == "wait" {
			<-v.ctx.Done()
			return v.ctx.Err()
		}
		return v.refused(&r, fault.New(fault.Unpaid, "you have paid for nothing"))
	}
` + "\tswitch ask := r.Ask.(type) {\n"})
}

// crooked builds the node with one source file changed, and the command line beside it.
func crooked(t *testing.T, file string, edits ...edit) (program string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		if bytes.Count(source, []byte(e.was)) != 1 {
			t.Fatalf("%s doesn't hold %q once: the crook has to be written anew", path, e.was)
		}
		source = bytes.Replace(source, []byte(e.was), []byte(e.is), 1)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{changed: source, overlay: text} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-overlay", overlay, "-trimpath", "-ldflags=-s -w", "-o", dir, "hearth/cmd/hearth", "hearth/cmd/hearth-node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build a crook: %v\n%s", err, out)
	}
	return filepath.Join(dir, "hearth-node")
}

// turns has a host go on as a crook, until the test ends, and gives what it says then.
func (w *world) turns(t *testing.T, i int, program, how string) (h api.Host) {
	t.Helper()
	p := w.Hosts[i]
	p.Stop(10 * time.Second)
	log, err := os.OpenFile(filepath.Join(p.Dir, "log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := exec.Command(program, "--dir", p.Dir, "up")
	c.Env = append(os.Environ(), "CROOK="+how)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()
	})
	soon(t, patient, "start as a crook", func() error {
		h, err = w.host(i)
		return err
	})
	return h
}

// A keptShard is one that a host keeps: its bytes lie at off of a volume.
type keptShard struct {
	path string
	off  int64
	b    []byte
}

// shardOf finds a shard in the volumes of a host.
func shardOf(t *testing.T, dir string, root []byte) keptShard {
	t.Helper()
	const page = 4096
	volumes, err := filepath.Glob(filepath.Join(dir, "data", "shards", "volumes", "*.volume"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range volumes {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for off := page; off+2*page <= len(b); off += page {
			if string(b[off:off+8]) != "HRTHSHRD" || !bytes.Equal(b[off+48:off+80], root) {
				continue
			}
			size := int(binary.BigEndian.Uint64(b[off+40:]))
			return keptShard{path, int64(off + page), b[off+page : off+page+size]}
		}
	}
	t.Fatalf("no volume of %s holds the shard %x", dir, root)
	return keptShard{}
}

// becomes puts other bytes in a shard's place.
func (k keptShard) becomes(t *testing.T, b []byte) {
	t.Helper()
	f, err := os.OpenFile(k.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, k.off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// number gives the number of the host of an account.
func (w *world) number(t *testing.T, account string) int {
	t.Helper()
	for i := range w.Hosts {
		if w.account(t, i) == account {
			return i
		}
	}
	t.Fatalf("%s is none of the hosts", account)
	return 0
}

// only is the one slab of an object.
func (w *world) only(t *testing.T, key string) []api.ShardHealth {
	t.Helper()
	h, err := w.api.Health(within(t, patient), bucket, key)
	if err != nil || len(h.Slabs) != 1 {
		t.Fatalf("%+v, %v", h, err)
	}
	return h.Slabs[0].Shards
}

// proven waits until hosts have proven so many periods more than they had.
func (w *world) proven(t *testing.T, more int64, had map[int]int64, hosts ...int) {
	t.Helper()
	soon(t, patient, "prove what is stored", func() error {
		for _, i := range hosts {
			h, err := w.host(i)
			if err != nil {
				return err
			}
			if h.Proofs < had[i]+more {
				return fmt.Errorf("%s has proven %d periods, it had %d: %s %s", w.Hosts[i].Name, h.Proofs, had[i], h.Proof, h.ProofCause)
			}
		}
		return nil
	})
}

// informed waits until the steward knows of all slabs.
func (w *world) informed(t *testing.T) {
	t.Helper()
	soon(t, patient, "tell the steward everything", func() error {
		s, err := w.api.Stewards(within(t, patient))
		if err == nil && (len(s.Stewards) == 0 || s.Care.Slabs == 0 || s.Stewards[0].Slabs < int64(s.Care.Slabs)) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
}

// stewards has the client hire so many by itself, and none that it has hired stays.
func (w *world) stewards(t *testing.T, n int) {
	t.Helper()
	soon(t, patient, "dismiss stewards", func() error {
		s, err := w.api.Stewards(within(t, patient))
		for _, one := range s.Stewards {
			err = errors.Join(err, w.api.DismissSteward(within(t, patient), one.Host))
		}
		return err
	})
	w.Client.Stop(10 * time.Second)
	s, err := node.LoadSettings(w.Client.Dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Client.Stewards = n
	if err := s.Save(w.Client.Dir); err != nil {
		t.Fatal(err)
	}
	w.run(t, w.Client)
}

// Twelve hosts. Two prove what they hold and give none of it out: the owner finds
// it, leaves them and doesn't hire them again, though the ledger has nothing against
// them. Then all the others turn out to be one man's, who keeps as few shards of a
// slab as give back the rest of it, while the owner is away: he can't make what he
// dropped, the ledger catches him, and the steward brings back what is missing, also
// what lies with one that serves nobody.
func TestCrooksAreFoundAndLeft(t *testing.T) {
	t.Parallel()
	class := erasure.Class{K: 3, N: 8}
	w := start(t, 12, class)
	program := crook(t)
	w.stewards(t, 0)
	b := content(90, 5*mib) // one slab
	w.put(t, "file", b)
	w.whole(t, patient, "file")
	var hosts []int
	for _, s := range w.only(t, "file") {
		hosts = append(hosts, w.number(t, s.Host))
	}
	w.proven(t, 1, nil, hosts...)

	// While nobody looks they prove, and only then somebody looks.
	w.Client.Stop(10 * time.Second)
	var crooks []string
	bad := map[int]int64{}
	for i, how := range []string{"refuse", "wait"} {
		n := hosts[i]
		bad[n] = w.turns(t, n, program, how).Proofs
		crooks = append(crooks, w.account(t, n))
	}
	w.proven(t, 2, bad, hosts[0], hosts[1])
	w.run(t, w.Client)
	w.whole(t, patient, "file", crooks...)
	for i := range 4 {
		key := fmt.Sprintf("later-%d", i)
		later := content(uint64(91+i), 2*mib)
		if _, err := w.api.Put(within(t, patient), bucket, key, bytes.NewReader(later), int64(len(later)), sdk.PutOptions{Class: "3/6"}); err != nil { // some honest ones may be late
			t.Fatal(err)
		}
		by, _ := w.shards(t, key)
		for _, host := range crooks {
			if by[host] > 0 {
				t.Errorf("%s holds %d shards of %s: it was hired again", host, by[host], key)
			}
		}
	}
	w.mustRead(t, "file", b)

	w.stewards(t, 1)
	crooks = append(crooks, w.regenerates(t, class, program))
	w.mustRead(t, "file", b)
	w.whole(t, patient, "file", crooks...)
	s, err := w.api.Stewards(within(t, patient))
	if err != nil || len(s.Stewards) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	spent, err1 := s.Stewards[0].Spent.Value()
	most, err2 := s.Stewards[0].Cap.Value()
	if err := errors.Join(err1, err2); err != nil || spent > most {
		t.Errorf("the steward spent %d of %d uember, %v", spent, most, err)
	}
}

// regenerates has the hosts of a slab keep k shards and put in the place of the
// others what the code makes of those, while the owner is away. One more serves
// nobody: its account is returned. The steward makes all of it good.
func (w *world) regenerates(t *testing.T, class erasure.Class, program string) (crook string) {
	t.Helper()
	m := &march{w: w, t: t}
	steward := m.steward()
	w.informed(t)
	slab := w.only(t, "file")
	w.Client.Stop(10 * time.Second)
	did := m.restored(steward)
	at := make([]int, class.N)
	shards, roots := make([][]byte, class.N), make([][]byte, class.N)
	kept := make([]keptShard, class.N)
	for i, s := range slab {
		root, err := hex.DecodeString(s.Root)
		if err != nil {
			t.Fatal(err)
		}
		at[i], roots[i] = w.number(t, s.Host), root
		kept[i] = shardOf(t, w.Hosts[at[i]].Dir, root)
		if got, _ := proof.Build(kept[i].b); !bytes.Equal(got[:], root) {
			t.Fatalf("what %s keeps of shard %d has another root", s.Host, i)
		}
		if i < class.K {
			shards[i] = kept[i].b
		}
	}
	rs, err := reedsolomon.New(class.K, class.N-class.K)
	if err != nil {
		t.Fatal(err)
	}
	if err := rs.Reconstruct(shards); err != nil {
		t.Fatal(err)
	}
	missed := map[int]int{}
	for i := class.K; i < class.N; i++ {
		if got, _ := proof.Build(shards[i]); bytes.Equal(got[:], roots[i]) {
			t.Fatalf("shard %d can be made of %d others", i, class.K)
		}
		if at[i] != steward && crook == "" {
			w.turns(t, at[i], program, "refuse")
			crook = slab[i].Host
			continue
		}
		h, err := w.host(at[i])
		if err != nil {
			t.Fatal(err)
		}
		missed[at[i]] = h.Misses
		kept[i].becomes(t, shards[i])
	}
	soon(t, patient, "catch who dropped shards", func() error {
		for i, n := range missed {
			h, err := w.host(i)
			if err != nil {
				return err
			}
			if h.Misses <= n {
				return fmt.Errorf("%s has missed %d proofs, it had missed %d", w.Hosts[i].Name, h.Misses, n)
			}
		}
		return nil
	})
	soon(t, patient, "have the steward restore what isn't served", func() error {
		if n := m.restored(steward) - did; n < class.N-class.K {
			return fmt.Errorf("%d shards are restored", n)
		}
		return nil
	})
	w.run(t, w.Client)
	return crook
}
