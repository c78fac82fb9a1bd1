package image

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/core/fault"
)

// layer fetches one and applies it. Only when all of it was read is it known that it
// was the right one: until then what it has written may not be used.
func (f *fetcher) layer(ctx context.Context, d oci.Descriptor, plain digest.Digest, to *applier) (err error) {
	in, err := f.from.Blob(ctx, d.Digest)
	if err != nil {
		return fmt.Errorf("fetch layer %s: %w", d.Digest, err)
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	packed := &summed{from: in, sum: sha256.New(), most: d.Size, err: bad("layer %s: it has more than the %d bytes that its manifest says", d.Digest, d.Size)}
	open, err := unpack(packed)
	if err != nil {
		return within(d, err)
	}
	defer open.Close()
	most := min(to.limits.Unpacked-to.read, max(ratioFrom, d.Size*to.limits.Ratio))
	all := &summed{from: open, sum: sha256.New(), most: most, err: fault.New(fault.TooLarge, "layer %s: unpacked it has more than %d bytes", d.Digest, most)}
	if err := to.apply(ctx, all); err != nil {
		return within(d, err)
	}
	if _, err := io.Copy(io.Discard, all); err != nil { // what follows the archive belongs to the digest
		return within(d, err)
	}
	if _, err := io.Copy(io.Discard, packed); err != nil {
		return within(d, err)
	}
	to.read += all.n
	switch {
	case packed.n != d.Size || packed.digest() != d.Digest:
		return bad("layer %s: its bytes have another digest", d.Digest)
	case all.digest() != plain:
		return bad("layer %s: unpacked it isn't what the config says", d.Digest)
	}
	return nil
}

// within gives what is wrong with a layer its code.
func within(d oci.Descriptor, err error) error {
	if fault.CodeOf(err) == fault.Internal && isForm(err) {
		return bad("layer %s: %w", d.Digest, err)
	}
	return fmt.Errorf("layer %s: %w", d.Digest, err)
}

// unpack finds out by the first bytes how a layer is compressed: what its manifest
// says of it is often wrong.
func unpack(from io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(from, 64<<10)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, form{err}
		}
		return io.NopCloser(formed{z}), nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(32<<20))
		if err != nil {
			return nil, form{err}
		}
		return zstdLayer{formed{z}, z}, nil
	}
	return io.NopCloser(b), nil
}

type zstdLayer struct {
	io.Reader
	z *zstd.Decoder
}

func (z zstdLayer) Close() error {
	z.z.Close()
	return nil
}

// form marks an error as one of the layer's bytes.
type form struct{ error }

func (f form) Unwrap() error { return f.error }

func isForm(err error) bool {
	var f form
	return errors.As(err, &f)
}

// formed marks the errors of a decompressor that aren't those of what it reads.
type formed struct{ from io.Reader }

func (f formed) Read(p []byte) (int, error) {
	n, err := f.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		var told *fetchError
		if !errors.As(err, &told) {
			err = form{err}
		}
	}
	return n, err
}

// fetchError is one of whoever gives the bytes, or of their number.
type fetchError struct{ err error }

func (f *fetchError) Error() string { return f.err.Error() }
func (f *fetchError) Unwrap() error { return f.err }

// summed counts and hashes what passes, up to a limit.
type summed struct {
	from io.Reader
	sum  hash.Hash
	n    int64
	most int64
	err  error // beyond it
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.n += int64(n)
	if s.n > s.most {
		return 0, &fetchError{s.err}
	}
	s.sum.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) && !isForm(err) {
		var told *fetchError
		if !errors.As(err, &told) {
			err = &fetchError{err}
		}
	}
	return n, err
}

func (s *summed) digest() digest.Digest { return digest.NewDigest(digest.SHA256, s.sum) }
