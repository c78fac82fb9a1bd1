package s3

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// A sum is a checksum that came with a body, or shall be kept with it.
type sum struct {
	algo  types.ChecksumAlgorithm // empty: none
	value string                  // base64; empty: whatever it is
}

// An intake is the body of a put on its way to the hosts: it counts, hashes and
// compares while others read, and keeps nothing. Its last word is io.EOF only
// when length and checksum are as they were announced.
type intake struct {
	r      io.Reader
	left   int64
	read   int64
	atMost bool // the announced length is a bound: forms end where their boundary is
	md5    hash.Hash
	algo   types.ChecksumAlgorithm // of said; empty: none is kept
	said   interface{ Checksum() string }
	last   error              // told to every read from then on
	conn   net.Conn           // of the client, which may stall for so long only; may be nil
	count  prometheus.Counter // of what came in; may be nil
}

// A summing reader of the gateway checks the sum that follows a body in chunks.
type summing interface {
	Algorithm() string
	Checksum() string
}

// hashed has a HashReader answer like a summing reader.
type hashed struct{ *utils.HashReader }

// Checksum is the sum of what was read.
func (h hashed) Checksum() string { return h.Sum() }

// newIntake reads size bytes of body, whose sum is s if it doesn't bring its own.
func newIntake(body io.Reader, size int64, s sum) (*intake, error) {
	if body == nil {
		body = strings.NewReader("")
	}
	in := &intake{r: body, left: size, md5: md5.New(), algo: s.algo}
	if _, ok := body.(utils.MpFileReader); ok {
		in.atMost = true
	}
	if t, ok := body.(summing); ok && t.Algorithm() != "" {
		in.algo, in.said = types.ChecksumAlgorithm(strings.ToUpper(t.Algorithm())), t
		return in, nil
	}
	if s.algo != "" {
		r, err := utils.NewHashReader(body, s.value, utils.HashType(strings.ToLower(string(s.algo))))
		if err != nil {
			return nil, s3err.GetAPIError(s3err.ErrInvalidChecksumAlgorithm)
		}
		in.r, in.said = r, hashed{r}
	}
	return in, nil
}

// Read gives what was announced, not more, and fails at the end when it was less
// or something else.
func (in *intake) Read(p []byte) (int, error) {
	if in.last != nil {
		return 0, in.last
	}
	if in.conn != nil {
		_ = in.conn.SetReadDeadline(time.Now().Add(patience)) // a read will tell
	}
	n, err := in.r.Read(p)
	in.left, in.read = in.left-int64(n), in.read+int64(n)
	if in.count != nil {
		in.count.Add(float64(n))
	}
	in.md5.Write(p[:n])
	switch {
	case in.left < 0:
		n, err = 0, s3err.GetAPIError(s3err.ErrIncompleteBody)
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		if err = io.EOF; in.left > 0 && !in.atMost {
			err = s3err.GetAPIError(s3err.ErrIncompleteBody)
		}
	}
	in.last = err
	if in.conn != nil {
		_ = in.conn.SetReadDeadline(time.Time{}) // a read will tell
	}
	return n, err
}

// etag is the MD5 of what was read, in hex.
func (in *intake) etag() string { return hex.EncodeToString(in.md5.Sum(nil)) }

// sum is the checksum of what was read.
func (in *intake) sum() sum {
	if in.said == nil {
		return sum{}
	}
	return sum{in.algo, strings.Clone(in.said.Checksum())}
}
