package bounded

import (
	"errors"
	"io"
	"strings"
	"testing"

	"hearth/core/fault"
)

func TestABufferTakesWhatItMayAndRefusesMore(t *testing.T) {
	for name, c := range map[string]struct {
		writes []string
		want   string
		full   bool
	}{
		"nothing":                              {nil, "", false},
		"less":                                 {[]string{"ab"}, "ab", false},
		"just as much":                         {[]string{"ab", "cd"}, "abcd", false},
		"an end without bytes":                 {[]string{"abcd", ""}, "abcd", false},
		"one byte more, alone":                 {[]string{"abcd", "e"}, "abcd", true},
		"one byte more, with others":           {[]string{"ab", "cde"}, "ab", true},
		"more at once":                         {[]string{"abcde"}, "", true},
		"after a refusal not even what it may": {[]string{"abcde", "a"}, "", true},
	} {
		b := &Buffer{Most: 4}
		var err error
		for _, w := range c.writes {
			var n int
			if n, err = b.Write([]byte(w)); err == nil && n != len(w) || err != nil && n != 0 {
				t.Errorf("%s: %d bytes of %q are taken, and said is %v", name, n, w, err)
			}
		}
		if b.String() != c.want || string(b.Bytes()) != c.want || c.full != (fault.CodeOf(err) == fault.TooLarge) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestABoundBelowZeroTakesNothing(t *testing.T) {
	if _, err := (&Buffer{Most: -1}).Write(nil); fault.CodeOf(err) != fault.TooLarge {
		t.Error(err)
	}
}

func TestWhoHasABetterWordIsHeard(t *testing.T) {
	better := errors.New("a record has more than 4 bytes")
	if _, err := (&Buffer{Most: 4, Err: better}).Write(make([]byte, 5)); !errors.Is(err, better) {
		t.Error(err)
	}
}

func TestACopyDoesNotGoRoundTheBound(t *testing.T) {
	b := &Buffer{Most: 4}
	if _, err := io.Copy(b, io.MultiReader(strings.NewReader("ab"), strings.NewReader("cde"))); fault.CodeOf(err) != fault.TooLarge || b.String() != "ab" {
		t.Errorf("%q, %v", b, err)
	}
}
