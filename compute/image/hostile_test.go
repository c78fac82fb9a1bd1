package image_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"hearth/compute/image"
	"hearth/core/fault"
)

// hostile are layers that want out, in order.
func hostile(t testing.TB) map[string][]packed {
	return map[string][]packed{
		"..":                               {layer(t, e{name: "../evil", to: "x"})},
		".. inside":                        {layer(t, e{name: "a/../../evil", to: "x"})},
		".. at the end":                    {layer(t, e{"a/..", dir, "", 0o777})},
		"a folder ..":                      {layer(t, e{"..", dir, "", 0o777})},
		"a root that is a file":            {layer(t, e{"/", sym, "/etc", 0})},
		"a hard link to outside":           {layer(t, e{"a", hard, "../../../outside", 0})},
		"a hard link up":                   {layer(t, e{"a", hard, "../outside", 0})},
		"a hard link to an absolute name":  {layer(t, e{"a", hard, "/etc/passwd", 0})},
		"a hard link through a link":       {layer(t, e{"out", sym, "../../..", 0}, e{"a", hard, "out/outside", 0})},
		"a hard link to a folder":          {layer(t, e{"a", dir, "", 0o755}, e{"b", hard, "a", 0})},
		"a hard link to itself":            {layer(t, e{name: "a", to: "1"}, e{"a", hard, "a", 0})},
		"links in a circle":                {layer(t, e{"a", sym, "b", 0}, e{"b", sym, "a", 0}, e{name: "a/x", to: "1"})},
		"a file in a file":                 {layer(t, e{name: "a", to: "1"}, e{name: "a/b", to: "1"})},
		"a file through a link to a file":  {layer(t, e{name: "a", to: "1"}, e{"b", sym, "a", 0}, e{name: "b/c", to: "1"})},
		"a whiteout of ..":                 {layer(t, e{name: ".wh..."})},
		"a whiteout of .":                  {layer(t, e{name: ".wh.."})},
		"a whiteout of nothing":            {layer(t, e{name: ".wh."})},
		"a whiteout through a link":        {layer(t, e{"out", sym, "../../..", 0}), layer(t, e{name: "../.wh.outside"})},
		"a name too long":                  {layer(t, e{name: strings.Repeat("a", 256), to: "x"})},
		"a path too long":                  {layer(t, e{name: strings.Repeat("abcdefgh/", 500) + "f", to: "x"})},
		"folders too deep":                 {layer(t, e{name: strings.Repeat("a/", 200) + "b", to: "x"})},
		"links into folders too deep":      {layer(t, e{strings.Repeat("a/", 100), dir, "", 0o755}, e{"l", sym, strings.Repeat("a/", 100), 0}, e{name: "l/" + strings.Repeat("b/", 50) + "f", to: "x"})},
		"links into folders ever deeper":   {deeper(t)},
		"links to a name too long":         {layer(t, e{strings.Repeat(strings.Repeat("a", 250)+"/", 10), dir, "", 0o755}, e{"l", sym, strings.Repeat(strings.Repeat("a", 250)+"/", 10), 0}, e{name: "l/" + strings.Repeat(strings.Repeat("b", 250)+"/", 10) + "f", to: "x"})},
		"an unknown kind of entry":         {layer(t, e{"a", 'Z', "", 0})},
		"a link to nothing":                {layer(t, e{"a", sym, "", 0})},
		"no archive":                       {packed{[]byte(strings.Repeat("no archive ", 100)), digest.FromString(strings.Repeat("no archive ", 100))}},
		"gzip that is none":                {packed{[]byte("\x1f\x8b nothing of the kind"), digest.FromString("")}},
		"zstd that is none":                {packed{[]byte("\x28\xb5\x2f\xfd nothing"), digest.FromString("")}},
		"something else than it says":      {packed{layer(t, e{name: "a", to: "1"}).body, digest.FromString("other")}},
		"an archive that ends in a file":   {cut(t, layer(t, e{name: "a", to: strings.Repeat("x", 4096)}), 2000)},
		"gzip that ends in the middle":     {gzippedCut(t)},
		"a tar header that is half there":  {cut(t, layer(t, e{name: "a", to: "x"}), 100)},
		"a second gzip stream of nonsense": {trailing(t)},
	}
}

func cut(_ testing.TB, l packed, n int) packed {
	return packed{l.body[:n], digest.FromBytes(l.body[:n])}
}

func gzippedCut(t testing.TB) packed {
	l := gzipped(t, archive(t, e{name: "a", to: strings.Repeat("y", 100_000)}))
	l.body = l.body[:len(l.body)-20]
	return l
}

// deeper is a chain of links of which each leads into one more folder.
func deeper(t testing.TB) packed {
	var all []e
	for i := range 40 {
		all = append(all, e{fmt.Sprintf("l%d", i+1), sym, fmt.Sprintf("l%d/a/b/c/d", i), 0})
	}
	all = append(all, e{"l0", dir, "", 0o755})
	for i := 0; i <= 40; i += 5 {
		all = append(all, e{fmt.Sprintf("l%d/x", i), dir, "", 0o755})
	}
	return layer(t, all...)
}

func trailing(t testing.TB) packed {
	l := gzipped(t, archive(t, e{name: "a", to: "1"}))
	l.body = append(l.body, "\x1f\x8bnonsense"...)
	return l
}

func TestAHostileLayerIsRefusedAndLeavesNothing(t *testing.T) {
	for name, layers := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			s, base := &shelf{}, t.TempDir()
			cache := filepath.Join(base, "images")
			for _, file := range []string{base + "/outside", base + "/evil0"} {
				if err := os.WriteFile(file, []byte("untouched"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			x := open(t, image.Config{Dir: cache})
			_, _, err := x.Get(t.Context(), s.image(t, layers...).Digest, s)
			if fault.CodeOf(err) != fault.BadImage {
				t.Errorf("it is %v", err)
			}
			got := tree(t, base)
			want := map[string]string{"outside": "untouched", "evil0": "untouched", "images": "/", "images/images": "/", "images/work": "/", "images/indexes": "/"}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("there is %v", got)
			}
		})
	}
}

func TestLinksThatLeadOutAreFollowedInside(t *testing.T) {
	s, base := &shelf{}, t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "outside"), []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := open(t, image.Config{Dir: filepath.Join(base, "images")})
	i, release := get(t, x, s.image(t,
		layer(t, e{"up", sym, "../../../..", 0}, e{"abs", sym, base, 0}, e{"file", sym, filepath.Join(base, "outside"), 0}),
		layer(t, e{name: "up/outside", to: "1"}, e{name: "abs/outside", to: "2"}, e{name: "file", to: "3"}, e{name: "up/.wh.images"}),
	).Digest, s)
	defer release()
	got := tree(t, i.Rootfs)
	if got["outside"] != "1" || got[strings.TrimPrefix(base, "/")+"/outside"] != "2" || got["file"] != "3" {
		t.Errorf("%v", got)
	}
	if b, err := os.ReadFile(filepath.Join(base, "outside")); err != nil || string(b) != "untouched" {
		t.Errorf("outside lies %q, %v", b, err)
	}
}

func TestAnImageMayOnlyBeSoLarge(t *testing.T) {
	limits := image.Limits{Packed: 1 << 20, Unpacked: 1 << 20, Entries: 20, Layers: 3}
	many := make([]e, 21)
	for i := range many {
		many[i] = e{name: fmt.Sprint("f", i), to: "x"}
	}
	big := archive(t, e{name: "a", to: strings.Repeat("x", 1<<20)})
	half := archive(t, e{name: "a", to: strings.Repeat("x", 600<<10)})
	for name, layers := range map[string][]packed{
		"entries":                     {layer(t, many...)},
		"entries of all layers":       {layer(t, many[:11]...), layer(t, many[:11]...)},
		"folders on the way":          {layer(t, e{name: strings.Repeat("d/", 30) + "f", to: "x"})},
		"layers":                      {layer(t), layer(t), layer(t), layer(t)},
		"packed bytes":                {packed{big, digest.FromBytes(big)}, packed{big, digest.FromBytes(big)}},
		"unpacked bytes":              {gzipped(t, big)},
		"unpacked bytes of two":       {gzipped(t, half), gzipped(t, half)},
		"a sparse file":               {sparse(t)},
		"what follows in the archive": {gzipped(t, append(archive(t), make([]byte, 2<<20)...))},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{}
			_, _, err := open(t, image.Config{Limits: limits}).Get(t.Context(), s.image(t, layers...).Digest, s)
			if fault.CodeOf(err) != fault.TooLarge {
				t.Errorf("it is %v", err)
			}
		})
	}
	t.Run("ratio", func(t *testing.T) {
		s := &shelf{}
		bomb := gzipped(t, archive(t, e{name: "zeros", to: string(make([]byte, 80<<20))}))
		if _, _, err := open(t, image.Config{}).Get(t.Context(), s.image(t, bomb).Digest, s); fault.CodeOf(err) != fault.TooLarge {
			t.Errorf("%d bytes that become 80 MiB: %v", len(bomb.body), err)
		}
	})
	t.Run("a manifest", func(t *testing.T) {
		s := &shelf{}
		d := s.put(make([]byte, 5<<20)).Digest
		if _, _, err := open(t, image.Config{}).Get(t.Context(), d, s); fault.CodeOf(err) != fault.TooLarge {
			t.Error(err)
		}
	})
}

// sparse is a file of 1 GiB without bytes, in GNU's old form.
func sparse(t testing.TB) packed {
	t.Helper()
	b := archive(t, e{name: "holes"})
	copy(b[156:], "S")
	copy(b[257:], "ustar  \x00")
	copy(b[386:], "00000000000\x0000000000000\x00") // one piece of nothing
	copy(b[483:], "10000000000\x00")                // its real size
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return packed{b, digest.FromBytes(b)}
}

func TestWhatASourceGivesIsVerified(t *testing.T) {
	whole := &shelf{}
	l := layer(t, e{name: "a", to: "1"})
	d := whole.image(t, l).Digest
	for what := range whole.all {
		for name, spoil := range map[string]func([]byte) []byte{
			"a bit":     func(b []byte) []byte { c := bytes.Clone(b); c[len(c)/2] ^= 1; return c },
			"shorter":   func(b []byte) []byte { return b[:len(b)-1] },
			"longer":    func(b []byte) []byte { return append(bytes.Clone(b), 0) },
			"nothing":   func([]byte) []byte { return nil },
			"not there": nil,
		} {
			s := &shelf{}
			for k, b := range whole.all {
				switch {
				case k != what:
					s.put(b)
				case spoil != nil:
					s.put(nil)
					s.all[k] = spoil(b)
				}
			}
			dir := filepath.Join(t.TempDir(), "images")
			_, _, err := open(t, image.Config{Dir: dir}).Get(t.Context(), d, s)
			want := fault.BadImage
			if spoil == nil {
				want = fault.NotFound
			}
			if fault.CodeOf(err) != want {
				t.Errorf("%s of %.60q: %v", name, whole.all[what], err)
			}
			if left, err := os.ReadDir(filepath.Join(dir, "images")); err != nil || len(left) != 0 {
				t.Errorf("it is kept: %v, %v", left, err)
			}
		}
	}
	if _, _, err := open(t, image.Config{}).Get(t.Context(), "sha256:x", whole); fault.CodeOf(err) != fault.BadImage {
		t.Error(err)
	}
}

func TestASourcesErrorComesThrough(t *testing.T) {
	noise := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	plain := archive(t, e{name: "a", to: string(noise)})
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]packed{
		"plain": {plain, digest.FromBytes(plain)}, "gzip": gzipped(t, plain), "zstd": {z.EncodeAll(plain, nil), digest.FromBytes(plain)},
	} {
		s := &shelf{}
		cause := errors.New("the network is gone")
		_, _, err := open(t, image.Config{}).Get(t.Context(), s.image(t, l).Digest, failing{s, cause})
		if !errors.Is(err, cause) || fault.CodeOf(err) == fault.BadImage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// failing breaks off in the middle of a layer.
type failing struct {
	*shelf
	err error
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
