package index

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// rowSum is the checksum that every row carries: 8 bytes of SHA-256 over the
// table's name and the row's other columns. It guards against decay, not against
// an attacker, who could write the file anyway.
func rowSum(table string, columns ...any) []byte {
	b := make([]byte, 0, 512)
	b = appendField(b, 't', len(table))
	b = append(b, table...)
	for _, c := range columns {
		switch v := c.(type) {
		case string:
			b = append(appendField(b, 's', len(v)), v...)
		case []byte:
			b = append(appendField(b, 'b', len(v)), v...)
		case int64:
			b = appendField(b, 'i', int(v))
		default:
			panic(fmt.Sprintf("index: checksum of a %T", c))
		}
	}
	sum := sha256.Sum256(b)
	return sum[:8]
}

func appendField(b []byte, kind byte, n int) []byte {
	return binary.BigEndian.AppendUint64(append(b, kind), uint64(n))
}
