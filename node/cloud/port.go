package cloud

import (
	"strconv"

	"hearth/internal/port"
)

// freeDoor is the usual place of a door, or another where that is taken.
func freeDoor(usual string) string {
	if port.Check(usual) == nil {
		return usual
	}
	n, err := port.Free()
	if err != nil {
		return ""
	}
	return "127.0.0.1:" + strconv.Itoa(n)
}
