package gas_test

import "slices"

// value writes code that leaves one value.
func (g *generator) value(t byte, depth int) {
	g.fuel--
	if g.fuel <= 0 || depth > 6 {
		if i := slices.Index(g.locals, t); i >= 0 && g.IntN(2) == 0 {
			g.put(0x20, byte(i))
			return
		}
		g.constant(t)
		return
	}
	depth++
	switch n := g.IntN(20); {
	case n < 2:
		g.constant(t)
	case n < 4:
		g.local(0x20, t)
	case n < 5:
		if i := g.global(t); i >= 0 {
			g.put(0x23, byte(i))
			return
		}
		g.constant(t)
	case n < 6:
		g.value(i32, depth)
		g.load(t)
	case n < 7 && t == i32:
		g.odd(depth)
	case n < 8:
		g.value(t, depth)
		g.value(t, depth)
		g.value(i32, depth)
		if g.IntN(2) == 0 && t != v128 {
			g.put(0x1b)
		} else {
			g.put(0x1c, 1, t)
		}
	case n < 9:
		g.block(0x02, types{t}, depth)
	case n < 10:
		g.value(i32, depth)
		g.block(0x04, types{t}, depth)
	case n < 12:
		g.call(types{t}, depth)
	case n < 13: // a local on the way
		g.value(t, depth)
		g.local(0x22, t)
	default:
		o := pick(g, operations[t])
		for _, k := range o.takes {
			if !slices.Contains(g.kinds, k) {
				g.constant(t)
				return
			}
		}
		g.values(o.takes, depth)
		g.put(o.code...)
	}
}

// odd gives an i32 out of memory's and tables' sizes and the like.
func (g *generator) odd(depth int) {
	switch g.IntN(8) {
	case 0:
		g.put(0x3f, 0)
	case 1:
		g.small(3)
		g.put(0x40, 0)
	case 2:
		g.put(0xfc, 16, byte(g.IntN(2)))
	case 3:
		g.put(0xd0, 0x70)
		g.small(6)
		g.put(0xfc, 15, 0)
	case 4:
		g.small(10)
		g.put(0x25, 0, 0xd1)
	case 5:
		g.put(0xd2, byte(g.IntN(len(g.funcs))), 0xd1)
	case 6:
		g.value(i32, depth)
		g.put(0x10, 0) // the host
	case 7:
		g.put(0xd0, 0x6f)
		g.small(3)
		g.put(0xfc, 15, 1)
	}
}

// small writes an i32 that is mostly below n.
func (g *generator) small(n int) {
	if g.IntN(20) == 0 {
		g.constant(i32)
		return
	}
	g.out = appendSigned(append(g.out, 0x41), int64(g.IntN(n)))
}

// local gets, sets or tees a local of a type, if there is one.
func (g *generator) local(what, t byte) {
	var of []byte
	for i, k := range g.locals {
		if k == t {
			of = append(of, byte(i))
		}
	}
	switch {
	case len(of) > 0:
		g.put(what, pick(g, of))
	case what == 0x20:
		g.constant(t)
	case what == 0x21:
		g.put(0x1a)
	}
}

func (g *generator) global(t byte) int {
	var of []int
	for i, k := range g.globals {
		if k == t {
			of = append(of, i)
		}
	}
	if len(of) == 0 {
		return -1
	}
	return pick(g, of)
}

// address bounds an address, mostly.
func (g *generator) address(depth int) {
	g.value(i32, depth)
	if g.IntN(12) > 0 {
		g.out = append(appendSigned(append(g.out, 0x41), 0xffff), 0x71)
	}
}

func (g *generator) load(t byte) {
	if g.IntN(12) > 0 {
		g.out = append(appendSigned(append(g.out, 0x41), 0x7fff), 0x71)
	}
	if t == v128 {
		g.put(0xfd, byte(g.IntN(11)), 0, byte(g.IntN(64)))
		return
	}
	l := pick(g, loads[t])
	g.put(l[0], byte(g.IntN(int(l[1])+1)), byte(g.IntN(64)))
}

// block writes a block, loop or if that gives values, some of them with
// parameters. Of an if the condition is written already.
func (g *generator) block(what byte, gives types, depth int) {
	g.put(what)
	if len(gives) == 0 {
		g.put(none)
	} else {
		g.put(gives[0])
	}
	label := gives
	if what == 0x03 {
		label = nil
	}
	g.labels = append(g.labels, label)
	g.statements(depth)
	g.values(gives, depth)
	if what == 0x04 && (len(gives) > 0 || g.IntN(2) == 0) {
		g.put(0x05)
		g.statements(depth)
		g.values(gives, depth)
	}
	g.labels = g.labels[:len(g.labels)-1]
	g.put(0x0b)
}

// typed writes a block of a signature, with its parameters before it and what it
// gives dropped.
func (g *generator) typed(depth int) {
	k := g.IntN(len(g.sigs))
	s := g.sigs[k]
	what := byte(0x02 + g.IntN(3))
	g.values(s.params, depth)
	if what == 0x04 {
		g.value(i32, depth)
	}
	g.put(what, byte(k))
	label := s.results
	if what == 0x03 {
		label = s.params
	}
	g.labels = append(g.labels, label)
	for branch := 0; ; branch++ {
		for _, t := range slices.Backward(s.params) {
			g.local(0x21, t)
		}
		g.statements(depth)
		g.values(s.results, depth)
		same := slices.Equal(s.params, s.results) // then there may be no else
		if what != 0x04 || branch > 0 || same && g.IntN(2) == 0 {
			break
		}
		g.put(0x05)
	}
	g.labels = g.labels[:len(g.labels)-1]
	g.put(0x0b)
	g.drop(s.results)
}

func (g *generator) drop(ts types) {
	for range ts {
		g.put(0x1a)
	}
}

// call calls a function that gives values, by name or by table.
func (g *generator) call(gives types, depth int) {
	var of []int
	for i, s := range g.funcs {
		if slices.Equal(s.results, gives) {
			of = append(of, i)
		}
	}
	if len(of) == 0 {
		g.values(gives, depth)
		return
	}
	i := pick(g, of)
	g.values(g.funcs[i].params, depth)
	if g.IntN(3) > 0 {
		g.put(0x10, byte(i))
		return
	}
	g.small(7)
	k := slices.IndexFunc(g.sigs, func(s signature) bool {
		return slices.Equal(s.params, g.funcs[i].params) && slices.Equal(s.results, g.funcs[i].results)
	})
	g.put(0x11, byte(k), 0)
}

func (g *generator) statements(depth int) {
	for range g.IntN(4) {
		if g.fuel > 0 && depth < 6 {
			g.statement(depth + 1)
		}
	}
}

// statement writes code that leaves nothing.
func (g *generator) statement(depth int) {
	g.fuel--
	switch g.IntN(22) {
	case 0, 1, 2:
		t := pick(g, g.kinds)
		g.value(t, depth)
		g.local(0x21, t)
	case 3, 4:
		i := g.IntN(len(g.globals))
		g.value(g.globals[i], depth)
		g.put(0x24, byte(i))
	case 5, 6:
		g.store(depth)
	case 7:
		t := pick(g, g.kinds)
		g.value(t, depth)
		g.put(0x1a)
	case 8:
		g.block(0x02, nil, depth)
	case 9:
		g.value(i32, depth)
		g.block(0x04, nil, depth)
	case 10, 11:
		g.counted(depth)
	case 12, 13:
		g.typed(depth)
	case 14, 15:
		g.jump(depth)
	case 16:
		g.bulk()
	case 17:
		f := pick(g, g.funcs)
		g.call(f.results, depth)
		g.drop(f.results)
	case 18:
		g.references()
	case 19:
		g.block(0x03, nil, depth) // runs once, unless something in it jumps to it
	case 20:
		if g.IntN(6) == 0 {
			g.put(0x00)
		} else {
			g.put(0x01)
		}
	case 21:
		g.value(i32, depth)
		g.put(0x04, none)
		g.labels = append(g.labels, nil)
		g.values(g.results, depth)
		g.labels = g.labels[:len(g.labels)-1]
		g.put(0x0f, 0x0b)
	}
}

func (g *generator) store(depth int) {
	t := pick(g, g.kinds)
	g.address(depth)
	g.value(t, depth)
	if t == v128 {
		g.put(0xfd, 11, 0, byte(g.IntN(64)))
		return
	}
	s := pick(g, stores[t])
	g.put(s[0], byte(g.IntN(int(s[1])+1)), byte(g.IntN(64)))
}

// counted writes a loop that ends after some rounds.
func (g *generator) counted(depth int) {
	if g.counters == 0 {
		return
	}
	g.counters--
	c := byte(g.countFrom + g.counters)
	g.put(0x03, none)
	g.labels = append(g.labels, nil)
	g.statements(depth)
	g.labels = g.labels[:len(g.labels)-1]
	g.put(0x20, c, 0x41, 1, 0x6a, 0x22, c, 0x41, byte(1+g.IntN(40)), 0x48, 0x0d, 0, 0x0b)
	g.counters++
	g.put(0x41, 0, 0x21, c)
}

// jump writes br, br_if or br_table.
func (g *generator) jump(depth int) {
	to := g.IntN(len(g.labels))
	ts := g.labels[len(g.labels)-1-to]
	switch g.IntN(5) {
	case 0:
		g.values(ts, depth)
		g.put(0x0c, byte(to))
	case 1:
		var same []byte
		for i := range g.labels {
			if slices.Equal(g.labels[len(g.labels)-1-i], ts) {
				same = append(same, byte(i))
			}
		}
		g.values(ts, depth)
		g.small(5)
		n := g.IntN(4)
		g.put(0x0e, byte(n))
		for range n + 1 {
			g.put(pick(g, same))
		}
	default:
		g.values(ts, depth)
		g.value(i32, depth)
		g.put(0x0d, byte(to))
		g.drop(ts)
	}
}
