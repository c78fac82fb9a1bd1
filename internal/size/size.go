// Package size reads sizes as people write them. It refuses what has no unit that is
// known, and more than 4 EiB.
package size

import (
	"strconv"
	"strings"

	"hearth/core/fault"
)

var units = []struct {
	suffix string
	factor uint64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"pib", 1 << 50},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"pb", 1e15},
	{"b", 1},
	{"", 1},
}

// Parse reads a size in bytes: `50GB`, `465GiB`, `1.5TB`, `4096`.
func Parse(s string) (uint64, error) {
	text := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), " ", ""))
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		if strings.Trim(digits, "0123456789.") != "" {
			break
		}
		f, err := strconv.ParseFloat(digits, 64)
		if err != nil || f*float64(u.factor) > 1<<62 {
			break
		}
		return uint64(f * float64(u.factor)), nil
	}
	return 0, fault.New(fault.BadRequest, "read size %q: write it like 50GB or 465GiB", s)
}
