package gas_test

import "encoding/binary"

// An operation takes values and gives one.
type operation struct {
	code  []byte
	takes types
}

func op(takes types, code ...byte) operation { return operation{code, takes} }

// operations by what they give.
var operations = func() map[byte][]operation {
	all := map[byte][]operation{}
	each := func(gives byte, takes types, from, to byte) {
		for c := from; ; c++ {
			all[gives] = append(all[gives], op(takes, c))
			if c == to {
				return
			}
		}
	}
	more := func(gives byte, takes types, subs ...byte) {
		for _, s := range subs {
			all[gives] = append(all[gives], op(takes, 0xfc, s))
		}
	}
	vector := func(gives byte, takes types, subs ...uint64) {
		for _, s := range subs {
			all[gives] = append(all[gives], op(takes, binary.AppendUvarint([]byte{0xfd}, s)...))
		}
	}
	lane := func(gives byte, takes types, sub byte, lanes byte) {
		for l := range lanes {
			all[gives] = append(all[gives], op(takes, 0xfd, sub, l))
		}
	}
	each(i32, types{i32}, 0x45, 0x45)
	each(i32, types{i32, i32}, 0x46, 0x4f)
	each(i32, types{i64}, 0x50, 0x50)
	each(i32, types{i64, i64}, 0x51, 0x5a)
	each(i32, types{f32, f32}, 0x5b, 0x60)
	each(i32, types{f64, f64}, 0x61, 0x66)
	each(i32, types{i32}, 0x67, 0x69)
	each(i32, types{i32, i32}, 0x6a, 0x78)
	each(i64, types{i64}, 0x79, 0x7b)
	each(i64, types{i64, i64}, 0x7c, 0x8a)
	each(f32, types{f32}, 0x8b, 0x91)
	each(f32, types{f32, f32}, 0x92, 0x98)
	each(f64, types{f64}, 0x99, 0x9f)
	each(f64, types{f64, f64}, 0xa0, 0xa6)
	each(i32, types{i64}, 0xa7, 0xa7)
	each(i32, types{f32}, 0xa8, 0xa9)
	each(i32, types{f64}, 0xaa, 0xab)
	each(i64, types{i32}, 0xac, 0xad)
	each(i64, types{f32}, 0xae, 0xaf)
	each(i64, types{f64}, 0xb0, 0xb1)
	each(f32, types{i32}, 0xb2, 0xb3)
	each(f32, types{i64}, 0xb4, 0xb5)
	each(f32, types{f64}, 0xb6, 0xb6)
	each(f64, types{i32}, 0xb7, 0xb8)
	each(f64, types{i64}, 0xb9, 0xba)
	each(f64, types{f32}, 0xbb, 0xbb)
	each(i32, types{f32}, 0xbc, 0xbc)
	each(i64, types{f64}, 0xbd, 0xbd)
	each(f32, types{i32}, 0xbe, 0xbe)
	each(f64, types{i64}, 0xbf, 0xbf)
	each(i32, types{i32}, 0xc0, 0xc1)
	each(i64, types{i64}, 0xc2, 0xc4)
	more(i32, types{f32}, 0, 1)
	more(i32, types{f64}, 2, 3)
	more(i64, types{f32}, 4, 5)
	more(i64, types{f64}, 6, 7)
	vector(v128, types{i32}, 15, 16, 17)
	vector(v128, types{i64}, 18)
	vector(v128, types{f32}, 19)
	vector(v128, types{f64}, 20)
	vector(v128, types{v128}, 77, 94, 95, 96, 97, 98, 103, 104, 105, 106, 116, 117, 122, 124, 128, 148, 160, 192, 224, 225, 227, 236, 237, 239, 248, 250, 252, 254)
	vector(v128, types{v128, v128}, 14, 35, 65, 71, 78, 80, 81, 101, 110, 111, 130, 142, 149, 174, 181, 186, 206, 213, 220, 228, 229, 230, 231, 232, 233, 234, 235, 240, 241, 242, 243, 244, 245, 246, 247)
	vector(v128, types{v128, v128, v128}, 82)
	vector(v128, types{v128, i32}, 107, 139, 171, 203)
	vector(i32, types{v128}, 83, 99, 100, 131, 164, 195)
	lane(i32, types{v128}, 27, 4)
	lane(i64, types{v128}, 29, 2)
	lane(f32, types{v128}, 31, 4)
	lane(f64, types{v128}, 33, 2)
	lane(v128, types{v128, i32}, 28, 4)
	lane(v128, types{v128, f64}, 34, 2)
	return all
}()

// loads and stores by the type of the value, with the most that they may be aligned to.
var loads, stores = map[byte][][2]byte{
	i32: {{0x28, 2}, {0x2c, 0}, {0x2d, 0}, {0x2e, 1}, {0x2f, 1}}, f32: {{0x2a, 2}}, f64: {{0x2b, 3}},
	i64: {{0x29, 3}, {0x30, 0}, {0x31, 0}, {0x32, 1}, {0x33, 1}, {0x34, 2}, {0x35, 2}},
}, map[byte][][2]byte{
	i32: {{0x36, 2}, {0x3a, 0}, {0x3b, 1}}, i64: {{0x37, 3}, {0x3c, 0}, {0x3d, 1}, {0x3e, 2}}, f32: {{0x38, 2}}, f64: {{0x39, 3}},
}

// bulk writes memory and table instructions over several things at once.
func (g *generator) bulk() {
	triple := func(a, b, c int) {
		g.small(a)
		g.small(b)
		g.small(c)
	}
	switch g.IntN(8) {
	case 0:
		triple(60000, 256, 5000)
		g.put(0xfc, 11, 0)
	case 1:
		triple(60000, 60000, 5000)
		g.put(0xfc, 10, 0, 0)
	case 2:
		triple(60000, 4, 4)
		g.put(0xfc, 8, 1, 0)
	case 3:
		g.put(0xfc, 9, byte(g.IntN(2)))
	case 4:
		triple(8, 2, 2)
		g.put(0xfc, 12, 1, 0)
	case 5:
		triple(8, 8, 3)
		g.put(0xfc, 14, 0, 0)
	case 6:
		g.put(0xfc, 13, byte(g.IntN(3)))
	case 7:
		g.small(8)
		g.put(0xd2, byte(g.IntN(len(g.funcs))))
		g.small(3)
		g.put(0xfc, 17, 0)
	}
}

// references writes what moves references about.
func (g *generator) references() {
	g.small(8)
	if g.IntN(2) == 0 {
		g.put(0xd2, byte(g.IntN(len(g.funcs))))
	} else {
		g.small(8)
		g.put(0x25, 0)
	}
	g.put(0x26, 0)
}
