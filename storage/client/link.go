package client

import (
	"bytes"
	"context"
	"io"
	"math"
	"slices"
	"sync"

	"hearth/core/fault"
	"hearth/core/share"
	"hearth/storage/download"
	"hearth/storage/index"
	"hearth/storage/remote"
)

// Readers gives bargains to read at hosts that were named by somebody else.
type Readers interface {
	// Readers gives a bargain with each of these hosts, opened where there is none,
	// good for reading so many bytes of each. Hosts with which there can be none are
	// left out. by pays; nil: this client.
	Readers(ctx context.Context, hosts []string, bytes uint64, by *Purse) ([]remote.Pair, error)
}

// A Shared is an opened link. Close it.
type Shared struct {
	x      *Client
	link   share.Link
	purse  *Purse
	list   *list
	reader *download.Reader

	mu    sync.Mutex
	hosts map[string]*remote.Host
}

// OpenLink verifies a link and reads what is in it. What hosts are asked is paid
// on this client's own leases, or from the link's purse; its owner may be away.
func (x *Client) OpenLink(ctx context.Context, l share.Link, chainID string) (*Shared, error) {
	if x.c.Readers == nil {
		return nil, fault.New(fault.BadRequest, "open link: this client opens no leases to read")
	}
	if err := l.Check(chainID, x.c.Now().Unix()); err != nil {
		return nil, err
	}
	slab, by, err := decodeContents(l.Contents)
	if err != nil {
		return nil, err
	}
	s := &Shared{x: x, link: l, purse: by, hosts: make(map[string]*remote.Host)}
	s.reader, err = download.New(download.Config{
		Resolve: s.resolve, Pool: x.pool, Book: x.book, Workers: x.c.Workers, Stall: x.c.Stall, Log: x.c.Log,
	})
	if err != nil {
		return nil, err
	}
	f := index.File{
		Object:   index.Object{Ref: index.Ref{Bucket: "link", Key: l.Ticket.Serial.String()}, Size: slab.Size},
		Manifest: index.Manifest{Extents: []index.Extent{{Slab: slab.ID, Length: slab.Size}}},
		Slabs:    map[index.SlabID]*index.PlacedSlab{slab.ID: slab},
	}
	var b bytes.Buffer
	if err := s.read(ctx, &f, 0, f.Size, &b); err != nil {
		s.Close()
		return nil, err
	}
	if s.list, err = decodeList(b.Bytes()); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the streams to hosts.
func (s *Shared) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hosts {
		h.Close()
	}
	clear(s.hosts)
}

// Paid says whether the link has a purse that pays.
func (s *Shared) Paid() bool { return s.purse != nil }

// Name is what was shared: bucket/key, or bucket/prefix.
func (s *Shared) Name() string { return s.list.name }

// Objects lists what the link reaches.
func (s *Shared) Objects() []index.Object {
	out := make([]index.Object, len(s.list.files))
	for i, f := range s.list.files {
		out[i] = f.Object
	}
	return out
}

// Get writes a part of an object to w, in order, and only bytes that were
// verified. What isn't in the link is fault.NotFound.
func (s *Shared) Get(ctx context.Context, key string, w io.Writer, o GetOptions) (index.Object, error) {
	i := slices.IndexFunc(s.list.files, func(f index.File) bool { return f.Key == key })
	if i < 0 {
		return index.Object{}, fault.New(fault.NotFound, "the link to %s doesn't reach %q", s.list.name, key)
	}
	f := s.list.files[i]
	length := f.Size - o.Offset
	if o.Offset < 0 || length < 0 || o.Length < 0 {
		return f.Object, fault.New(fault.BadRequest, "get %q: it has %d bytes, asked for %d from %d on", key, f.Size, o.Length, o.Offset)
	}
	if o.Length > 0 {
		length = min(length, o.Length)
	}
	if o.Begin != nil {
		if err := o.Begin(f.Object); err != nil {
			return f.Object, err
		}
	}
	return f.Object, s.read(ctx, &f, o.Offset, length, &counter{w: w, report: o.Progress})
}

// read has bargains with the hosts of what is read, and reads.
func (s *Shared) read(ctx context.Context, f *index.File, off, length int64, w io.Writer) error {
	want := make(map[string]bool)
	var most int64
	for _, e := range f.Manifest.Within(off, length) {
		slab := f.Slabs[e.Slab]
		most += slab.ShardSize
		for _, p := range slab.At {
			s.mu.Lock()
			if p.Host != "" && s.hosts[p.Host] == nil {
				want[p.Host] = true
			}
			s.mu.Unlock()
		}
	}
	if len(want) > 0 {
		names := make([]string, 0, len(want))
		for h := range want {
			names = append(names, h)
		}
		slices.Sort(names)
		pairs, err := s.x.c.Readers.Readers(ctx, names, uint64(min(most, math.MaxInt64)), s.purse)
		if err != nil {
			return err
		}
		if err := s.add(pairs); err != nil {
			return err
		}
	}
	return s.reader.Read(ctx, f, off, length, w)
}

func (s *Shared) add(pairs []remote.Pair) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range pairs {
		if s.hosts[p.Host()] != nil {
			continue
		}
		h, err := remote.New(remote.Config{Pair: p, Dialer: s.x.c.Dialer, Ticket: &s.link, Pause: s.x.c.Pause, Log: s.x.c.Log})
		if err != nil {
			return err
		}
		s.hosts[p.Host()] = h
	}
	return nil
}

func (s *Shared) resolve(_ context.Context, p index.Place) (download.Host, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hosts[p.Host]; h != nil {
		return h, nil
	}
	return nil, fault.New(fault.NoLease, "there is no lease to read at %s", p.Host)
}
