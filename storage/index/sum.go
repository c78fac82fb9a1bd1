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
	h := sha256.New()
	var n [9]byte
	field := func(kind byte, b []byte) {
		n[0] = kind
		binary.BigEndian.PutUint64(n[1:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	field('t', []byte(table))
	for _, c := range columns {
		switch v := c.(type) {
		case string:
			field('s', []byte(v))
		case []byte:
			field('b', v)
		case int64:
			n[0] = 'i'
			binary.BigEndian.PutUint64(n[1:], uint64(v))
			h.Write(n[:])
		default:
			panic(fmt.Sprintf("index: checksum of a %T", c))
		}
	}
	return h.Sum(nil)[:8]
}
