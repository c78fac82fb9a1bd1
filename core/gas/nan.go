package gas

// canonical makes the NaN that an instruction may have yielded the canonical one.
func (f *body) canonical(op byte) {
	if op == opVector {
		f.canonicalLanes()
		return
	}
	t := nanOf(op)
	if t == 0 {
		return
	}
	i := f.temp(t)
	f.run = appendU32(append(f.run, opLocalTee), i)
	eq := byte(opF32Eq)
	if t == tyF32 {
		f.run = append(f.run, opF32Const, 0, 0, 0xc0, 0x7f)
	} else {
		f.run, eq = append(f.run, opF64Const, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f), opF64Eq
	}
	f.run = appendU32(append(f.run, opLocalGet), i)
	f.run = append(appendU32(append(f.run, opLocalGet), i), eq, opSelect)
}

func (f *body) canonicalLanes() {
	t := lanesOf(f.sub)
	if t == 0 {
		return
	}
	i, nan, eq := f.temp(tyV128), []byte{0, 0, 0xc0, 0x7f}, byte(0x41) // f32x4.eq
	if t == tyF64 {
		nan, eq = []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f}, 0x47 // f64x2.eq
	}
	f.run = appendU32(append(f.run, opLocalTee), i)
	f.run = append(f.run, opVector, 12) // v128.const
	for range 16 / len(nan) {
		f.run = append(f.run, nan...)
	}
	f.run = appendU32(append(f.run, opLocalGet), i)
	f.run = appendU32(append(f.run, opLocalGet), i)
	f.run = append(f.run, opVector, eq, opVector, 0x52) // v128.bitselect
}

// nanOf names the type whose NaN an instruction may make, or 0.
func nanOf(op byte) byte {
	switch {
	case op >= 0x8d && op <= 0x97, op == 0xb6: // f32.ceil to f32.max, f32.demote_f64
		return tyF32
	case op >= 0x9b && op <= 0xa5, op == 0xbb: // f64.ceil to f64.max, f64.promote_f32
		return tyF64
	}
	return 0
}

// lanesOf is nanOf for SIMD: it names the type of the lanes.
func lanesOf(op uint32) byte {
	switch {
	case op >= 0x67 && op <= 0x6a, op == 0x5e, op >= 0xe3 && op <= 0xe9: // f32x4.ceil to nearest, demote, sqrt to max
		return tyF32
	case op == 0x74, op == 0x75, op == 0x7a, op == 0x94, op == 0x5f, op >= 0xef && op <= 0xf5:
		return tyF64
	}
	return 0
}
