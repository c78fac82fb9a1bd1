package quote

import "math"

// Use is what a lease has used, or is to use, beside the time of its units.
type Use struct {
	In, Out uint64 // bytes the host receives, sends
	Gas     uint64 // units of gas: core/gas counts them
}

// Plus is u+v. A figure that doesn't fit is the largest number: at any prices it
// owes more than there is.
func (u Use) Plus(v Use) Use {
	return Use{plus(u.In, v.In), plus(u.Out, v.Out), plus(u.Gas, v.Gas)}
}

// Less is u-v, and 0 where v has more.
func (u Use) Less(v Use) Use {
	return Use{u.In - min(v.In, u.In), u.Out - min(v.Out, u.Out), u.Gas - min(v.Gas, u.Gas)}
}

// Bytes is the traffic both ways.
func (u Use) Bytes() uint64 { return plus(u.In, u.Out) }

func (u Use) full() bool { return max(u.In, u.Out, u.Gas) == math.MaxUint64 }

func plus(a, b uint64) uint64 { return a + min(b, math.MaxUint64-a) }
