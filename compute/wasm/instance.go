package wasm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/tetratelabs/wazero/api"

	"hearth/core/fault"
	"hearth/core/store"
)

// Gas for what the host does. Whoever changes these changes gas.Version too.
const (
	gasInstance = 20_000 // a fresh instance
	gasPage     = 4096   // a page that it begins with, as one more costs
	gasElement  = 8      // an element of a table, as one more costs
	gasHost     = 100    // a call of a host function
	hostShift   = 2      // a unit for 4 bytes that it moves
	baseShift   = 4      // a unit for 16 bytes of the module
)

// step is by how many nanoseconds the clock advances when it is read.
const step = 1000

// base is the gas for a fresh instance of a module.
func base(n note) uint64 {
	return gasInstance + uint64(n.Pages)*gasPage + n.Elements*gasElement + uint64(n.Size)>>baseShift
}

// An instance is one call as it runs: all that its module can reach.
type instance struct {
	call   *Call
	left   api.MutableGlobal // gas
	memory *region
	clock  int64 // nanoseconds since the start
	random *rand.ChaCha8
	at     int   // in the input, for those who read it as a stream
	shut   uint8 // descriptors that it closed, as bits
	output []byte
	log    clipped
	store  *store.Store

	exited bool
	exit   uint32
	fault  fault.Code // why it was stopped
	reason string
}

// errStopped unwinds a program that may not go on.
var errStopped = errors.New("stopped")

// stop ends the program with a fault that is the same everywhere.
func (i *instance) stop(code fault.Code, format string, args ...any) {
	i.fault, i.reason = code, fmt.Sprintf(format, args...)
	panic(errStopped)
}

// charge takes gas, and ends the program if it isn't there.
func (i *instance) charge(units uint64) {
	left := int64(i.left.Get()) - int64(units)
	i.left.Set(uint64(left))
	if left < 0 {
		panic(errStopped)
	}
}

// moves charges for moving bytes.
func (i *instance) moves(n uint64) { i.charge(n >> hostShift) }

// bytes are a stretch of the program's memory; ok says whether it has them.
func (i *instance) bytes(at, n uint64) (b []byte, ok bool) {
	at, n = at&0xffff_ffff, n&0xffff_ffff
	if at+n > uint64(len(i.memory.b)) {
		return nil, false
	}
	return i.memory.b[at : at+n : at+n], true
}

// must are bytes that the program has to have.
func (i *instance) must(name string, at, n uint64) []byte {
	b, ok := i.bytes(at, n)
	if !ok {
		i.stop(fault.Trapped, "hearth.%s: %d bytes at %d are outside of its memory", name, uint32(n), uint32(at))
	}
	i.moves(uint64(len(b)))
	return b
}

func (i *instance) put32(at uint64, v uint32) bool {
	b, ok := i.bytes(at, 4)
	if ok {
		binary.LittleEndian.PutUint32(b, v)
	}
	return ok
}

func (i *instance) put64(at, v uint64) bool {
	b, ok := i.bytes(at, 8)
	if ok {
		binary.LittleEndian.PutUint64(b, v)
	}
	return ok
}

// write appends to the output.
func (i *instance) write(b []byte) {
	if len(b) > i.call.MaxOutput-len(i.output) {
		i.stop(fault.TooLarge, "more than %d bytes of output", i.call.MaxOutput)
	}
	i.output = append(i.output, b...)
}

// now reads the clock.
func (i *instance) now() int64 {
	i.clock += step
	return i.clock
}

// fill fills b with random numbers.
func (i *instance) fill(b []byte) {
	if i.random == nil {
		i.random = rand.NewChaCha8(i.call.Seed)
	}
	_, _ = i.random.Read(b) // it always can
}

// A clipped log keeps its beginning and its end.
type clipped struct {
	head, tail []byte
	total      int
}

const halfLog = MaxLog / 2

func (l *clipped) write(b []byte) {
	l.total += len(b)
	n := min(len(b), halfLog-len(l.head))
	l.head, b = append(l.head, b[:n]...), b[n:]
	l.tail = append(l.tail, b[max(0, len(b)-halfLog):]...)
	if len(l.tail) > 2*halfLog {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-halfLog:]...)
	}
}

func (l *clipped) bytes() []byte {
	if len(l.tail) <= halfLog {
		return append(l.head, l.tail...)
	}
	tail := l.tail[len(l.tail)-halfLog:]
	line := fmt.Sprintf("\n... %d bytes are left out ...\n", l.total-len(l.head)-len(tail))
	return append(append(l.head, line...), tail...)
}
