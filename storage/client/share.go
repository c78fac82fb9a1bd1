package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"hearth/core/fault"
	"hearth/core/share"
	"hearth/storage/index"
)

// The bucket index.Shares holds the lists of the account's links with what they
// show, and what was revoked.
const (
	liveShare = "live/"
	deadShare = "revoked/"
)

// An Issuer signs tickets.
type Issuer struct {
	ChainID, Owner string
	Key            ed25519.PrivateKey // mandated by the owner
	// Pay is the most that reading may cost the owner; 0: readers pay themselves.
	Pay uint64
	// Fund fills the purse of a link; what was noted of it by then is in Purses.
	Fund func(ctx context.Context, serial share.Serial) (Purse, error)
}

// A Share is a link that was given out.
type Share struct {
	Serial  share.Serial
	Name    string // bucket/key, or bucket/prefix
	Until   int64
	Created int64
	Objects int
	Bytes   int64
	Pay     uint64 // the most that reading costs the owner
}

// Share gives out a link to an object, or to all objects whose keys begin with
// ref's, as they are now. It returns when hosts hold the list of them.
func (x *Client) Share(ctx context.Context, ref index.Ref, prefix bool, until int64, by Issuer) (share.Link, Share, error) {
	if now := x.c.Now().Unix(); until <= now || until > now+share.MaxSeconds {
		return share.Link{}, Share{}, fault.New(fault.BadRequest, "share %s: it would end in %d s; 1 to %d are allowed", ref, until-now, int64(share.MaxSeconds))
	}
	l, err := x.gather(ctx, ref, prefix)
	if err != nil {
		return share.Link{}, Share{}, err
	}
	s := Share{Name: l.name, Until: until, Objects: len(l.files), Pay: by.Pay}
	for _, f := range l.files {
		s.Bytes += f.Size
	}
	rand.Read(s.Serial[:]) // never fails
	purse, err := x.fillPurse(ctx, s, by)
	var slab *index.PlacedSlab
	if err == nil {
		slab, err = x.keepList(ctx, l, &s)
	}
	if err != nil {
		return share.Link{}, Share{}, fmt.Errorf("share %s: %w", ref, err)
	}
	contents := encodeContents(slab, purse)
	link := share.Link{
		ChainID: by.ChainID, Key: [32]byte(by.Key.Public().(ed25519.PublicKey)), Contents: contents,
		Ticket: share.Ticket{Owner: by.Owner, Serial: s.Serial, Until: until, Contents: sha256.Sum256(contents)},
	}
	link.Sig = [64]byte(link.Ticket.Sign(by.ChainID, by.Key))
	return link, s, nil
}

// gather finds what is shared. What is in the journal goes to hosts first.
func (x *Client) gather(ctx context.Context, ref index.Ref, prefix bool) (*list, error) {
	l := &list{name: ref.Bucket + "/" + ref.Key}
	add := func(r index.Ref) error {
		f, err := x.c.Index.Get(ctx, r)
		if err == nil && f.Manifest.Journal != (index.Kept{}) {
			if err = x.Flush(ctx); err == nil {
				f, err = x.c.Index.Get(ctx, r)
			}
			if err == nil && f.Manifest.Journal != (index.Kept{}) {
				err = fault.New(fault.Busy, "share %s: it isn't with hosts yet", r)
			}
		}
		l.files = append(l.files, f)
		return err
	}
	if !prefix {
		return l, add(ref)
	}
	for page, after := (index.Page{Next: " "}), ""; page.Next != ""; after = page.Next {
		var err error
		if page, err = x.c.Index.List(ctx, ref.Bucket, index.Listing{Prefix: ref.Key, After: after}); err != nil {
			return nil, err
		}
		for _, o := range page.Objects {
			if err := add(index.Ref{Bucket: o.Bucket, Key: o.Key}); err != nil && fault.CodeOf(err) != fault.NotFound {
				return nil, err
			}
		}
	}
	if len(l.files) == 0 {
		return nil, fault.New(fault.NotFound, "share %s: nothing begins so", ref)
	}
	return l, nil
}

// keepList brings a list to hosts, as a slab of its own. What it shows is kept
// with it: who replaces or removes an object doesn't break its links.
func (x *Client) keepList(ctx context.Context, l *list, s *Share) (*index.PlacedSlab, error) {
	if err := x.c.Index.MakeHidden(ctx, index.Shares); err != nil && fault.CodeOf(err) != fault.Exists {
		return nil, err
	}
	id := x.c.Index.BeginRepair()
	slabs, pending, err := x.apart(ctx, id, l)
	if err == nil {
		var own []index.PlacedSlab
		var late int
		own, late, err = x.bringList(ctx, id, l)
		slabs, pending = append(own, slabs...), pending+late
	}
	if err == nil {
		d := index.Draft{
			Ref: index.Ref{Bucket: index.Shares, Key: liveShare + s.Serial.String()}, ETag: s.Serial.String(), Slabs: slabs,
			Manifest: index.Manifest{Extents: l.holds(slabs[0])},
			Extra:    s.extra(),
		}
		var o index.Object
		o, err = x.c.Index.Commit(ctx, id, d)
		s.Created = o.Created
	}
	if pending > 0 || err != nil {
		defer x.wake()
	}
	if err != nil {
		if e := x.c.Index.Abort(context.WithoutCancel(ctx), id); e != nil {
			x.c.Log.Error("upload not ended", "err", e)
		}
		return nil, err
	}
	return &slabs[0], nil
}

func (x *Client) bringList(ctx context.Context, id int64, l *list) ([]index.PlacedSlab, int, error) {
	body, err := l.encode()
	if err != nil {
		return nil, 0, err
	}
	if most := maxList(x.c.Class); int64(len(body)) > most {
		return nil, 0, fault.New(fault.TooLarge, "%d objects take a list of %d bytes, at most %d are allowed: share less at once", len(l.files), len(body), most)
	}
	return x.bring(ctx, id, int64(len(body)), bytes.NewReader(body))
}

// apart copies what shares a slab with something else into slabs of the link's
// own: a slab has one key, and who has it reads all that is in it.
func (x *Client) apart(ctx context.Context, id int64, l *list) (slabs []index.PlacedSlab, pending int, err error) {
	copies := make(map[*index.Extent]*piece)
	var all []*piece
	var size int64
	for i := range l.files {
		f := l.files[i] // as it is now
		for j, off := 0, int64(0); j < len(f.Manifest.Extents); j++ {
			e, at := &f.Manifest.Extents[j], off
			if off += e.Length; alone(f, *e) {
				continue
			}
			p := &piece{size: e.Length, load: func(ctx context.Context) ([]byte, error) {
				var b bytes.Buffer
				err := x.reader.Read(ctx, &f, at, e.Length, &b)
				return b.Bytes(), err
			}}
			copies[e], all, size = p, append(all, p), size+e.Length
		}
	}
	if len(all) == 0 {
		return nil, 0, nil
	}
	if slabs, pending, err = x.bring(ctx, id, size, &stream{ctx: ctx, list: all, strict: true}); err != nil {
		return nil, 0, err
	}
	for i := range l.files {
		l.files[i] = moved(l.files[i], copies, slabs)
	}
	return slabs, pending, nil
}

// alone says whether an extent is all that its slab has.
func alone(f index.File, e index.Extent) bool {
	return e.Offset == 0 && e.Length == f.Slabs[e.Slab].Size
}

// moved is a file with its copied extents in the new slabs, and no other slab
// than those it lies in.
func moved(f index.File, copies map[*index.Extent]*piece, slabs []index.PlacedSlab) index.File {
	old, at := f.Manifest.Extents, f.Slabs
	f.Manifest.Extents, f.Slabs = nil, make(map[index.SlabID]*index.PlacedSlab)
	for i := range old {
		to := old[i : i+1]
		if p := copies[&old[i]]; p != nil {
			to = cut(slabs, p.off, p.size)
		}
		for _, e := range to {
			j := slices.IndexFunc(slabs, func(s index.PlacedSlab) bool { return s.ID == e.Slab })
			if f.Slabs[e.Slab] = at[e.Slab]; j >= 0 {
				f.Slabs[e.Slab] = &slabs[j]
			}
		}
		f.Manifest.Extents = append(f.Manifest.Extents, to...)
	}
	return f
}

// holds are the slabs of a link, whole: the list's own, and each that it names.
func (l *list) holds(own index.PlacedSlab) []index.Extent {
	out := []index.Extent{{Slab: own.ID, Length: own.Size}}
	seen := make(map[index.SlabID]bool)
	for _, f := range l.files {
		for _, id := range f.Manifest.Slabs() {
			if !seen[id] {
				seen[id] = true
				out = append(out, index.Extent{Slab: id, Length: f.Slabs[id].Size})
			}
		}
	}
	return out
}

// Shares lists the links that the account has given out and that still hold.
// Those that have ended are forgotten.
func (x *Client) Shares(ctx context.Context) ([]Share, error) {
	out, err := x.shares(ctx, liveShare)
	return out, err
}

// shares lists one kind of what is kept of links, and drops what has ended.
func (x *Client) shares(ctx context.Context, kind string) (out []Share, err error) {
	for page, after := (index.Page{Next: " "}), ""; page.Next != ""; after = page.Next {
		page, err = x.c.Index.List(ctx, index.Shares, index.Listing{Prefix: kind, After: after})
		if fault.CodeOf(err) == fault.NotFound {
			return nil, nil // nothing was ever shared
		}
		if err != nil {
			return nil, err
		}
		for _, o := range page.Objects {
			s, err := shareOf(o)
			if err != nil {
				return nil, err
			}
			if s.Until >= x.c.Now().Unix() {
				out = append(out, s)
			} else if _, err := x.Remove(ctx, index.Ref{Bucket: o.Bucket, Key: o.Key}, index.RemoveOptions{}); err != nil && fault.CodeOf(err) != fault.NotFound {
				return nil, err
			}
		}
	}
	return out, nil
}

// extra is what is kept of a link beside its list.
func (s *Share) extra() map[string]string {
	return map[string]string{
		"name": s.Name, "until": strconv.FormatInt(s.Until, 10), "objects": strconv.Itoa(s.Objects), "bytes": strconv.FormatInt(s.Bytes, 10),
		"pay": strconv.FormatUint(s.Pay, 10),
	}
}

func shareOf(o index.Object) (s Share, err error) {
	_, hex, _ := strings.Cut(o.Key, "/")
	if s.Serial, err = share.ParseSerial(hex); err != nil {
		return s, fault.New(fault.DamagedIndex, "link %s: %w", o.Key, err)
	}
	s.Name, s.Created = o.Extra["name"], o.Created
	if s.Until, err = strconv.ParseInt(o.Extra["until"], 10, 64); err == nil {
		s.Objects, err = strconv.Atoi(o.Extra["objects"])
	}
	if err == nil {
		s.Bytes, err = strconv.ParseInt(o.Extra["bytes"], 10, 64)
	}
	if err == nil {
		s.Pay, err = strconv.ParseUint(o.Extra["pay"], 10, 64)
	}
	if err != nil {
		err = fault.New(fault.DamagedIndex, "link %s: %w", o.Key, err)
	}
	return s, err
}

// Revoke ends a link: its list is removed, and hosts are told to refuse its
// ticket. untold names those that couldn't be told yet: they are told later, as
// is whoever holds something new. What was read stays read.
func (x *Client) Revoke(ctx context.Context, serial share.Serial) (s Share, untold []string, err error) {
	live := index.Ref{Bucket: index.Shares, Key: liveShare + serial.String()}
	o, err := x.c.Index.Head(ctx, live)
	if err != nil {
		if fault.CodeOf(err) == fault.NotFound {
			err = fault.New(fault.NotFound, "the account has given out no link %s that holds", serial)
		}
		return s, nil, err
	}
	if s, err = shareOf(o); err != nil {
		return s, nil, err
	}
	dead := index.Draft{Ref: index.Ref{Bucket: index.Shares, Key: deadShare + serial.String()}, ETag: serial.String(), Extra: o.Extra}
	if _, err := x.c.Index.Commit(ctx, 0, dead); err != nil {
		return s, nil, err
	}
	if _, err := x.Remove(ctx, live, index.RemoveOptions{}); err != nil {
		return s, nil, err
	}
	untold, err = x.tellRevoked(ctx)
	return s, untold, err
}

// tellRevoked has every host refuse what was revoked.
func (x *Client) tellRevoked(ctx context.Context) (untold []string, err error) {
	dead, err := x.shares(ctx, deadShare)
	if err != nil || len(dead) == 0 {
		return nil, err
	}
	places, err := x.c.Index.Leases(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, together)
	for _, p := range places {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := x.tell(ctx, p, dead); err != nil {
				x.c.Log.Info("host not told of revoked links", "host", p.Host, "lease", p.Lease, "err", err)
				mu.Lock()
				untold = append(untold, p.Host)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return untold, ctx.Err()
}

// tell tells one host what it wasn't told yet by this process.
func (x *Client) tell(ctx context.Context, p index.Place, dead []Share) error {
	for _, s := range dead {
		x.mu.Lock()
		known := x.told[told{p.Lease, s.Serial}]
		x.mu.Unlock()
		if known {
			continue
		}
		h, err := x.at(ctx, p)
		if err == nil {
			err = h.Revoke(ctx, s.Serial, s.Until)
		}
		if code := fault.CodeOf(err); code == fault.NoLease || code == fault.LeaseClosed {
			err = nil // it holds nothing of ours any more
		}
		if err != nil {
			return err
		}
		x.mu.Lock()
		x.told[told{p.Lease, s.Serial}] = true
		x.mu.Unlock()
	}
	return nil
}

// told is a host that knows of a revoked link.
type told struct {
	lease  uint64
	serial share.Serial
}
