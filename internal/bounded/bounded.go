// Package bounded takes in what others send, up to so many bytes. It refuses what is
// more rather than cut it off: what it holds is whole or the beginning, and whoever
// wrote more knows.
package bounded

import (
	"bytes"

	"hearth/core/fault"
)

// A Buffer is an io.Writer that takes at most Most bytes. It offers no other way in,
// so nothing goes past the bound.
type Buffer struct {
	Most int
	Err  error // what a write past Most is told; default fault.TooLarge with Most

	b    bytes.Buffer
	over bool
}

// Write takes p whole or not at all. After the first p that it didn't take it takes
// nothing.
func (b *Buffer) Write(p []byte) (int, error) {
	b.over = b.over || len(p) > b.Most-b.b.Len()
	switch {
	case !b.over:
		return b.b.Write(p)
	case b.Err != nil:
		return 0, b.Err
	}
	return 0, fault.New(fault.TooLarge, "more than %d bytes", b.Most)
}

// Bytes is what was written. It belongs to the Buffer until the caller is done with that.
func (b *Buffer) Bytes() []byte { return b.b.Bytes() }

// String is a copy of what was written.
func (b *Buffer) String() string { return b.b.String() }
