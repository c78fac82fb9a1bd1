package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"hearth/core/fault"
)

const (
	maxPath  = 4096
	maxPart  = 255
	maxDepth = 128       // of folders
	maxLinks = 40        // followed for one name
	maxNames = 256 << 20 // bytes of a layer's names that are remembered
)

// An applier puts layers on each other in a folder. Names are looked up as if that
// folder were the root: a link never leads out of it, neither by our own rules nor by
// those of os.Root below them.
type applier struct {
	root    *os.Root
	limits  Limits
	owners  bool              // set as the layers say; only root may
	take    func(int64) error // asked before so many bytes are written
	entries int
	read    int64           // bytes of archives
	written int64           // bytes of files, and of entries for themselves
	names   int             // bytes of made and bare
	made    map[string]bool // by this layer; true: by an entry of its own
	bare    map[string]bool // folders without anything of lower layers
	folders folder          // whose mode and time are set at the end
}

type folder struct {
	mode  os.FileMode
	time  time.Time
	below map[string]*folder
}

// at is the folder of that name below f, made if it isn't there.
func (f *folder) at(name string) *folder {
	if name == "." {
		return f
	}
	for part := range strings.SplitSeq(name, "/") {
		next := f.below[part]
		if next == nil {
			if f.below == nil {
				f.below = map[string]*folder{}
			}
			next = &folder{}
			f.below[part] = next
		}
		f = next
	}
	return f
}

// forget drops what is known of a name and what is below.
func (f *folder) forget(name string) {
	dir, base := path.Split(name)
	for part := range strings.SplitSeq(strings.TrimSuffix(dir, "/"), "/") {
		if part == "" {
			break
		}
		if f = f.below[part]; f == nil {
			return
		}
	}
	delete(f.below, base)
}

func (f *folder) set(mode os.FileMode, at time.Time) { f.mode, f.time = mode, at }

func newApplier(root *os.Root, l Limits, owners bool, take func(int64) error) *applier {
	return &applier{root: root, limits: l, owners: owners, take: take, folders: folder{mode: 0o755, time: time.Unix(0, 0)}}
}

// spend counts bytes that are about to be written.
func (a *applier) spend(n int64) error {
	if n > a.limits.Unpacked-a.written {
		return fault.New(fault.TooLarge, "more than %d bytes of files, with %d for each entry", a.limits.Unpacked, perEntry)
	}
	if err := a.take(n); err != nil {
		return err
	}
	a.written += n
	return nil
}

// another counts an entry.
func (a *applier) another() error {
	if a.entries++; a.entries > a.limits.Entries {
		return fault.New(fault.TooLarge, "more than %d files and folders", a.limits.Entries)
	}
	return a.spend(perEntry)
}

// on says that nobody has given up.
func on(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Interrupted, "%w", err)
	}
	return nil
}

// apply puts a layer on what is there.
func (a *applier) apply(ctx context.Context, layer io.Reader) error {
	a.made, a.bare, a.names = map[string]bool{}, map[string]bool{}, 0
	r := tar.NewReader(layer)
	for {
		if err := on(ctx); err != nil {
			return err
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return ofTar(err)
		}
		if err := a.another(); err != nil {
			return err
		}
		if err := a.entry(ctx, h, r); err != nil {
			return fmt.Errorf("%.300q: %w", h.Name, err)
		}
	}
}

// ofTar marks an error of the archive's form.
func ofTar(err error) error {
	var told *fetchError
	if errors.As(err, &told) || isForm(err) {
		return err
	}
	return form{err}
}

// entry makes what one header says.
func (a *applier) entry(ctx context.Context, h *tar.Header, from io.Reader) error {
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo: // a container gets devices from its engine
		return nil
	}
	parent, base, err := a.where(ctx, h.Name, true)
	if err != nil {
		return err
	}
	if base == "" { // the root itself
		if h.Typeflag != tar.TypeDir {
			return bad("the root isn't a folder")
		}
		a.folders.set(modeOf(h), timeOf(h))
		return a.own(".", h)
	}
	if strings.HasPrefix(base, whiteout) {
		return a.white(ctx, parent, base)
	}
	name := path.Join(parent, base)
	if err := a.clear(name, h.Typeflag == tar.TypeDir); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		err = a.folder(name, h)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		err = a.file(ctx, name, h, from)
	case tar.TypeSymlink:
		if len(h.Linkname) > maxPath || h.Linkname == "" || strings.ContainsRune(h.Linkname, 0) {
			return bad("a link to %.100q", h.Linkname)
		}
		if err = a.root.Symlink(h.Linkname, name); err == nil {
			err = a.own(name, h)
		}
	case tar.TypeLink:
		err = a.link(ctx, name, h.Linkname)
	default:
		return bad("an entry of type %q", h.Typeflag)
	}
	if err != nil {
		return onDisk(err)
	}
	if err := a.remember(name); err != nil {
		return err
	}
	a.made[name] = true
	return nil
}

// remember notes that this layer has made name: its own whiteouts don't hide it.
func (a *applier) remember(name string) error {
	for ; name != "."; name = path.Dir(name) {
		if _, is := a.made[name]; is {
			break
		}
		if err := a.named(name); err != nil {
			return err
		}
		a.made[name] = false
	}
	return nil
}

// named counts a name that is remembered.
func (a *applier) named(name string) error {
	if a.names += len(name) + 16; a.names > maxNames {
		return fault.New(fault.TooLarge, "a layer's names have more than %d bytes", maxNames)
	}
	return nil
}

// clear makes room for an entry; a folder stays where a folder comes.
func (a *applier) clear(name string, isDir bool) error {
	info, err := a.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return onDisk(err)
	case info.IsDir() && isDir:
		return nil
	}
	return a.drop(name)
}

// drop removes what is there, with all that is below.
func (a *applier) drop(name string) error {
	if err := a.root.RemoveAll(name); err != nil {
		return onDisk(err)
	}
	a.folders.forget(name)
	return nil
}

func (a *applier) folder(name string, h *tar.Header) error {
	if err := a.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	a.folders.at(name).set(modeOf(h), timeOf(h))
	return a.own(name, h)
}

// counted is a file that counts what is written to it: one with holes may have more
// than its archive.
type counted struct {
	ctx context.Context
	a   *applier
	f   *os.File
}

func (c counted) Write(b []byte) (int, error) {
	if err := on(c.ctx); err != nil {
		return 0, err
	}
	if err := c.a.spend(int64(len(b))); err != nil {
		return 0, err
	}
	return c.f.Write(b)
}

func (a *applier) file(ctx context.Context, name string, h *tar.Header, from io.Reader) (err error) {
	f, err := a.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(counted{ctx, a, f}, struct{ io.Reader }{from}); err != nil {
		var disk *fs.PathError
		var coded *fault.Error
		if errors.As(err, &disk) || errors.As(err, &coded) {
			return err
		}
		return ofTar(err)
	}
	if err := a.own(name, h); err != nil {
		return err
	}
	if err := f.Chmod(modeOf(h)); err != nil {
		return err
	}
	return a.root.Chtimes(name, timeOf(h), timeOf(h))
}

// link makes another name of a file. It isn't followed if it is a symbolic one.
func (a *applier) link(ctx context.Context, name, to string) error {
	parent, base, err := a.where(ctx, to, false)
	if errors.Is(err, fs.ErrNotExist) {
		return bad("a link to %.300q, which isn't there", to)
	}
	if err != nil {
		return err
	}
	at := path.Join(parent, base)
	info, err := a.root.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return bad("a link to %.300q, which isn't there", to)
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0: // not every system has links of those
		to, err := a.root.Readlink(at)
		if err != nil {
			return err
		}
		return a.root.Symlink(to, name)
	case !info.Mode().IsRegular():
		return bad("a link to %.300q, which isn't a file", to)
	}
	return a.root.Link(at, name)
}

// modeOf are all twelve bits that the layer names; its owner here, the node, can
// always read it.
func modeOf(h *tar.Header) os.FileMode {
	mode := os.FileMode(h.Mode&0o777) | 0o400
	if h.Typeflag == tar.TypeDir {
		mode |= 0o500
	}
	for bit, as := range map[int64]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if h.Mode&bit != 0 {
			mode |= as
		}
	}
	return mode
}

// timeOf is a file's time, or the beginning of time where a disk may not know it.
func timeOf(h *tar.Header) time.Time {
	if t := h.ModTime.Unix(); t < 0 || t > 1<<32 {
		return time.Unix(0, 0)
	}
	return h.ModTime
}

const maxOwner = 1<<31 - 1

func (a *applier) own(name string, h *tar.Header) error {
	if !a.owners {
		return nil
	}
	if h.Uid < 0 || h.Gid < 0 || h.Uid > maxOwner || h.Gid > maxOwner {
		return bad("it belongs to %d:%d", h.Uid, h.Gid)
	}
	return a.root.Lchown(name, h.Uid, h.Gid)
}

// finish sets what was left for the end, as nobody could write into the folders then.
func (a *applier) finish(ctx context.Context) error { return a.settle(ctx, ".", &a.folders) }

func (a *applier) settle(ctx context.Context, name string, f *folder) error {
	if err := on(ctx); err != nil {
		return err
	}
	for part, below := range f.below {
		if err := a.settle(ctx, path.Join(name, part), below); err != nil {
			return err
		}
	}
	if f.mode == 0 {
		return nil // only on the way to another
	}
	if err := a.root.Chmod(name, f.mode); err != nil {
		return onDisk(err)
	}
	return onDisk(a.root.Chtimes(name, f.time, f.time))
}
