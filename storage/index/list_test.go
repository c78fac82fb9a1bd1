package index

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// model is what a listing is, computed from all keys at once.
func model(keys []string, l Listing) (all []string) {
	slices.Sort(keys)
	for _, k := range keys {
		if !strings.HasPrefix(k, l.Prefix) {
			continue
		}
		if l.Delimiter != "" {
			if i := strings.Index(k[len(l.Prefix):], l.Delimiter); i >= 0 {
				k = k[:len(l.Prefix)+i+len(l.Delimiter)] + "*"
			}
		}
		if len(all) == 0 || all[len(all)-1] != k {
			all = append(all, k)
		}
	}
	return all
}

func TestListingIsThatOfTheModel(t *testing.T) {
	x := newIndex(t)
	serial := 0
	rapid.Check(t, func(r *rapid.T) {
		serial++
		bucket := fmt.Sprintf("bucket%d", serial)
		if err := x.MakeBucket(t.Context(), bucket); err != nil {
			r.Fatal(err)
		}
		key := rapid.StringMatching(`[ab/]{1,5}`)
		keys := rapid.SliceOfNDistinct(key, 0, 12, rapid.ID).Draw(r, "keys")
		for _, k := range keys {
			if _, err := x.Commit(t.Context(), 0, Draft{Ref: Ref{Bucket: bucket, Key: k}}); err != nil {
				r.Fatal(err)
			}
		}
		l := Listing{
			Prefix:    rapid.SampledFrom([]string{"", "a", "a/", "b//", "zz"}).Draw(r, "prefix"),
			Delimiter: rapid.SampledFrom([]string{"", "/", "a", "/a"}).Draw(r, "delimiter"),
			Limit:     rapid.IntRange(1, 5).Draw(r, "limit"),
		}
		var got []string
		for pages := 0; ; pages++ {
			p, err := x.List(t.Context(), bucket, l)
			if err != nil {
				r.Fatal(err)
			}
			if n := len(p.Objects) + len(p.Prefixes); n > l.Limit || pages > 20 {
				r.Fatalf("page %d has %d entries", pages, n)
			}
			var page []string
			for _, o := range p.Objects {
				page = append(page, o.Key)
			}
			for _, c := range p.Prefixes {
				page = append(page, c+"*")
			}
			slices.SortFunc(page, func(a, b string) int {
				return strings.Compare(strings.TrimSuffix(a, "*"), strings.TrimSuffix(b, "*"))
			})
			got = append(got, page...)
			if p.Next == "" {
				break
			}
			l.After = p.Next
		}
		if want := model(keys, l); !slices.Equal(got, want) {
			r.Fatalf("keys %q, %+v: got %q, want %q", keys, l, got, want)
		}
	})
}
