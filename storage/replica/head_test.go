package replica

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"hearth/core/fault"
)

func TestHeadsHaveTheBytesThatAreWrittenDown(t *testing.T) {
	b, err := goldenHead().encode()
	if err != nil {
		t.Fatal(err)
	}
	const path = "../../docs/formats/testdata/head.hex"
	if os.Getenv("HEARTH_WRITE_VECTORS") != "" {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(want)) != hex.EncodeToString(b) {
		t.Errorf("%v\ngot  %x\nwant %s", err, b, want)
	}
}

func TestHeadsThatContradictThemselvesAreRefused(t *testing.T) {
	for name, change := range map[string]func(*head){
		"a gap between segments":       func(h *head) { h.segments[0].from++ },
		"an empty segment":             func(h *head) { h.segments[0].to = h.segments[0].from },
		"a tail that begins elsewhere": func(h *head) { h.from++ },
		"a snapshot from the middle":   func(h *head) { h.snapshot.from = 1 },
		"slabs of another size":        func(h *head) { h.snapshot.size++ },
		"an entry of nothing":          func(h *head) { h.snapshot.size, h.snapshot.slabs = 0, nil },
	} {
		h := goldenHead()
		change(h)
		b, err := h.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeHead(b); fault.CodeOf(err) != fault.BadFrame {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeHead(f *testing.F) {
	b, err := goldenHead().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	b, _ = (&head{device: 1}).encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHead(b)
		if err != nil {
			return
		}
		again, err := h.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("a head has two encodings: %v\n%x\n%x", err, b, again)
		}
	})
}

func FuzzReadSegment(f *testing.F) {
	var b bytes.Buffer
	if err := writeSegment(&b, [][]byte{[]byte("one"), nil, []byte("three")}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var all [][]byte
		err := readSegment(bytes.NewReader(b), func(bodies [][]byte) error { all = append(all, bodies...); return nil })
		var again bytes.Buffer
		if err == nil && (writeSegment(&again, all) != nil || len(all) > 0 && !bytes.Equal(again.Bytes(), b)) {
			t.Error("a segment has two encodings")
		}
	})
}
