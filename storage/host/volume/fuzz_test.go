package volume

import (
	"bytes"
	"testing"

	"hearth/core/proof"
)

func FuzzParseRecord(f *testing.F) {
	s := salt{1, 2, 3}
	data, root := shard(1, 600<<10)
	r := record{lease: 9, root: root, size: int64(len(data)), sums: []uint32{1, 2, 3}, outboard: make([]proof.Hash, 3)}
	f.Add(r.append(nil, s))
	f.Add(record{size: 1, sums: []uint32{0}}.append(nil, s))
	f.Add([]byte(recordMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b, s)
		if err != nil {
			return
		}
		if again := r.append(nil, s); !bytes.Equal(again, b[:len(again)]) {
			t.Error("a record has two forms")
		}
		if r.size <= 0 || r.size > proof.MaxShard || len(r.sums) != numBlocks(r.size) {
			t.Errorf("out of bounds: %+v", r)
		}
	})
}

func FuzzParseVolumeHeader(f *testing.F) {
	f.Add(appendVolumeHeader(nil, 5, salt{7}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, s, err := parseVolumeHeader(b)
		if err == nil && !bytes.HasPrefix(b, appendVolumeHeader(nil, n, s)) {
			t.Error("a header has two forms")
		}
	})
}

func FuzzParseEntry(f *testing.F) {
	f.Add(Entry{Size: 300 << 10, volume: 3, off: page, sums: []uint32{4, 5}}.encode())
	f.Add(Entry{Size: 1, Damaged: true, volume: 1, off: page, sums: []uint32{4}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEntry(proof.Hash{}, b)
		if err == nil && !bytes.Equal(e.encode(), b) {
			t.Error("an entry has two forms")
		}
	})
}
