package gas

import (
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

var errShort = errors.New("it ends in the middle")

// A reader takes a module apart. The first error stays; after it everything
// reads as zero.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.at = len(r.b)
}

func (r *reader) more() bool { return r.err == nil && r.at < len(r.b) }

func (r *reader) u8() byte {
	if r.at >= len(r.b) {
		if r.err == nil {
			r.err = errShort
		}
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b)-r.at {
		r.fail("%w", errShort)
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at : r.at]
}

// u32 reads an unsigned LEB128 of at most 32 bits.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.u8()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	r.fail("a number of more than 32 bits")
	return 0
}

// leb skips a signed LEB128 of at most n bits; what it says doesn't matter.
func (r *reader) leb(n int) {
	for range (n + 6) / 7 {
		if r.u8() < 0x80 {
			return
		}
	}
	r.fail("a number of more than %d bits", n)
}

// count reads how many things follow, each of at least one byte.
func (r *reader) count() int {
	n := r.u32()
	if int64(n) > int64(len(r.b)-r.at) {
		r.fail("%d things in %d bytes", n, len(r.b)-r.at)
		return 0
	}
	return int(n)
}

// index reads an index below n.
func (r *reader) index(what string, n int) uint32 {
	i := r.u32()
	if r.err == nil && int64(i) >= int64(n) {
		r.fail("%s %d of %d", what, i, n)
		return 0
	}
	return i
}

func (r *reader) name() string {
	b := r.take(r.count())
	if !utf8.Valid(b) {
		r.fail("a name that isn't UTF-8")
	}
	return string(b)
}

func appendU32(b []byte, v uint32) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func appendS64(b []byte, v int64) []byte {
	for v < -64 || v > 63 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}

func appendBytes(b, p []byte) []byte {
	return append(appendU32(b, uint32(len(p))), p...)
}

// lebLen is how many bytes a number takes.
func lebLen(v uint32) int { return max(1, (bits.Len32(v)+6)/7) }
