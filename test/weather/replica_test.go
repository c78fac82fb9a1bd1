package weather

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/node"
	"hearth/sdk"
	"hearth/storage/index"
)

// A second machine of the client's account.
type second struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
	api *sdk.Client
}

// phrase writes the client's words into a file.
func (w *world) phrase(t *testing.T) string {
	t.Helper()
	id, err := node.OpenIdentity(w.Client.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(path, []byte(id.Phrase.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// restore makes another machine from the sheet alone.
func (w *world) restore(t *testing.T) *second {
	t.Helper()
	base, err := os.MkdirTemp("", "weather-second-") // a socket's path may not be long
	if err != nil {
		t.Fatal(err)
	}
	s := &second{t: t, dir: filepath.Join(base, "node")}
	t.Cleanup(func() {
		s.stop()
		os.RemoveAll(base)
	})
	out, status := hearth(t, s.dir, "restore", "--network", w.Network.String(), "--phrase-file", w.phrase(t))
	if status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	return s
}

func (s *second) up() {
	s.t.Helper()
	s.cmd = exec.Command(program("hearth"), "--dir", s.dir, "up")
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if s.api, err = sdk.New(sdk.Config{Socket: api.Socket(s.dir)}); err != nil {
		s.t.Fatal(err)
	}
	soon(s.t, patient, "start the second machine", func() error {
		_, err := s.api.Node(within(s.t, 20*time.Second))
		return err
	})
}

func (s *second) stop() {
	if s.cmd == nil {
		return
	}
	s.api.Close()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	_ = s.cmd.Wait()                          // how it ended stands in its log
	if b, err := os.ReadFile(filepath.Join(s.dir, "log")); err == nil && s.t.Failed() {
		s.t.Logf("the second machine:\n%s", b[max(0, len(b)-8<<10):])
	}
	s.cmd = nil
}

// as is a world seen from the second machine.
func (s *second) as(w *world) *world { return &world{Cloud: w.Cloud, api: s.api} }

// Two machines with one phrase see each other's files, also such as both change,
// and neither loses any when the other writes, removes or is switched off.
func TestTwoMachinesOfOneAccount(t *testing.T) {
	t.Parallel()
	w := shared(t)
	first := content(40, 3*mib)
	w.put(t, "two/of the first", first)
	w.put(t, "two/tiny", []byte("tiny"))
	w.logged(t)
	s := w.restore(t)
	s.up()
	o := s.as(w)
	o.mustRead(t, "two/of the first", first)
	o.mustRead(t, "two/tiny", []byte("tiny"))

	later := content(41, 2*mib)
	o.put(t, "two/of the second", later)
	o.put(t, "two/tiny", []byte("changed"))
	soon(t, patient, "hear of the second machine's files", func() error {
		ctx := within(t, patient)
		if err := w.reads(ctx, "two/of the second", later); err != nil {
			return err
		}
		return w.reads(ctx, "two/tiny", []byte("changed"))
	})
	if err := w.api.Remove(within(t, patient), bucket, "two/of the first"); err != nil {
		t.Fatal(err)
	}
	soon(t, patient, "hear of a removal", func() error {
		if o.listed(t, "two/of the first") {
			return fmt.Errorf("it is still listed")
		}
		return nil
	})
	// Both at once.
	for i := range 10 {
		w.put(t, fmt.Sprintf("two/a%d", i), content(uint64(50+i), 10_000*i))
		o.put(t, fmt.Sprintf("two/b%d", i), content(uint64(70+i), 10_000*i))
	}
	s.stop()
	if said, err := os.ReadFile(filepath.Join(s.dir, "log")); err != nil || bytes.Contains(said, []byte("are on this machine only")) {
		s.up() // the time to leave wasn't enough, and it said so
	}
	soon(t, patient, "hear of what was written before the end", func() error {
		ctx := within(t, patient)
		for i := range 10 {
			if err := w.reads(ctx, fmt.Sprintf("two/a%d", i), content(uint64(50+i), 10_000*i)); err != nil {
				return err
			}
			if err := w.reads(ctx, fmt.Sprintf("two/b%d", i), content(uint64(70+i), 10_000*i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// logged waits until hosts have all changes of the client's list of files.
func (w *world) logged(t *testing.T) {
	t.Helper()
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", api.Socket(w.Client.Dir))
	}}}
	defer web.CloseIdleConnections()
	soon(t, patient, "write the log", func() error {
		r, err := web.Get("http://node/metrics")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err == nil && !strings.Contains(string(b), "\nhearth_index_log_unflushed_changes 0\n") {
			err = fmt.Errorf("some changes are on this machine only")
		}
		return err
	})
}

// A list of files that is gone is made anew from the hosts, with all that was in it.
func TestAListOfFilesIsMadeAnewFromHosts(t *testing.T) {
	t.Parallel()
	w := shared(t)
	b := content(42, 4*mib)
	w.put(t, "rebuilt/large", b)
	w.put(t, "rebuilt/tiny", []byte("tiny"))
	w.logged(t)
	w.Client.Stop(patient) // writes its log
	path := filepath.Join(w.Client.Dir, "data", "index.db")
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, status := hearth(t, w.Client.Dir, "up")
	if status != 8 || !strings.Contains(out, "damaged_index") || !strings.Contains(out, "fsck --rebuild") {
		t.Errorf("exit %d: %s", status, out)
	}
	if out, status = hearth(t, w.Client.Dir, "fsck", "--rebuild"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	kept, err := filepath.Glob(path + ".before-*")
	if err != nil || len(kept) == 0 {
		t.Errorf("the old list isn't kept: %v, %v", kept, err)
	}
	w.run(t, w.Client)
	w.mustRead(t, "rebuilt/large", b)
	w.mustRead(t, "rebuilt/tiny", []byte("tiny"))
	o := w.put(t, "rebuilt/after", b[:mib])
	if o.Size != mib {
		t.Errorf("%+v", o)
	}
	if out, status = hearth(t, w.Client.Dir, "fsck", "--read", "2"); status != 0 {
		t.Errorf("exit %d: %s", status, out)
	}
}

// What hosts don't say isn't known, and what is known to be gone is lost.
func TestFsckSaysWhatItKnows(t *testing.T) {
	t.Parallel()
	w := shared(t)
	w.put(t, "checked/file", content(43, 2*mib))
	state := func() api.Finding {
		t.Helper()
		page, err := w.api.Check(within(t, patient), bucket, api.CheckQuery{Prefix: "checked/"})
		if err != nil || len(page.Findings) != 1 {
			t.Fatalf("%+v, %v", page, err)
		}
		return page.Findings[0]
	}
	w.whole(t, patient, "checked/file")
	shows := func(what string, is func(f api.Finding) bool) { // a host that answers late is silent once
		t.Helper()
		soon(t, patient, what, func() error {
			if f := state(); !is(f) {
				return fmt.Errorf("%+v", f)
			}
			return nil
		})
	}
	shows("find all well", func(f api.Finding) bool { return f.State == "healthy" && f.Held == 4 && f.Need == 2 })
	by, _ := w.shards(t, "checked/file")
	stopped := 0
	for i, p := range w.Hosts {
		if by[w.account(t, i)] > 0 && stopped < 3 {
			p.Kill()
			stopped++
		}
	}
	shows("find three of four silent", func(f api.Finding) bool { return f.State == "unknown" && f.Silent == 3 && f.Detail != "" })
	out, status := hearth(t, w.Client.Dir, "fsck", "hearth://"+bucket+"/checked/")
	if status != 0 || !strings.Contains(out, "unknown") {
		t.Errorf("exit %d: %s", status, out)
	}
}

// Old versions, delete markers, attributes and documents of buckets come back as
// they were, and the bytes of all versions with them.
func TestVersionsComeBack(t *testing.T) {
	t.Parallel()
	w := shared(t)
	const versions = "versions"
	w.Client.Stop(patient)
	w.inIndex(t, w.Client.Dir, func(x *index.Index) {
		if err := x.MakeBucket(t.Context(), versions); err != nil {
			t.Fatal(err)
		}
		if err := x.SetVersioning(t.Context(), versions, index.Enabled); err != nil {
			t.Fatal(err)
		}
		if err := x.SetBucketDoc(t.Context(), versions, "policy", []byte(`{"Version":"2012-10-17"}`)); err != nil {
			t.Fatal(err)
		}
	})
	w.run(t, w.Client)
	for i, n := range []int{0, 3, 20_000, 3 * mib, 5} {
		b := content(uint64(100+i), n)
		_, err := w.api.Put(within(t, patient), versions, "key", bytes.NewReader(b), int64(n), sdk.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.api.Remove(within(t, patient), versions, "key"); err != nil {
		t.Fatal(err)
	}
	w.logged(t)
	w.Client.Stop(patient)
	type bucket struct {
		Bucket   index.Bucket
		Docs     map[string][]byte
		Versions []index.Object
		Files    []index.Manifest
	}
	look := func(dir string) (all []bucket) {
		w.inIndex(t, dir, func(x *index.Index) {
			buckets, err := x.Buckets(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range buckets {
				one := bucket{Bucket: b}
				if one.Docs, err = x.BucketDocs(t.Context(), b.Name); err != nil {
					t.Fatal(err)
				}
				page, err := x.ListVersions(t.Context(), b.Name, index.VersionListing{})
				if err != nil || page.NextKey != "" {
					t.Fatal(page.NextKey, err)
				}
				one.Versions = page.Versions
				for _, o := range page.Versions {
					if o.Marker {
						continue
					}
					f, err := x.Get(t.Context(), index.Ref{Bucket: b.Name, Key: o.Key, Version: o.VersionID})
					if err != nil {
						t.Fatal(err)
					}
					one.Files = append(one.Files, f.Manifest)
				}
				all = append(all, one)
			}
		})
		return all
	}
	want := look(w.Client.Dir)
	s := w.restore(t)
	if got := look(s.dir); !reflect.DeepEqual(got, want) {
		t.Errorf("restored is\n%+v\nstored was\n%+v", got, want)
	}
	s.up()
	soon(t, patient, "find all well", func() error {
		page, err := s.api.Check(within(t, patient), versions, api.CheckQuery{Samples: 4})
		if err == nil && (len(page.Findings) != 5 || slices.ContainsFunc(page.Findings, func(f api.Finding) bool { return f.State != "healthy" })) {
			err = fmt.Errorf("%+v", page)
		}
		return err
	})
}

// inIndex opens a list of files that no node has open.
func (w *world) inIndex(t *testing.T, dir string, f func(*index.Index)) {
	t.Helper()
	x, err := index.Open(index.Config{Path: filepath.Join(dir, "data", "index.db"), Device: 1})
	if err != nil {
		t.Fatal(err)
	}
	f(x)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

// Hosts that were off have an old pointer: who asks half of all finds the newest
// all the same.
func TestOldPointersOfHalfTheHostsChangeNothing(t *testing.T) {
	t.Parallel()
	w := shared(t)
	b := content(44, 6*mib) // at every host, so that each keeps a lease
	if _, err := w.api.Put(within(t, patient), bucket, "pointer/leases", bytes.NewReader(b), int64(len(b)), sdk.PutOptions{Class: "2/6"}); err != nil {
		t.Fatal(err)
	}
	w.put(t, "pointer/word", []byte("old"))
	w.logged(t)
	w.Client.Stop(patient)
	w.Hosts[0].Stop(patient)
	w.Hosts[1].Stop(patient)
	w.run(t, w.Client)
	w.put(t, "pointer/word", []byte("new"))
	w.logged(t)
	w.Client.Stop(patient)
	w.run(t, w.Hosts[0])
	w.run(t, w.Hosts[1])
	w.Hosts[4].Stop(patient)
	w.Hosts[5].Stop(patient)
	s := w.restore(t)
	s.up()
	s.as(w).mustRead(t, "pointer/word", []byte("new"))
}

// Words that the ledger doesn't know restore nothing, and nor does a folder that
// is in use.
func TestNothingIsRestoredForNobody(t *testing.T) {
	t.Parallel()
	w := shared(t)
	dir := t.TempDir()
	words := filepath.Join(dir, "words")
	const unknown = "legal winner thank year wave sausage worth useful legal winner thank yellow" // BIP39's own vector
	if err := os.WriteFile(words, []byte(unknown), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "node")
	out, status := hearth(t, folder, "restore", "--network", w.Network.String(), "--phrase-file", words)
	if status != 4 || !strings.Contains(out, string(fault.UnknownIdentity)) {
		t.Errorf("exit %d: %s", status, out)
	}
	if _, err := os.Stat(folder); err == nil {
		t.Error("a folder was made")
	}
	out, status = hearth(t, w.Client.Dir, "restore", "--network", w.Network.String(), "--phrase-file", w.phrase(t))
	if status != 7 || !strings.Contains(out, string(fault.IdentityExists)) {
		t.Errorf("exit %d: %s", status, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "something"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, status = hearth(t, dir, "restore", "--network", w.Network.String(), "--phrase-file", w.phrase(t))
	if status != 7 || !strings.Contains(out, string(fault.Exists)) {
		t.Errorf("exit %d: %s", status, out)
	}
}
