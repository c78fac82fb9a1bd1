package pull

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/core/fault"
)

// reading is a blob on its way. Where the line is cut it goes on from there; its end is
// given out only when the whole is what the digest says.
type reading struct {
	r        *remote
	d        oci.Descriptor
	body     io.ReadCloser // nil: to be opened
	n        int64         // bytes that were read
	sum      hash.Hash
	patience *patience
	over     error // what every further read gives
}

func (r *remote) reading(d oci.Descriptor) *reading {
	return &reading{r: r, d: d, sum: sha256.New(), patience: r.patience()}
}

// Read gives the blob's next bytes.
func (b *reading) Read(p []byte) (int, error) {
	if b.over == nil && b.n == b.d.Size { // it has nothing, else its end was seen
		b.over = b.check()
	}
	if len(p) == 0 && b.over == nil {
		return 0, nil
	}
	for b.over == nil {
		n, err := b.some(p[:min(int64(len(p)), b.d.Size-b.n)])
		if n > 0 {
			b.patience.renew()
			b.n += int64(n)
			b.sum.Write(p[:n])
		}
		if b.n == b.d.Size {
			if err = b.surplus(); err == nil {
				err = b.check()
			}
			if b.over = err; errors.Is(err, io.EOF) {
				return n, nil
			}
			break // the last of it is kept back, so that nobody has the whole
		}
		if err != nil {
			b.drop()
			if !b.patience.again(b.r.ctx, err) {
				b.over = b.r.wrong(fmt.Errorf("blob %s, at byte %d of %d: %w", b.d.Digest, b.n, b.d.Size, err))
			}
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, b.over
}

// some reads on, from where it was.
func (b *reading) some(p []byte) (int, error) {
	if b.body == nil {
		if err := b.open(); err != nil {
			return 0, err
		}
	}
	n, err := b.body.Read(p)
	if err != nil {
		err = passing{fault.New(fault.RegistryDown, "it was cut off: %w", err)}
	}
	return n, err
}

// open asks for what is left. A registry may give all again.
func (b *reading) open() error {
	header := http.Header{"Accept": {"*/*"}}
	if b.n > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", b.n))
	}
	a, err := b.r.ask(b.r.ctx, "/blobs/"+b.d.Digest.String(), header)
	if err != nil {
		return err
	}
	size := a.ContentLength // of the whole; -1: it doesn't say
	skip := b.n
	if a.StatusCode == http.StatusPartialContent {
		var from, to int64
		if _, err := fmt.Sscanf(a.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err != nil || from != b.n {
			_ = a.Body.Close() // nothing of it is used
			return fault.New(fault.BadImage, "asked for bytes from %d on, it gives %.60q", b.n, a.Header.Get("Content-Range"))
		}
		skip = 0
	}
	if size >= 0 && size != b.d.Size {
		_ = a.Body.Close() // as above
		return fault.New(fault.BadImage, "the registry has %d bytes, the manifest says %d", size, b.d.Size)
	}
	if _, err := io.CopyN(io.Discard, a.Body, skip); err != nil {
		_ = a.Body.Close() // as above
		return passing{fault.New(fault.RegistryDown, "it was cut off again: %w", err)}
	}
	b.body = a.Body
	return nil
}

// surplus refuses what is more than was said. That nothing more comes, however that
// shows, is well.
func (b *reading) surplus() error {
	if b.body == nil {
		return nil
	}
	n, _ := b.body.Read(make([]byte, 1))
	if n > 0 {
		return b.r.wrong(fault.New(fault.BadImage, "blob %s: the registry has more than the %d bytes that the manifest says", b.d.Digest, b.d.Size))
	}
	return nil
}

// check gives the end, io.EOF, or why this isn't the blob.
func (b *reading) check() error {
	if got := digest.NewDigest(digest.SHA256, b.sum); got != b.d.Digest {
		return b.r.wrong(fault.New(fault.BadImage, "blob %s: what the registry gives is %s", b.d.Digest, got))
	}
	return io.EOF
}

func (b *reading) drop() {
	if b.body != nil {
		_ = b.body.Close() // it has failed already
		b.body = nil
	}
}

// Close ends the reading.
func (b *reading) Close() error {
	b.drop()
	return nil
}
