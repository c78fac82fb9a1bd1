package folder

import (
	"crypto/sha256"
	"encoding/hex"
)

// shortName is a name of 16 characters that stands for a long path.
func shortName(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:8])
}
