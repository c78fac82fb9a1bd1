package instance_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/core/quote"
)

// plain is a small instance.
func plain() instance.Spec {
	return instance.Spec{Image: [32]byte{1}, CPU: 500, Memory: 256 << 20, Disk: 1 << 30, Pids: 100}
}

func TestWhatNoHostTakesIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*instance.Spec)
		code   fault.Code
	}{
		"nothing wrong":                   {func(*instance.Spec) {}, ""},
		"no core":                         {func(s *instance.Spec) { s.CPU = 0 }, fault.BadRequest},
		"a thousand cores":                {func(s *instance.Spec) { s.CPU = instance.MaxCPU + 1 }, fault.BadRequest},
		"memory for nothing":              {func(s *instance.Spec) { s.Memory = instance.MinMemory - 1 }, fault.BadRequest},
		"memory without end":              {func(s *instance.Spec) { s.Memory = 1 << 63 }, fault.BadRequest},
		"no disk":                         {func(s *instance.Spec) { s.Disk = 0 }, fault.BadRequest},
		"no process":                      {func(s *instance.Spec) { s.Pids = 0 }, fault.BadRequest},
		"an unknown egress":               {func(s *instance.Spec) { s.Egress = 3 }, fault.BadRequest},
		"allowed, and nothing named":      {func(s *instance.Spec) { s.Egress = instance.Allow }, fault.BadRequest},
		"named, and not allowed":          {func(s *instance.Spec) { s.Allowed = []string{"a.example"} }, fault.BadRequest},
		"allowed and named":               {func(s *instance.Spec) { s.Egress, s.Allowed = instance.Allow, []string{"a.example"} }, ""},
		"a destination of two lines":      {func(s *instance.Spec) { s.Egress, s.Allowed = instance.Allow, []string{"a\nb"} }, fault.BadRequest},
		"a folder that isn't whole":       {func(s *instance.Spec) { s.Dir = "tmp" }, fault.BadRequest},
		"a user that moves the cursor":    {func(s *instance.Spec) { s.User = "\x1b[31m" }, fault.BadRequest},
		"a variable without a name":       {func(s *instance.Spec) { s.Env = []string{"=x"} }, fault.BadRequest},
		"an argument with a zero byte":    {func(s *instance.Spec) { s.Args = []string{"a\x00b"} }, fault.BadRequest},
		"more words than fit":             {func(s *instance.Spec) { s.Args = []string{strings.Repeat("a", instance.MaxWords)} }, fault.TooLarge},
		"more arguments than are counted": {func(s *instance.Spec) { s.Args = make([]string, instance.MaxCount+1) }, fault.TooLarge},
	} {
		s := plain()
		tt.change(&s)
		if err := s.Check(); fault.CodeOf(err) != tt.code && !(err == nil && tt.code == "") {
			t.Errorf("%s: %v, want %q", name, err, tt.code)
		}
	}
}

func TestAHalfCoreIsHalfOfACoresUnit(t *testing.T) {
	s := plain()
	if got := s.Units(); got != (quote.Units{quote.GiB / 2, 256 << 20, 1 << 30}) {
		t.Error(got)
	}
	s.CPU = instance.MaxCPU
	if got := s.Units()[0]; got != (instance.MaxCPU*quote.GiB)/1000 {
		t.Error(got)
	}
}

func words(t *rapid.T, label string) []string {
	return rapid.SliceOfN(rapid.StringMatching(`[a-zA-Z0-9/=. ]{1,20}`), 0, 4).Draw(t, label)
}

func anySpec(t *rapid.T) instance.Spec {
	s := instance.Spec{
		Args: words(t, "args"), CPU: rapid.Uint64Range(1, instance.MaxCPU).Draw(t, "cpu"),
		Memory: rapid.Uint64Range(instance.MinMemory, instance.MaxBytes).Draw(t, "memory"),
		Disk:   rapid.Uint64Range(instance.MinDisk, instance.MaxBytes).Draw(t, "disk"), Pids: rapid.Uint64Range(1, instance.MaxPids).Draw(t, "pids"),
		Egress: instance.Egress(rapid.IntRange(0, 2).Draw(t, "egress")), User: rapid.SampledFrom([]string{"", "0", "app:app"}).Draw(t, "user"),
		Dir: rapid.SampledFrom([]string{"", "/", "/srv"}).Draw(t, "dir"),
	}
	copy(s.Image[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "image"))
	copy(s.Secrets[:], rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "secrets"))
	for _, w := range words(t, "env") {
		s.Env = append(s.Env, "A="+w)
	}
	if s.Egress == instance.Allow {
		s.Allowed = append(words(t, "allowed"), "10.0.0.0/8")
	}
	return s
}

// same compares lists as what is in them.
func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return strings.ReplaceAll(string(x), "null", "[]") == strings.ReplaceAll(string(y), "null", "[]")
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySpec(t)
		got, err := instance.Decode(s.Encode())
		if err != nil || !same(got, s) || got.Digest() != s.Digest() {
			t.Fatalf("%+v becomes %+v: %v", s, got, err)
		}
	})
}

// What has one digest is one instance: nothing moves from one field to another.
func TestAnotherSpecHasAnotherDigest(t *testing.T) {
	seen := map[[32]byte]string{}
	for name, change := range map[string]func(*instance.Spec){
		"as it is": func(*instance.Spec) {}, "image": func(s *instance.Spec) { s.Image[31]++ },
		"args": func(s *instance.Spec) { s.Args = []string{"A=b"} }, "env": func(s *instance.Spec) { s.Env = []string{"A=b"} },
		"allowed": func(s *instance.Spec) { s.Allowed = []string{"A=b"} }, "two": func(s *instance.Spec) { s.Args = []string{"A", "=b"} },
		"dir": func(s *instance.Spec) { s.Dir = "/a" }, "user": func(s *instance.Spec) { s.User = "/a" },
		"cpu": func(s *instance.Spec) { s.CPU++ }, "memory": func(s *instance.Spec) { s.Memory++ }, "disk": func(s *instance.Spec) { s.Disk++ },
		"pids": func(s *instance.Spec) { s.Pids++ }, "egress": func(s *instance.Spec) { s.Egress = instance.Open },
		"secrets": func(s *instance.Spec) { s.Secrets[31]++ },
	} {
		s := plain()
		change(&s)
		if other := seen[s.Digest()]; other != "" {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[s.Digest()] = name
	}
}

// A roster goes by what is in it, and by nothing of how it came to be.
func TestARosterIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r instance.Roster
		want := map[instance.ID]instance.Entry{}
		var sum quote.Units
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			e := instance.Entry{ID: instance.ID{rapid.Byte().Draw(t, "id") % 8}, Spec: [32]byte{rapid.Byte().Draw(t, "spec")}, Units: quote.Units{rapid.Uint64Range(0, 1<<40).Draw(t, "cpu"), 2, 3}}
			before, root := len(r), r.Root()
			if rapid.Bool().Draw(t, "remove") {
				_ = r.Without(e.ID)
				if len(r) != before || r.Root() != root {
					t.Fatal("a roster has changed under its owner")
				}
				r = r.Without(e.ID)
				delete(want, e.ID)
				continue
			}
			_ = r.With(e)
			if len(r) != before || r.Root() != root {
				t.Fatal("a roster has changed under its owner")
			}
			r = r.With(e)
			want[e.ID] = e
		}
		var again instance.Roster
		for _, e := range want { // in any order
			again = again.With(e)
			for d, u := range e.Units {
				sum[d] += u
			}
		}
		back, err := instance.DecodeRoster(r.Encode())
		if err != nil || r.Root() != again.Root() || back.Root() != r.Root() || r.Units() != sum || len(r) != len(want) {
			t.Fatalf("%v, want %v: %v", r, again, err)
		}
		if len(want) == 0 && r.Root() != ([32]byte{}) {
			t.Fatal("where nothing is reserved the root is zero")
		}
	})
}

func TestARosterThatNoStatementStandsForIsRefused(t *testing.T) {
	a, b := instance.Entry{ID: instance.ID{1}, Units: quote.Units{1 << 63}}, instance.Entry{ID: instance.ID{2}, Units: quote.Units{1 << 63}}
	long := make(instance.Roster, instance.MaxRoster+1)
	for i := range long {
		long[i].ID = instance.ID{byte(i)}
	}
	for name, tt := range map[string]struct {
		r    instance.Roster
		code fault.Code
	}{
		"twice": {instance.Roster{a, a}, fault.BadRequest}, "out of order": {instance.Roster{b, a}, fault.BadRequest},
		"uncountable": {instance.Roster{a, b}, fault.BadRequest}, "too many": {long, fault.TooLarge},
	} {
		if err := tt.r.Check(); fault.CodeOf(err) != tt.code {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := instance.DecodeRoster(tt.r.Encode()); fault.CodeOf(err) != tt.code {
			t.Errorf("%s, read: %v", name, err)
		}
	}
}

// Vectors: other programs must come to the same bytes.
func TestVectors(t *testing.T) {
	var v struct {
		Spec, Digest, Roster, Root  string
		Secrets, Commitment, Secret string // the last is the spec with them
	}
	b, err := os.ReadFile("../../docs/formats/testdata/instance.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	s := instance.Spec{
		Image: [32]byte{0xaa, 31: 0xbb}, Args: []string{"/bin/sh", "-c", "sleep 1"}, Env: []string{"A=b"}, Dir: "/srv", User: "app",
		CPU: 1500, Memory: 1 << 30, Disk: 2 << 30, Pids: 256, Egress: instance.Allow, Allowed: []string{"deb.example", "192.0.2.0/24"},
	}
	r := instance.Roster{{ID: instance.ID{1}, Spec: s.Digest(), Units: s.Units()}, {ID: instance.ID{2}, Spec: s.Digest(), Units: quote.Units{0, 0, s.Disk}}}
	d, root := s.Digest(), r.Root()
	files := instance.Secrets{Key: [32]byte{1, 31: 2}, Files: []instance.Secret{{Name: "api.key", Value: []byte("hunter2\n")}, {Name: "none"}}}
	c := files.Commitment()
	got := []string{hex.EncodeToString(s.Encode()), hex.EncodeToString(d[:]), hex.EncodeToString(r.Encode()), hex.EncodeToString(root[:])}
	s.Secrets = c
	got = append(got, hex.EncodeToString(files.Encode()), hex.EncodeToString(c[:]), hex.EncodeToString(s.Encode()))
	if want := []string{v.Spec, v.Digest, v.Roster, v.Root, v.Secrets, v.Commitment, v.Secret}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(plain().Encode())
	withSecrets := plain()
	withSecrets.Secrets[0] = 1
	f.Add(withSecrets.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := instance.Decode(b); err == nil && string(s.Encode()) != string(b) {
			t.Fatalf("%x is read as what is written %x", b, s.Encode())
		}
	})
}

func FuzzDecodeRoster(f *testing.F) {
	f.Add(instance.Roster{{ID: instance.ID{1}}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := instance.DecodeRoster(b); err == nil && string(r.Encode()) != string(b) {
			t.Fatalf("%x is read as what is written %x", b, r.Encode())
		}
	})
}
