package machine

// A Program names what was run: speeds are compared program by program, since one needs
// more time for its gas than another, on every machine.
type Program [32]byte

// A Verdict is what own measurements say of a host.
type Verdict struct {
	Speed uint64 // gas in a second, of the program that ran fastest there; 0: not measured
	Slow  bool   // it is slower than half of what it claims, where others aren't
}

// Judge compares what hosts claim, in gas a second of one core, with the speeds that
// somebody has measured of programs there. A program that is slow everywhere says
// nothing of a host, and one that ran at one host only neither; a host is slow if each
// of those that can be compared was.
func Judge(claims map[string]uint64, speeds map[string]map[Program]uint64) map[string]Verdict {
	// What part of its claim the best host reached with a program, at most all of it.
	type mark struct {
		best  float64
		hosts int
	}
	marks := map[Program]mark{}
	for host, programs := range speeds {
		for p, speed := range programs {
			if claims[host] > 0 {
				m := marks[p]
				marks[p] = mark{max(m.best, min(1, float64(speed)/float64(claims[host]))), m.hosts + 1}
			}
		}
	}
	out := make(map[string]Verdict, len(speeds))
	for host, programs := range speeds {
		var v Verdict
		compared, slow := 0, 0
		for p, speed := range programs {
			v.Speed = max(v.Speed, speed)
			if m := marks[p]; claims[host] > 0 && m.hosts > 1 {
				compared++
				if float64(speed) < m.best*float64(claims[host])/2 {
					slow++
				}
			}
		}
		v.Slow = compared > 0 && slow == compared
		out[host] = v
	}
	return out
}
