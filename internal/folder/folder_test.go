package folder_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hearth/core/fault"
	"hearth/internal/folder"
)

func TestOneProcessWorksInAFolder(t *testing.T) {
	d := folder.Dir(t.TempDir())
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); fault.CodeOf(err) != fault.AlreadyRunning {
		t.Fatalf("a second lock: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := d.Lock()
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
}

func TestTokenStaysTheSameAndPrivate(t *testing.T) {
	d := folder.Dir(t.TempDir())
	if _, err := d.ReadToken(); fault.CodeOf(err) != fault.NotRunning {
		t.Fatalf("no token: %v", err)
	}
	first, err := d.MakeToken()
	if err != nil || len(first) != 64 {
		t.Fatalf("token %q, %v", first, err)
	}
	second, err := d.MakeToken()
	if err != nil || second != first {
		t.Fatalf("token changed: %q, %v", second, err)
	}
	read, err := d.ReadToken()
	if err != nil || read != first {
		t.Fatalf("read %q, %v", read, err)
	}
	private(t, d.Token())
}

func TestSocketIsPrivateAndReplacesADeadOne(t *testing.T) {
	for _, name := range []string{"short", strings.Repeat("long", 40)} {
		d := folder.Dir(filepath.Join(t.TempDir(), name))
		if err := d.Make(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			l, err := d.Listen()
			if err != nil {
				t.Fatal(err)
			}
			private(t, d.Socket())
			l.(*net.UnixListener).SetUnlinkOnClose(false) // as after a crash
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(d.Socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func private(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", path, info.Mode().Perm())
	}
}
