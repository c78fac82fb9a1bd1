package journal

import (
	"encoding/binary"

	"lukechampine.com/blake3"

	"hearth/core/fault"
)

const (
	major      = 1
	headBytes  = 16 // of a segment
	frameBytes = 24 // of a record, before its body
	sumBytes   = 16

	// MaxBody is the longest body of a record.
	MaxBody = 4 << 20
)

// appendHead gives the first bytes of a segment.
func appendHead(b []byte, segment uint64) []byte {
	b = append(b, major, 'j', 'o', 'u', 'r', 'n', 'a', 'l')
	return binary.BigEndian.AppendUint64(b, segment)
}

// checkHead refuses the first bytes of another file or of another format.
func checkHead(b []byte, segment uint64) error {
	if len(b) < headBytes || string(b[1:8]) != "journal" {
		return fault.New(fault.DamagedFile, "it doesn't begin like a segment of a journal")
	}
	if b[0] != major {
		return fault.New(fault.UnknownFormat, "format major %d, known is %d", b[0], major)
	}
	if n := binary.BigEndian.Uint64(b[8:]); n != segment {
		return fault.New(fault.DamagedFile, "it says it is segment %d", n)
	}
	return nil
}

// appendRecord gives a record as it lies at offset of a segment.
func appendRecord(b []byte, segment uint64, offset int64, body []byte) []byte {
	b = append(b, major, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	sum := sumOf(segment, offset, body)
	b = append(b, sum[:]...)
	return append(b, body...)
}

// sumOf binds a body to its place, so that what an earlier file has left on the
// disk is never taken for it.
func sumOf(segment uint64, offset int64, body []byte) (sum [sumBytes]byte) {
	var at [24]byte
	binary.BigEndian.PutUint64(at[:], segment)
	binary.BigEndian.PutUint64(at[8:], uint64(offset))
	binary.BigEndian.PutUint64(at[16:], uint64(len(body)))
	h := blake3.New(sumBytes, nil)
	_, _ = h.Write(at[:]) // neither fails
	_, _ = h.Write(body)
	h.Sum(sum[:0])
	return sum
}

// parse finds the body in a record that was read from offset of a segment; the
// result lies in b. It refuses everything that appendRecord can't have written
// there: fault.UnknownFormat for another major, else fault.DamagedFile.
func parse(b []byte, segment uint64, offset int64) ([]byte, error) {
	if len(b) < frameBytes {
		return nil, fault.New(fault.DamagedFile, "record of %d bytes: it is cut short", len(b))
	}
	if b[0] != major {
		return nil, fault.New(fault.UnknownFormat, "record: format major %d, known is %d", b[0], major)
	}
	n := binary.BigEndian.Uint32(b[4:])
	if b[1] != 0 || b[2] != 0 || b[3] != 0 || n == 0 || n > MaxBody || len(b) != frameBytes+int(n) {
		return nil, fault.New(fault.DamagedFile, "record of %d bytes: it says its body has %d", len(b), n)
	}
	body := b[frameBytes:]
	if [sumBytes]byte(b[8:frameBytes]) != sumOf(segment, offset, body) {
		return nil, fault.New(fault.DamagedFile, "record of %d bytes: its checksum doesn't match", len(b))
	}
	return body, nil
}
