package cli

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"

	"hearth/core/fault"
)

const (
	maxBehind = 1 << 20  // bytes behind an archive's end, where a tar fills up a block
	maxLinks  = 64 << 20 // bytes of symbolic links' names and targets, which wait in memory
)

// An unpacking writes what is called base in an archive below root, under the name as.
// The archive is a stranger's: nothing leaves root, nothing has a name that moves a
// terminal's cursor, and nothing is written through a symbolic link, of this archive or
// of one before. Its links come last, and lead to places in what is copied.
type unpacking struct {
	root     *os.Root
	base, as string
	links    []symlink
	linked   map[string]int // links by place, in links
	held     int            // bytes of links
	left     int            // links that were left out
}

// A symlink waits for the archive's end.
type symlink struct{ place, target string }

// unpackTar gives how many symbolic links were left out.
func unpackTar(from io.Reader, root *os.Root, base, as string) (left int, err error) {
	u := &unpacking{root: root, base: base, as: as, linked: map[string]int{}}
	t := tar.NewReader(from)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("copy: read archive: %w", err)
		}
		if err := u.entry(h, t); err != nil {
			return 0, err
		}
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(from, maxBehind+1)); err != nil {
		return 0, err
	} else if n > maxBehind {
		return 0, fault.New(fault.BadFrame, "copy: more than %d bytes come behind the archive's end", maxBehind)
	}
	for _, l := range u.links {
		if l.target == "" {
			continue // a file has taken its place
		}
		if err := u.link(l.place, func() error { return root.Symlink(l.target, l.place) }); err != nil {
			return 0, err
		}
	}
	return u.left, nil
}

func (u *unpacking) entry(h *tar.Header, content io.Reader) error {
	to, err := u.place(h.Name)
	if err != nil {
		return err
	}
	if at, there := u.linked[to]; there { // the later one counts
		u.links[at].target = ""
		delete(u.linked, to)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(to)
	case tar.TypeReg:
		return u.file(to, content, fs.FileMode(h.Mode).Perm())
	case tar.TypeSymlink:
		return u.symlink(to, h.Linkname)
	case tar.TypeLink:
		other, err := u.place(h.Linkname)
		if err != nil {
			return err
		}
		if at, there := u.linked[other]; there { // another name of a symbolic link
			return u.symlink(to, u.links[at].target)
		}
		if other == to {
			return fault.New(fault.BadFrame, "copy: the archive has %q as a link to itself", fault.Brief(h.Name))
		}
		if info, err := u.root.Lstat(other); err == nil && !info.Mode().IsRegular() {
			return fault.New(fault.BadFrame, "copy: the archive has %q as another name of what is no file", fault.Brief(h.Name))
		}
		if err := u.within(other); err != nil {
			return err
		}
		return u.link(to, func() error { return u.root.Link(other, to) })
	}
	return nil // a device: nothing that is copied
}

// place is where a name of the archive goes.
func (u *unpacking) place(name string) (string, error) {
	rest, ok := strings.CutPrefix(path.Clean(name), u.base)
	switch {
	case !ok || rest != "" && rest[0] != '/':
		return "", fault.New(fault.BadFrame, "copy: the archive has %q, which wasn't asked for", fault.Brief(name))
	case strings.ContainsFunc(rest, unicode.IsControl):
		return "", fault.New(fault.BadFrame, "copy: the archive has %q, whose name has control characters", fault.Brief(name))
	}
	return filepath.FromSlash(u.as + rest), nil
}

// within refuses a place that a symbolic link leads to, below the folder that is copied.
func (u *unpacking) within(place string) error {
	for dir := filepath.Dir(place); len(dir) > len(u.as); dir = filepath.Dir(dir) {
		info, err := u.root.Lstat(dir)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fault.New(fault.BadFrame, "copy: %s would be written through %s, which is no folder", place, dir)
		}
	}
	return nil
}

func (u *unpacking) folder(to string) error {
	if err := u.within(to); err != nil {
		return err
	}
	err := u.root.Mkdir(to, 0o755)
	if !errors.Is(err, fs.ErrExist) || to == u.as { // what a person has named may be a link of his
		return ignore(err, fs.ErrExist)
	}
	if info, lerr := u.root.Lstat(to); lerr != nil || info.Mode()&fs.ModeSymlink == 0 {
		return lerr
	}
	if err := u.root.Remove(to); err != nil {
		return err
	}
	return u.root.Mkdir(to, 0o755)
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

func (u *unpacking) file(to string, from io.Reader, mode fs.FileMode) error {
	if err := u.within(to); err != nil {
		return err
	}
	if info, err := u.root.Lstat(to); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if err := u.root.Remove(to); err != nil {
			return err
		}
	}
	f, err := u.root.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode|0o200)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// symlink notes a link for the end, or leaves it out where it leads elsewhere.
func (u *unpacking) symlink(to, target string) error {
	if to == u.as {
		return fault.New(fault.NotFound, "copy: %s is a symbolic link to %q; name that", u.base, fault.Brief(target))
	}
	if !u.inside(to, target) {
		u.left++
		return nil
	}
	if u.held += len(to) + len(target); u.held > maxLinks {
		return fault.New(fault.TooLarge, "copy: symbolic links of more than %d bytes", maxLinks)
	}
	u.linked[to] = len(u.links)
	u.links = append(u.links, symlink{to, target})
	return nil
}

// inside says whether a link at a place leads to what is copied. It first goes up, then
// down: what goes up after it went down could have gone down through another link.
func (u *unpacking) inside(place, target string) bool {
	if target == "" || target[0] == '/' || strings.ContainsFunc(target, unicode.IsControl) {
		return false
	}
	down := false
	for _, part := range strings.Split(target, "/") {
		if part == ".." && down {
			return false
		}
		down = down || part != ".." && part != "." && part != ""
	}
	leads := path.Join(path.Dir(filepath.ToSlash(place)), target)
	return leads == u.as || strings.HasPrefix(leads, u.as+"/")
}

// link gives a file or a target a name, in place of what is called so.
func (u *unpacking) link(name string, create func() error) error {
	if err := u.within(name); err != nil {
		return err
	}
	err := create()
	if errors.Is(err, fs.ErrExist) {
		if info, lerr := u.root.Lstat(name); lerr == nil && info.IsDir() {
			return err
		}
		if err = u.root.Remove(name); err == nil {
			err = create()
		}
	}
	return err
}
