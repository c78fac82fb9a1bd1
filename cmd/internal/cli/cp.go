package cli

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

	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/sdk"
)

func (a *App) cpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cp FROM TO", Short: "Copy files to or from an instance, which is written NAME:/PATH", Args: cobra.ExactArgs(2),
		Long: `Copies a file or a folder into an instance or out of it. A TO that is a folder, or ends
with a slash, gets it under its own name; else it is the new name. The instance's image
must have a tar. Out of an instance come files, folders and the symbolic links that lead to
what is copied with them; others, and devices, are left out.`,
		Example: `  hearth cp site/ web:/srv/
  hearth cp web:/var/log/app.log .`,
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			from, inside, is := instancePlace(args[0])
			to, target, into := instancePlace(args[1])
			switch {
			case is && !into:
				left, err := copyOut(c.Context(), client, from, inside, args[1])
				if left > 0 {
					a.Term.Say("%d symbolic links that lead out of %s are left out", left, args[0])
				}
				return err
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

// copyOut writes what an archive from inside has below the folder of target, and gives
// how many symbolic links it has left out.
func copyOut(ctx context.Context, client *sdk.Client, name, inside, target string) (left int, err error) {
	inside = path.Clean(inside)
	base := path.Base(inside)
	if base == "/" {
		return 0, fault.New(fault.BadRequest, "copy %s:/: all of an instance, with /proc and /dev, isn't copied; name a folder in it", name)
	}
	dir, as := filepath.Dir(target), filepath.Base(target)
	if info, err := os.Stat(target); err == nil && info.IsDir() || strings.HasSuffix(target, "/") {
		dir, as = target, base
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, fault.New(fault.NotFound, "copy to %s: %w", target, err)
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
	left, err = unpackTar(r, root, base, as)
	r.CloseWithError(err)
	cancel(err) // a host that has nothing more to say may be silent for long
	if sent := <-ended; err == nil || errors.Is(err, sent) {
		return left, sent
	}
	return left, err
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
