package node

import "golang.org/x/sys/unix"

// installed is how much memory this machine has, in bytes; 0: not known.
func installed() uint64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // not everywhere a uint64
}
