package size_test

import (
	"testing"

	"hearth/core/fault"
	"hearth/internal/size"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]uint64{
		"50GB": 50e9, "465GiB": 465 << 30, "1.5 TB": 15e11, "4096": 4096, "7kib": 7 << 10, "10b": 10,
	} {
		if got, err := size.Parse(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GB", "-1GB", "1e300", "NaN", "inf", "12 parsecs", "1_000"} {
		if got, err := size.Parse(text); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%q was read as %d, %v", text, got, err)
		}
	}
}
