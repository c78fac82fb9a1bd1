package image

import (
	"archive/tar"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"
)

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
	auxiliar = ".wh..wh." // of a filesystem that nobody uses any more
)

// white hides what lower layers have.
func (a *applier) white(ctx context.Context, parent, base string) error {
	switch {
	case base == opaque:
		return a.empty(ctx, parent)
	case strings.HasPrefix(base, auxiliar):
		return nil
	}
	name := strings.TrimPrefix(base, whiteout)
	if name == "" || name == "." || name == ".." {
		return bad("it hides nothing")
	}
	name = path.Join(parent, name)
	if _, is := a.made[name]; !is {
		return a.drop(name)
	}
	switch info, err := a.root.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist): // its folder has been replaced since
		return nil
	case err != nil:
		return onDisk(err)
	case info.IsDir():
		return a.renew(ctx, name)
	}
	return nil
}

// renew makes a folder of this layer what it is without those below.
func (a *applier) renew(ctx context.Context, dir string) error {
	if !a.made[dir] { // it was only on the way to another
		a.folders.at(dir).set(0o755, time.Unix(0, 0))
		if err := a.own(dir, &tar.Header{}); err != nil {
			return onDisk(err)
		}
	}
	return a.empty(ctx, dir)
}

// empty removes from a folder what this layer hasn't made.
func (a *applier) empty(ctx context.Context, dir string) error {
	if a.bare[dir] {
		return nil
	}
	if err := errors.Join(on(ctx), a.named(dir)); err != nil {
		return err
	}
	a.bare[dir] = true
	f, err := a.root.Open(dir)
	if err != nil {
		return onDisk(err)
	}
	list, err := f.ReadDir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return onDisk(err)
	}
	for _, e := range list {
		name := path.Join(dir, e.Name())
		_, is := a.made[name]
		switch {
		case !is:
			err = a.drop(name)
		case e.IsDir():
			err = a.renew(ctx, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
