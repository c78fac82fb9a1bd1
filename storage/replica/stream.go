package replica

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"hearth/core/fault"
)

const (
	segmentMajor = 1
	maxBody      = 64 << 20 // of one change
)

// writeSegment writes changes behind one another, each behind its length.
func writeSegment(w io.Writer, bodies [][]byte) error {
	b := []byte{segmentMajor}
	for _, body := range bodies {
		b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
		if _, err := w.Write(append(b, body...)); err != nil {
			return err
		}
		b = b[:0]
	}
	return nil
}

// readSegment gives the changes of a segment to f, some at a time.
func readSegment(src io.Reader, f func(bodies [][]byte) error) error {
	r := bufio.NewReaderSize(src, 64<<10)
	major, err := r.ReadByte()
	if err != nil {
		return err
	}
	if major != segmentMajor {
		return fault.New(fault.UnknownFormat, "segment: format major %d, known is %d", major, segmentMajor)
	}
	const batch = 1 << 20
	var bodies [][]byte
	size := 0
	for {
		var length [4]byte
		if _, err := io.ReadFull(r, length[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fault.New(fault.BadFrame, "segment: it is cut short: %w", err)
		}
		n := binary.BigEndian.Uint32(length[:])
		if n > maxBody {
			return fault.New(fault.TooLarge, "segment: a change of %d bytes, at most %d are allowed", n, maxBody)
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return fault.New(fault.BadFrame, "segment: it is cut short: %w", err)
		}
		bodies = append(bodies, body)
		if size += len(body); size >= batch {
			if err := f(bodies); err != nil {
				return err
			}
			bodies, size = nil, 0
		}
	}
	if len(bodies) == 0 {
		return nil
	}
	return f(bodies)
}
