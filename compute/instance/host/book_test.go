package host

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/core/quote"
)

var all = quote.Units{2 * quote.GiB, 1 << 30, 8 << 30}

func spec(cpu, memory uint64) instance.Spec {
	return instance.Spec{Image: [32]byte{1}, CPU: cpu, Memory: memory, Disk: 1 << 20, Pids: 10}
}

// shelf is a book that a test opens again and again.
type shelf struct {
	*book
	t   *testing.T
	dir string
	at  time.Time
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{t: t, dir: t.TempDir(), at: time.Unix(1_900_000_000, 0)}
	s.open()
	return s
}

func (s *shelf) open() {
	s.t.Helper()
	b, err := openBook(s.dir, func() time.Time { return s.at })
	if err != nil {
		s.t.Fatal(err)
	}
	s.book = b
}

func (s *shelf) add(lease uint64, id byte, what instance.Spec) (instance.Roster, error) {
	return s.stage(lease, all, func(r instance.Roster) (instance.Roster, *instance.Spec, error) {
		return r.With(instance.Entry{ID: instance.ID{id}, Spec: what.Digest(), Units: what.Units()}), &what, nil
	})
}

func (s *shelf) without(lease uint64, id byte) instance.Roster {
	s.t.Helper()
	r, err := s.stage(lease, all, func(r instance.Roster) (instance.Roster, *instance.Spec, error) {
		return r.Without(instance.ID{id}), nil, nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *shelf) sign(lease uint64, r instance.Roster) {
	s.t.Helper()
	if err := s.covers(lease, r.Units(), r.Root()); err != nil {
		s.t.Fatal(err)
	}
	if err := s.commit(lease, r.Root()); err != nil {
		s.t.Fatal(err)
	}
}

func want(t *testing.T, what string, err error, code fault.Code) {
	t.Helper()
	if code == "" && err != nil || code != "" && fault.CodeOf(err) != code {
		t.Errorf("%s: %v, want %q", what, err, code)
	}
}

func TestRoomIsGivenOnce(t *testing.T) {
	s := newShelf(t)
	r, err := s.add(1, 1, spec(1500, 256<<20))
	want(t, "the first", err, "")
	_, err = s.add(2, 2, spec(1000, 256<<20))
	want(t, "what is only staged holds its room", err, fault.HostFull)
	_, err = s.add(2, 2, spec(500, 900<<20))
	want(t, "memory is counted too", err, fault.HostFull)
	s.sign(1, r)
	_, err = s.add(2, 2, spec(500, 256<<20))
	want(t, "what is left", err, "")
	if left := s.free(all); left[0] != 0 || left[1] != 512<<20 {
		t.Errorf("%v are left", left)
	}
	s.sign(1, s.without(1, 1))
	if left := s.free(all); left[0] != 3*quote.GiB/2 {
		t.Errorf("%v are left after a removal", left)
	}
}

func TestRoomThatNobodySignsForIsFreeAgain(t *testing.T) {
	s := newShelf(t)
	r, err := s.add(1, 1, spec(2000, 256<<20))
	want(t, "stage", err, "")
	s.at = s.at.Add(stagedFor + time.Second)
	_, err = s.add(2, 2, spec(2000, 256<<20))
	want(t, "another's", err, "")
	want(t, "to sign too late", s.covers(1, r.Units(), r.Root()), fault.Stale)
}

// Between the question whether it is staged and both signatures nothing takes its place.
func TestWhatIsBeingSignedIsNotReplaced(t *testing.T) {
	s := newShelf(t)
	r, err := s.add(1, 1, spec(500, 256<<20))
	want(t, "stage", err, "")
	want(t, "cover", s.covers(1, r.Units(), r.Root()), "")
	_, err = s.add(1, 2, spec(250, 128<<20))
	want(t, "another device's change", err, fault.Busy)
	same, err := s.add(1, 1, spec(500, 256<<20))
	want(t, "the same once more", err, "")
	want(t, "commit", s.commit(1, same.Root()), "")
	r, err = s.add(1, 2, spec(250, 128<<20))
	want(t, "the other change afterwards", err, "")
	want(t, "cover it", s.covers(1, r.Units(), r.Root()), "")
	s.at = s.at.Add(stagedFor + time.Second)
	if left := s.without(1, 1); len(left) != 0 {
		t.Errorf("what nobody has signed is there: %v", left)
	}
}

// What both have signed is made as soon as the disk takes it, and nothing else before.
func TestWhatIsSignedOutlastsAFullDisk(t *testing.T) {
	s := newShelf(t)
	r, err := s.add(1, 1, spec(500, 256<<20))
	want(t, "stage", err, "")
	want(t, "cover", s.covers(1, r.Units(), r.Root()), "")
	want(t, "lose the folder", os.RemoveAll(s.dir), "")
	if s.commit(1, r.Root()) == nil || s.finish() == nil {
		t.Error("it was written nowhere")
	}
	s.at = s.at.Add(time.Hour)
	_, err = s.add(1, 2, spec(250, 128<<20))
	want(t, "another change", err, fault.Busy)
	want(t, "make the folder", os.Mkdir(s.dir, 0o700), "")
	want(t, "finish", s.finish(), "")
	if left := s.roster(1); left.Root() != r.Root() {
		t.Errorf("%v is there", left)
	}
	_, err = s.add(1, 2, spec(250, 128<<20))
	want(t, "another change afterwards", err, "")
}

// Who keeps room from others and doesn't sign isn't kept any for a while.
func TestRoomIsNotKeptForWhoDoesNotSign(t *testing.T) {
	s := newShelf(t)
	_, err := s.add(1, 1, spec(2000, 256<<20))
	want(t, "stage", err, "")
	for range 2 { // it is asked for again before its time is over
		s.at = s.at.Add(stagedFor - time.Second)
		_, err = s.add(1, 1, spec(1900, 256<<20))
		want(t, "stage another", err, "")
	}
	s.at = s.at.Add(5 * time.Second)
	r, err := s.add(2, 2, spec(2000, 256<<20))
	want(t, "another's", err, "")
	_, err = s.add(1, 1, spec(1900, 256<<20))
	want(t, "when all of its time is over", err, fault.HostRefused)
	s.without(1, 1)
	_, err = s.add(1, 1, spec(500, 256<<20))
	want(t, "after another change", err, fault.HostRefused)
	s.sign(2, r)
	s.sign(2, s.without(2, 2))
	r, err = s.add(2, 3, spec(2000, 256<<20))
	want(t, "who has signed", err, "")
	s.sign(2, r)
	s.sign(2, s.without(2, 3))
	s.at = s.at.Add(restFor + time.Second)
	_, err = s.add(1, 1, spec(500, 256<<20))
	want(t, "later", err, "")
}

func TestOnlyWhatIsStagedIsCovered(t *testing.T) {
	s := newShelf(t)
	r, err := s.add(1, 1, spec(500, 256<<20))
	want(t, "stage", err, "")
	less := r.Units()
	less[1]--
	want(t, "less than it reserves", s.covers(1, less, r.Root()), fault.BadStatement)
	want(t, "another root", s.covers(1, r.Units(), [32]byte{9}), fault.Stale)
	want(t, "another lease", s.covers(2, r.Units(), r.Root()), fault.Stale)
	other, err := s.add(1, 2, spec(250, 128<<20))
	want(t, "another device's change", err, "")
	want(t, "the change that it has replaced", s.covers(1, r.Units(), r.Root()), fault.Stale)
	s.sign(1, other)
	want(t, "what is so already", s.covers(1, other.Units(), other.Root()), "")
	want(t, "a root that was never staged", s.commit(1, [32]byte{9}), fault.DamagedFile)
	if _, err := s.find(1, instance.ID{1}); fault.CodeOf(err) != fault.NoInstance {
		t.Errorf("an instance that nobody signed for: %v", err)
	}
	if got, err := s.find(1, instance.ID{2}); err != nil || got.CPU != 250 {
		t.Errorf("%+v, %v", got, err)
	}
}

// What both have signed is so, however long ago it was staged, and after any crash.
func TestWhatWasSignedIsMadeAfterACrash(t *testing.T) {
	s := newShelf(t)
	r, err := s.add(1, 1, spec(500, 256<<20))
	want(t, "stage", err, "")
	want(t, "cover", s.covers(1, r.Units(), r.Root()), "")
	s.at = s.at.Add(time.Hour)
	s.open()
	want(t, "reconcile", s.commit(1, r.Root()), "")
	if got, err := s.find(1, instance.ID{1}); err != nil || got.Digest() != spec(500, 256<<20).Digest() {
		t.Fatalf("%+v, %v", got, err)
	}
	s.without(1, 1)
	s.open()
	want(t, "reconcile what wasn't signed", s.commit(1, r.Root()), "")
	if len(s.roster(1)) != 1 {
		t.Error("an instance went that both had signed")
	}
}

// An instance that is over is destroyed, also when the program ends before that.
func TestWhatIsOverIsNotForgotten(t *testing.T) {
	s := newShelf(t)
	for id := byte(1); id <= 2; id++ {
		r, err := s.add(1, id, spec(250, 64<<20))
		want(t, "stage", err, "")
		s.sign(1, r)
	}
	s.sign(1, s.without(1, 1))
	s.open()
	if _, gone := s.all(); len(gone[1]) != 1 || gone[1][0] != (instance.ID{1}) {
		t.Fatalf("to be destroyed: %v", gone)
	}
	want(t, "forget", s.forget(1, instance.ID{1}), "")
	want(t, "drop", s.drop(1), "")
	s.open()
	if covered, gone := s.all(); len(covered[1]) != 0 || len(gone[1]) != 1 {
		t.Fatalf("%v, to be destroyed: %v", covered, gone)
	}
	want(t, "forget", s.forget(1, instance.ID{2}), "")
	if names, err := os.ReadDir(s.dir); err != nil || len(names) != 0 {
		t.Errorf("%v are left, %v", names, err)
	}
}

func TestADamagedPageIsNotGuessed(t *testing.T) {
	s := newShelf(t)
	r, err := s.add(1, 1, spec(500, 256<<20))
	want(t, "stage", err, "")
	s.sign(1, r)
	path := filepath.Join(s.dir, "1.json")
	lonely, err := json.Marshal(page{Major: pageMajor, Roster: r.Encode()})
	want(t, "write a page", err, "")
	for name, content := range map[string]string{
		"no JSON": "{", "of a later program": `{"major":2}`, "without its spec": string(lonely),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openBook(s.dir, time.Now)
		want(t, name, err, fault.DamagedFile)
	}
}

func TestUsersAreFoundAsTheImageNamesThem(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\nbroken:x:y:z\n"
	const group = "root:x:0:\napp:x:1001:\nweb:x:33:other,app\ndb:x:44:app\n"
	for name, tt := range map[string]struct {
		uid, gid uint32
		groups   int
		code     fault.Code
	}{
		"": {0, 0, 0, ""}, "root": {0, 0, 0, ""}, "app": {1000, 1001, 2, ""}, "1000": {1000, 1001, 2, ""}, "app:web": {1000, 33, 0, ""},
		"app:7": {1000, 7, 0, ""}, "4711": {4711, 0, 0, ""}, "4711:4712": {4711, 4712, 0, ""}, "nobody": {code: fault.BadRequest},
		"broken": {code: fault.BadRequest}, "app:none": {code: fault.BadRequest}, "99999999999": {code: fault.BadRequest},
	} {
		got, err := pickUser(name, passwd, group)
		if want(t, name, err, tt.code); err == nil && (got.uid != tt.uid || got.gid != tt.gid || len(got.groups) != tt.groups) {
			t.Errorf("%s: %+v, want %+v", name, got, tt)
		}
	}
}

// An image's lists may be links that lead out of it, or no files at all.
func TestUsersAreNotReadFromTheHost(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(outside, []byte("daemon:x:1:1::/:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, "etc", "passwd")); err != nil {
		t.Fatal(err)
	}
	_, err := findUser(root, "daemon")
	want(t, "a name of the host's", err, fault.BadRequest)
}

func TestALaterVariableCounts(t *testing.T) {
	got := mergeEnv([]string{"A=1", "B=2"}, []string{"A=3", "C=4"})
	if len(got) != 3 || got[0] != "A=3" || got[1] != "B=2" || got[2] != "C=4" {
		t.Error(got)
	}
}

// What is lost and can't be run again, because its image is gone, is tried ever less
// often, and told once.
func TestWhatFailsIsTriedEverLessOften(t *testing.T) {
	at, id := time.Unix(1_900_000_000, 0), instance.ID{1}
	h := &Host{c: Config{Look: 5 * time.Second, Now: func() time.Time { return at }}, why: map[instance.ID]string{}, sore: map[instance.ID]sore{}}
	tries, told := 0, 0
	failing := errors.New("its image is gone")
	for range 720 { // an hour
		if !h.rests(id) {
			tries++
			if h.note(id, failing) {
				told++
			}
		}
		at = at.Add(h.c.Look)
	}
	if tries < 12 || tries > 20 || told != 1 || h.reason(id) != failing.Error() {
		t.Errorf("tried %d times in an hour, told %d times: %q", tries, told, h.reason(id))
	}
	if h.note(id, fault.New(fault.Busy, "it is being started")) || !h.note(id, errors.New("the disk is full")) {
		t.Error("only another reason is news")
	}
	if h.note(id, nil); h.rests(id) || h.reason(id) != "" {
		t.Errorf("it is well again, and yet: %q", h.reason(id))
	}
}
