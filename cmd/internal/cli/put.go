package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/share"
	"hearth/internal/terminal"
	"hearth/sdk"
)

type putFlags struct {
	recursive, keep bool
	noWait          bool
	class, kind     string
	most            string // --max-price
	jobs            int
}

func (a *App) putCommand() *cobra.Command {
	var f putFlags
	c := &cobra.Command{
		Use:   "put FILE... hearth://BUCKET/KEY",
		Short: "Store files",
		Long: `Stores files in a bucket, which is made if it isn't there. A KEY that ends in / is
a folder: the file keeps its name in it. - stands for standard input.

What it costs in 30 days is shown first, with the account's cap. On a terminal it asks
when the month's price passes what you have agreed to before; --yes doesn't ask, and
--max-price refuses what costs more, before any money moves.

It returns when the file is durable on the network. Where some of its shards are
still to be placed it says so and exits with status 9; the node goes on. Files of
4 KiB to 1 MiB that are stored at the same time share their slabs. With --no-wait
they are stored once they are synced to the node's own disk, and go to hosts
within seconds: until then ` + "`hearth stat`" + ` shows all their shards as pending.`,
		Example: `  hearth put photo.jpg hearth://photos/
  hearth put -r ~/Photos hearth://photos/2026/
  pg_dump db | hearth put - hearth://backup/db.sql
  hearth put photo.jpg hearth-write:...                  with somebody's link, see "hearth share --help"`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if to := args[len(args)-1]; share.IsWrite(to) {
				return a.putLink(c.Context(), args[:len(args)-1], to)
			}
			client, err := a.Client()
			if err != nil {
				return err
			}
			defer client.Close()
			return a.put(c.Context(), client, args[:len(args)-1], args[len(args)-1], f)
		},
	}
	c.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "folders with all that is in them")
	c.Flags().BoolVarP(&f.keep, "no-clobber", "n", false, "refuse to replace an object")
	c.Flags().BoolVar(&f.noWait, "no-wait", false, "don't wait until small files are with hosts")
	c.Flags().StringVar(&f.class, "code", "", "k/n: any k of n shards give the file back; default the node's")
	c.Flags().StringVar(&f.kind, "type", "", "content type; default by the file's name")
	priceFlag(c, &f.most)
	c.Flags().IntVar(&f.jobs, "jobs", 4, "files at a time")
	return c
}

// An upload is one file and where it goes.
type upload struct {
	file string // "-": standard input
	to   sdk.Name
	size int64 // -1: not known
}

func (a *App) put(ctx context.Context, client *sdk.Client, files []string, target string, f putFlags) error {
	to, err := sdk.ParseName(target)
	if err != nil {
		return err
	}
	work, err := a.plan(files, to, f.recursive)
	if err != nil {
		return err
	}
	if err := a.approve(ctx, client, bytesOf(work), f.class, f.most); err != nil {
		return err
	}
	if _, err := client.MakeBucket(ctx, to.Bucket); err != nil {
		return err
	}
	all := newBars(a.Term, len(work) > f.jobs)
	var mu sync.Mutex
	var stored []api.Object
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(f.jobs, 1))
	for _, u := range work {
		group.Go(func() error {
			o, err := a.putOne(ctx, client, u, f, all)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			stored = append(stored, o)
			return nil
		})
	}
	err = group.Wait()
	all.wait()
	if shown := a.showStored(stored, f.noWait); err == nil {
		err = shown
	}
	return err
}

func (a *App) putOne(ctx context.Context, client *sdk.Client, u upload, f putFlags, all *bars) (_ api.Object, err error) {
	content := a.Term.In()
	if u.file != "-" {
		opened, err := os.Open(u.file)
		if err != nil {
			return api.Object{}, FileFault("put", err)
		}
		defer opened.Close()
		content = opened
	}
	kind := f.kind
	if kind == "" {
		kind = mime.TypeByExtension(path.Ext(u.to.Key))
	}
	tell, done := all.add(path.Base(u.to.Key), u.size)
	defer func() { done(err) }()
	return client.Put(ctx, u.to.Bucket, u.to.Key, content, u.size, sdk.PutOptions{
		Type: kind, Class: f.class, NoWait: f.noWait, IfAbsent: f.keep, Progress: tell,
	})
}

// plan says which file goes where.
func (a *App) plan(files []string, to sdk.Name, recursive bool) ([]upload, error) {
	folder := to.Key == "" || strings.HasSuffix(to.Key, "/")
	if len(files) > 1 && !folder {
		return nil, fault.New(fault.BadRequest, "put %d files to %s: end it with / to mean a folder", len(files), to)
	}
	var work []upload
	for _, file := range files {
		if file == "-" {
			if folder {
				return nil, fault.New(fault.BadRequest, "put - to %s: standard input has no name; give the whole key", to)
			}
			work = append(work, upload{file, to, -1})
			continue
		}
		info, err := os.Stat(file)
		if err != nil {
			return nil, FileFault("put", err)
		}
		key := to.Key
		switch {
		case info.IsDir() && !recursive:
			return nil, fault.New(fault.BadRequest, "put %s: it is a folder; -r takes all that is in it", file)
		case info.IsDir():
			found, err := a.walk(file, to)
			if err != nil {
				return nil, err
			}
			work = append(work, found...)
			continue
		case folder:
			key += filepath.Base(file)
		}
		work = append(work, upload{file, sdk.Name{Bucket: to.Bucket, Key: key}, sizeOf(info)})
	}
	return work, nil
}

// bytesOf is what will lie at hosts; -1: not known.
func bytesOf(work []upload) (n int64) {
	for _, u := range work {
		switch {
		case u.size < 0:
			return -1
		case u.size >= inlineBelow:
			n += u.size
		}
	}
	return n
}

// sizeOf is the size of a plain file; what a pipe or a device will give isn't known.
func sizeOf(info fs.FileInfo) int64 {
	if info.Mode().IsRegular() {
		return info.Size()
	}
	return -1
}

// walk finds the files of a folder. Links and devices are left out, with a remark.
func (a *App) walk(root string, to sdk.Name) ([]upload, error) {
	prefix := to.Key
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	var work []upload
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			a.Term.Say("left out: %s is no plain file", file)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		work = append(work, upload{file, sdk.Name{Bucket: to.Bucket, Key: prefix + filepath.ToSlash(inside)}, info.Size()})
		return nil
	})
	if err != nil {
		return nil, FileFault("put", err)
	}
	return work, nil
}

// showStored shows what was stored. Shards that are still to be placed make it
// a success in part.
func (a *App) showStored(stored []api.Object, noWait bool) error {
	if len(stored) == 0 {
		return nil
	}
	pending := 0
	for _, o := range stored {
		pending += o.Pending
	}
	if err := a.Term.Show(stored, objectTable(stored)); err != nil {
		return err
	}
	if pending > 0 && !noWait {
		return fault.New(fault.StoredPartly, "put: stored, %d shards pending", pending)
	}
	return nil
}

func objectTable(all []api.Object) *terminal.Rows {
	rows := terminal.Table("NAME", "SIZE", "MODIFIED", "CODE", "PENDING")
	for _, o := range all {
		rows.Add(sdk.Name{Bucket: o.Bucket, Key: o.Key}, terminal.Size(o.Size), terminal.When(o.Modified), o.Class, o.Pending)
	}
	return rows
}

// FileFault gives an error about a local file its code.
func FileFault(verb string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "%s: %w", verb, err)
	case errors.Is(err, fs.ErrExist):
		return fault.New(fault.Exists, "%s: %w", verb, err)
	case errors.Is(err, syscall.ENOSPC):
		return fault.New(fault.DiskFull, "%s: %w", verb, err)
	}
	return fmt.Errorf("%s: %w", verb, err)
}
