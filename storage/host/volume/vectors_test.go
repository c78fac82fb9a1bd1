package volume

import (
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"os"
	"reflect"
	"slices"
	"testing"

	"hearth/core/proof"
)

// The vectors of docs/formats/volume.md.
func TestHeadersHaveTheBytesThatAreWrittenDown(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/formats/testdata/volume.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Number  uint32
		Salt    string
		Header  string
		Records []struct {
			Lease  uint64
			Size   int64
			Header string
		}
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(want.Salt)
	if err != nil {
		t.Fatal(err)
	}
	salted := salt(b)
	header := appendVolumeHeader(nil, want.Number, salted)
	if got := hex.EncodeToString(header); got != want.Header {
		t.Errorf("header of a volume: %s", got)
	}
	if n, s, err := parseVolumeHeader(header); err != nil || n != want.Number || s != salted {
		t.Errorf("read back: %d, %x, %v", n, s, err)
	}
	for _, w := range want.Records {
		body := make([]byte, w.Size)
		for i := range body {
			body[i] = byte(i + i/251)
		}
		root, tree := proof.Build(body)
		r := record{lease: w.Lease, root: root, size: w.Size, outboard: tree.Blocks}
		for block := range slices.Chunk(body, blockSize) {
			r.sums = append(r.sums, crc32.Checksum(block, castagnoli))
		}
		header := r.append(nil, salted)
		if got := hex.EncodeToString(header); got != w.Header {
			t.Errorf("header of %d bytes: %s", w.Size, got)
		}
		if back, err := parseRecord(header, salted); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("read back: %+v, %v", back, err)
		}
	}
}
