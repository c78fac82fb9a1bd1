package pull_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"hearth/compute/pull"
	"hearth/core/fault"
)

func TestNamesAreReadAsDockerReadsThem(t *testing.T) {
	d := digest.FromString("x").String()
	for text, want := range map[string]struct{ full, short string }{
		"debian":                       {"docker.io/library/debian:latest", "debian"},
		"debian:12":                    {"docker.io/library/debian:12", "debian"},
		"docker.io/debian":             {"docker.io/library/debian:latest", "debian"},
		"index.docker.io/library/a:b":  {"docker.io/library/a:b", "a"},
		"team/app":                     {"docker.io/team/app:latest", "team/app"},
		"ghcr.io/x/y:z":                {"ghcr.io/x/y:z", "x/y"},
		"quay.io/library/y":            {"quay.io/library/y:latest", "library/y"},
		"localhost/y":                  {"localhost/y:latest", "y"},
		"localhost:5000/x":             {"localhost:5000/x:latest", "x"},
		"[::1]:5000/x":                 {"[::1]:5000/x:latest", "x"},
		"debian@" + d:                  {"docker.io/library/debian@" + d, "debian"},
		"ghcr.io/x/y:z@" + d:           {"ghcr.io/x/y:z@" + d, "x/y"},
		"ghcr.io/ghcr.io/x:1.2_3-four": {"ghcr.io/ghcr.io/x:1.2_3-four", "ghcr.io/x"},
	} {
		n, err := pull.Parse(text)
		if err != nil || n.String() != want.full || n.Short() != want.short {
			t.Errorf("%s: %s, %s, %v", text, n, n.Short(), err)
		}
	}
	for _, text := range []string{
		"", "/", "a/", "A", "https://ghcr.io/x", "x:", "x:-", "x@", "x@sha256:12", "x@sha512:" + strings.Repeat("a", 128), "host:port/x", "ghcr.io/", "ghcr.io//x",
		"ghcr.io/../x", "user@ghcr.io/x", "ghcr.io/x y", "gh cr.io/x", strings.Repeat("a", 300), "ghcr.io?x/y", "ghcr.io#/x",
	} {
		if n, err := pull.Parse(text); fault.CodeOf(err) != fault.BadName {
			t.Errorf("%q: %s, %v", text, n, err)
		}
	}
}

func TestOnlyANameWithAHostIsForeign(t *testing.T) {
	for text, want := range map[string]bool{
		"debian": false, "debian:12": false, "team/app:v1": false, "app@sha256:12": false,
		"docker.io/debian": true, "localhost:5000/x": true, "localhost/x": true, "ghcr.io/x/y@sha256:12": true,
	} {
		if pull.Foreign(text) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}
