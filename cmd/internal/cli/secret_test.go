package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/internal/terminal"
)

// A secret comes from a file or from standard input, as it is; never from the command
// line itself, and what is said of a wrong one has no part of it.
func TestASecretIsNeverOnTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := write("key", []byte("two lines\n\n"))
	for what, tt := range map[string]struct {
		named []string
		want  []string
		code  fault.Code
	}{
		"none": {nil, nil, ""}, "a file": {[]string{"k=" + key}, []string{"two lines\n\n"}, ""},
		"input":       {[]string{"k=" + key, "in=-"}, []string{"two lines\n\n", "typed\n"}, ""},
		"input twice": {[]string{"a=-", "b=-"}, nil, fault.BadRequest}, "a value": {[]string{"hunter2"}, nil, fault.BadRequest},
		"no name": {[]string{"=hunter2"}, nil, fault.BadRequest}, "no file": {[]string{"k=" + filepath.Join(dir, "hunter2")}, nil, fault.BadRequest},
	} {
		in, err := os.Open(write("in", []byte("typed\n")))
		if err != nil {
			t.Fatal(err)
		}
		a := &App{}
		if a.Term, err = terminal.New(terminal.Config{In: in, Out: os.Stdout, Err: os.Stderr}); err != nil {
			t.Fatal(err)
		}
		got, err := a.readSecrets(tt.named)
		in.Close()
		if (err == nil) != (tt.code == "") || err != nil && (fault.CodeOf(err) != tt.code || strings.Contains(err.Error(), "hunter2")) || len(got) != len(tt.want) {
			t.Errorf("%s: %v, %v", what, got, err)
			continue
		}
		for n, v := range tt.want {
			if string(got[n].Value) != v {
				t.Errorf("%s: %q", what, got[n].Value)
			}
		}
	}
	a := &App{}
	var err error
	if a.Term, err = terminal.New(terminal.Config{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}); err != nil {
		t.Fatal(err)
	}
	// One that is too large is read so far that the node refuses it, and no further.
	large := write("large", bytes.Repeat([]byte("x"), 1<<20))
	if got, err := a.readSecrets([]string{"k=" + large}); err != nil || len(got[0].Value) != instance.MaxSecret+1 {
		t.Errorf("%v", err)
	}
}
