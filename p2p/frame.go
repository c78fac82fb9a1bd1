package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/proto"

	"hearth/core/fault"
)

// MaxFrame is the largest message that WriteFrame sends.
const MaxFrame = 1 << 20

// firstRead is how much is set aside on a peer's word; more only as bytes come.
const firstRead = 16 << 10

// WriteFrame sends m as one frame, a 4-byte big-endian length and the message,
// in one Write.
func WriteFrame(w io.Writer, m proto.Message) error {
	size := proto.Size(m)
	if size > MaxFrame {
		return fault.New(fault.TooLarge, "write frame: %d bytes, limit %d", size, MaxFrame)
	}
	b, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 4, 4+size), m)
	if err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// ReadFrame reads one frame of at most limit bytes into m, and nothing after it.
// The error is io.EOF itself when the peer ended before a frame, and has the
// code too_large or bad_frame when the peer broke the rules.
func ReadFrame(r io.Reader, m proto.Message, limit int) error {
	var head [4]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		if n == 0 && errors.Is(err, io.EOF) {
			return io.EOF
		}
		return frameError(err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if uint64(size) > uint64(max(limit, 0)) {
		return fault.New(fault.TooLarge, "read frame: %d bytes, limit %d", size, limit)
	}
	b := make([]byte, 0, min(int(size), firstRead))
	for len(b) < int(size) {
		b = slices.Grow(b, min(int(size)-len(b), max(len(b), 1)))
		part := b[len(b):min(cap(b), int(size))]
		n, err := io.ReadFull(r, part)
		b = b[:len(b)+n]
		if err != nil {
			return frameError(err)
		}
	}
	if err := proto.Unmarshal(b, m); err != nil {
		return fault.New(fault.BadFrame, "read frame: %w", err)
	}
	return nil
}

// frameError says that a frame was cut short, or why reading it stopped.
func frameError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.BadFrame, "read frame: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read frame: %w", err)
}
