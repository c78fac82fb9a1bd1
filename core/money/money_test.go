package money_test

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"hearth/core/fault"
	"hearth/core/money"

	"pgregory.net/rapid"
)

func TestAmountsAsPeopleWriteThem(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want money.Amount
		out  string
	}{
		{"0", 0, "0 ember"},
		{"1", money.Ember, "1 ember"},
		{"1.25", 1_250_000, "1.25 ember"},
		{"1.25 ember", 1_250_000, "1.25 ember"},
		{" 1.25ember ", 1_250_000, "1.25 ember"},
		{"1250000uember", 1_250_000, "1.25 ember"},
		{"1250000 uember", 1_250_000, "1.25 ember"},
		{"0.000001", 1, "0.000001 ember"},
		{"0.100000", 100_000, "0.1 ember"},
		{"007", 7 * money.Ember, "7 ember"},
		{"18446744073709.551615", money.Max, "18446744073709.551615 ember"},
		{"18446744073709551615uember", money.Max, "18446744073709.551615 ember"},
	} {
		got, err := money.Parse(tt.in)
		if err != nil || got != tt.want || got.String() != tt.out {
			t.Errorf("%q: %d (%s), %v", tt.in, got, got, err)
		}
	}
}

func TestWhatIsNoAmount(t *testing.T) {
	for _, in := range []string{
		"", " ", "ember", "uember", ".5", "1.", "1.2345678", "-1", "+1", "1e3", "0x10", "1_000", "1,5", "1.2.3", "1 2",
		"1.5uember", "-1uember", "+1uember", "one", "١", "1 ember ember", "1 EMBER", "NaN", "Inf",
		"18446744073709.551616", "18446744073709551616uember", "99999999999999999999999999",
	} {
		if got, err := money.Parse(in); fault.CodeOf(err) != fault.BadRequest || got != 0 {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
}

func TestParsingWhatIsPrintedGivesTheAmount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := money.Amount(rapid.Uint64().Draw(t, "amount"))
		if got, err := money.Parse(a.String()); err != nil || got != a {
			t.Fatalf("%d printed as %s and read as %d, %v", a, a, got, err)
		}
	})
}

// Whatever is read as an amount is printed as one that reads the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"1.25 ember", "7uember", "18446744073709.551615", "1.", "-0", "1e9", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := money.Parse(s)
		if err != nil {
			return
		}
		if again, err := money.Parse(a.String()); err != nil || again != a {
			t.Errorf("%q is %d, printed %s, read again %d, %v", s, a, a, again, err)
		}
		if strings.ContainsAny(s, "-+eE_xX") && !strings.Contains(s, "ember") {
			t.Errorf("%q is taken for the amount %s", s, a)
		}
	})
}

// exact is x*y/d without bounds, rounded down or up.
func exact(x, y, d uint64, up bool) *big.Int {
	n := new(big.Int).Mul(new(big.Int).SetUint64(x), new(big.Int).SetUint64(y))
	q, rem := n.QuoRem(n, new(big.Int).SetUint64(d), new(big.Int))
	if up && rem.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

func capped(n *big.Int) uint64 {
	if n.IsUint64() {
		return n.Uint64()
	}
	return math.MaxUint64
}

// Products are exact in 128 bits and stop at the largest value, never wrap.
func FuzzMulDiv(f *testing.F) {
	for _, e := range []uint64{0, 1, 2, 1 << 32, math.MaxUint64 - 1, math.MaxUint64} {
		f.Add(e, uint64(math.MaxUint64), uint64(1))
		f.Add(e, e, uint64(math.MaxUint64))
		f.Add(e, uint64(3), uint64(money.RateUnit))
	}
	f.Fuzz(func(t *testing.T, x, y, d uint64) {
		if d == 0 {
			return
		}
		if got, want := money.MulDiv(x, y, d), capped(exact(x, y, d, false)); got != want {
			t.Errorf("floor(%d x %d / %d) = %d, want %d", x, y, d, got, want)
		}
		if got, want := money.MulDivUp(x, y, d), capped(exact(x, y, d, true)); got != want {
			t.Errorf("ceil(%d x %d / %d) = %d, want %d", x, y, d, got, want)
		}
	})
}

func TestSumsStopAtTheirEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b money.Amount
		sum  money.Amount
		fits bool
		less money.Amount
	}{
		{"small", 5, 3, 8, true, 2},
		{"nothing", 0, 0, 0, true, 0},
		{"below zero", 3, 5, 8, true, 0},
		{"the largest", money.Max, 0, money.Max, true, money.Max},
		{"one too many", money.Max, 1, money.Max, false, money.Max - 1},
		{"far too many", money.Max, money.Max, money.Max, false, 0},
	} {
		if _, fits := money.Add(tt.a, tt.b); fits != tt.fits {
			t.Errorf("%s: the sum fits: %v", tt.name, fits)
		}
		if got := money.AddCap(tt.a, tt.b); got != tt.sum {
			t.Errorf("%s: sum %d", tt.name, got)
		}
		if got := money.SubFloor(tt.a, tt.b); got != tt.less {
			t.Errorf("%s: difference %d", tt.name, got)
		}
	}
}

func TestRatesOverTime(t *testing.T) {
	for _, tt := range []struct {
		name     string
		rate     money.Rate
		seconds  int64
		down, up money.Amount
	}{
		{"no time", 5 * money.RateUnit, 0, 0, 0},
		{"time that runs back", 5 * money.RateUnit, -1, 0, 0},
		{"the longest way back", 5 * money.RateUnit, math.MinInt64, 0, 0},
		{"whole uember", 5 * money.RateUnit, 3, 15, 15},
		{"a part of one", 1, 1, 0, 1},
		{"a day of a thousandth", money.RateUnit / 1000, 86_400, 86, 87},
		{"more than fits", math.MaxUint64, math.MaxInt64, money.Max, money.Max},
	} {
		if got := tt.rate.Over(tt.seconds); got != tt.down {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.down)
		}
		if got := tt.rate.OverUp(tt.seconds); got != tt.up {
			t.Errorf("%s, rounded up: %d, want %d", tt.name, got, tt.up)
		}
	}
}
