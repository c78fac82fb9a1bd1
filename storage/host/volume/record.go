package volume

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"hearth/core/proof"
)

// A volume is a header page and records one after another, all aligned to
// pages so that a record's room can be given back to the file system. A record
// is a header page and the shard's bytes, padded to a page. The header says all
// that the index knows, so that the index can be rebuilt by reading volumes.
//
//	volume header: magic 8 | version 1 | zero 3 | number 4 | salt 16 | crc32c 4
//	record header: magic 8 | version 1 | zero 7 | salt 16 | lease 8 | size 8 | root 32 |
//	               blocks 4 | crc32c of each block | outboard count 4 | outboard | crc32c 4
//
// The salt is drawn once a volume. A record counts only with its volume's salt,
// so that bytes a client has sent can't pose as a record.
const (
	page        = 4096
	version     = 1
	volumeMagic = "HRTHVOLM"
	recordMagic = "HRTHSHRD"
	volumeSize  = 36 // of the volume header without padding
	recordFixed = 84 // of the record header up to the blocks' sums
	maxHeader   = 1024
	blockSize   = proof.BlockSize
	maxBlocks   = int((proof.MaxShard + blockSize - 1) / blockSize)
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errHeader  = errors.New("not a header of this volume")
)

type salt [16]byte

// footprint is the room a shard of size bytes takes in a volume.
func footprint(size int64) int64 { return page + padded(size) }

func padded(n int64) int64 { return (n + page - 1) / page * page }

func numBlocks(size int64) int { return int((size + blockSize - 1) / blockSize) }

func appendVolumeHeader(b []byte, number uint32, s salt) []byte {
	start := len(b)
	b = append(b, volumeMagic...)
	b = append(b, version, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, number)
	b = append(b, s[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func parseVolumeHeader(b []byte) (number uint32, s salt, err error) {
	if len(b) < volumeSize || string(b[:8]) != volumeMagic || b[8] != version || b[9]|b[10]|b[11] != 0 {
		return 0, s, errHeader
	}
	if binary.BigEndian.Uint32(b[32:]) != crc32.Checksum(b[:32], castagnoli) {
		return 0, s, errHeader
	}
	return binary.BigEndian.Uint32(b[12:]), salt(b[16:32]), nil
}

// A record is what a record's header says.
type record struct {
	lease    uint64 // who put it first
	root     proof.Hash
	size     int64
	sums     []uint32     // CRC32C of each block
	outboard []proof.Hash // of each block; what proof.Tree keeps
}

func (r record) append(b []byte, s salt) []byte {
	start := len(b)
	b = append(b, recordMagic...)
	b = append(b, version, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, s[:]...)
	b = binary.BigEndian.AppendUint64(b, r.lease)
	b = binary.BigEndian.AppendUint64(b, uint64(r.size))
	b = append(b, r.root[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.sums)))
	for _, sum := range r.sums {
		b = binary.BigEndian.AppendUint32(b, sum)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.outboard)))
	for _, h := range r.outboard {
		b = append(b, h[:]...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseRecord reads a record header of the volume with salt s; only its own form is accepted.
func parseRecord(b []byte, s salt) (r record, err error) {
	if len(b) < recordFixed || string(b[:8]) != recordMagic || b[8] != version || salt(b[16:32]) != s {
		return r, errHeader
	}
	for _, z := range b[9:16] {
		if z != 0 {
			return r, errHeader
		}
	}
	r.lease = binary.BigEndian.Uint64(b[32:])
	r.size = int64(binary.BigEndian.Uint64(b[40:]))
	r.root = proof.Hash(b[48:80])
	blocks := int(binary.BigEndian.Uint32(b[80:]))
	if r.size <= 0 || r.size > proof.MaxShard || blocks != numBlocks(r.size) || len(b) < recordFixed+4*blocks+4 {
		return r, errHeader
	}
	at := recordFixed
	for range blocks {
		r.sums = append(r.sums, binary.BigEndian.Uint32(b[at:]))
		at += 4
	}
	hashes := int(binary.BigEndian.Uint32(b[at:]))
	at += 4
	if hashes > maxBlocks || len(b) < at+32*hashes+4 {
		return r, errHeader
	}
	for range hashes {
		r.outboard = append(r.outboard, proof.Hash(b[at:at+32]))
		at += 32
	}
	if binary.BigEndian.Uint32(b[at:]) != crc32.Checksum(b[:at], castagnoli) {
		return r, errHeader
	}
	return r, nil
}
