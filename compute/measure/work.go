package measure

import (
	"bytes"
	"encoding/binary"
)

// The work is what cores are measured by: integers, branches that can't be guessed and
// loads and stores all over a MiB. It uses up less gas in a second than most programs,
// so that hosts promise what theirs will get.
//
//	x, rounds = input                       two words of 64 bits
//	for range rounds:
//	    x ^= x << 13; x ^= x >> 7; x ^= x << 17
//	    word = table[x >> 3 % 2^17]         words of 64 bits, all zero at first
//	    sum = rotl(sum, 5) ^ (word + x)
//	    if sum is odd: sum += x * sum
//	    table[x >> 3 % 2^17] = sum
//	output = sum
const (
	words  = 1 << 17
	table  = 1 << 16 // where it begins: behind the first page
	pages  = 1 + words*8>>16
	inputs = 16
)

// work is the module, put together once: its bytes are the same everywhere.
func work() []byte {
	const (
		i32, i64, void                       = 0x7f, 0x7e, 0x40
		get, set, tee                        = 0x20, 0x21, 0x22
		const32, const64                     = 0x41, 0x42
		load64, store64                      = 0x29, 0x37
		add64, mul64, and64, xor64           = 0x7c, 0x7e, 0x83, 0x85
		shl64, shrU64, rotl64, sub64         = 0x86, 0x88, 0x89, 0x7d
		wrap, loop, branchIf, when, end      = 0xa7, 0x03, 0x0d, 0x04, 0x0b
		call, drop                           = 0x10, 0x1a
		at, x, rounds, sum              byte = 0, 1, 2, 3 // locals
	)
	vec := func(items ...[]byte) []byte { return append(leb(len(items)), bytes.Join(items, nil)...) }
	name := func(s string) []byte { return append(leb(len(s)), s...) }
	shift := func(by, op byte) []byte { return []byte{get, x, get, x, const64, by, op, xor64, set, x} }
	body := bytes.Join([][]byte{
		{3, 1, i32, 2, i64, 1, i64}, // locals: at; x and rounds; sum
		{const32, 0, const32, inputs, const64, 0, call, 0, drop},
		{const32, 0, load64, 3, 0, set, x, const32, 0, load64, 3, 8, set, rounds},
		{loop, void},
		shift(13, shl64), shift(7, shrU64), shift(17, shl64),
		{get, x, wrap, const32},
		signed((words - 1) * 8),
		{0x71, tee, at}, // 0x71: i32.and
		{load64, 3},
		leb(table),
		{get, x, add64, get, sum, const64, 5, rotl64, xor64, set, sum},
		{get, sum, const64, 1, and64, wrap, when, void, get, sum, get, x, get, sum, mul64, add64, set, sum, end},
		{get, at, get, sum, store64, 3},
		leb(table),
		{get, rounds, const64, 1, sub64, tee, rounds, wrap, branchIf, 0, end},
		{const32, 0, get, sum, store64, 3, 0, const32, 0, const32, 8, call, 1, drop, const32, 0, end},
	}, nil)
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, b []byte) { out = append(append(append(out, id), leb(len(b))...), b...) }
	section(1, vec([]byte{0x60, 3, i32, i32, i64, 1, i32}, []byte{0x60, 2, i32, i32, 1, i32}, []byte{0x60, 0, 1, i32}))
	imported := func(s string, typ byte) []byte { return append(append(name("hearth"), name(s)...), 0, typ) }
	section(2, vec(imported("input_read", 0), imported("output_write", 1)))
	section(3, vec([]byte{2}))
	section(5, vec([]byte{1, pages, pages}))
	section(7, vec(append(name("hearth_call"), 0, 2), append(name("memory"), 2, 0)))
	section(10, vec(append(leb(len(body)), body...)))
	return out
}

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// signed is the signed form, of a number that isn't below 0.
func signed(n int) []byte {
	b := leb(n)
	if last := b[len(b)-1]; last&0x40 != 0 {
		b[len(b)-1] |= 0x80
		b = append(b, 0)
	}
	return b
}

// input is what a run of the work reads.
func input(x, rounds uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, x), rounds)
}
