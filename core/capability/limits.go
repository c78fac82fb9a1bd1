package capability

import (
	"math"
	"strings"

	"hearth/core/fault"
)

// Limits are what a capability's caveats leave, taken together.
type Limits struct {
	Bucket string // the only one; empty: any
	Prefix string // of all keys; empty: any
	Ops    Op
	Until  int64 // unix seconds, the last one included
	Quota  int64 // bytes
}

// Limits takes the caveats together: each must hold, so of two the narrower one
// counts, and nothing is left where two contradict each other. A caveat that
// isn't well formed, or of a kind that isn't known, leaves nothing.
func (c Capability) Limits() Limits {
	l := Limits{Ops: All, Until: math.MaxInt64, Quota: math.MaxInt64}
	for _, v := range c.Caveats {
		if v.check() != nil {
			return Limits{}
		}
		switch v.Kind {
		case InBucket:
			if l.Bucket != "" && l.Bucket != v.Text {
				l.Ops = 0
			}
			l.Bucket = v.Text
		case Below:
			switch {
			case strings.HasPrefix(v.Text, l.Prefix):
				l.Prefix = v.Text
			case !strings.HasPrefix(l.Prefix, v.Text):
				l.Ops = 0
			}
		case Only:
			l.Ops &= Op(v.Number & int64(All))
		case Until:
			l.Until = min(l.Until, v.Number)
		case Quota:
			l.Quota = min(l.Quota, v.Number)
		}
	}
	return l
}

// Quotas are the limits with each of the quotas among the caveats, as they stand
// there. A quota counts in what the caveats up to it leave: who narrows a
// capability into many doesn't get its bytes once for each.
func (c Capability) Quotas() []Limits {
	var out []Limits
	for i, v := range c.Caveats {
		if v.Kind == Quota {
			out = append(out, Capability{ID: c.ID, Caveats: c.Caveats[:i+1]}.Limits())
		}
	}
	return out
}

// Whole says whether nothing is taken away but time and bytes.
func (l Limits) Whole() bool { return l.Bucket == "" && l.Prefix == "" && l.Ops == All }

// Allow says whether op may be done with a key of a bucket at a time; an empty
// key stands for the bucket itself, an empty bucket for the list of buckets.
// Names are listed with key as the prefix that is asked for.
func (l Limits) Allow(op Op, bucket, key string, now int64) error {
	switch {
	case now > l.Until:
		return fault.New(fault.Unauthorized, "the key ended %d s ago", now-l.Until)
	case op == 0 || op&^l.Ops != 0:
		return fault.New(fault.Unauthorized, "the key doesn't allow to %s", op&^l.Ops)
	case l.Bucket != "" && bucket != "" && bucket != l.Bucket:
		return fault.New(fault.Unauthorized, "the key is for another bucket")
	case op == Manage && l.Prefix != "":
		return fault.New(fault.Unauthorized, "the key is for a part of a bucket, not for the bucket")
	case bucket != "" && l.Prefix != "" && !strings.HasPrefix(key, l.Prefix):
		return fault.New(fault.Unauthorized, "the key is for names that begin with %q", l.Prefix)
	}
	return nil
}
