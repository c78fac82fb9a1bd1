package market

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"hearth/core/fault"
)

// A journal's file is a head and frames. The head is a magic line, a salt, the
// length up to which the file was whole when it got its name, and a checksum. A
// frame is "hrth", the payload's length, its checksum, and the payload: records,
// each behind its length. A frame's checksum begins with the salt, so that nobody
// can hide a frame in a record.
const (
	journalMagic = "hearth/bargains/1\n"
	saltSize     = 8
	headSize     = len(journalMagic) + saltSize + 8 + 4
	frameMark    = "hrth"
	frameHead    = len(frameMark) + 8
	maxPayload   = maxBatch * (4 + maxRecord)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// newJournal is a whole new file with these records.
func newJournal(records [][]byte) (file, salt []byte) {
	salt = make([]byte, saltSize)
	rand.Read(salt)
	file = make([]byte, headSize)
	for batch := range slices.Chunk(records, maxBatch) {
		file = appendFrame(file, salt, batch)
	}
	head := append([]byte(journalMagic), salt...)
	head = binary.BigEndian.AppendUint64(head, uint64(len(file)))
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	copy(file, head)
	return file, salt
}

func checksum(salt, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(salt, castagnoli), castagnoli, payload)
}

// appendFrame adds one frame with these records.
func appendFrame(out, salt []byte, records [][]byte) []byte {
	var payload []byte
	for _, r := range records {
		payload = binary.BigEndian.AppendUint32(payload, uint32(len(r)))
		payload = append(payload, r...)
	}
	out = append(out, frameMark...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(payload)))
	out = binary.BigEndian.AppendUint32(out, checksum(salt, payload))
	return append(out, payload...)
}

// cutFrame takes the frame that b begins with; false: there is no whole one.
func cutFrame(b, salt []byte) (payload, rest []byte, ok bool) {
	if len(b) < frameHead || string(b[:len(frameMark)]) != frameMark {
		return nil, b, false
	}
	n, sum := be32(b[len(frameMark):]), be32(b[len(frameMark)+4:])
	if n > maxPayload || int(n) > len(b)-frameHead {
		return nil, b, false
	}
	payload = b[frameHead : frameHead+int(n)]
	if checksum(salt, payload) != sum {
		return nil, b, false
	}
	return payload, b[frameHead+int(n):], true
}

// readJournal gives the newest records of a file. A broken frame that was added
// last is a torn end, and passed over; any other is damage.
func readJournal(b []byte) (map[uint64]Record, error) {
	all := map[uint64]Record{}
	if len(b) == 0 {
		return all, nil
	}
	if len(b) < headSize || string(b[:len(journalMagic)]) != journalMagic {
		return nil, fault.New(fault.UnknownFormat, "it doesn't begin with %q", journalMagic)
	}
	head := b[len(journalMagic):headSize]
	salt, whole := head[:saltSize], binary.BigEndian.Uint64(head[saltSize:])
	if crc32.Checksum(b[:headSize-4], castagnoli) != be32(head[saltSize+8:]) || whole > uint64(len(b)) {
		return nil, fault.New(fault.DamagedFile, "its head is damaged, or its end is gone")
	}
	for rest := b[headSize:]; len(rest) > 0; {
		payload, after, ok := cutFrame(rest, salt)
		at := len(b) - len(rest)
		switch {
		case ok:
		case uint64(at) < whole || nextFrame(rest, salt) > 0:
			return nil, fault.New(fault.DamagedFile, "the frame at byte %d is damaged", at)
		default:
			return all, nil
		}
		if err := apply(all, payload); err != nil {
			return nil, fault.New(fault.CodeOf(err), "the frame at byte %d: %w", at, err)
		}
		rest = after
	}
	return all, nil
}

// nextFrame finds a whole frame behind the start of b; 0: there is none.
func nextFrame(b, salt []byte) int {
	for at := 1; at < len(b); at++ {
		i := bytes.Index(b[at:], []byte(frameMark))
		if i < 0 {
			return 0
		}
		at += i
		if _, _, ok := cutFrame(b[at:], salt); ok {
			return at
		}
	}
	return 0
}

// apply takes the records of one frame.
func apply(all map[uint64]Record, payload []byte) error {
	for len(payload) > 0 {
		if len(payload) < 4 || uint64(be32(payload)) > uint64(len(payload)-4) {
			return fault.New(fault.BadFrame, "a record is cut short")
		}
		n := int(be32(payload))
		record := payload[4 : 4+n]
		payload = payload[4+n:]
		if n == 9 && record[0] == goneMajor {
			delete(all, binary.BigEndian.Uint64(record[1:]))
			continue
		}
		lease, r, err := decodeRecord(record)
		if err != nil {
			return err
		}
		all[lease] = r
	}
	return nil
}
