package node

import (
	"context"
	"encoding/hex"
	"io"
	"strconv"
	"time"

	"hearth/api"
	"hearth/api/server"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/storage/client"
	"hearth/storage/index"
)

// storageRole shows the files to the API.
type storageRole struct{ b *buying }

// shown refuses the program's own buckets: for whoever asks there are none.
func shown(bucket string) error {
	if index.Hidden(bucket) {
		return fault.New(fault.NotFound, "there is no %s%s", index.Scheme, bucket)
	}
	return nil
}

func (r storageRole) Buckets(ctx context.Context) ([]api.Bucket, error) {
	list, err := r.b.index.Buckets(ctx)
	out := make([]api.Bucket, len(list))
	for i, b := range list {
		out[i] = api.Bucket{Name: b.Name, Created: time.Unix(b.Created, 0).UTC()}
	}
	return out, err
}

// MakeBucket makes a bucket; one that is there stays as it is.
func (r storageRole) MakeBucket(ctx context.Context, name string) (api.Bucket, error) {
	if err := r.b.index.MakeBucket(ctx, name); err != nil && fault.CodeOf(err) != fault.Exists {
		return api.Bucket{}, err
	}
	list, err := r.Buckets(ctx)
	if err != nil {
		return api.Bucket{}, err
	}
	for _, b := range list {
		if b.Name == name {
			return b, nil
		}
	}
	return api.Bucket{}, fault.New(fault.NotFound, "make bucket %s: it was removed meanwhile", name)
}

func (r storageRole) RemoveBucket(ctx context.Context, name string) error {
	if err := shown(name); err != nil {
		return err
	}
	return r.b.index.RemoveBucket(ctx, name)
}

func (r storageRole) List(ctx context.Context, bucket string, q api.ListQuery) (api.Objects, error) {
	if err := shown(bucket); err != nil {
		return api.Objects{}, err
	}
	page, err := r.b.index.List(ctx, bucket, index.Listing{Prefix: q.Prefix, Delimiter: q.Delimiter, After: q.After, Limit: q.Limit})
	if err != nil {
		return api.Objects{}, err
	}
	out := api.Objects{Objects: []api.Object{}, Prefixes: append([]string{}, page.Prefixes...), Next: page.Next}
	for _, o := range page.Objects {
		out.Objects = append(out.Objects, object(o))
	}
	return out, nil
}

func object(o index.Object) api.Object {
	return api.Object{
		Bucket: o.Bucket, Key: o.Key, Size: o.Size, Modified: time.Unix(o.Created, 0).UTC(),
		Version: strconv.FormatInt(o.Version, 10), Type: o.Type,
	}
}

// listed is an object with what its slabs tell.
func listed(f index.File) api.Object {
	o := object(f.Object)
	for _, s := range f.Slabs {
		o.Class = s.Class.String()
		o.Pending += s.Class.N - s.Placed()
	}
	return o
}

func (r storageRole) Stat(ctx context.Context, bucket, key string) (api.Object, error) {
	if err := shown(bucket); err != nil {
		return api.Object{}, err
	}
	s, err := r.b.index.Summary(ctx, index.Ref{Bucket: bucket, Key: key})
	if err != nil {
		return api.Object{}, err
	}
	o := object(s.Object)
	o.Pending = s.Pending
	if s.Kept {
		o.Class, o.Pending = r.b.n.terms.class.String(), r.b.n.terms.class.N
	}
	if s.Class != (erasure.Class{}) {
		o.Class = s.Class.String()
	}
	return o, nil
}

func (r storageRole) Health(ctx context.Context, bucket, key string) (api.Health, error) {
	if err := shown(bucket); err != nil {
		return api.Health{}, err
	}
	f, slabs, err := r.b.files.Health(ctx, index.Ref{Bucket: bucket, Key: key})
	if err != nil {
		return api.Health{}, err
	}
	out := api.Health{Object: listed(f), Slabs: []api.SlabHealth{}}
	if f.Manifest.Journal != (index.Kept{}) {
		out.Object.Class, out.Object.Pending = r.b.n.terms.class.String(), r.b.n.terms.class.N
	}
	var rate money.Rate
	for _, s := range slabs {
		h := api.SlabHealth{Needed: s.Need, Shards: make([]api.ShardHealth, len(s.Shards))}
		for i, sh := range s.Shards {
			placed := f.Slabs[s.ID]
			h.Shards[i] = api.ShardHealth{
				Index: sh.Shard, Root: hex.EncodeToString(placed.Roots[i][:]), Size: placed.ShardSize,
				Host: sh.Host, Lease: sh.Lease, State: shardState(sh.State), Detail: sh.Why,
			}
			if sh.Lease != 0 {
				rate += r.b.market.Prices(sh.Lease).Rate(quote.Units{uint64(placed.ShardSize)})
			}
		}
		out.Slabs = append(out.Slabs, h)
	}
	out.Month = api.MoneyOf(rate.OverUp(month))
	return out, nil
}

func shardState(s client.State) string {
	if s == client.Missing {
		return "lost"
	}
	return string(s)
}

func (r storageRole) Remove(ctx context.Context, bucket, key string) error {
	if err := shown(bucket); err != nil {
		return err
	}
	_, err := r.b.files.Remove(ctx, index.Ref{Bucket: bucket, Key: key}, index.RemoveOptions{})
	return err
}

// Put stores an object, making its bucket where that is new.
func (r storageRole) Put(ctx context.Context, bucket, key string, body io.Reader, o server.PutOptions) (api.Object, error) {
	opts := client.PutOptions{Wait: !o.NoWait, Size: o.Size, Type: o.Type, If: index.Condition{Absent: o.IfAbsent}}
	if o.Class != "" {
		class, err := erasure.Parse(o.Class)
		if err != nil {
			return api.Object{}, err
		}
		opts.Class = class
	}
	if err := r.b.index.MakeBucket(ctx, bucket); err != nil && fault.CodeOf(err) != fault.Exists {
		return api.Object{}, err
	}
	opts.Progress = func(p client.Progress) {
		o.Report(api.Progress{Bytes: p.Bytes, Total: o.Size, Shards: p.Shards, Hosts: p.Hosts})
	}
	res, err := r.b.files.Put(ctx, index.Ref{Bucket: bucket, Key: key}, body, opts)
	if err != nil {
		return api.Object{}, err
	}
	out := object(res.Object)
	out.Pending = res.Pending
	if res.Slabs > 0 || res.Pending > 0 {
		class := opts.Class
		if class == (erasure.Class{}) {
			class = r.b.n.terms.class
		}
		out.Class = class.String()
	}
	return out, nil
}

// Get writes a part of one version of an object.
func (r storageRole) Get(ctx context.Context, bucket, key, version string, off, n int64, to io.Writer, report func(api.Progress)) error {
	if err := shown(bucket); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	_, err := r.b.files.Get(ctx, index.Ref{Bucket: bucket, Key: key}, to, client.GetOptions{
		Offset: off, Length: n,
		Progress: func(p client.Progress) { report(api.Progress{Bytes: p.Bytes, Total: n, Hosts: p.Hosts}) },
		Begin: func(o index.Object) error {
			if got := strconv.FormatInt(o.Version, 10); got != version {
				return fault.New(fault.Stale, "get %s: it was replaced meanwhile", o.Ref)
			}
			return nil
		},
	})
	return err
}

// noStorage is what a node without the client role answers.
type noStorage struct{}

func (noStorage) refuse() error {
	return fault.New(fault.BadRequest, "this node has no client role: use a client's folder (--dir, HEARTH_DIR), or add `client` to roles in config.toml")
}

func (s noStorage) Buckets(context.Context) ([]api.Bucket, error) { return nil, s.refuse() }

func (s noStorage) MakeBucket(context.Context, string) (api.Bucket, error) {
	return api.Bucket{}, s.refuse()
}

func (s noStorage) RemoveBucket(context.Context, string) error { return s.refuse() }

func (s noStorage) List(context.Context, string, api.ListQuery) (api.Objects, error) {
	return api.Objects{}, s.refuse()
}

func (s noStorage) Stat(context.Context, string, string) (api.Object, error) {
	return api.Object{}, s.refuse()
}

func (s noStorage) Health(context.Context, string, string) (api.Health, error) {
	return api.Health{}, s.refuse()
}

func (s noStorage) Check(context.Context, string, api.CheckQuery) (api.Findings, error) {
	return api.Findings{}, s.refuse()
}

func (s noStorage) Remove(context.Context, string, string) error { return s.refuse() }

func (s noStorage) Put(context.Context, string, string, io.Reader, server.PutOptions) (api.Object, error) {
	return api.Object{}, s.refuse()
}

func (s noStorage) Get(context.Context, string, string, string, int64, int64, io.Writer, func(api.Progress)) error {
	return s.refuse()
}
