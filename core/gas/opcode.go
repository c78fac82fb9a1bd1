package gas

// Instructions that are treated on their own. Numbers: the standard's section 5.4.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opSelect       = 0x1b
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32LtS       = 0x48
	opI64LtS       = 0x53
	opI64LeU       = 0x58
	opF32Eq        = 0x5b
	opF64Eq        = 0x61
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Mul       = 0x7e
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad // i64.extend_i32_u
	opRefNull      = 0xd0
	opRefFunc      = 0xd2
	opMore         = 0xfc // a number follows: saturating conversions, bulk memory, tables
	opVector       = 0xfd // a number follows: SIMD

	tyVoid   = 0x40
	tyI32    = 0x7f
	tyI64    = 0x7e
	tyF32    = 0x7d
	tyF64    = 0x7c
	tyV128   = 0x7b
	tyFunc   = 0x70
	tyExtern = 0x6f
)

// What follows an instruction of one byte.
const (
	immUnknown = iota
	immNone
	immBlock    // a block's type
	immLabel    // how many blocks out
	immLabels   // br_table
	immFunc     // a function
	immIndirect // a type and a table
	immTypes    // select's types
	immLocal    // a local
	immGlobal   // a global
	immTable    // a table
	immMemarg   // alignment and offset
	immZero     // the memory, 0
	immI32      // a constant
	immI64      // a constant
	imm4        // bytes
	imm8
	immRef    // a reference type
	immMore   // opMore
	immVector // opVector
)

// immediates and costs of the instructions of one byte. What opens or ends a
// block is free: the code in it is not.
var immediates, costs = func() (imm, cost [256]uint8) {
	set := func(from, to int, kind, price uint8) {
		for op := from; op <= to; op++ {
			imm[op], cost[op] = kind, price
		}
	}
	set(0x00, 0x01, immNone, 1)   // unreachable, nop
	set(0x02, 0x04, immBlock, 0)  // block, loop
	cost[opIf] = 1                //
	set(0x05, 0x05, immNone, 0)   // else
	set(0x0b, 0x0b, immNone, 0)   // end
	set(0x0c, 0x0d, immLabel, 1)  // br, br_if
	set(0x0e, 0x0e, immLabels, 4) // br_table
	set(0x0f, 0x0f, immNone, 1)   // return
	set(0x10, 0x10, immFunc, 10)  // call
	set(0x11, 0x11, immIndirect, 20)
	set(0x1a, 0x1b, immNone, 1)   // drop, select
	set(0x1c, 0x1c, immTypes, 1)  // select
	set(0x20, 0x22, immLocal, 1)  //
	set(0x23, 0x24, immGlobal, 2) //
	set(0x25, 0x26, immTable, 4)  // table.get, table.set
	set(0x28, 0x3e, immMemarg, 2) // loads and stores
	set(0x3f, 0x3f, immZero, 2)   // memory.size
	set(0x40, 0x40, immZero, 100) // memory.grow
	set(0x41, 0x41, immI32, 1)    //
	set(0x42, 0x42, immI64, 1)    //
	set(0x43, 0x43, imm4, 1)      //
	set(0x44, 0x44, imm8, 1)      //
	set(0x45, 0xc4, immNone, 1)   // comparing, computing, converting
	set(0x5b, 0x66, immNone, 2)   // comparing floats
	set(0x6d, 0x70, immNone, 10)  // i32.div, rem
	set(0x7f, 0x82, immNone, 10)  // i64.div, rem
	set(0x8b, 0xa6, immNone, 4)   // computing with floats
	set(0xa8, 0xab, immNone, 4)   // floats to i32
	set(0xae, 0xb7, immNone, 4)   // floats to i64, integers to f32, f32.demote
	set(0xb8, 0xbb, immNone, 4)   // integers to f64, f64.promote
	for _, op := range []int{0x91, 0x95, 0x9f, 0xa3} {
		cost[op] = 12 // square roots, divisions
	}
	set(0xd0, 0xd0, immRef, 1)
	set(0xd1, 0xd1, immNone, 1) // ref.is_null
	set(0xd2, 0xd2, immFunc, 2) // ref.func
	set(opMore, opMore, immMore, 0)
	set(opVector, opVector, immVector, 0)
	return imm, cost
}()

// Costs of what has no byte of its own.
const (
	costMore    = 4    // of 0xfc
	costVector  = 4    // of 0xfd
	costDivide  = 24   // f32x4.div, f64x2.sqrt and their like
	costPage    = 4096 // a page more
	bulkShift   = 4    // bulk memory: a unit for 16 bytes
	costElement = 8    // bulk table
	localsShift = 2    // locals: a unit for 4, at a function's head
)

// floating says whether an instruction of one byte has to do with floats.
func floating(op byte) bool {
	switch {
	case op == 0x2a, op == 0x2b, op == 0x38, op == 0x39, op == 0x43, op == 0x44:
		return true
	case op >= 0x5b && op <= 0x66, op >= 0x8b && op <= 0xa6, op >= 0xa8 && op <= 0xab, op >= 0xae && op <= 0xbf:
		return true
	}
	return false
}
