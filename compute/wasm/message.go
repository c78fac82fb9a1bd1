package wasm

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"

	"hearth/core/fault"
	"hearth/core/store"
)

// hello is what a worker has to know before it reads its module.
type hello struct {
	Parallel    int
	MaxPages    uint32
	Interpreted bool
	Command     bool
	Started     bool   // it exports gas.Start
	Base        uint64 // gas for a fresh instance
}

const helloSize = 4 + 4 + 1 + 1 + 1 + 8

func (h hello) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(h.Parallel))
	b = binary.LittleEndian.AppendUint32(b, h.MaxPages)
	b = append(b, bit(h.Interpreted), bit(h.Command), bit(h.Started))
	return binary.LittleEndian.AppendUint64(b, h.Base)
}

func parseHello(b []byte) (hello, error) {
	p := parser{b: b}
	h := hello{Parallel: int(p.u32()), MaxPages: p.u32(), Interpreted: p.u8() != 0, Command: p.u8() != 0, Started: p.u8() != 0, Base: p.u64()}
	return h, p.end("hello")
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// room is how many bytes a call takes.
func (c *Call) room() int {
	n := len(c.Input) + len(c.Store) + len(c.Seed) + 72
	for _, list := range [][]string{c.Args, c.Env} {
		for _, s := range list {
			n += len(s) + 4
		}
	}
	return n
}

func (c *Call) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(c.Now))
	b = append(b, c.Seed[:]...)
	b = binary.LittleEndian.AppendUint64(b, c.Gas)
	b = binary.LittleEndian.AppendUint32(b, c.Pages)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.Deadline))
	b = binary.LittleEndian.AppendUint32(b, uint32(c.MaxOutput))
	for _, list := range [][]string{c.Args, c.Env} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
		for _, s := range list {
			b = appendBytes(b, s)
		}
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(c.StoreMax))
	return appendBytes(appendBytes(b, c.Store), c.Input)
}

// parseCall's input and store stay part of b.
func parseCall(b []byte) (Call, error) {
	p := parser{b: b}
	c := Call{Now: int64(p.u64())}
	copy(c.Seed[:], p.take(len(c.Seed)))
	c.Gas, c.Pages, c.Deadline, c.MaxOutput = p.u64(), p.u32(), time.Duration(p.u64()), int(p.u32())
	for _, list := range []*[]string{&c.Args, &c.Env} {
		for n := p.u32(); n > 0 && !p.bad; n-- {
			*list = append(*list, string(p.bytes(MaxContext)))
		}
	}
	c.StoreMax = int(p.u32())
	c.Store = some(p.bytes(store.MaxBytes))
	c.Input = p.bytes(MaxInput)
	return c, p.end("call")
}

// faults are those of a result, by their number in it.
var faults = [...]fault.Code{"", fault.OutOfGas, fault.Trapped, fault.TooLarge}

func (r *Result) append(b []byte) []byte {
	number := byte(0)
	for i, f := range faults {
		if f == r.Fault {
			number = byte(i)
		}
	}
	b = binary.LittleEndian.AppendUint32(append(b, number), r.Exit)
	b = binary.LittleEndian.AppendUint64(b, r.Gas)
	return appendBytes(appendBytes(appendBytes(appendBytes(b, r.Reason), r.Log), r.Store), r.Output)
}

// resultRoom is the most that the result of a call takes.
func resultRoom(c *Call) int { return c.MaxOutput + c.storeRoom() + maxReason + MaxLog + 256 }

// storeRoom is the most that the store of a call may have afterwards.
func (c *Call) storeRoom() int {
	if c.StoreMax == 0 {
		return 0
	}
	return c.StoreMax + store.Overhead
}

// some is b, or nil where there is nothing.
func some(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// parseResult reads what a worker says came of a call. Its bytes stay part of b.
func parseResult(b []byte, c *Call) (Result, error) {
	p := parser{b: b}
	number := p.u8()
	r := Result{Exit: p.u32(), Gas: p.u64(), Reason: string(p.bytes(maxReason)), Log: p.bytes(MaxLog + 128), Store: some(p.bytes(c.storeRoom())), Output: p.bytes(c.MaxOutput)}
	if err := p.end("result"); err != nil {
		return Result{}, err
	}
	if int(number) >= len(faults) || r.Gas > c.Gas || !utf8.ValidString(r.Reason) {
		return Result{}, fmt.Errorf("%w: result of kind %d with %d gas of %d", errFrame, number, r.Gas, c.Gas)
	}
	if r.Fault = faults[number]; r.Store != nil && (r.Fault != "" || r.Exit != 0) {
		return Result{}, fmt.Errorf("%w: a call that failed has changed its store", errFrame)
	}
	return r, nil
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

// A parser reads a body; where it ends too early all is zero.
type parser struct {
	b   []byte
	bad bool
}

func (p *parser) take(n int) []byte {
	if n > len(p.b) {
		p.b, p.bad = nil, true
		return nil
	}
	s := p.b[:n:n]
	p.b = p.b[n:]
	return s
}

func (p *parser) u8() byte {
	if b := p.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (p *parser) u32() uint32 {
	if b := p.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (p *parser) u64() uint64 {
	if b := p.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (p *parser) bytes(limit int) []byte {
	n := p.u32()
	if int64(n) > int64(limit) {
		p.b, p.bad = nil, true
		return nil
	}
	return p.take(int(n))
}

// end says whether all was read and there.
func (p *parser) end(what string) error {
	if p.bad || len(p.b) > 0 {
		return fmt.Errorf("%w: %s of another length", errFrame, what)
	}
	return nil
}
