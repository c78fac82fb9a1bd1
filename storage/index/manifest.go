package index

import (
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math"

	"hearth/core/fault"
)

// Limits of a manifest.
const (
	MaxInline  = 4 << 10 // below this many bytes an object lives in its manifest
	MaxExtents = 1 << 20

	manifestMajor = 1
	keptMajor     = 2 // in the journal of this device
	extentBytes   = 32
	keptBytes     = 25
)

// A SlabID is the random name of a slab.
type SlabID [16]byte

// String is hex.
func (id SlabID) String() string { return hex.EncodeToString(id[:]) }

// LogValue is hex too.
func (id SlabID) LogValue() slog.Value { return slog.StringValue(id.String()) }

func parseSlab(s string) (id SlabID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fault.New(fault.BadName, "slab %q: a slab's name has 32 hex digits", s)
	}
	return SlabID(b), nil
}

// An Extent is a stretch of a slab's plaintext.
type Extent struct {
	Slab           SlabID
	Offset, Length int64
}

// A Manifest says where an object's bytes are: in itself, in a list of extents
// that follow one another, or in this device's journal. Only in one of them.
type Manifest struct {
	Inline  []byte
	Extents []Extent
	Journal Kept
}

// Size is the object's length.
func (m Manifest) Size() int64 {
	n := int64(len(m.Inline)) + m.Journal.Length
	for _, e := range m.Extents {
		n += e.Length
	}
	return n
}

// Slabs lists each slab of m once.
func (m Manifest) Slabs() []SlabID {
	var out []SlabID
	seen := make(map[SlabID]bool, len(m.Extents))
	for _, e := range m.Extents {
		if !seen[e.Slab] {
			seen[e.Slab] = true
			out = append(out, e.Slab)
		}
	}
	return out
}

// Within lists the extents that hold some of length bytes from off on.
func (m Manifest) Within(off, length int64) []Extent {
	if off < 0 || length <= 0 {
		return nil
	}
	for i, e := range m.Extents {
		if off < e.Length {
			first := i
			for left := length; i < len(m.Extents); i++ {
				left -= m.Extents[i].Length - off
				if off = 0; left <= 0 {
					return m.Extents[first : i+1]
				}
			}
			return m.Extents[first:]
		}
		off -= e.Length
	}
	return nil
}

func (m Manifest) check() error {
	if m.Journal != (Kept{}) {
		if k := m.Journal; k.Segment == 0 || k.Offset < 0 || k.Length <= 0 || len(m.Inline)+len(m.Extents) > 0 {
			return fault.New(fault.BadFrame, "manifest: journal's segment %d, offset %d, length %d, and other parts", k.Segment, k.Offset, k.Length)
		}
		return nil
	}
	switch {
	case len(m.Inline) > 0 && len(m.Extents) > 0:
		return fault.New(fault.BadFrame, "manifest: inline bytes and extents")
	case len(m.Inline) > MaxInline:
		return fault.New(fault.TooLarge, "manifest: %d bytes inline, at most %d are allowed", len(m.Inline), MaxInline)
	case len(m.Extents) > MaxExtents:
		return fault.New(fault.TooLarge, "manifest: %d extents, at most %d are allowed", len(m.Extents), MaxExtents)
	}
	var size int64
	for i, e := range m.Extents {
		if e.Offset < 0 || e.Length <= 0 || e.Offset > math.MaxInt64-e.Length || size > math.MaxInt64-e.Length {
			return fault.New(fault.BadFrame, "manifest: extent %d: offset %d, length %d", i, e.Offset, e.Length)
		}
		size += e.Length
	}
	return nil
}

// Encode gives the manifest's canonical bytes (docs/formats/manifest.md).
func (m Manifest) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if m.Journal != (Kept{}) {
		b := append(make([]byte, 0, keptBytes), keptMajor)
		for _, v := range []uint64{uint64(m.Journal.Length), m.Journal.Segment, uint64(m.Journal.Offset)} {
			b = binary.BigEndian.AppendUint64(b, v)
		}
		return b, nil
	}
	b := make([]byte, 0, 17+len(m.Inline)+len(m.Extents)*extentBytes)
	b = append(b, manifestMajor)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Size()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Inline)))
	b = append(b, m.Inline...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Extents)))
	for _, e := range m.Extents {
		b = append(b, e.Slab[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(e.Offset))
		b = binary.BigEndian.AppendUint64(b, uint64(e.Length))
	}
	return b, nil
}

// DecodeManifest reads what Encode wrote and refuses everything else. The
// result shares nothing with b.
func DecodeManifest(b []byte) (Manifest, error) {
	bad := func(why string) (Manifest, error) {
		return Manifest{}, fault.New(fault.BadFrame, "manifest of %d bytes: %s", len(b), why)
	}
	if len(b) == 0 {
		return bad("it is empty")
	}
	if b[0] == keptMajor {
		return decodeKept(b)
	}
	if b[0] != manifestMajor {
		return Manifest{}, fault.New(fault.UnknownFormat, "manifest: format major %d, known are %d and %d", b[0], manifestMajor, keptMajor)
	}
	if len(b) < 13 {
		return bad("it is cut short")
	}
	size, inline := binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint32(b[9:])
	rest := b[13:]
	if inline > MaxInline || int(inline)+4 > len(rest) {
		return bad("it is cut short")
	}
	var m Manifest
	if inline > 0 {
		m.Inline = append([]byte(nil), rest[:inline]...)
	}
	count := binary.BigEndian.Uint32(rest[inline:])
	rest = rest[inline+4:]
	if count > MaxExtents || len(rest) != int(count)*extentBytes {
		return bad("its length doesn't match its extents")
	}
	if count > 0 {
		m.Extents = make([]Extent, count)
	}
	for i := range m.Extents {
		e := &m.Extents[i]
		copy(e.Slab[:], rest)
		e.Offset = int64(binary.BigEndian.Uint64(rest[16:]))
		e.Length = int64(binary.BigEndian.Uint64(rest[24:]))
		rest = rest[extentBytes:]
	}
	if err := m.check(); err != nil {
		return Manifest{}, err
	}
	if uint64(m.Size()) != size {
		return bad("its size doesn't match its parts")
	}
	return m, nil
}
