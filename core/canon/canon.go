// Package canon writes and reads the canonical bytes that signatures cover:
// fields in a fixed order, integers big-endian, strings and byte strings behind
// a 4-byte length, the first byte a format major. It knows no fields: each type
// says its own order. There is one encoding of a value and no other decodes.
package canon

import (
	"crypto/sha256"
	"encoding/binary"

	"hearth/core/fault"
)

// MaxBytes bounds one string or byte string.
const MaxBytes = 1 << 16

// A Writer appends fields. The zero Writer is empty; New starts one with its major.
type Writer struct{ b []byte }

// New returns a Writer that has written the format major.
func New(major byte) *Writer { return &Writer{b: []byte{major}} }

// Bytes is what was written. It belongs to the Writer until the caller is done with that.
func (w *Writer) Bytes() []byte { return w.b }

// Uint8 appends one byte.
func (w *Writer) Uint8(v uint8) *Writer { w.b = append(w.b, v); return w }

// Uint64 appends eight bytes.
func (w *Writer) Uint64(v uint64) *Writer { w.b = binary.BigEndian.AppendUint64(w.b, v); return w }

// Int64 appends eight bytes, two's complement.
func (w *Writer) Int64(v int64) *Writer { return w.Uint64(uint64(v)) }

// Blob appends a length and b.
func (w *Writer) Blob(b []byte) *Writer {
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(len(b)))
	w.b = append(w.b, b...)
	return w
}

// String appends a length and s.
func (w *Writer) String(s string) *Writer { return w.Blob([]byte(s)) }

// Fixed appends b as it is: its length is part of the format.
func (w *Writer) Fixed(b []byte) *Writer { w.b = append(w.b, b...); return w }

// Digest names canonical bytes: SHA-256(label || b). The label says what they are, so
// that one sort is never taken for another.
func Digest(label string, b []byte) (out [32]byte) {
	h := sha256.New()
	h.Write([]byte(label))
	h.Write(b)
	h.Sum(out[:0])
	return out
}

// A Reader takes fields in the same order. After the first mistake every field
// is zero, and Done says what was wrong.
type Reader struct {
	b   []byte
	err error
}

// Read starts on b, which must begin with major. An unknown major is refused.
func Read(b []byte, major byte) *Reader {
	r := &Reader{b: b}
	if got := r.Uint8(); r.err == nil && got != major {
		r.err = fault.New(fault.UnknownFormat, "format major %d, known is %d", got, major)
	}
	return r
}

func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b) {
		r.err = fault.New(fault.BadFrame, "%d bytes left, %d needed", len(r.b), n)
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// Uint8 takes one byte.
func (r *Reader) Uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint64 takes eight bytes.
func (r *Reader) Uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Int64 takes eight bytes.
func (r *Reader) Int64() int64 { return int64(r.Uint64()) }

// Blob takes a length and as many bytes, at most limit. The caller owns the result.
func (r *Reader) Blob(limit int) []byte {
	b := r.take(4)
	if b == nil {
		return nil
	}
	n := binary.BigEndian.Uint32(b)
	if n > uint32(min(limit, MaxBytes)) {
		r.err = fault.New(fault.TooLarge, "a field of %d bytes, at most %d are allowed", n, min(limit, MaxBytes))
		return nil
	}
	return append([]byte(nil), r.take(int(n))...)
}

// String takes a length and a string of at most limit bytes.
func (r *Reader) String(limit int) string { return string(r.Blob(limit)) }

// Fixed takes len(into) bytes.
func (r *Reader) Fixed(into []byte) {
	if b := r.take(len(into)); b != nil {
		copy(into, b)
	}
}

// Done is the first mistake, or one if bytes are left over.
func (r *Reader) Done() error {
	if r.err == nil && len(r.b) > 0 {
		return fault.New(fault.BadFrame, "%d bytes too many", len(r.b))
	}
	return r.err
}
