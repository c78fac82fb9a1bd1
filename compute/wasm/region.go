package wasm

import "github.com/tetratelabs/wazero/experimental"

// A region is the memory of one call after the other. It is the allocator of an
// instance and never moves; what is in it is wiped when the call has ended.
type region struct {
	all   []byte
	b     []byte // the instance's
	limit uint64 // of the call at hand
}

// keep is up to how many bytes are wiped by writing to them: it costs less than
// giving them back.
const keep = 512 << 10

func newRegion(size int) (*region, error) {
	all, err := reserve(size)
	return &region{all: all}, err
}

// Allocate gives the memory of a new instance.
func (r *region) Allocate(_, _ uint64) experimental.LinearMemory { return r }

// Reallocate gives size bytes of it, the first ones as they were.
func (r *region) Reallocate(size uint64) []byte {
	if size > min(r.limit, uint64(len(r.all))) {
		return nil
	}
	r.b = r.all[:size:size]
	return r.b
}

// Free does nothing: the instance may still run in another goroutine.
func (r *region) Free() {}

// wipe makes the memory ready for another call. Nothing of it may be in use.
func (r *region) wipe() {
	if len(r.b) <= keep {
		clear(r.b)
	} else {
		giveBack(r.b)
	}
	r.b = nil
}
