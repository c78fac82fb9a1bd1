package node_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"hearth/core/fault"
	"hearth/node"
)

// furnished is a node's folder with an identity and some data.
func furnished(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "old")
	for path, content := range map[string]string{
		"identity": "words", "config.toml": "network = \"x\"", "data/shards/volumes/00000001.volume": "shards", "data/shards/ballast": "air",
		"data/market/sold.journal": "statements",
	} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func reads(t *testing.T, dir, path, want string) {
	t.Helper()
	if b, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(b) != want {
		t.Errorf("%s is %q: %v", path, b, err)
	}
}

func code(t *testing.T, what string, err error, want fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != want {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

// Once a node has moved, the old folder runs no more.
func TestANodeMovesAndLivesInOnePlace(t *testing.T) {
	old := furnished(t)
	rootfs := filepath.Join(old, "data/instances/images/images/ab/rootfs")
	if err := os.MkdirAll(rootfs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("busybox", filepath.Join(rootfs, "sh")); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "new")
	if err := node.Move(context.Background(), node.MoveConfig{Dir: old, To: to}); err != nil {
		t.Fatal(err)
	}
	reads(t, to, "identity", "words")
	reads(t, to, "data/shards/volumes/00000001.volume", "shards")
	if _, err := os.Stat(filepath.Join(to, "data/shards/ballast")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the ballast came along as a file of holes")
	}
	if _, err := os.Stat(filepath.Join(to, "data/instances/images")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("images came along, which can be fetched")
	}
	reads(t, old, "identity", "words") // untouched
	code(t, "start the old one", node.Run(context.Background(), node.Config{Dir: old}), fault.Moved)
	if err := node.CheckHere(to); err != nil {
		t.Error("the new one:", err)
	}
	code(t, "move it elsewhere", node.Move(context.Background(), node.MoveConfig{Dir: old, To: to + "2"}), fault.Moved)
	if err := node.Move(context.Background(), node.MoveConfig{Dir: old, To: to}); err != nil {
		t.Error("said again:", err)
	}
	code(t, "take it back while the copy is there", node.TakeBack(old), fault.Exists)
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := node.TakeBack(old); err != nil {
		t.Fatal(err)
	}
	code(t, "back", node.CheckHere(old), "")
	code(t, "back twice", node.TakeBack(old), fault.NotFound)
}

// Cut off between the two steps at the end, neither folder runs; to say it again
// ends the move.
func TestAMoveThatWasCutOffAtTheEndIsEnded(t *testing.T) {
	old := furnished(t)
	to := filepath.Join(t.TempDir(), "new")
	if err := node.Move(context.Background(), node.MoveConfig{Dir: old, To: to}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to, to+".part"); err != nil {
		t.Fatal(err)
	}
	code(t, "take it back", node.TakeBack(old), fault.Exists)
	code(t, "the old one", node.CheckHere(old), fault.Moved)
	if err := node.Move(context.Background(), node.MoveConfig{Dir: old, To: to}); err != nil {
		t.Fatal(err)
	}
	reads(t, to, "identity", "words")
}

func TestAMoveThatCannotBeIsRefused(t *testing.T) {
	old := furnished(t)
	unlock, err := node.Lock(old)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "new")
	move := func(to string) error {
		return node.Move(context.Background(), node.MoveConfig{Dir: old, To: to})
	}
	code(t, "a node that runs", move(to), fault.AlreadyRunning)
	unlock()
	code(t, "into itself", move(filepath.Join(old, "data", "new")), fault.BadRequest)
	code(t, "onto a folder that is there", move(t.TempDir()), fault.Exists)
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if err := node.Move(stopped, node.MoveConfig{Dir: old, To: to}); err == nil {
		t.Error("it went on after it was stopped")
	}
	code(t, "the old one, after a move that was stopped", node.CheckHere(old), "")
	code(t, "a folder without a node", node.Move(context.Background(), node.MoveConfig{Dir: t.TempDir(), To: to}), fault.NoIdentity)
}

func TestANodeGoesToAnotherMachine(t *testing.T) {
	old := furnished(t)
	var stream bytes.Buffer
	if err := node.Export(context.Background(), node.MoveConfig{Dir: old}, &stream); err != nil {
		t.Fatal(err)
	}
	code(t, "the old one", node.CheckHere(old), fault.Moved)
	code(t, "a second time", node.Export(context.Background(), node.MoveConfig{Dir: old}, &stream), fault.Moved)
	to := filepath.Join(t.TempDir(), "there", "new")
	if err := node.Import(context.Background(), &stream, to); err != nil {
		t.Fatal(err)
	}
	reads(t, to, "data/market/sold.journal", "statements")
	code(t, "the new one", node.CheckHere(to), "")
	code(t, "over it", node.Import(context.Background(), &stream, to), fault.IdentityExists)
	if err := node.TakeBack(old); err != nil {
		t.Error(err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("the line is cut") }

func TestAnExportThatBreaksOffChangesNothing(t *testing.T) {
	old := furnished(t)
	if err := node.Export(context.Background(), node.MoveConfig{Dir: old}, broken{}); err == nil {
		t.Fatal("nobody noticed")
	}
	code(t, "the old one", node.CheckHere(old), "")
}
