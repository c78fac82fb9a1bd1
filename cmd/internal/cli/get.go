package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"hearth/api"
	"hearth/core/fault"
	"hearth/sdk"
)

type getFlags struct {
	recursive, force bool
	span             string
	jobs             int
}

func (a *App) getCommand() *cobra.Command {
	var f getFlags
	c := &cobra.Command{
		Use:   "get hearth://BUCKET/KEY|LINK [FILE]",
		Short: "Read files back",
		Long: `Reads an object into a file, into a folder under its own name, or to standard
output (-). A file appears under its name only when it is whole and verified. A LINK is
what somebody's ` + "`hearth share`" + ` has printed; reading it is paid on leases of your own.`,
		Example: `  hearth get hearth://photos/photo.jpg
  hearth get -r hearth://photos/2026/ ~/Photos
  hearth get hearth://backup/db.sql - | psql db
  hearth get --range 0-1023 hearth://photos/photo.jpg -`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			if isLink(args[0]) {
				return a.getLink(c.Context(), client, args[0], append(args, "")[1], f.force)
			}
			return a.get(c.Context(), client, append(args, "")[:2], f)
		},
	}
	c.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "everything whose key begins with KEY, into a folder")
	c.Flags().BoolVarP(&f.force, "force", "f", false, "replace files that are there")
	c.Flags().StringVar(&f.span, "range", "", "a part: a-b (both included), a- or -n for the last n bytes")
	c.Flags().IntVar(&f.jobs, "jobs", 4, "files at a time")
	return c
}

func (a *App) get(ctx context.Context, client *sdk.Client, args []string, f getFlags) error {
	from, err := sdk.ParseName(args[0])
	if err != nil {
		return err
	}
	span, err := parseSpan(f.span)
	if err != nil {
		return err
	}
	all := newBars(a.Term, f.recursive)
	defer all.wait()
	switch {
	case f.recursive:
		return a.getAll(ctx, client, from, args[1], f, all)
	case from.Key == "":
		return fault.New(fault.BadName, "get %s: no key; -r reads a whole bucket", from)
	case args[1] == "-":
		return a.getTo(ctx, client, from, span, a.Term.Out(), all)
	}
	file := args[1]
	if info, err := os.Stat(file); file == "" || err == nil && info.IsDir() {
		file = filepath.Join(file, path.Base(from.Key))
	}
	return a.getFile(ctx, client, from, span, file, f.force, all)
}

// getAll reads everything under a prefix into a folder.
func (a *App) getAll(ctx context.Context, client *sdk.Client, from sdk.Name, folder string, f getFlags, all *bars) error {
	if folder == "" {
		folder = "."
	}
	prefix := from.Key
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		prefix = prefix[:i+1]
	} else {
		prefix = ""
	}
	found := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(f.jobs, 1))
	for o, err := range client.Walk(ctx, from.Bucket, from.Key) {
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		found++
		group.Go(func() error {
			inside := filepath.FromSlash(strings.TrimPrefix(o.Key, prefix))
			if !filepath.IsLocal(inside) {
				return fault.New(fault.BadName, "get hearth://%s/%s: its key would lead out of %s", o.Bucket, o.Key, folder)
			}
			file := filepath.Join(folder, inside)
			if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
				return FileFault("get", err)
			}
			return a.getFile(ctx, client, sdk.Name{Bucket: o.Bucket, Key: o.Key}, nil, file, f.force, all)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if found == 0 {
		return fault.New(fault.NotFound, "get %s: nothing begins so", from)
	}
	a.Term.Say("%d files in %s", found, folder)
	return nil
}

// getFile reads an object into a file beside the target, which takes the
// target's name when it is whole.
func (a *App) getFile(ctx context.Context, client *sdk.Client, from sdk.Name, span *api.Range, file string, force bool, all *bars) (err error) {
	if _, err := os.Lstat(file); err == nil && !force {
		return fault.New(fault.Exists, "get %s: %s is there already; --force replaces it", from, file)
	}
	return whole(file, force, func(w io.Writer) error { return a.getTo(ctx, client, from, span, w, all) })
}

func (a *App) getTo(ctx context.Context, client *sdk.Client, from sdk.Name, span *api.Range, to io.Writer, all *bars) (err error) {
	tell, done := all.add(path.Base(from.Key), 0)
	defer func() { done(err) }()
	d, err := client.Get(ctx, from.Bucket, from.Key, sdk.GetOptions{Range: span, Progress: tell})
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, d); err != nil {
		return errors.Join(FileFault("get "+from.String(), err), d.Close())
	}
	return d.Close()
}

// parseSpan reads --range; nil is everything.
func parseSpan(s string) (*api.Range, error) {
	if s == "" {
		return nil, nil
	}
	bad := fault.New(fault.BadRequest, "range %q: write a-b, a- or -n", s)
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return nil, bad
	}
	number := func(s string) int64 {
		n, err := strconv.ParseUint(s, 10, 62)
		if err != nil {
			ok = false
		}
		return int64(n)
	}
	r := api.Whole()
	switch {
	case first == "":
		r.Offset = -number(last)
		ok = ok && r.Offset != 0
	case last == "":
		r.Offset = number(first)
	default:
		r.Offset = number(first)
		r.Length = number(last) - r.Offset + 1
		ok = ok && r.Length > 0
	}
	if !ok {
		return nil, bad
	}
	return &r, nil
}
