package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lukechampine.com/blake3"

	"hearth/chain"
	"hearth/compute/sandbox"
	"hearth/core/fault"
	"hearth/internal/carry"
	"hearth/internal/durable"
)

// A move takes a node's folder elsewhere, identity and data, so that never two of
// them run: the copy is made whole beside its place, then the old folder says that
// it has moved and runs no more, then the copy gets its place. Whatever cuts it off,
// to say it again goes on, and at no time can both be started.

// movedMark is in a folder that has moved away.
type movedMark struct {
	Version int       `json:"version"`
	To      string    `json:"to"` // a folder, or what the owner was told
	At      time.Time `json:"at"`
}

const (
	movedVersion = 1
	// what instances have to end by themselves, and until that has failed
	instancesGrace = 10 * time.Second
	instancesEnd   = time.Minute
	exported       = "another machine"
)

func movedPath(dir string) string { return filepath.Join(dir, "moved") }

// CheckHere refuses a folder whose node lives elsewhere now.
func CheckHere(dir string) error {
	m, err := readMoved(dir)
	if err != nil || m == nil {
		return err
	}
	return fault.New(fault.Moved, "open %s: this node moved to %s on %s", dir, m.To, m.At.UTC().Format(time.DateTime))
}

func readMoved(dir string) (*movedMark, error) {
	b, err := os.ReadFile(movedPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look whether the node has moved: %w", err)
	}
	var m movedMark
	if err := json.Unmarshal(b, &m); err != nil || m.Version != movedVersion {
		return nil, fault.New(fault.UnknownFormat, "read %s: %.80q", movedPath(dir), b)
	}
	return &m, nil
}

func markMoved(dir, to string) error {
	b, err := json.Marshal(movedMark{movedVersion, to, time.Now()})
	if err != nil {
		return err
	}
	return durable.Write(movedPath(dir), append(b, '\n'), 0o600)
}

// A MoveConfig says what is moved where.
type MoveConfig struct {
	Dir  string
	To   string                  // a folder that isn't there yet
	Tell func(done, total int64) // bytes; may be nil
}

// Move takes the folder to another place on this machine: a new disk, or one that
// will be carried away. The node mustn't run.
func Move(ctx context.Context, c MoveConfig) (err error) {
	to, err := filepath.Abs(c.To)
	if err != nil {
		return err
	}
	from, name, leave, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer leave()
	part := to + ".part"
	mark, err := readMoved(from)
	switch {
	case err != nil:
		return err
	case mark != nil && mark.To != to:
		return CheckHere(from)
	case mark != nil: // cut off at the end
		return takePlace(part, to)
	case liesIn(to, from):
		return fault.New(fault.BadRequest, "move %s to %s: one would lie in the other", from, to)
	}
	if _, err := os.Lstat(to); err == nil {
		return fault.New(fault.Exists, "move to %s: it is there already; name a new folder, like %s", to, filepath.Join(to, "hearth"))
	}
	if err := carry.Folder(ctx, carry.Config{From: from, To: part, Name: name, Skip: staysBehind, Tell: c.Tell}); err != nil {
		return fmt.Errorf("move to %s: %w", to, err)
	}
	if err := markMoved(from, to); err != nil {
		return fmt.Errorf("move to %s: %w", to, err)
	}
	return takePlace(part, to)
}

// begin locks the folder, ends the instances that run there, and gives it a name that
// no other has.
func (c MoveConfig) begin(ctx context.Context) (from, name string, leave func(), err error) {
	if from, err = filepath.Abs(c.Dir); err != nil {
		return "", "", nil, err
	}
	if leave, err = Lock(from); err != nil {
		return "", "", nil, err
	}
	b, err := os.ReadFile(keystore(from))
	if err != nil {
		leave()
		return "", "", nil, fault.New(fault.NoIdentity, "move %s: %w", from, err)
	}
	ctx, cancel := context.WithTimeout(ctx, instancesEnd)
	defer cancel()
	if err := sandbox.EndAll(ctx, Sandboxes(from), instancesGrace); err != nil { // they outlive the node
		leave()
		return "", "", nil, fmt.Errorf("move %s: end its instances: %w", from, err)
	}
	sum := blake3.Sum256(b)
	return from, hex.EncodeToString(sum[:16]), leave, nil
}

// staysBehind are files that belong to a process, or that the copy makes anew: images
// are fetched again, and instances run anew when their clients start them.
func staysBehind(path string) bool {
	switch path {
	case "hearth.pid", "moved", "data/shards/lock", "data/shards/ballast", "data/shards/probe", "data/instances/images", "data/instances/sandboxes":
		return true
	}
	return false
}

func liesIn(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// takePlace gives a whole copy its name.
func takePlace(part, to string) error {
	if err := os.Rename(part, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("move to %s: %w", to, err)
	}
	if err := durable.SyncDir(filepath.Dir(to)); err != nil {
		return fmt.Errorf("move to %s: %w", to, err)
	}
	return carry.Finish(to)
}

// Export writes the folder as a stream for Import on another machine. From then on
// the node doesn't run here any more: whether the stream arrived can't be known.
func Export(ctx context.Context, c MoveConfig, w io.Writer) error {
	from, name, leave, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := CheckHere(from); err != nil {
		return err
	}
	if err := markMoved(from, exported); err != nil { // before: what was sent might run at once
		return fmt.Errorf("export %s: %w", from, err)
	}
	err = carry.Pack(ctx, carry.Config{From: from, Name: name, Skip: staysBehind, Tell: c.Tell}, w)
	if err != nil {
		return errors.Join(fmt.Errorf("export %s: %w", from, err), os.Remove(movedPath(from))) // nobody has a whole one
	}
	return nil
}

// Import makes the folder of what Export has written.
func Import(ctx context.Context, r io.Reader, dir string) error {
	to, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return fault.New(fault.IdentityExists, "import into %s: it is there already", to)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return carry.Unpack(ctx, r, to)
}

// TakeBack has a node run again in the folder that it moved away from. Its owner
// says that the copy is gone and never ran; one that is seen is refused.
func TakeBack(dir string) error {
	leave, err := Lock(dir)
	if err != nil {
		return err
	}
	defer leave()
	m, err := readMoved(dir)
	if err != nil {
		return err
	}
	if m == nil {
		return fault.New(fault.NotFound, "take the node back to %s: it hasn't moved", dir)
	}
	for _, path := range []string{m.To, m.To + ".part"} {
		if _, err := os.Lstat(path); m.To != exported && err == nil {
			return fault.New(fault.Exists, "take the node back to %s: its copy is at %s", dir, path)
		}
	}
	if err := os.Remove(movedPath(dir)); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// elsewhere is called when the ledger says where this host answers. Where that isn't
// what this run has told, a copy of it runs elsewhere: the one that came later stays,
// this one ends before both sign statements.
func (s *selling) elsewhere(ctx context.Context, endpoints []string) {
	ours := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.known || s.said[strings.Join(endpoints, " ")]
	}
	if ours() {
		return
	}
	h, err := s.n.ledger.Host(ctx, s.n.address())
	if err != nil || h.EndpointsHash != chain.EndpointsHash(endpoints) || ours() {
		return // not proved, or changed again since
	}
	s.n.halt(fault.New(fault.Moved, "this host has told the ledger that it answers at %s: a copy of it runs there, and this one ends", strings.Join(endpoints, ", ")))
}
