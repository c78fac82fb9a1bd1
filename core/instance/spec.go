// Package instance holds what runs on a host's reserved machine in canonical form:
// what one instance is, and the roster of all that run under a lease, whose root
// stands in the lease's statement. So both sides have signed what runs and what it
// reserves. It starts nothing, and it can't tell whether a host keeps its word.
package instance

import (
	"math/bits"
	"strings"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/quote"
)

// Limits of a spec.
const (
	MaxWords  = 64 << 10 // bytes of arguments and environment together
	MaxCount  = 1024     // of arguments, of variables, of allowed destinations
	MaxText   = 256      // bytes of a folder, a user, a destination
	MaxCPU    = 1 << 20  // thousandths of a core
	MinMemory = 16 << 20 // bytes
	MinDisk   = 1 << 20
	MaxBytes  = 1 << 50 // of memory, and of disk
	MaxPids   = 1 << 16
)

const (
	major        = 1
	secretMajor  = 2 // of a spec with secrets: Secrets at its end
	secretsMajor = 1
	specLabel    = "hearth/instance/1"
)

// Egress says what an instance may reach. Private networks, the host's own and the
// ports of mail are closed in every class.
type Egress uint8

// The classes. Their numbers are part of the format.
const (
	None  Egress = iota // nothing
	Allow               // what Spec.Allowed lists
	Open                // the internet
)

var classes = [...]string{None: "none", Allow: "allow", Open: "open"}

func (e Egress) String() string {
	if e <= Open {
		return classes[e]
	}
	return "unknown"
}

// ParseEgress reads a class by its name.
func ParseEgress(s string) (Egress, error) {
	for i, name := range classes {
		if s == name {
			return Egress(i), nil
		}
	}
	return 0, fault.New(fault.BadRequest, "egress %q: it is none, allow or open", s)
}

// A Spec is what one instance is: what runs, and within which limits.
type Spec struct {
	Image   [32]byte // SHA-256 of the image's manifest
	Args    []string // instead of the image's entrypoint and command; empty: those
	Env     []string // NAME=value, after the image's own
	Dir     string   // to start in; empty: the image's
	User    string   // uid, uid:gid or names of the image; empty: the image's
	CPU     uint64   // thousandths of a core
	Memory  uint64   // bytes
	Disk    uint64   // bytes that it may write
	Pids    uint64   // processes and threads
	Egress  Egress
	Allowed []string // with Allow: names of hosts, addresses and prefixes
	Secrets [32]byte // the commitment to its secrets; zero: it has none
}

// Check refuses what no host takes.
func (s Spec) Check() error {
	if err := s.words(); err != nil {
		return err
	}
	for _, t := range []struct{ what, text string }{{"folder", s.Dir}, {"user", s.User}} {
		if len(t.text) > MaxText || strings.ContainsFunc(t.text, control) {
			return fault.New(fault.BadRequest, "instance: the %s %q is too long or not text", t.what, fault.Brief(t.text))
		}
	}
	switch {
	case s.Dir != "" && s.Dir[0] != '/':
		return fault.New(fault.BadRequest, "instance: the folder %q doesn't begin with /", s.Dir)
	case s.CPU == 0 || s.CPU > MaxCPU:
		return fault.New(fault.BadRequest, "instance: %d thousandths of a core, 1 to %d are allowed", s.CPU, MaxCPU)
	case s.Memory < MinMemory || s.Memory > MaxBytes:
		return fault.New(fault.BadRequest, "instance: %d bytes of memory, %d to %d are allowed", s.Memory, MinMemory, uint64(MaxBytes))
	case s.Disk < MinDisk || s.Disk > MaxBytes:
		return fault.New(fault.BadRequest, "instance: %d bytes of disk, %d to %d are allowed", s.Disk, MinDisk, uint64(MaxBytes))
	case s.Pids == 0 || s.Pids > MaxPids:
		return fault.New(fault.BadRequest, "instance: %d processes, 1 to %d are allowed", s.Pids, MaxPids)
	case s.Egress > Open:
		return fault.New(fault.BadRequest, "instance: unknown egress %d", s.Egress)
	case (s.Egress == Allow) != (len(s.Allowed) > 0):
		return fault.New(fault.BadRequest, "instance: egress %s with %d destinations", s.Egress, len(s.Allowed))
	}
	return nil
}

func (s Spec) words() error {
	bytes := 0
	for _, list := range [][]string{s.Args, s.Env, s.Allowed} {
		if len(list) > MaxCount {
			return fault.New(fault.TooLarge, "instance: %d arguments, variables or destinations, at most %d are allowed", len(list), MaxCount)
		}
		for _, w := range list {
			if strings.IndexByte(w, 0) >= 0 {
				return fault.New(fault.BadRequest, "instance: an argument or a variable has a zero byte")
			}
			bytes += len(w) + 1
		}
	}
	if bytes > MaxWords {
		return fault.New(fault.TooLarge, "instance: %d bytes of arguments and variables, at most %d are allowed", bytes, MaxWords)
	}
	for _, v := range s.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return fault.New(fault.BadRequest, "instance: the variable %q isn't NAME=value", fault.Brief(v))
		}
	}
	for _, d := range s.Allowed {
		if d == "" || len(d) > MaxText || strings.ContainsFunc(d, control) {
			return fault.New(fault.BadRequest, "instance: the destination %q is empty, too long or not text", fault.Brief(d))
		}
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// Units is what it reserves. s is checked.
func (s Spec) Units() quote.Units {
	hi, lo := bits.Mul64(s.CPU, quote.GiB)
	cpu, _ := bits.Div64(hi, lo, 1000)
	return quote.Units{cpu, s.Memory, s.Disk}
}

// Encode gives the canonical bytes.
func (s Spec) Encode() []byte {
	version := byte(major)
	if s.Secrets != ([32]byte{}) {
		version = secretMajor
	}
	w := canon.New(version).Fixed(s.Image[:])
	for _, list := range [][]string{s.Args, s.Env, s.Allowed} {
		w.Uint64(uint64(len(list)))
		for _, t := range list {
			w.String(t)
		}
	}
	w.String(s.Dir).String(s.User).Uint64(s.CPU).Uint64(s.Memory).Uint64(s.Disk).Uint64(s.Pids).Uint8(uint8(s.Egress))
	if version == secretMajor {
		w.Fixed(s.Secrets[:])
	}
	return w.Bytes()
}

// Digest names it: SHA-256("hearth/instance/1" || canonical bytes).
func (s Spec) Digest() [32]byte { return canon.Digest(specLabel, s.Encode()) }

// Decode reads Encode's bytes, and checks them.
func Decode(b []byte) (s Spec, err error) {
	version := byte(major)
	if len(b) > 0 && b[0] == secretMajor {
		version = secretMajor
	}
	r := canon.Read(b, version)
	r.Fixed(s.Image[:])
	for _, list := range []*[]string{&s.Args, &s.Env, &s.Allowed} {
		n := r.Uint64()
		if n > MaxCount {
			return s, fault.New(fault.TooLarge, "read instance: a list of %d words, at most %d are allowed", n, MaxCount)
		}
		for range n {
			*list = append(*list, r.String(MaxWords))
		}
	}
	s.Dir, s.User = r.String(MaxText), r.String(MaxText)
	s.CPU, s.Memory, s.Disk, s.Pids, s.Egress = r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), Egress(r.Uint8())
	if version == secretMajor {
		r.Fixed(s.Secrets[:])
	}
	if err := r.Done(); err != nil {
		return Spec{}, fault.New(fault.CodeOf(err), "read instance: %w", err)
	}
	if version == secretMajor && s.Secrets == ([32]byte{}) {
		return Spec{}, fault.New(fault.BadFrame, "read instance: it is written as one with secrets and has none")
	}
	if err := s.Check(); err != nil {
		return Spec{}, err
	}
	return s, nil
}
