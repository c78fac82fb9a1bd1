package cli

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hearth/core/call"
	"hearth/core/fault"
	"hearth/internal/terminal"
	"hearth/sdk"
)

// A shelf is where inputs lie, or outputs go.
type shelf interface {
	names(ctx context.Context) ([]string, error)
	read(ctx context.Context, name string) ([]byte, error)
	write(ctx context.Context, name string, b []byte) error
}

func (a *App) shelfOf(client *sdk.Client, where string) shelf {
	if n, err := sdk.ParseName(where); err == nil && strings.HasPrefix(where, "hearth://") {
		if n.Key != "" && !strings.HasSuffix(n.Key, "/") {
			n.Key += "/"
		}
		return bucketShelf{client, n}
	}
	return folderShelf(where)
}

// folderShelf is a folder of this machine.
type folderShelf string

func (f folderShelf) names(context.Context) (names []string, err error) {
	err = filepath.WalkDir(string(f), func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		inside, err := filepath.Rel(string(f), file)
		names = append(names, filepath.ToSlash(inside))
		return err
	})
	if err != nil {
		return nil, FileFault("list", err)
	}
	return names, nil
}

func (f folderShelf) read(_ context.Context, name string) ([]byte, error) {
	return readWhole(filepath.Join(string(f), filepath.FromSlash(name)), call.MaxInput)
}

func (f folderShelf) write(_ context.Context, name string, b []byte) error {
	local := filepath.FromSlash(name)
	if !filepath.IsLocal(local) {
		return fault.New(fault.BadName, "write output %q: the name would lead out of the folder", name)
	}
	file := filepath.Join(string(f), local)
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return FileFault("write", err)
	}
	return whole(file, true, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// bucketShelf is a part of a bucket.
type bucketShelf struct {
	client *sdk.Client
	at     sdk.Name
}

func (s bucketShelf) names(ctx context.Context) (names []string, err error) {
	for o, err := range s.client.Walk(ctx, s.at.Bucket, s.at.Key) {
		if err != nil {
			return nil, err
		}
		names = append(names, strings.TrimPrefix(o.Key, s.at.Key))
	}
	return names, nil
}

func (s bucketShelf) read(ctx context.Context, name string) ([]byte, error) {
	d, err := s.client.Get(ctx, s.at.Bucket, s.at.Key+name, sdk.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	b, err := io.ReadAll(io.LimitReader(d, call.MaxInput+1))
	if err == nil && len(b) > call.MaxInput {
		err = fault.New(fault.TooLarge, "read input %s: more than %s", name, terminal.Size(int64(call.MaxInput)))
	}
	return b, err
}

func (s bucketShelf) write(ctx context.Context, name string, b []byte) error {
	_, err := s.client.Put(ctx, s.at.Bucket, s.at.Key+name, bytes.NewReader(b), int64(len(b)), sdk.PutOptions{NoWait: true})
	return err
}
