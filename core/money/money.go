// Package money holds amounts of ember and rates, and arithmetic on them that
// can't overflow silently. Everything is an integer: there is no float here.
package money

import (
	"math"
	"math/bits"
	"strconv"
	"strings"

	"hearth/core/fault"
)

// Amount is in uember, the coin's smallest unit.
type Amount uint64

// Ember is one coin.
const Ember Amount = 1_000_000

// Rate is in 10^-12 uember a second.
type Rate uint64

// RateUnit is how many parts of a uember a Rate counts in.
const RateUnit = 1_000_000_000_000

// Max is the largest amount.
const Max Amount = math.MaxUint64

// String is the amount as people read it: `1.25 ember`.
func (a Amount) String() string {
	whole, part := uint64(a/Ember), uint64(a%Ember)
	s := strconv.FormatUint(whole, 10)
	if part > 0 {
		s += "." + strings.TrimRight(strconv.FormatUint(part+uint64(Ember), 10)[1:], "0")
	}
	return s + " ember"
}

// Parse reads what people write: `1.25`, `1.25 ember`, `1250000uember`.
func Parse(s string) (Amount, error) {
	bad := func(why string) (Amount, error) {
		return 0, fault.New(fault.BadRequest, "read amount %q: %s; write it like `1.25 ember`", s, why)
	}
	text := strings.TrimSpace(s)
	if t, ok := strings.CutSuffix(text, "uember"); ok {
		n, err := strconv.ParseUint(strings.TrimSpace(t), 10, 64)
		if err != nil {
			return bad("not a whole number of uember")
		}
		return Amount(n), nil
	}
	text = strings.TrimSpace(strings.TrimSuffix(text, "ember"))
	whole, part, point := strings.Cut(text, ".")
	if point && (part == "" || len(part) > 6) {
		return bad("one to six digits belong behind the point")
	}
	digits := whole + part + strings.Repeat("0", 6-len(part))
	for _, c := range digits {
		if c < '0' || c > '9' {
			return bad("not a number")
		}
	}
	if whole == "" {
		return bad("a digit belongs before the point")
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return bad("too large")
	}
	return Amount(n), nil
}

// Add is a+b, and whether it fits.
func Add(a, b Amount) (Amount, bool) {
	sum, carry := bits.Add64(uint64(a), uint64(b), 0)
	return Amount(sum), carry == 0
}

// AddCap is a+b, or Max where it doesn't fit.
func AddCap(a, b Amount) Amount {
	if sum, ok := Add(a, b); ok {
		return sum
	}
	return Max
}

// SubFloor is a-b, or 0 where b is larger.
func SubFloor(a, b Amount) Amount {
	if b > a {
		return 0
	}
	return a - b
}

// MulDiv is floor(x*y/d) in 128 bits, or the largest uint64 where it doesn't fit. d is not 0.
func MulDiv(x, y, d uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	if hi >= d {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, d)
	return q
}

// MulDivUp is ceil(x*y/d), with the same bound.
func MulDivUp(x, y, d uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	if hi >= d {
		return math.MaxUint64
	}
	q, rem := bits.Div64(hi, lo, d)
	if rem > 0 && q < math.MaxUint64 {
		q++
	}
	return q
}

// Over is what the rate comes to in a time: floor(r x seconds / 10^12). No time, or less, gives 0.
func (r Rate) Over(seconds int64) Amount {
	if seconds <= 0 {
		return 0
	}
	return Amount(MulDiv(uint64(r), uint64(seconds), RateUnit))
}

// OverUp is the same rounded up.
func (r Rate) OverUp(seconds int64) Amount {
	if seconds <= 0 {
		return 0
	}
	return Amount(MulDivUp(uint64(r), uint64(seconds), RateUnit))
}

// A Product is a rate times a time, in 10^-12 uember: what of a uember is not yet
// whole is kept.
type Product struct{ Hi, Lo uint64 }

// Times is the rate over so many seconds. No time, or less, gives nothing.
func (r Rate) Times(seconds int64) Product {
	hi, lo := bits.Mul64(uint64(r), uint64(max(seconds, 0)))
	return Product{hi, lo}
}

// Add is p+q, or the largest Product where it doesn't fit.
func (p Product) Add(q Product) Product {
	lo, carry := bits.Add64(p.Lo, q.Lo, 0)
	hi, over := bits.Add64(p.Hi, q.Hi, carry)
	if over > 0 {
		return Product{math.MaxUint64, math.MaxUint64}
	}
	return Product{hi, lo}
}

// Amount is floor(p / 10^12), or Max where it doesn't fit.
func (p Product) Amount() Amount {
	if p.Hi >= RateUnit {
		return Max
	}
	q, _ := bits.Div64(p.Hi, p.Lo, RateUnit)
	return Amount(q)
}
