package wasm

import (
	"encoding/binary"
	"math"

	"github.com/tetratelabs/wazero/sys"
)

// Numbers of WASI preview 1 (https://github.com/WebAssembly/WASI, snapshot-01).
const (
	errnoBadFile = 8
	errnoFault   = 21
	errnoInvalid = 28
	errnoNoSys   = 52
	errnoNotSup  = 58
	errnoSeek    = 70

	clockReal, clockThread = 0, 3
	eventClock, eventWrite = 0, 2
	subscriptionSize       = 48
	eventSize              = 32
	fdstatSize             = 24
	filestatSize           = 64
	rightRead, rightWrite  = 1 << 1, 1 << 6
)

// wasiFunctions are those of WASI preview 1, without files and sockets: there are
// descriptors 0, 1 and 2, and what asks for others hears that they aren't there.
var wasiFunctions = map[string]hostFunction{
	"args_get":          {"ii", "i", func(i *instance, p []uint64) uint64 { return i.list(i.call.Args, p) }},
	"args_sizes_get":    {"ii", "i", func(i *instance, p []uint64) uint64 { return i.listSizes(i.call.Args, p) }},
	"environ_get":       {"ii", "i", func(i *instance, p []uint64) uint64 { return i.list(i.call.Env, p) }},
	"environ_sizes_get": {"ii", "i", func(i *instance, p []uint64) uint64 { return i.listSizes(i.call.Env, p) }},
	"clock_res_get":     {"ii", "i", clockResolution},
	"clock_time_get":    {"iIi", "i", clockTime},
	"random_get":        {"ii", "i", randomGet},
	"poll_oneoff":       {"iiii", "i", poll},
	"proc_exit":         {"i", "", procExit},
	"sched_yield":       {"", "i", func(*instance, []uint64) uint64 { return 0 }},

	"fd_read":             {"iiii", "i", fdRead},
	"fd_write":            {"iiii", "i", fdWrite},
	"fd_close":            {"i", "i", fdClose},
	"fd_fdstat_get":       {"ii", "i", fdStat},
	"fd_filestat_get":     {"ii", "i", fdFileStat},
	"fd_fdstat_set_flags": {"ii", "i", onOpen(0)},
	"fd_seek":             {"iIii", "i", onOpen(errnoSeek)},
	"fd_tell":             {"ii", "i", onOpen(errnoSeek)},
	"fd_sync":             {"i", "i", onOpen(0)},
	"fd_datasync":         {"i", "i", onOpen(0)},
	"fd_advise":           {"iIIi", "i", onOpen(errnoSeek)},
	"fd_allocate":         {"iII", "i", onOpen(errnoNotSup)},
	"fd_pread":            {"iiiIi", "i", onOpen(errnoSeek)},
	"fd_pwrite":           {"iiiIi", "i", onOpen(errnoSeek)},

	"fd_fdstat_set_rights":    {"iII", "i", onOpen(errnoNotSup)},
	"fd_filestat_set_size":    {"iI", "i", onOpen(errnoInvalid)},
	"fd_filestat_set_times":   {"iIIi", "i", onOpen(errnoNotSup)},
	"fd_readdir":              {"iiiIi", "i", onOpen(errnoNotSup)},
	"fd_renumber":             {"ii", "i", onOpen(errnoNotSup)},
	"fd_prestat_get":          {"ii", "i", always(errnoBadFile)},
	"fd_prestat_dir_name":     {"iii", "i", always(errnoBadFile)},
	"path_create_directory":   {"iii", "i", always(errnoBadFile)},
	"path_filestat_get":       {"iiiii", "i", always(errnoBadFile)},
	"path_filestat_set_times": {"iiiiIIi", "i", always(errnoBadFile)},
	"path_link":               {"iiiiiii", "i", always(errnoBadFile)},
	"path_open":               {"iiiiiIIii", "i", always(errnoBadFile)},
	"path_readlink":           {"iiiiii", "i", always(errnoBadFile)},
	"path_remove_directory":   {"iii", "i", always(errnoBadFile)},
	"path_rename":             {"iiiiii", "i", always(errnoBadFile)},
	"path_symlink":            {"iiiii", "i", always(errnoBadFile)},
	"path_unlink_file":        {"iii", "i", always(errnoBadFile)},
	"proc_raise":              {"i", "i", always(errnoNoSys)},
	"sock_accept":             {"iii", "i", always(errnoBadFile)},
	"sock_recv":               {"iiiiii", "i", always(errnoBadFile)},
	"sock_send":               {"iiiii", "i", always(errnoBadFile)},
	"sock_shutdown":           {"ii", "i", always(errnoBadFile)},
}

func always(errno uint64) func(*instance, []uint64) uint64 {
	return func(*instance, []uint64) uint64 { return errno }
}

// onOpen answers for a descriptor that is there.
func onOpen(errno uint64) func(*instance, []uint64) uint64 {
	return func(i *instance, p []uint64) uint64 {
		if !i.isOpen(p[0]) {
			return errnoBadFile
		}
		return errno
	}
}

func (i *instance) isOpen(fd uint64) bool {
	fd &= 0xffff_ffff
	return fd < 3 && i.shut&(1<<fd) == 0
}

func fdClose(i *instance, p []uint64) uint64 {
	if !i.isOpen(p[0]) {
		return errnoBadFile
	}
	i.shut |= 1 << uint32(p[0])
	return 0
}

// done is what a function answers that had to write to memory.
func done(ok bool) uint64 {
	if !ok {
		return errnoFault
	}
	return 0
}

// list writes strings, each with a zero byte behind it, and where they are.
func (i *instance) list(list []string, p []uint64) uint64 {
	pointers, at := p[0]&0xffff_ffff, p[1]&0xffff_ffff
	for _, s := range list {
		i.moves(uint64(len(s)) + 5)
		b, ok := i.bytes(at, uint64(len(s))+1)
		if !ok || !i.put32(pointers, uint32(at)) {
			return errnoFault
		}
		b[copy(b, s)] = 0
		pointers += 4
		at += uint64(len(b))
	}
	return 0
}

func (i *instance) listSizes(list []string, p []uint64) uint64 {
	size := 0
	for _, s := range list {
		size += len(s) + 1
	}
	return done(i.put32(p[0], uint32(len(list))) && i.put32(p[1], uint32(size)))
}

func clockResolution(i *instance, p []uint64) uint64 {
	if uint32(p[0]) > clockThread {
		return errnoInvalid
	}
	return done(i.put64(p[1], step))
}

func clockTime(i *instance, p []uint64) uint64 {
	if uint32(p[0]) > clockThread {
		return errnoInvalid
	}
	return done(i.put64(p[2], uint64(i.read(uint32(p[0])))))
}

// read reads one of the clocks: that of the world, or the time since the start.
func (i *instance) read(clock uint32) int64 {
	t := i.now()
	if clock == clockReal {
		t += i.call.Now
	}
	return t
}

func randomGet(i *instance, p []uint64) uint64 {
	b, ok := i.bytes(p[0], p[1])
	if ok {
		i.charge(uint64(len(b)))
		i.fill(b)
	}
	return done(ok)
}

func procExit(i *instance, p []uint64) uint64 {
	i.exited, i.exit = true, uint32(p[0])
	panic(sys.NewExitError(i.exit))
}

// vectors calls f with each stretch of memory of a list of them, until f says stop.
func (i *instance) vectors(at, n uint64, f func(b []byte) bool) (ok bool) {
	n &= 0xffff_ffff
	i.moves(8 * n)
	list, ok := i.bytes(at, min(8*n, math.MaxUint32))
	for ; ok && len(list) >= 8; list = list[8:] {
		var b []byte
		b, ok = i.bytes(uint64(binary.LittleEndian.Uint32(list)), uint64(binary.LittleEndian.Uint32(list[4:])))
		if ok && !f(b) {
			break
		}
	}
	return ok
}

func fdRead(i *instance, p []uint64) uint64 {
	if uint32(p[0]) != 0 || !i.isOpen(p[0]) {
		return errnoBadFile
	}
	total := 0
	ok := i.vectors(p[1], p[2], func(b []byte) bool {
		n := copy(b, i.call.Input[i.at:])
		i.moves(uint64(n))
		i.at += n
		total += n
		return n == len(b)
	})
	return done(ok && i.put32(p[3], uint32(total)))
}

func fdWrite(i *instance, p []uint64) uint64 {
	fd := uint32(p[0])
	if fd == 0 || !i.isOpen(p[0]) {
		return errnoBadFile
	}
	total := uint64(0)
	ok := i.vectors(p[1], p[2], func(b []byte) bool {
		if total += uint64(len(b)); total > math.MaxUint32 {
			return false
		}
		i.moves(uint64(len(b)))
		if fd == 1 {
			i.write(b)
		} else {
			i.log.write(b)
		}
		return true
	})
	return done(ok && i.put32(p[3], uint32(total)))
}

// fdStat says of a descriptor that it is neither a file nor a terminal.
func fdStat(i *instance, p []uint64) uint64 {
	if !i.isOpen(p[0]) {
		return errnoBadFile
	}
	b, ok := i.bytes(p[1], fdstatSize)
	if ok {
		clear(b)
		rights := uint64(rightWrite)
		if uint32(p[0]) == 0 {
			rights = rightRead
		}
		binary.LittleEndian.PutUint64(b[8:], rights)
	}
	return done(ok)
}

func fdFileStat(i *instance, p []uint64) uint64 {
	if !i.isOpen(p[0]) {
		return errnoBadFile
	}
	b, ok := i.bytes(p[1], filestatSize)
	clear(b)
	return done(ok)
}

// poll never waits: what is open is ready, and if only time is waited for the
// clock advances to the first that is due.
func poll(i *instance, p []uint64) uint64 {
	n := p[2] & 0xffff_ffff
	if n == 0 {
		return errnoInvalid
	}
	i.charge(n * (subscriptionSize + eventSize) >> hostShift)
	in, ok := i.bytes(p[0], min(n*subscriptionSize, math.MaxUint32))
	out, fits := i.bytes(p[1], min(n*eventSize, math.MaxUint32))
	if !ok || !fits {
		return errnoFault
	}
	first, ready, from := int64(math.MaxInt64), false, i.clock
	for s := in; len(s) >= subscriptionSize; s = s[subscriptionSize:] {
		if s[8] == eventClock {
			first = min(first, i.due(s, from))
		} else {
			ready = true
		}
	}
	if !ready {
		i.clock = max(i.clock, first)
	}
	events := uint32(0)
	for s := in; len(s) >= subscriptionSize; s = s[subscriptionSize:] {
		if s[8] == eventClock && (ready || i.due(s, from) > i.clock) {
			continue
		}
		i.event(out, s)
		out = out[eventSize:]
		events++
	}
	return done(i.put32(p[3], events))
}

// due is when a subscription to a clock ends that begins at from, both as time
// since the start.
func (i *instance) due(s []byte, from int64) int64 {
	timeout := binary.LittleEndian.Uint64(s[24:])
	if binary.LittleEndian.Uint16(s[40:])&1 == 0 {
		return from + min(int64(min(timeout, math.MaxInt64)), math.MaxInt64-from)
	}
	at := int64(min(timeout, math.MaxInt64))
	if binary.LittleEndian.Uint32(s[16:]) == clockReal {
		at -= i.call.Now
	}
	return at
}

// event writes what came of a subscription.
func (i *instance) event(out, s []byte) {
	out = out[:eventSize]
	clear(out)
	copy(out, s[:8])
	out[10] = s[8]
	fd := uint64(binary.LittleEndian.Uint32(s[16:]))
	switch {
	case s[8] == eventClock:
	case s[8] > eventWrite:
		binary.LittleEndian.PutUint16(out[8:], errnoInvalid)
	case !i.isOpen(fd):
		binary.LittleEndian.PutUint16(out[8:], errnoBadFile)
	default:
		binary.LittleEndian.PutUint64(out[16:], 1)
	}
}
