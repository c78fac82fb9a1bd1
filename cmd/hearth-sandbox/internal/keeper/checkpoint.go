//go:build linux && (amd64 || arm64)

package keeper

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/control/client"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/pkg/state/statefile"
	"gvisor.dev/gvisor/pkg/urpc"
	"gvisor.dev/gvisor/runsc/boot"

	"hearth/cmd/hearth-sandbox/internal/checkpoint"
	"hearth/compute/sandbox/wire"
	"hearth/core/fault"
	"hearth/internal/durable"
)

// spare is what must be left of the disk beside a checkpoint.
const spare = 64 << 20

// A note stands before what gVisor writes: what it doesn't know of an instance.
type note struct {
	ID      string
	Sandbox string            // what wrote it: no other version reads it
	Secrets map[string][]byte // they lie in memory, so they would be gone
}

// checkpoint writes all that the instance is into its folder and ends it. Until the
// file is whole the instance is only held: when anything fails, or ctx ends, nothing
// is left of the file and it goes on.
func (k *keeper) checkpoint(ctx context.Context, key []byte) (err error) {
	k.holding.Lock()
	defer k.holding.Unlock()
	phase := k.now().Phase
	if phase == wire.Ended {
		return fault.New(fault.NotFound, "suspend %s: it has ended", k.launch.ID)
	}
	if phase == wire.Running {
		if err := k.change(k.container.Pause); err != nil {
			return fault.New(fault.SandboxFailed, "suspend %s: hold it: %w", k.launch.ID, err)
		}
		defer func() {
			if err == nil || k.over() {
				return
			}
			if rerr := k.change(k.container.Resume); rerr != nil {
				k.log.Error("go on after a checkpoint that failed", "err", rerr)
			}
		}()
	}
	path := filepath.Join(k.folder, wire.Checkpoint)
	if err := k.writeCheckpoint(ctx, path, key); err != nil {
		return fault.New(codeOf(err), "suspend %s: %w", k.launch.ID, err)
	}
	k.mu.Lock()
	first := k.ending == ""
	if first {
		k.ending = wire.Checkpointed
	}
	k.mu.Unlock()
	if !first {
		return errors.Join(fault.New(fault.Busy, "suspend %s: it is being ended", k.launch.ID), os.Remove(path))
	}
	k.end(wire.Checkpointed)
	<-k.ended
	return nil
}

// tidy removes what a checkpoint that was cut off has left.
func (k *keeper) tidy() error {
	return gone(os.Remove(filepath.Join(k.folder, wire.Checkpoint+wire.Unfinished)))
}

// spend removes the checkpoint of an instance that runs: it has been gone on from, or
// given up, and must never be gone on from again.
func (k *keeper) spend() error {
	if err := gone(os.Remove(filepath.Join(k.folder, wire.Checkpoint))); err != nil {
		return err
	}
	return durable.SyncDir(k.folder)
}

func gone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func codeOf(err error) fault.Code {
	switch {
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return fault.DiskFull
	case fault.CodeOf(err) != fault.Internal:
		return fault.CodeOf(err)
	}
	return fault.SandboxFailed
}

// writeCheckpoint puts the file at path once it is whole and on the disk.
func (k *keeper) writeCheckpoint(ctx context.Context, path string, key []byte) (err error) {
	if err := k.room(); err != nil {
		return err
	}
	f, err := os.OpenFile(path+wire.Unfinished, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	s := k.launch.Spec
	w, err := checkpoint.NewWriter(&bounded{f, s.Memory + s.Disk + overhead + wire.MaxMessage}, key)
	if err != nil {
		return fault.New(fault.BadRequest, "%w", err)
	}
	if err := k.writeNote(w); err != nil {
		return err
	}
	if err := k.pour(ctx, w); err != nil {
		return err
	}
	if err := errors.Join(w.Close(), f.Sync(), ctx.Err()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	if err := durable.SyncDir(k.folder); err != nil { // it goes on, so there is none
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// room says whether the disk takes what the instance has now.
func (k *keeper) room() error {
	var st unix.Statfs_t
	if err := unix.Statfs(k.folder, &st); err != nil {
		return err
	}
	pid := k.process.Pid
	need := sizeOf(memfds(pid)) + sizeOf(opened(pid, filepath.Join(k.folder, wire.Disk)+"/")) + spare
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return fault.New(fault.DiskFull, "its memory and files take %d bytes, the host's disk has %d left", need, free)
	}
	return nil
}

func (k *keeper) writeNote(w io.Writer) error {
	n := note{ID: k.launch.ID, Sandbox: version(), Secrets: map[string][]byte{}}
	dir := filepath.Join(k.private, secretsFolder)
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if n.Secrets[name.Name()], err = os.ReadFile(filepath.Join(dir, name.Name())); err != nil {
			return err
		}
	}
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	defer clear(text)
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

// readNote reads it, and says where what gVisor wrote begins.
func readNote(r *checkpoint.Reader) (n note, from int64, err error) {
	var b [4]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return n, 0, err
	}
	length := int64(binary.BigEndian.Uint32(b[:]))
	if length > 2*wire.MaxMessage || length > r.Size()-int64(len(b)) {
		return n, 0, checkpoint.ErrDamaged
	}
	text := make([]byte, length)
	defer clear(text)
	if _, err := r.ReadAt(text, int64(len(b))); err != nil {
		return n, 0, err
	}
	return n, int64(len(b)) + length, json.Unmarshal(text, &n)
}

// pour has the sandbox write its state into a pipe, and passes it on. The sandbox gets
// no file that it could write more to than is let through.
func (k *keeper) pour(ctx context.Context, w io.Writer) error {
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	defer from.Close()
	defer to.Close()
	_, _ = unix.FcntlInt(to.Fd(), unix.F_SETPIPE_SZ, 1<<20) // fewer turns, where it is allowed
	stop := context.AfterFunc(ctx, func() { from.Close() })
	defer stop()
	poured := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, from)
		from.Close() // the sandbox is told, and gives up
		poured <- err
	}()
	err = k.ask(boot.ContMgrCheckpoint, &control.SaveOpts{
		Metadata:    statefile.CompressionLevelNone.ToMetadata(),
		Resume:      true, // whatever becomes of the file: it is this keeper who ends it
		FilePayload: urpc.FilePayload{Files: []*os.File{to}},

		AppMFExcludeCommittedZeroPages: true,
	})
	to.Close()
	werr := <-poured
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case werr != nil:
		return werr // it is why the sandbox failed
	}
	return err
}

// ask calls the sandbox.
func (k *keeper) ask(method string, arg any) error {
	c, err := client.ConnectTo(k.sandbox.GetControlSocketPath())
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Call(method, arg, nil)
}

// bounded lets so many bytes through and no more.
type bounded struct {
	w    io.Writer
	left uint64
}

func (b *bounded) Write(p []byte) (int, error) {
	if uint64(len(p)) > b.left {
		return 0, errors.New("it has more than its memory and disk")
	}
	b.left -= uint64(len(p))
	return b.w.Write(p)
}

// version is that of the sandbox, whose memory no other version understands.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == "gvisor.dev/gvisor" {
			return m.Version
		}
	}
	return "unknown"
}

// opened are the open files of a process whose names begin so.
func opened(pid int, name string) []string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []string
	for _, fd := range fds {
		path := filepath.Join(dir, fd.Name())
		if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, name) {
			all = append(all, path)
		}
	}
	return all
}

// fits says whether an instance can go on from what the note is of.
func (n note) fits(id string) error {
	switch {
	case n.ID != id:
		return fmt.Errorf("it is that of %.80q", n.ID)
	case n.Sandbox != version():
		return fmt.Errorf("version %.80q of the sandbox made it, and this is %s", n.Sandbox, version())
	}
	return nil
}
