package image

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"
)

// where finds the folder that a name is in, following links inside the root, and
// makes what is missing of it if that is wished.
func (a *applier) where(ctx context.Context, name string, missing bool) (parent, base string, err error) {
	if len(name) > maxPath || strings.ContainsRune(name, 0) {
		return "", "", bad("a name of %d bytes, or with NUL in it", len(name))
	}
	clean := path.Clean("/" + name)
	if strings.Count(clean, "/") > maxDepth {
		return "", "", bad("it lies in more than %d folders", maxDepth)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", "", bad("it has .. in its name")
		}
		if len(part) > maxPart {
			return "", "", bad("a part of its name has %d bytes", len(part))
		}
	}
	if clean == "/" {
		return ".", "", nil
	}
	base = path.Base(clean)
	if parent, err = a.follow(ctx, path.Dir(clean), missing); err == nil && len(parent)+1+len(base) > maxPath {
		err = bad("links make its name one of %d bytes", len(parent)+1+len(base))
	}
	return parent, base, err
}

// follow resolves a folder's name to one without links, as if the root were /. That one
// may be no longer and lie no deeper than a name in the layer: each look at a name
// costs in every folder on its way.
func (a *applier) follow(ctx context.Context, name string, missing bool) (string, error) {
	at, rest, links := ".", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		if err := on(ctx); err != nil {
			return "", err
		}
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..": // of a link
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		if strings.Count(next, "/")+1 >= maxDepth {
			return "", bad("links lead into more than %d folders", maxDepth)
		}
		if len(next) > maxPath {
			return "", bad("links lead to a name of %d bytes", len(next))
		}
		info, err := a.root.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist) && missing:
			if err := a.root.Mkdir(next, 0o755); err != nil {
				return "", onDisk(err)
			}
			if err := a.another(); err != nil {
				return "", err
			}
			a.folders.at(next).set(0o755, time.Unix(0, 0))
			if err := a.remember(next); err != nil {
				return "", err
			}
		case err != nil:
			return "", onDisk(err)
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", bad("links lead in circles")
			}
			to, err := a.root.Readlink(next)
			if err != nil {
				return "", onDisk(err)
			}
			if path.IsAbs(to) {
				at = "."
			}
			rest = append(strings.Split(to, "/"), rest...)
			if len(rest) > maxPath {
				return "", bad("links lead too far")
			}
			continue
		case !info.IsDir():
			return "", bad("%.300q isn't a folder", next)
		}
		at = next
	}
	return at, nil
}
