package api

import (
	"encoding/binary"
	"io"

	"hearth/core/fault"
)

// Upgrade is the protocol that the connection of a program inside an instance
// changes to: frames of a kind, a 4-byte big-endian length and so many bytes.
const Upgrade = "hearth-program/1"

// Kinds of frames.
const (
	FrameIn    byte = 1 + iota // to the program; an empty one is the end of its input
	FrameSize                  // JSON Size of its terminal, to the program
	FrameOut                   // from the program
	FrameErr                   // from the program
	FrameEnded                 // JSON Ended; the last one
)

// MaxFrame is how many bytes a frame carries at most.
const MaxFrame = 64 << 10

// Ended says how a program inside an instance has ended.
type Ended struct {
	Exit   int    `json:"exit"`
	Code   string `json:"code,omitempty" doc:"Why it broke off"`
	Reason string `json:"reason,omitempty"`
}

// WriteFrame writes a frame in one piece.
func WriteFrame(w io.Writer, kind byte, b []byte) error {
	out := make([]byte, 5, 5+len(b))
	out[0] = kind
	binary.BigEndian.PutUint32(out[1:], uint32(len(b)))
	_, err := w.Write(append(out, b...))
	return err
}

// ReadFrame reads a frame. The caller owns the bytes.
func ReadFrame(r io.Reader) (kind byte, b []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > MaxFrame {
		return 0, nil, fault.New(fault.BadFrame, "read frame: %d bytes, at most %d are allowed", n, MaxFrame)
	}
	b = make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, nil, err
	}
	return head[0], b, nil
}
