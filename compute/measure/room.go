package measure

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// within is how much of the memory this process may have: all that is installed, or
// what its control groups leave.
func within(root fs.FS, installed uint64) uint64 {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return installed
	}
	for line := range strings.Lines(string(b)) { // number:controllers:/path
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		var base, file string
		switch {
		case part[1] == "":
			base, file = "sys/fs/cgroup", "memory.max"
		case part[1] == "memory":
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// What a group above allows holds below too. In a container the path may be one
		// that isn't seen there; then its own group is the topmost.
		for at := path.Clean("/" + part[2]); ; at = path.Dir(at) {
			text, err := fs.ReadFile(root, path.Join(base, at, file))
			if n, bad := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil && n > 0 && (installed == 0 || n < installed) && n < 1<<60 {
				installed = n
			}
			if at == "/" {
				break
			}
		}
	}
	return installed
}
