package host

import (
	"sync/atomic"

	"hearth/core/fault"
)

// budget bounds the bytes of modules, inputs and outputs that are in memory at
// once: what comes in, and what nobody has fetched yet.
type budget struct {
	most int64
	used atomic.Int64
}

func (b *budget) take(n int64) error {
	if b.used.Add(n) > b.most {
		b.used.Add(-n)
		return fault.New(fault.Busy, "no room for %d more bytes of modules, inputs and outputs", n)
	}
	return nil
}

// hold counts what is there already.
func (b *budget) hold(n int64) { b.used.Add(n) }

func (b *budget) give(n int64) { b.used.Add(-n) }
