package client

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/remote"
)

// Soundness is how well an object is kept, as far as hosts say.
type Soundness string

// What an object can be, from the best to the worst.
const (
	Healthy  Soundness = "healthy"  // all shards of all its slabs are held
	Degraded Soundness = "degraded" // it can be read; shards are missing, pending, or their hosts silent
	Unknown  Soundness = "unknown"  // too many hosts are silent to say whether it can be read
	Lost     Soundness = "lost"     // too few of its shards are left
)

// A Finding is what was found out about an object.
type Finding struct {
	index.Object
	State Soundness
	Slabs int
	// Of the worst slab: how many shards give it back, and in what state all are.
	Need, Held, Missing, Silent, Pending int
	Why                                  string // of what couldn't be read, or of a silent host
}

// sampleSize is how much of an object one sample reads.
const sampleSize = 64 << 10

// Check asks the hosts of all the files which of their shards they hold, each
// host for all of them together. That is their word; samples are so many stretches
// of each file, drawn at random, that are read as well. Shards that are missing
// are made anew in the background.
func (x *Client) Check(ctx context.Context, files []index.File, samples int) ([]Finding, error) {
	slabs, err := x.healthOf(ctx, files)
	if err != nil {
		return nil, err
	}
	out := make([]Finding, len(files))
	for i, f := range files {
		out[i] = judge(f, slabs)
		for range samples {
			if f.Size == 0 || ctx.Err() != nil {
				break
			}
			off := rand.Int64N(f.Size)
			if err := x.reader.Read(ctx, &files[i], off, min(sampleSize, f.Size-off), io.Discard); err != nil && out[i].State != Lost {
				out[i].State, out[i].Why = Unknown, err.Error()
			}
		}
	}
	return out, ctx.Err()
}

// healthOf asks about every slab of the files once.
func (x *Client) healthOf(ctx context.Context, files []index.File) (map[index.SlabID]*SlabHealth, error) {
	out := map[index.SlabID]*SlabHealth{}
	ask := map[index.Place][]*ShardHealth{}
	roots := map[*ShardHealth]proof.Hash{}
	for _, f := range files {
		for id, s := range f.Slabs {
			if out[id] != nil {
				continue
			}
			h := &SlabHealth{ID: id, Size: s.Size, Need: s.Class.K, Shards: make([]ShardHealth, len(s.At))}
			out[id] = h
			for i, p := range s.At {
				h.Shards[i] = ShardHealth{Shard: i, Place: p, State: Pending}
				if p != (index.Place{}) {
					ask[p] = append(ask[p], &h.Shards[i])
					roots[&h.Shards[i]] = s.Roots[i]
				}
			}
		}
	}
	var wg sync.WaitGroup
	for p, list := range ask {
		wg.Go(func() {
			for len(list) > 0 {
				n := min(len(list), remote.MaxChange)
				x.stat(ctx, p, list[:n], roots)
				list = list[n:]
			}
		})
	}
	wg.Wait()
	for id, h := range out {
		for _, sh := range h.Shards {
			switch sh.State {
			case Held:
				h.Held++
			case Missing:
				x.lost(id, sh.Shard, sh.Place, errors.New("the host doesn't hold it"))
			}
		}
	}
	return out, ctx.Err()
}

var worse = map[Soundness]int{Healthy: 0, Degraded: 1, Unknown: 2, Lost: 3}

// judge is what the health of its slabs means for a file.
func judge(f index.File, slabs map[index.SlabID]*SlabHealth) Finding {
	out := Finding{Object: f.Object, State: Healthy}
	for _, id := range f.Manifest.Slabs() {
		out.Slabs++
		h := slabs[id]
		if h == nil {
			out.State, out.Why = Lost, "a slab isn't in the list of files"
			return out
		}
		one := Finding{Object: f.Object, Slabs: out.Slabs, Need: h.Need, Held: h.Held}
		for _, sh := range h.Shards {
			switch sh.State {
			case Missing:
				one.Missing++
			case Pending:
				one.Pending++
			case Silent:
				one.Silent++
				one.Why = sh.Why
			}
		}
		switch {
		case one.Held+one.Silent < one.Need:
			one.State = Lost
		case one.Held < one.Need:
			one.State = Unknown
		case one.Held < len(h.Shards):
			one.State = Degraded
		default:
			one.State = Healthy
		}
		if worse[one.State] > worse[out.State] || out.Slabs == 1 {
			out = one
		}
	}
	out.Slabs = len(f.Manifest.Slabs())
	return out
}

// CheckAll checks the versions of a bucket's objects behind a key and version, so
// many at a time; next is where to go on, empty at the end.
func (x *Client) CheckAll(ctx context.Context, bucket string, l index.VersionListing, samples int) (out []Finding, next index.VersionListing, err error) {
	page, err := x.c.Index.ListVersions(ctx, bucket, l)
	if err != nil {
		return nil, next, err
	}
	var files []index.File
	for _, o := range page.Versions {
		if o.Marker {
			continue
		}
		f, err := x.c.Index.Get(ctx, index.Ref{Bucket: o.Bucket, Key: o.Key, Version: o.VersionID})
		if fault.CodeOf(err) == fault.NotFound {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, next, err
		}
		files = append(files, f)
	}
	out, err = x.Check(ctx, files, samples)
	next = l
	next.AfterKey, next.AfterVersion = page.NextKey, page.NextVersion
	return out, next, err
}
