package replica

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/storage/index"
)

// Limits of a head.
const (
	MaxHead = 64 << 10 // sealed

	headMajor   = 1
	sealMajor   = 1
	sealed      = 1 + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
	maxEntries  = 255
	maxHosts    = 254
	nowhere     = 255 // the host of a shard that has no place
	maxAddress  = 128
	maxSlab     = 4 << 10
	maxSlabs    = 64 // of one entry
	maxTail     = 24 << 10
	maxFixed    = 36 << 10 // of a head without its tail
	maxSegments = 32
)

// A head says where everything of a device's log is. Positions count the changes
// that the device has ever logged.
type head struct {
	device   uint64
	snapshot *entry // nil: there is none
	covers   []mark // of other devices' logs, that the snapshot holds
	segments []entry
	from     uint64   // position of the tail's first change
	tail     [][]byte // the newest changes
}

// A mark is how far another device's log was merged.
type mark struct{ device, position uint64 }

// An entry is a stretch of the log at hosts: from 0 and with everything before to
// for a snapshot.
type entry struct {
	from, to uint64
	made     uint64       // number of the pointer it was made for, part of its name
	size     int64        // of its bytes before they were cut into slabs
	sum      pointer.Hash // BLAKE3 of them
	slabs    []index.PlacedSlab
}

// end is the position after the last change.
func (h *head) end() uint64 { return h.from + uint64(len(h.tail)) }

func (h *head) tailBytes() (n int) {
	for _, b := range h.tail {
		n += 4 + len(b)
	}
	return n
}

// bytes is how long the log is.
func (h *head) bytes() (n int64) {
	for _, e := range h.entries() {
		n += e.size
	}
	return n + int64(h.tailBytes())
}

// entries are all of them.
func (h *head) entries() []*entry {
	var out []*entry
	if h.snapshot != nil {
		out = append(out, h.snapshot)
	}
	for i := range h.segments {
		out = append(out, &h.segments[i])
	}
	return out
}

// encode gives the canonical bytes (docs/formats/head.md).
func (h *head) encode() ([]byte, error) {
	var hosts []string
	number := map[string]uint8{}
	for _, e := range h.entries() {
		for _, s := range e.slabs {
			for _, p := range s.At {
				if _, known := number[p.Host]; !known && p != (index.Place{}) {
					number[p.Host] = uint8(len(hosts))
					hosts = append(hosts, p.Host)
				}
			}
		}
	}
	if len(hosts) > maxHosts || len(h.entries()) > maxEntries {
		return nil, fault.New(fault.TooLarge, "head: %d hosts, %d entries, at most %d and %d are allowed", len(hosts), len(h.entries()), maxHosts, maxEntries)
	}
	w := canon.New(headMajor).Uint64(h.device).Uint8(uint8(len(hosts)))
	for _, a := range hosts {
		w.String(a)
	}
	if h.snapshot == nil {
		w.Uint8(0)
	} else {
		w.Uint8(1)
		h.snapshot.write(w, number)
		w.Uint8(uint8(len(h.covers)))
		for _, c := range h.covers {
			w.Uint64(c.device).Uint64(c.position)
		}
	}
	w.Uint8(uint8(len(h.segments)))
	for i := range h.segments {
		h.segments[i].write(w, number)
	}
	w.Uint64(h.from).Uint64(uint64(len(h.tail)))
	for _, b := range h.tail {
		w.Blob(b)
	}
	if n := len(w.Bytes()) + sealed; n > MaxHead {
		return nil, fault.New(fault.TooLarge, "head: %d bytes, at most %d are allowed", n, MaxHead)
	}
	return w.Bytes(), nil
}

func (e *entry) write(w *canon.Writer, number map[string]uint8) {
	w.Uint64(e.from).Uint64(e.to).Uint64(e.made).Int64(e.size).Fixed(e.sum[:]).Uint8(uint8(len(e.slabs)))
	for _, s := range e.slabs {
		w.Fixed(s.ID[:]).Blob(index.EncodeSlab(s.Slab.Slab))
		for _, p := range s.At {
			if p == (index.Place{}) {
				w.Uint8(nowhere).Uint64(0)
				continue
			}
			w.Uint8(number[p.Host]).Uint64(p.Lease)
		}
	}
}

// decodeHead reads what encode wrote and refuses everything else.
func decodeHead(b []byte) (*head, error) {
	if len(b) > MaxHead {
		return nil, fault.New(fault.TooLarge, "head of %d bytes, at most %d are allowed", len(b), MaxHead)
	}
	r := canon.Read(b, headMajor)
	h := &head{device: r.Uint64()}
	hosts := make([]string, r.Uint8())
	for i := range hosts {
		hosts[i] = r.String(maxAddress)
	}
	d := &decoder{r: r, hosts: hosts}
	switch r.Uint8() {
	case 0:
	case 1:
		h.snapshot = new(entry)
		d.entry(h.snapshot)
		h.covers = make([]mark, r.Uint8())
		for i := range h.covers {
			h.covers[i] = mark{r.Uint64(), r.Uint64()}
		}
	default:
		d.fail("it has more than one snapshot")
	}
	h.segments = make([]entry, r.Uint8())
	for i := range h.segments {
		d.entry(&h.segments[i])
	}
	h.from = r.Uint64()
	n := r.Uint64()
	if n > MaxHead/4 {
		d.fail("it has more changes than bytes")
		n = 0
	}
	for range n {
		h.tail = append(h.tail, r.Blob(canon.MaxBytes))
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	if d.err == nil {
		d.err = h.check(hosts)
	}
	return h, d.err
}

// check refuses what contradicts itself or has a second encoding.
func (h *head) check(hosts []string) error {
	bad := func(why string) error { return fault.New(fault.BadFrame, "head: %s", why) }
	at := uint64(0)
	if s := h.snapshot; s != nil {
		if s.from != 0 {
			return bad("the snapshot doesn't begin at the beginning")
		}
		at = s.to
	}
	for _, s := range h.segments {
		if s.from != at || s.to <= s.from {
			return bad("its stretches don't follow one another")
		}
		at = s.to
	}
	if h.from != at || h.from > h.end() {
		return bad("its tail doesn't follow")
	}
	again, err := h.encode()
	if err != nil {
		return err
	}
	r := canon.Read(again, headMajor)
	r.Uint64()
	if n := int(r.Uint8()); n != len(hosts) {
		return bad("it names hosts that hold nothing")
	}
	for _, a := range hosts {
		if r.String(maxAddress) != a {
			return bad("its hosts aren't in order")
		}
	}
	return nil
}

// A decoder reads entries and keeps the first mistake that isn't the reader's.
type decoder struct {
	r     *canon.Reader
	hosts []string
	err   error
}

func (d *decoder) fail(why string) {
	if d.err == nil {
		d.err = fault.New(fault.BadFrame, "head: %s", why)
	}
}

func (d *decoder) entry(e *entry) {
	r := d.r
	e.from, e.to, e.made, e.size = r.Uint64(), r.Uint64(), r.Uint64(), r.Int64()
	r.Fixed(e.sum[:])
	n := int(r.Uint8())
	if n > maxSlabs {
		d.fail("an entry has too many slabs")
		return
	}
	left := e.size
	for range n {
		s := index.PlacedSlab{}
		r.Fixed(s.ID[:])
		raw := r.Blob(maxSlab)
		if len(raw) == 0 {
			d.fail("a slab is missing")
			return
		}
		slab, err := index.DecodeSlab(raw)
		if err != nil {
			if d.err == nil {
				d.err = fmt.Errorf("head: %w", err)
			}
			return
		}
		s.Slab.Slab = slab
		for range slab.Class.N {
			s.At = append(s.At, d.place())
		}
		left -= slab.Size
		e.slabs = append(e.slabs, s)
	}
	if left != 0 || e.size <= 0 {
		d.fail("the slabs don't make up an entry's size")
	}
}

func (d *decoder) place() index.Place {
	host, lease := d.r.Uint8(), d.r.Uint64()
	switch {
	case host == nowhere && lease == 0:
		return index.Place{}
	case int(host) >= len(d.hosts) || d.hosts[host] == "":
		d.fail("a host isn't named")
		return index.Place{}
	}
	return index.Place{Host: d.hosts[host], Lease: lease}
}

// headKey is the key under which a device's heads are sealed.
func headKey(indexKey [32]byte, device uint64) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, indexKey[:], nil, fmt.Sprintf("hearth/1/head/%016x", device), chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.NewX(key)
}

// closeHead encrypts a head's bytes.
func closeHead(indexKey [32]byte, device uint64, plain []byte) ([]byte, error) {
	aead, err := headKey(indexKey, device)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 1+chacha20poly1305.NonceSizeX, sealed+len(plain))
	out[0] = sealMajor
	if _, err := rand.Read(out[1:]); err != nil {
		return nil, err
	}
	return aead.Seal(out, out[1:], plain, out[:1]), nil
}

// openHead decrypts a head of a device, and reads it.
func openHead(indexKey [32]byte, device uint64, b []byte) (*head, error) {
	if len(b) == 0 || b[0] != sealMajor {
		return nil, fault.New(fault.UnknownFormat, "sealed head of %d bytes: its format isn't known", len(b))
	}
	if len(b) < sealed || len(b) > MaxHead {
		return nil, fault.New(fault.BadFrame, "sealed head of %d bytes", len(b))
	}
	aead, err := headKey(indexKey, device)
	if err != nil {
		return nil, err
	}
	nonce := b[1 : 1+chacha20poly1305.NonceSizeX]
	plain, err := aead.Open(nil, nonce, b[1+chacha20poly1305.NonceSizeX:], b[:1])
	if err != nil {
		return nil, fault.New(fault.BadSignature, "sealed head: the key doesn't open it")
	}
	h, err := decodeHead(plain)
	if err == nil && h.device != device {
		err = fault.New(fault.BadFrame, "head: it is of device %016x, not %016x", h.device, device)
	}
	return h, err
}
