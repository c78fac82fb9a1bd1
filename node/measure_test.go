package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/core/fault"
	"hearth/core/machine"
)

func TestFiguresAreThoseOfOnePlace(t *testing.T) {
	dir := t.TempDir()
	file := figuresAt(dir, HostSettings{})
	if _, err := readFigures(file); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("nothing was measured: %v", err)
	}
	want := machine.Figures{Core: 7, GPUs: []machine.GPU{{Vendor: "AMD", Model: "x", Memory: 9}}, Measured: 5}
	if err := keepFigures(file, want); err != nil {
		t.Fatal(err)
	}
	got, err := readFigures(file)
	if err != nil || got.Core != 7 || len(got.GPUs) != 1 || got.GPUs[0] != want.GPUs[0] || got.Measured != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	// The folder moves to another disk: what was measured says nothing there.
	moved := filepath.Join(t.TempDir(), "machine.json")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"moved": b, "rubbish": []byte("{"), "another version": []byte(strings.Replace(string(b), `"version": 1`, `"version": 2`, 1))} {
		if err := os.WriteFile(moved, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readFigures(moved); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostsOfACloudHaveOneFile(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		"": filepath.Join(dir, "data", "machine.json"), "/x/y": "/x/y", "../../machine.json": filepath.Join(dir, "..", "..", "machine.json"),
	} {
		if got := figuresAt(dir, HostSettings{Figures: name}); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func TestWhoseMachineIsAdmitted(t *testing.T) {
	least := machine.Usual()
	enough := machine.Figures{Core: least.Core, Memory: least.Memory, Copy: least.Copy, DiskWrite: least.DiskWrite, DiskRead: least.DiskRead}
	slow := enough
	slow.DiskWrite = 4_000_000
	for _, tt := range []struct {
		name  string
		least machine.Least
		c     *class
		want  fault.Code
	}{
		{"enough", least, &class{figures: enough, known: true}, ""},
		{"a slow disk", least, &class{figures: slow, known: true}, fault.MachineTooWeak},
		{"a slow disk where nothing is asked for", machine.Least{}, &class{figures: slow, known: true}, ""},
		{"not measured where nothing is asked for", machine.Least{}, &class{}, ""},
		{"one that can't be measured", least, &class{trouble: fault.New(fault.SandboxFailed, "no sandbox")}, fault.SandboxFailed},
	} {
		err := tt.c.admits(tt.least)
		if code := fault.CodeOf(err); err == nil && tt.want != "" || err != nil && code != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.want == fault.MachineTooWeak && !strings.Contains(err.Error(), "disk writes 4 MB a second, 10 MB are needed: use another disk with --dir") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
