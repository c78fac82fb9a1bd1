package client

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/journal"
	"hearth/storage/remote"
)

// GetOptions say what of an object is read. The zero value is all of it.
type GetOptions struct {
	Offset   int64
	Length   int64 // 0: to the end
	Progress func(Progress)
	// Begin is called once the object is found, before its first byte; an error
	// ends the read.
	Begin func(o index.Object) error
}

// Get writes an object to w, in order, and only bytes that were verified. After
// an error w may have got a part.
func (x *Client) Get(ctx context.Context, ref index.Ref, w io.Writer, o GetOptions) (index.Object, error) {
	part := o.Length
	if part <= 0 {
		part = math.MaxInt64
	}
	f, body, err := x.locate(ctx, ref, o.Offset, part)
	if err != nil {
		return index.Object{}, err
	}
	if o.Offset < 0 || o.Offset > f.Size || o.Length < 0 {
		return f.Object, fault.New(fault.BadRequest, "get %s: it has %d bytes, asked for %d from %d on", ref, f.Size, o.Length, o.Offset)
	}
	length := f.Size - o.Offset
	if o.Length > 0 {
		length = min(length, o.Length)
	}
	if o.Begin != nil {
		if err := o.Begin(f.Object); err != nil {
			return f.Object, err
		}
	}
	to := &counter{w: w, report: o.Progress}
	if body != nil {
		_, err := to.Write(body[o.Offset : o.Offset+length])
		return f.Object, err
	}
	err = x.reader.Read(ctx, &f, o.Offset, length, to)
	for err != nil && ctx.Err() == nil {
		// It may have been moved to other slabs meanwhile.
		again, e := x.c.Index.GetRange(ctx, ref, o.Offset+to.done, length-to.done)
		if e != nil || again.Version != f.Version || again.Device != f.Device || slices.Equal(again.Manifest.Extents, f.Manifest.Extents) {
			break
		}
		f = again
		err = x.reader.Read(ctx, &f, o.Offset+to.done, length-to.done, to)
	}
	if err != nil && ctx.Err() != nil && fault.CodeOf(err) == fault.Internal {
		err = fault.New(fault.Interrupted, "%w", err)
	}
	return f.Object, err
}

// locate finds an object and where its bytes are; of one in the journal, the
// bytes themselves.
func (x *Client) locate(ctx context.Context, ref index.Ref, off, length int64) (index.File, []byte, error) {
	var gone index.Kept
	for {
		f, err := x.c.Index.GetRange(ctx, ref, off, length)
		if err != nil || f.Manifest.Journal == (index.Kept{}) {
			return f, nil, err
		}
		if x.c.Journal == nil {
			return f, nil, fault.New(fault.DamagedFile, "get %s: it is in a journal that isn't there", ref)
		}
		body, err := x.c.Journal.Read(journal.Place(f.Manifest.Journal))
		if err == nil || !errors.Is(err, journal.ErrGone) {
			return f, body, err
		}
		// It has been packed since, or put anew.
		if f.Manifest.Journal == gone {
			return f, nil, fault.New(fault.DamagedFile, "get %s: %w", ref, err)
		}
		gone = f.Manifest.Journal
	}
}

// counter reports what passes.
type counter struct {
	w      io.Writer
	report func(Progress)
	done   int64
}

func (c *counter) Write(p []byte) (int, error) {
	const step = 1 << 20
	total := 0
	for len(p) > 0 {
		n, err := c.w.Write(p[:min(step, len(p))])
		total, p, c.done = total+n, p[n:], c.done+int64(n)
		if err != nil {
			return total, err
		}
		if c.report != nil {
			c.report(Progress{Bytes: c.done})
		}
	}
	return total, nil
}

// Remove takes an object off the list; when it returns it is gone. The space at
// hosts is freed in the background.
func (x *Client) Remove(ctx context.Context, ref index.Ref, opts index.RemoveOptions) (index.Removed, error) {
	o, err := x.c.Index.Remove(ctx, ref, opts)
	if err == nil {
		x.wake()
	}
	return o, err
}

// A State is what is known of a shard.
type State string

// The states.
const (
	Held    State = "held"    // the host says that it holds it
	Missing State = "missing" // the host says that it doesn't
	Silent  State = "silent"  // the host doesn't answer, or not usefully
	Pending State = "pending" // it has no host yet
)

// ShardHealth is one shard's part of an object's health.
type ShardHealth struct {
	Shard int
	index.Place
	State State
	Why   string // of a silent one
}

// SlabHealth is that of a slab: any Need of its shards give it back.
type SlabHealth struct {
	ID     index.SlabID
	Size   int64
	Need   int
	Held   int
	Shards []ShardHealth
}

// Health asks every host of an object whether it holds its shards. It is their
// word: reading is the proof. Shards that are missing are made anew in the
// background.
func (x *Client) Health(ctx context.Context, ref index.Ref) (index.File, []SlabHealth, error) {
	f, err := x.c.Index.Get(ctx, ref)
	if err != nil {
		return f, nil, err
	}
	slabs, err := x.healthOf(ctx, []index.File{f})
	var out []SlabHealth
	for _, id := range f.Manifest.Slabs() {
		out = append(out, *slabs[id])
	}
	return f, out, err
}

func (x *Client) stat(ctx context.Context, p index.Place, list []*ShardHealth, roots map[*ShardHealth]proof.Hash) {
	ask := make([]proof.Hash, len(list))
	for i, sh := range list {
		ask[i] = roots[sh]
	}
	h, err := x.at(ctx, p)
	var held []bool
	if err == nil {
		held, err = h.Stat(ctx, ask)
	}
	for i, sh := range list {
		switch {
		case remote.Classify(err) == remote.Lost: // the lease has ended
			sh.State = Missing
		case err != nil:
			sh.State, sh.Why = Silent, err.Error()
		case held[i]:
			sh.State = Held
		default:
			sh.State = Missing
		}
	}
}
