package wasm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What goes through the pipes are frames: length of the rest, kind, number of the
// call (little-endian), body.
const (
	kindHello   = iota + 1 // to the worker: limits; the first
	kindModule             // to the worker: the metered module; the second
	kindCall               // to the worker
	kindCancel             // to the worker
	kindReady              // from the worker: the module is compiled, calls may come
	kindRefused            // from the worker: the module isn't valid, and why
	kindResult             // from the worker
	kindLate               // from the worker: the call was over its deadline, or cancelled
	kindBroken             // from the worker: it couldn't run the call, and why
)

const headerSize = 4 + 1 + 4

// maxReason is how long a text of a worker may be.
const maxReason = 512

var errFrame = errors.New("not a frame")

type header struct {
	kind byte
	id   uint32
	size int // of the body
}

// newFrame begins a frame: its body is appended, and finish makes it whole.
func newFrame(kind byte, id uint32, room int) []byte {
	b := make([]byte, headerSize, headerSize+room)
	b[4] = kind
	binary.LittleEndian.PutUint32(b[5:], id)
	return b
}

// finish writes the length of a frame into it, behind which so many bytes more will
// be written.
func finish(frame []byte, more int) []byte {
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-4+more))
	return frame
}

func readHeader(r io.Reader) (header, error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return header{}, err
	}
	n := int64(binary.LittleEndian.Uint32(b[:]))
	if n < headerSize-4 {
		return header{}, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	return header{kind: b[4], id: binary.LittleEndian.Uint32(b[5:]), size: int(n - headerSize + 4)}, nil
}

// body reads what belongs to a header, if it isn't longer than limit.
func (h header) body(r io.Reader, limit int) ([]byte, error) {
	if h.size > limit {
		return nil, fmt.Errorf("%w: %d bytes of kind %d, %d are allowed", errFrame, h.size, h.kind, limit)
	}
	b := make([]byte, h.size)
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// expect reads a frame of one kind.
func expect(r io.Reader, kind byte, limit int) ([]byte, error) {
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if h.kind != kind {
		return nil, fmt.Errorf("%w: kind %d instead of %d", errFrame, h.kind, kind)
	}
	return h.body(r, limit)
}
