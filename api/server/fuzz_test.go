package server

import (
	"testing"
	"time"

	"hearth/core/fault"
)

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=5-", "bytes=-7", "bytes=", "x", "bytes=9223372036854775807-"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		size = max(size, -(size + 1), 0)
		r, _, err := parseRange(header)
		if err != nil {
			return
		}
		off, n, err := r.Within(size)
		if err == nil && (off < 0 || n < 0 || off > size || n > size-off) {
			t.Fatalf("%q of %d: %d bytes from %d", header, size, n, off)
		}
	})
}

func FuzzSpentFile(f *testing.F) {
	f.Add([]byte(`{"key":"a","sum":"b","at":"2026-11-21T09:00:00Z","status":200,"body":"aGk="}` + "\n"))
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"key":"torn`))
	f.Fuzz(func(t *testing.T, content []byte) {
		s := &spent{now: time.Now, known: map[string]*answer{}}
		if err := s.load(content); err != nil && fault.CodeOf(err) != fault.DamagedFile {
			t.Fatalf("%v", err)
		}
		if len(s.order) != len(s.known) {
			t.Fatalf("%d in order, %d known", len(s.order), len(s.known))
		}
	})
}
