package index

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// Sizes in SQLite's write-ahead log.
const (
	walHeader   = 32
	frameHeader = 24
)

// walDamage says what is wrong with a write-ahead log, or "". SQLite takes the
// first frame that doesn't match its checksum for the log's end: right after a
// loss of power, when the last commit may not have reached the disk; but if a
// whole frame of a later commit follows, then what lies before it had been
// synced, and dropping it would lose what was acknowledged.
func walDamage(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, walHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", nil // too short to hold anything
	}
	w := wal{order: binary.ByteOrder(binary.LittleEndian)}
	if head[3]&1 == 1 {
		w.order = binary.BigEndian
	}
	// The head is smaller than what a disk writes at once and is synced before the
	// first frame: with frames behind it, it is whole.
	w.sum = w.checksum([2]uint32{}, head[:24])
	size := binary.BigEndian.Uint32(head[8:])
	if size == 1 {
		size = 65536
	}
	if w.sum != pair(head[24:]) || size < 512 || size > 65536 || size&(size-1) != 0 {
		if _, err := r.Peek(frameHeader + 512); err != nil {
			return "", nil
		}
		return "its log's head doesn't match its checksum", nil
	}
	frame := make([]byte, frameHeader+int(size))
	good, ended := true, false // ended: the commit that the damaged frame belongs to is over
	for {
		if _, err := io.ReadFull(r, frame); err != nil {
			return "", nil
		}
		// With other salts it is left over from before the log began anew, if all
		// that follow are.
		intact := string(frame[8:16]) == string(head[16:24])
		before := w.sum
		w.sum = pair(frame[16:])
		intact = intact && w.checksum(w.checksum(before, frame[:8]), frame[frameHeader:]) == w.sum
		switch {
		case good && !intact:
			good = false
		case !good && intact && ended:
			return "a part of its log doesn't match its checksum", nil
		}
		if !good && binary.BigEndian.Uint32(frame[4:]) != 0 {
			ended = true
		}
	}
}

type wal struct {
	order binary.ByteOrder
	sum   [2]uint32
}

func pair(b []byte) [2]uint32 {
	return [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// checksum continues SQLite's checksum over b, whose length is a multiple of 8.
func (w *wal) checksum(s [2]uint32, b []byte) [2]uint32 {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += w.order.Uint32(b) + s[1]
		s[1] += w.order.Uint32(b[4:]) + s[0]
	}
	return s
}
