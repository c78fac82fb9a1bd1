package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

func TestAMessageArrivesAsItWasSent(t *testing.T) {
	sent := Launch{ID: "x", Spec: Spec{Args: []string{"a"}, Memory: 1 << 40, Egress: EgressAllow, Secrets: map[string][]byte{"k": {0, 255}}}}
	var b bytes.Buffer
	if err := WriteMessage(&b, sent); err != nil {
		t.Fatal(err)
	}
	var got Launch
	if err := ReadMessage(&b, &got); err != nil || !reflect.DeepEqual(got, sent) {
		t.Fatalf("%+v %v", got, err)
	}
}

func TestAFrameHasALimit(t *testing.T) {
	var b bytes.Buffer
	if err := WriteFrame(&b, FrameOut, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	if _, body, err := ReadFrame(bytes.NewReader(whole), nil, 100); err != nil || len(body) != 100 {
		t.Fatal(len(body), err)
	}
	if _, _, err := ReadFrame(bytes.NewReader(whole), nil, 99); !errors.Is(err, ErrFrame) {
		t.Fatal(err)
	}
	if _, _, err := ReadFrame(bytes.NewReader(whole[:50]), nil, 100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if _, _, err := ReadFrame(bytes.NewReader(nil), nil, 100); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 2, '{', '}'})
	f.Add([]byte{1, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, body, err := ReadFrame(bytes.NewReader(b), nil, 64)
		if err == nil && len(body) > 64 {
			t.Fatal("beyond the limit")
		}
		var r Request
		_ = ReadMessage(bytes.NewReader(b), &r) // it returns
	})
}
