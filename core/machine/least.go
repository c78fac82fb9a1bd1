package machine

import (
	"fmt"
	"strings"
)

// Least is what a network wants of a host at least; what is 0 isn't asked for. It is a
// parameter of the ledger, changed by its governance.
type Least struct {
	Core      uint64 // gas a second of one core
	Memory    uint64 // bytes
	Copy      uint64 // bytes a second
	DiskWrite uint64 // bytes a second
	DiskRead  uint64 // bytes a second
}

// Usual is what a network for good begins with: a Raspberry Pi 4 with 1 GB of memory
// and a card of class A1 has it, also while it does something else.
func Usual() Least {
	return Least{Core: 200_000_000, Memory: 768 << 20, Copy: 400_000_000, DiskWrite: 10_000_000, DiskRead: 20_000_000}
}

// A Shortfall is one thing of which a machine has too little.
type Shortfall struct {
	What   string // a word for the figure
	Reason string // what there is, and what is needed
	Fix    string // the cheapest that helps
}

func (s Shortfall) String() string { return s.Reason + ": " + s.Fix }

// Short says what f lacks of the least, in a fixed order; nil: nothing.
func (l Least) Short(f Figures) (out []Shortfall) {
	for _, x := range []struct {
		what        string
		have, least uint64
		reason      string // two %s: has, needs
		unit        func(uint64) string
		fix         string
	}{
		{"core", f.Core, l.Core, "one core computes %s, %s are needed", Speed, "end what else computes here and measure again (`hearth host measure`); on a 32-bit system install a 64-bit one, it computes many times faster; else a Raspberry Pi 4 is enough"},
		{"memory", f.Memory, l.Memory, "there are %s of memory, %s are needed", size, "add memory, or give the virtual machine or container more of it"},
		{"copy", f.Copy, l.Copy, "memory is copied at %s a second, %s are needed", size, "end what else uses this machine's memory and measure again (`hearth host measure`); or fill the second memory slot"},
		{"disk_write", f.DiskWrite, l.DiskWrite, "disk writes %s a second, %s are needed", size, "use another disk with --dir: an SSD on USB 3 is the cheapest that is fast enough, a card of class A1 or better may be"},
		{"disk_read", f.DiskRead, l.DiskRead, "disk reads %s a second, %s are needed", size, "use another disk with --dir, or another cable or port: USB 2 and old cards are too slow"},
	} {
		if x.have < x.least {
			out = append(out, Shortfall{x.what, fmt.Sprintf(x.reason, x.unit(x.have), x.unit(x.least)), x.fix})
		}
	}
	return out
}

// Told is shortfalls in one text for people.
func Told(short []Shortfall) string {
	each := make([]string, len(short))
	for i, s := range short {
		each[i] = s.String()
	}
	return strings.Join(each, "; ")
}

// size is bytes as those who sell disks and memory write them.
func size(n uint64) string {
	for _, u := range []struct {
		name string
		of   uint64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.of {
			return fmt.Sprintf("%.3g %s", float64(n)/float64(u.of), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
