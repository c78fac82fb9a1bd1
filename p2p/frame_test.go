package p2p

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"hearth/core/fault"
)

func frame(t testing.TB, m proto.Message) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteFrame(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFramesComeBackAsTheyWent(t *testing.T) {
	for _, size := range []int{0, 1, firstRead - 8, firstRead, 3*firstRead + 7, MaxFrame - 8} {
		want := wrapperspb.Bytes(bytes.Repeat([]byte{7}, size))
		b := append(frame(t, want), "next"...)
		r := bytes.NewReader(b)
		var got wrapperspb.BytesValue
		if err := ReadFrame(iotest.HalfReader(r), &got, MaxFrame); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !proto.Equal(&got, want) {
			t.Errorf("%d bytes: another message came back", size)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "next" {
			t.Errorf("%d bytes: read past the frame, %d left", size, len(rest))
		}
	}
}

func TestBadFramesAreRefusedByCode(t *testing.T) {
	whole := frame(t, wrapperspb.Bytes([]byte("hearth")))
	for _, c := range []struct {
		name  string
		bytes []byte
		limit int
		want  fault.Code
	}{
		{"above the limit", whole, len(whole) - 5, fault.TooLarge},
		{"the largest claim", binary.BigEndian.AppendUint32(nil, math.MaxUint32), MaxFrame, fault.TooLarge},
		{"a negative limit takes nothing", whole, -1, fault.TooLarge},
		{"half a length", whole[:2], MaxFrame, fault.BadFrame},
		{"no message", whole[:4], MaxFrame, fault.BadFrame},
		{"half a message", whole[:8], MaxFrame, fault.BadFrame},
		{"not a message", []byte{0, 0, 0, 2, 0xff, 0xff}, MaxFrame, fault.BadFrame},
	} {
		err := ReadFrame(bytes.NewReader(c.bytes), &wrapperspb.BytesValue{}, c.limit)
		if fault.CodeOf(err) != c.want {
			t.Errorf("%s: %v (%s), want %s", c.name, err, fault.CodeOf(err), c.want)
		}
	}
	if err := WriteFrame(io.Discard, wrapperspb.Bytes(make([]byte, MaxFrame))); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("a frame above MaxFrame was sent: %v", err)
	}
}

func TestAnEndBetweenFramesIsEOF(t *testing.T) {
	if err := ReadFrame(bytes.NewReader(nil), &wrapperspb.BytesValue{}, 10); err != io.EOF { //nolint:errorlint // as io.Reader has it: never wrapped
		t.Fatal(err)
	}
}

func TestOtherErrorsPassThrough(t *testing.T) {
	deaf := errors.New("deaf")
	if err := ReadFrame(iotest.ErrReader(deaf), &wrapperspb.BytesValue{}, 10); !errors.Is(err, deaf) {
		t.Fatal(err)
	}
}

func TestAClaimAllocatesLittle(t *testing.T) {
	claim := binary.BigEndian.AppendUint32(nil, 1<<30)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 16 {
		ReadFrame(bytes.NewReader(claim), &wrapperspb.BytesValue{}, math.MaxInt32)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
		t.Fatalf("16 claims of 1 GiB took %d bytes", got)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(frame(f, wrapperspb.Bytes([]byte("hearth"))), 100)
	f.Add([]byte{0, 0, 0, 0}, 0)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, 1<<20)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		r := bytes.NewReader(b)
		var m wrapperspb.BytesValue
		if err := ReadFrame(r, &m, limit); err != nil {
			return
		}
		if read := len(b) - r.Len(); read-4 > max(limit, 0) {
			t.Fatalf("took %d bytes, limit %d", read-4, limit)
		}
		var again wrapperspb.BytesValue
		if err := ReadFrame(bytes.NewReader(frame(t, &m)), &again, MaxFrame); err != nil || !proto.Equal(&m, &again) {
			t.Fatalf("what was read can't be written and read: %v", err)
		}
	})
}
