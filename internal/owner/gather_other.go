//go:build !linux

package owner

import (
	"fmt"
	"runtime"
)

// Known says whether this system shows what Facts need.
const Known = false

// Gather can't tell on this system.
func Gather() (Facts, error) {
	return Facts{}, fmt.Errorf("look whether the machine is in use: that isn't known on %s", runtime.GOOS)
}
