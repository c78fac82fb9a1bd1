package main

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/sdk"
)

func (a *app) cpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cp FROM TO", Short: "Copy files to or from an instance, which is written NAME:/PATH", Args: cobra.ExactArgs(2),
		Long: `Copies a file or a folder into an instance or out of it. A TO that is a folder, or ends
with a slash, gets it under its own name; else it is the new name. The instance's image
must have a tar. Out of an instance come files and folders; symbolic links and devices in
a folder are left out.`,
		Example: `  hearth cp site/ web:/srv/
  hearth cp web:/var/log/app.log .`,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			defer client.Close()
			from, inside, is := instancePlace(args[0])
			to, target, into := instancePlace(args[1])
			switch {
			case is && !into:
				return copyOut(c.Context(), client, from, inside, args[1])
			case into && !is:
				return copyIn(c.Context(), client, args[0], to, target)
			}
			return fault.New(fault.BadRequest, "copy %s to %s: one of them is in an instance, written NAME:/PATH", args[0], args[1])
		},
	}
}

// instancePlace reads NAME:/PATH.
func instancePlace(s string) (name, inside string, ok bool) {
	name, inside, ok = strings.Cut(s, ":")
	return name, inside, ok && strings.HasPrefix(inside, "/") && !strings.ContainsAny(name, "/.")
}

// A said is what a program inside says beside what was asked for: its first line or
// so is kept, and one that doesn't stop is cut off, since its bytes are paid for.
type said struct {
	kept []byte
	all  int
}

const (
	saidKept = 300
	saidMost = 1 << 20
)

func (s *said) Write(b []byte) (int, error) {
	if s.all += len(b); s.all > saidMost {
		return 0, fault.New(fault.BadFrame, "copy: the program inside says more than %d bytes beside the files", saidMost)
	}
	s.kept = append(s.kept, b[:min(len(b), saidKept-len(s.kept))]...)
	return len(b), nil
}

// inTar runs tar inside an instance.
func inTar(ctx context.Context, client *sdk.Client, name string, args []string, in io.Reader, out io.Writer) error {
	var errs said
	status, err := client.Exec(ctx, name, api.Program{Args: append([]string{"tar"}, args...)}, in, out, &errs, nil)
	if err != nil {
		return err
	}
	if status != 0 {
		return fault.New(fault.NotFound, "copy: tar in %s ended with status %d: %s", name, status, fault.Brief(strings.TrimSpace(string(errs.kept))))
	}
	return nil
}

// copyOut writes what an archive from inside has below the folder of target.
func copyOut(ctx context.Context, client *sdk.Client, name, inside, target string) error {
	inside = path.Clean(inside)
	base := path.Base(inside)
	if base == "/" {
		return fault.New(fault.BadRequest, "copy %s:/: all of an instance, with /proc and /dev, isn't copied; name a folder in it", name)
	}
	dir, as := filepath.Dir(target), filepath.Base(target)
	if info, err := os.Stat(target); err == nil && info.IsDir() || strings.HasSuffix(target, "/") {
		dir, as = target, base
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fault.New(fault.NotFound, "copy to %s: %w", target, err)
	}
	defer root.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := inTar(ctx, client, name, []string{"cf", "-", "-C", path.Dir(inside), "--", base}, nil, w)
		w.CloseWithError(err)
		ended <- err
	}()
	err = unpackTar(r, root, base, as)
	r.CloseWithError(err)
	cancel(err) // a host that has nothing more to say may be silent for long
	if sent := <-ended; err == nil || errors.Is(err, sent) {
		return sent
	}
	return err
}

// maxBehind bounds what comes behind an archive's end, where a tar fills up a block.
const maxBehind = 1 << 20

// unpackTar writes what is called base in an archive under the name as. The archive is
// a stranger's: nothing leaves root, nothing has a name that moves a terminal's cursor,
// and symbolic links aren't made.
func unpackTar(from io.Reader, root *os.Root, base, as string) error {
	t := tar.NewReader(from)
	place := func(name string) (string, error) {
		rest, ok := strings.CutPrefix(path.Clean(name), base)
		switch {
		case !ok || rest != "" && rest[0] != '/':
			return "", fault.New(fault.BadFrame, "copy: the archive has %q, which wasn't asked for", fault.Brief(name))
		case strings.ContainsFunc(rest, unicode.IsControl):
			return "", fault.New(fault.BadFrame, "copy: the archive has %q, whose name has control characters", fault.Brief(name))
		}
		return filepath.FromSlash(as + rest), nil
	}
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			if n, err := io.Copy(io.Discard, io.LimitReader(from, maxBehind+1)); err != nil || n <= maxBehind {
				return err
			}
			return fault.New(fault.BadFrame, "copy: more than %d bytes come behind the archive's end", maxBehind)
		}
		if err != nil {
			return fmt.Errorf("copy: read archive: %w", err)
		}
		to, err := place(h.Name)
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			if err := root.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		case tar.TypeReg:
			if err := unpackFile(t, root, to, fs.FileMode(h.Mode).Perm()); err != nil {
				return err
			}
		case tar.TypeLink:
			other, err := place(h.Linkname)
			if err != nil {
				return err
			}
			if err := link(root, other, to); err != nil {
				return err
			}
		}
	}
}

// link gives a file another name, in place of what is called so.
func link(root *os.Root, file, name string) error {
	if filepath.Clean(file) == filepath.Clean(name) {
		return fault.New(fault.BadFrame, "copy: the archive has %q as a link to itself", name)
	}
	err := root.Link(file, name)
	if errors.Is(err, fs.ErrExist) {
		if err = root.Remove(name); err == nil {
			err = root.Link(file, name)
		}
	}
	return err
}

func unpackFile(from io.Reader, root *os.Root, place string, mode fs.FileMode) error {
	f, err := root.OpenFile(place, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode|0o200)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// copyIn packs a file or a folder for the tar inside.
func copyIn(ctx context.Context, client *sdk.Client, source, name, target string) error {
	at, info, own, err := named(source)
	if err != nil {
		return err
	}
	dir, as := path.Dir(target), path.Base(target)
	folder, err := client.Exec(ctx, name, api.Program{Args: []string{"test", "-d", target}}, nil, new(said), new(said), nil)
	if err != nil && fault.CodeOf(err) != fault.BadRequest { // an image may have no test
		return err
	}
	if strings.HasSuffix(target, "/") || err == nil && folder == 0 {
		dir, as = target, own
	}
	return sendTar(ctx, client, name, dir, func(w io.Writer) error {
		if err := packTar(w, at, info, as); err != nil {
			return fmt.Errorf("copy %s: %w", source, err)
		}
		return nil
	})
}

// named is what a user names: a link to it stands for it, and gives it its name.
func named(source string) (at string, info fs.FileInfo, own string, err error) {
	whole, err := filepath.Abs(source)
	if err == nil {
		at, err = filepath.EvalSymlinks(whole)
	}
	if err == nil {
		info, err = os.Stat(at)
	}
	if err != nil {
		return "", nil, "", fault.New(fault.NotFound, "copy %s: %w", source, err)
	}
	return at, info, filepath.Base(whole), nil
}

// sendTar gives the tar inside what pack writes. What can't be packed to its end isn't
// ended inside either, and is no success.
func sendTar(ctx context.Context, client *sdk.Client, name, dir string, pack func(io.Writer) error) error {
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		b := bufio.NewWriterSize(w, packBlock)
		err := pack(b)
		if err == nil {
			err = b.Flush()
		}
		w.CloseWithError(err)
		packed <- err
	}()
	err := inTar(ctx, client, name, []string{"xf", "-", "-C", dir}, r, new(said))
	r.CloseWithError(errTarEnded)
	if err != nil {
		return err
	}
	return <-packed
}

// packBlock is how much of an archive is handed on at once.
const packBlock = 32 << 10

var errTarEnded = fault.New(fault.Interrupted, "copy: the tar inside has ended before it had everything")

// packTar writes a file, or a folder with what is in it, as an archive of files and
// folders; links inside it stay links. With an error the archive has no end.
func packTar(to io.Writer, source string, info fs.FileInfo, as string) error {
	t := tar.NewWriter(to)
	if !info.IsDir() {
		if err := packOne(t, source, info, as); err != nil {
			return err
		}
		return t.Close()
	}
	err := filepath.WalkDir(source, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, at)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return packOne(t, at, info, path.Join(as, filepath.ToSlash(rel)))
	})
	if err != nil {
		return err
	}
	return t.Close()
}

func packOne(t *tar.Writer, at string, info fs.FileInfo, name string) error {
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = os.Readlink(at); err != nil {
			return err
		}
	}
	if !info.Mode().IsRegular() && !info.IsDir() && link == "" {
		return nil // a socket, a device: nothing that is copied
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = name, 0, 0, "", ""
	if err := t.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = io.CopyN(t, f, h.Size); errors.Is(err, io.EOF) {
		return fault.New(fault.Interrupted, "%s has become shorter meanwhile", at)
	}
	return err
}
