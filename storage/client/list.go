package client

import (
	"bytes"
	"slices"

	"hearth/core/canon"
	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/storage/index"
)

// The list of a link and where it lies (docs/formats/link.md).

const (
	listMajor = 1
	maxHost   = 128
	maxWords  = 1024
)

func writeSlab(w *canon.Writer, s *index.PlacedSlab) {
	w.Fixed(s.ID[:]).Blob(index.EncodeSlab(s.Slab.Slab))
	for _, p := range s.At {
		w.String(p.Host)
	}
}

func readPlacedSlab(r *canon.Reader) (*index.PlacedSlab, error) {
	s := &index.PlacedSlab{}
	r.Fixed(s.ID[:])
	body := r.Blob(4096)
	if len(body) == 0 {
		return nil, fault.New(fault.BadFrame, "a slab is missing")
	}
	var err error
	if s.Slab.Slab, err = index.DecodeSlab(body); err != nil {
		return nil, err
	}
	s.At = make([]index.Place, s.Class.N)
	for i := range s.At {
		s.At[i].Host = r.String(maxHost)
	}
	return s, nil
}

// A Purse pays for reading in the reader's stead: an account, and the seed of a
// key that may open and fund leases of it and sign for them, and nothing else.
type Purse struct {
	Account string
	Seed    [32]byte
}

// encodeContents says where a list lies, and who pays for reading.
func encodeContents(s *index.PlacedSlab, by *Purse) []byte {
	if by == nil {
		by = &Purse{}
	}
	w := canon.New(listMajor).String(by.Account).Fixed(by.Seed[:])
	writeSlab(w, s)
	return w.Bytes()
}

func decodeContents(b []byte) (*index.PlacedSlab, *Purse, error) {
	r := canon.Read(b, listMajor)
	by := &Purse{Account: r.String(maxHost)}
	r.Fixed(by.Seed[:])
	s, err := readPlacedSlab(r)
	if e := r.Done(); e != nil {
		err = e
	}
	if (by.Account == "") != (by.Seed == [32]byte{}) && err == nil {
		err = fault.New(fault.BadFrame, "a purse without account or key")
	}
	if by.Account == "" {
		by = nil
	}
	return s, by, err
}

// A list is what a link opens: objects as they were when it was made.
type list struct {
	name  string // bucket/key, or bucket/prefix
	files []index.File
}

func (l *list) encode() ([]byte, error) {
	w := canon.New(listMajor).String(l.name)
	slabs := make(map[index.SlabID]*index.PlacedSlab)
	for _, f := range l.files {
		for id, s := range f.Slabs {
			slabs[id] = s
		}
	}
	w.Uint64(uint64(len(slabs)))
	ids := make([]index.SlabID, 0, len(slabs))
	for id := range slabs {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b index.SlabID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		writeSlab(w, slabs[id])
	}
	w.Uint64(uint64(len(l.files)))
	for _, f := range l.files {
		body, err := f.Manifest.Encode()
		if err != nil {
			return nil, err
		}
		w.String(f.Key).Int64(f.Size).Int64(f.Created).String(f.ETag).String(f.Type).Uint64(uint64(len(body))).Fixed(body)
	}
	return w.Bytes(), nil
}

// decodeList reads what encode wrote; every extent lies in a slab of the list.
func decodeList(b []byte) (*list, error) {
	bad := func(why string) (*list, error) { return nil, fault.New(fault.BadFrame, "list of a link: %s", why) }
	r := canon.Read(b, listMajor)
	l := &list{name: r.String(2 * index.MaxKey)}
	slabs := make(map[index.SlabID]*index.PlacedSlab)
	for n := r.Uint64(); n > 0; n-- {
		s, err := readPlacedSlab(r)
		if err != nil {
			return nil, err
		}
		slabs[s.ID] = s
	}
	for n := r.Uint64(); n > 0; n-- {
		f := index.File{Slabs: make(map[index.SlabID]*index.PlacedSlab)}
		f.Bucket, f.Key, f.Size, f.Created = "shared", r.String(index.MaxKey), r.Int64(), r.Int64()
		f.ETag, f.Type = r.String(maxWords), r.String(maxWords)
		size := r.Uint64()
		if size == 0 || size > uint64(len(b)) {
			return bad("it is cut short")
		}
		body := make([]byte, size)
		r.Fixed(body)
		var err error
		if f.Manifest, err = index.DecodeManifest(body); err != nil {
			return nil, err
		}
		if f.Manifest.Journal != (index.Kept{}) || f.Manifest.Size() != f.Size || f.Key == "" {
			return bad("an object contradicts itself")
		}
		for _, e := range f.Manifest.Extents {
			s := slabs[e.Slab]
			if s == nil || e.Offset+e.Length > s.Size {
				return bad("an object lies in no slab of it")
			}
			f.Slabs[e.Slab] = s
		}
		l.files = append(l.files, f)
	}
	return l, r.Done()
}

// maxList is how long a list may be: one slab.
func maxList(c erasure.Class) int64 { return c.SlabSize() }
