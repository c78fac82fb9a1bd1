package pull_test

import (
	"testing"

	"hearth/compute/pull"
)

// FuzzName: what is a name stays that name when it is written and read again.
func FuzzName(f *testing.F) {
	for _, s := range []string{"debian", "ghcr.io/x/y:z", "localhost:5000/x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "[::1]/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := pull.Parse(s)
		if err != nil {
			return
		}
		again, err := pull.Parse(n.String())
		if err != nil || again != n {
			t.Errorf("%q is %s, and then %s: %v", s, n, again, err)
		}
	})
}
