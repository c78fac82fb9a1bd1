package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

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
must have a tar.`,
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

// said is what a program inside says of its failure, and no more than a line of it.
type said struct{ bytes.Buffer }

func (s *said) Write(b []byte) (int, error) {
	if left := 300 - s.Len(); left > 0 {
		s.Buffer.Write(b[:min(len(b), left)])
	}
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
		return fault.New(fault.NotFound, "copy: tar in %s ended with status %d: %s", name, status, fault.Brief(strings.TrimSpace(errs.String())))
	}
	return nil
}

// copyOut writes what an archive from inside has below the folder of target.
func copyOut(ctx context.Context, client *sdk.Client, name, inside, target string) error {
	base := path.Base(path.Clean(inside))
	dir, as := filepath.Dir(target), filepath.Base(target)
	if info, err := os.Stat(target); err == nil && info.IsDir() || strings.HasSuffix(target, "/") {
		dir, as = target, base
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fault.New(fault.NotFound, "copy to %s: %w", target, err)
	}
	defer root.Close()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := inTar(ctx, client, name, []string{"cf", "-", "-C", path.Dir(path.Clean(inside)), "--", base}, nil, w)
		w.CloseWithError(err)
		ended <- err
	}()
	err = unpackTar(r, root, base, as)
	r.CloseWithError(err)
	if sent := <-ended; sent != nil && !errors.Is(sent, err) {
		return sent
	}
	return err
}

// unpackTar writes what is called base in an archive under the name as. The archive is
// a stranger's: nothing leaves root, and links aren't made.
func unpackTar(from io.Reader, root *os.Root, base, as string) error {
	t := tar.NewReader(from)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, from) // the padding behind the end
			return err
		}
		if err != nil {
			return fmt.Errorf("copy: read archive: %w", err)
		}
		name := path.Clean(h.Name)
		rest := strings.TrimPrefix(name, base)
		if rest == name && base != "." || rest != "" && rest[0] != '/' {
			return fault.New(fault.BadFrame, "copy: the archive has %q, which wasn't asked for", fault.Brief(h.Name))
		}
		place := filepath.FromSlash(as + rest)
		switch h.Typeflag {
		case tar.TypeDir:
			if err := root.Mkdir(place, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		case tar.TypeReg:
			if err := unpackFile(t, root, place, fs.FileMode(h.Mode).Perm()); err != nil {
				return err
			}
		}
	}
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
	info, err := os.Stat(source)
	if err != nil {
		return fault.New(fault.NotFound, "copy %s: %w", source, err)
	}
	whole, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	dir, as := path.Dir(target), path.Base(target)
	folder, err := client.Exec(ctx, name, api.Program{Args: []string{"test", "-d", target}}, nil, io.Discard, io.Discard, nil)
	if err != nil && fault.CodeOf(err) != fault.BadRequest { // an image may have no test
		return err
	}
	if strings.HasSuffix(target, "/") || err == nil && folder == 0 {
		dir, as = target, filepath.Base(whole)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(packTar(w, whole, info, as)) }()
	defer r.Close()
	return inTar(ctx, client, name, []string{"xf", "-", "-C", dir}, r, io.Discard)
}

// packTar writes a file, or a folder with what is in it, as an archive of files and
// folders; links inside it stay links.
func packTar(to io.Writer, source string, info fs.FileInfo, as string) error {
	t := tar.NewWriter(to)
	if !info.IsDir() {
		return errors.Join(packOne(t, source, info, as), t.Close())
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
	return errors.Join(err, t.Close())
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
	_, err = io.CopyN(t, f, h.Size)
	return err
}
