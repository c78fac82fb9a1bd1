package canon_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"hearth/core/canon"
	"hearth/core/fault"

	"pgregory.net/rapid"
)

type field struct{ Type, Value string }

type vector struct {
	Name   string
	Major  byte
	Fields []field
	Bytes  string
}

func (f field) write(t *testing.T, w *canon.Writer) {
	t.Helper()
	var err error
	var u uint64
	var i int64
	var b []byte
	switch f.Type {
	case "uint8":
		u, err = strconv.ParseUint(f.Value, 10, 8)
		w.Uint8(uint8(u))
	case "uint64":
		u, err = strconv.ParseUint(f.Value, 10, 64)
		w.Uint64(u)
	case "int64":
		i, err = strconv.ParseInt(f.Value, 10, 64)
		w.Int64(i)
	case "string":
		w.String(f.Value)
	case "bytes":
		b, err = hex.DecodeString(f.Value)
		w.Blob(b)
	case "fixed":
		b, err = hex.DecodeString(f.Value)
		w.Fixed(b)
	default:
		t.Fatalf("unknown type %s", f.Type)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// read takes the field and gives it as the vectors write it.
func (f field) read(r *canon.Reader) string {
	switch f.Type {
	case "uint8":
		return strconv.FormatUint(uint64(r.Uint8()), 10)
	case "uint64":
		return strconv.FormatUint(r.Uint64(), 10)
	case "int64":
		return strconv.FormatInt(r.Int64(), 10)
	case "string":
		return r.String(canon.MaxBytes)
	case "bytes":
		return hex.EncodeToString(r.Blob(canon.MaxBytes))
	}
	b := make([]byte, len(f.Value)/2)
	r.Fixed(b)
	return hex.EncodeToString(b)
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/formats/testdata/canonical.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		w := canon.New(v.Major)
		for _, f := range v.Fields {
			f.write(t, w)
		}
		if got := hex.EncodeToString(w.Bytes()); got != v.Bytes {
			t.Errorf("%s: written as %s, want %s", v.Name, got, v.Bytes)
		}
		r := canon.Read(w.Bytes(), v.Major)
		for i, f := range v.Fields {
			if got := f.read(r); got != f.Value {
				t.Errorf("%s: field %d read as %s, want %s", v.Name, i, got, f.Value)
			}
		}
		if err := r.Done(); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// one of each, the value the laws below are about.
type one struct {
	a uint8
	b uint64
	c int64
	d string
	e []byte
	f [4]byte
}

func (o one) encode() []byte {
	return canon.New(1).Uint8(o.a).Uint64(o.b).Int64(o.c).String(o.d).Blob(o.e).Fixed(o.f[:]).Bytes()
}

func decode(b []byte) (o one, err error) {
	r := canon.Read(b, 1)
	o = one{a: r.Uint8(), b: r.Uint64(), c: r.Int64(), d: r.String(64), e: r.Blob(64)}
	r.Fixed(o.f[:])
	return o, r.Done()
}

func anyOne(t *rapid.T) one {
	return one{
		a: rapid.Uint8().Draw(t, "a"), b: rapid.Uint64().Draw(t, "b"), c: rapid.Int64().Draw(t, "c"),
		d: rapid.StringN(0, 16, 64).Draw(t, "d"), e: rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "e"),
		f: [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "f")),
	}
}

func TestDecodingAnEncodingGivesTheValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyOne(t)
		out, err := decode(in.encode())
		if err != nil || out.a != in.a || out.b != in.b || out.c != in.c || out.d != in.d || !bytes.Equal(out.e, in.e) || out.f != in.f {
			t.Fatalf("%+v became %+v, %v", in, out, err)
		}
	})
}

func TestNoPrefixAndNoExtensionDecodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyOne(t).encode()
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, err := decode(b[:cut]); fault.CodeOf(err) != fault.BadFrame {
			t.Fatalf("the first %d of %d bytes: %v", cut, len(b), err)
		}
		if _, err := decode(append(b, rapid.Byte().Draw(t, "more"))); fault.CodeOf(err) != fault.BadFrame {
			t.Fatalf("a byte more: %v", err)
		}
	})
}

func TestRefusals(t *testing.T) {
	long := canon.New(1).Blob(make([]byte, canon.MaxBytes+1)).Bytes()
	for _, tt := range []struct {
		name string
		read func() error
		want fault.Code
	}{
		{"nothing at all", func() error { return canon.Read(nil, 1).Done() }, fault.BadFrame},
		{"another major", func() error { return canon.Read([]byte{2}, 1).Done() }, fault.UnknownFormat},
		{"another major, whatever follows", func() error { r := canon.Read([]byte{2, 1, 2, 3}, 1); r.Uint64(); return r.Done() }, fault.UnknownFormat},
		{"a string above the caller's limit", func() error {
			r := canon.Read(canon.New(1).String("four").Bytes(), 1)
			_ = r.String(3)
			return r.Done()
		}, fault.TooLarge},
		{"a string above every limit", func() error { r := canon.Read(long, 1); r.Blob(1 << 30); return r.Done() }, fault.TooLarge},
		{"a length of four billion", func() error { r := canon.Read([]byte{1, 255, 255, 255, 255}, 1); r.Blob(64); return r.Done() }, fault.TooLarge},
		{"a length without its bytes", func() error { r := canon.Read([]byte{1, 0, 0, 0, 2, 9}, 1); r.Blob(64); return r.Done() }, fault.BadFrame},
	} {
		if got := fault.CodeOf(tt.read()); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestAfterAMistakeFieldsAreZeroAndTheFirstMistakeStays(t *testing.T) {
	r := canon.Read([]byte{1, 0, 0, 0, 9, 7, 7}, 1)
	if b := r.Blob(4); b != nil {
		t.Errorf("blob %x", b)
	}
	fixed := [2]byte{}
	r.Fixed(fixed[:])
	if r.Uint8() != 0 || r.Uint64() != 0 || r.Int64() != 0 || r.String(9) != "" || fixed != [2]byte{} {
		t.Error("a field after the mistake isn't zero")
	}
	if got := fault.CodeOf(r.Done()); got != fault.TooLarge {
		t.Errorf("%s, want the first mistake", got)
	}
}

func TestWhatIsReadBelongsToTheReader(t *testing.T) {
	b := canon.New(1).Blob([]byte("abc")).Bytes()
	got := canon.Read(b, 1).Blob(8)
	clear(b)
	if string(got) != "abc" {
		t.Errorf("%q changed with the input", got)
	}
}

func TestADigestIsThatOfTheLabelAndTheBytes(t *testing.T) {
	b := canon.New(1).Uint8(7).Bytes()
	if got, want := canon.Digest("hearth/sort/1", b), sha256.Sum256([]byte("hearth/sort/1\x01\x07")); got != want {
		t.Errorf("%x, want %x", got, want)
	}
	if canon.Digest("hearth/sort/1", b) == canon.Digest("hearth/other/1", b) {
		t.Error("one sort is taken for another")
	}
}

// Whatever decodes is the one encoding of what it decodes to.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(one{}.encode())
	f.Add(one{1, 2, 3, "four", []byte{5}, [4]byte{6}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := decode(b); err == nil && !bytes.Equal(o.encode(), b) {
			t.Errorf("%x and %x decode to the same", b, o.encode())
		}
	})
}
