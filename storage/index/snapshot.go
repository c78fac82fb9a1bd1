package index

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"

	"hearth/core/fault"
)

const (
	snapshotMajor = 1
	// A lot of so many changes, or of so many bytes, is merged at once.
	lotChanges = 4096
	lotBytes   = 4 << 20
)

// Snapshot writes the whole index, but for what is this device's alone, as a
// stream of changes. Together with this device's changes behind upTo it is the
// index; so is it with all other devices' logs.
func (x *Index) Snapshot(ctx context.Context, w io.Writer) (upTo int64, err error) {
	if _, err := w.Write([]byte{snapshotMajor}); err != nil {
		return 0, err
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return 0, err
	}
	s := &snapshotWriter{ctx: ctx, w: bufio.NewWriterSize(z, 1<<16), sum: sha256.New()}
	err = x.view(ctx, func(t *tx) error {
		if _, err := t.row(`SELECT max((SELECT value FROM meta WHERE name = 'flushed'), (SELECT coalesce(max(seq), 0) FROM changes))`, nil, &upTo); err != nil {
			return err
		}
		return s.all(t)
	})
	if err == nil {
		err = s.end()
	}
	if e := z.Close(); err == nil {
		err = e
	}
	return upTo, failed("write snapshot", err)
}

type snapshotWriter struct {
	ctx context.Context
	w   *bufio.Writer
	sum hash.Hash
	n   uint64
}

// put writes one body behind its length.
func (s *snapshotWriter) put(body []byte) error {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(body)))
	s.sum.Write(n[:])
	s.sum.Write(body)
	s.n++
	if _, err := s.w.Write(n[:]); err != nil {
		return err
	}
	if _, err := s.w.Write(body); err != nil {
		return err
	}
	return s.ctx.Err()
}

// end writes what tells a whole snapshot from one that was cut short.
func (s *snapshotWriter) end() error {
	tail := binary.BigEndian.AppendUint64(make([]byte, 4), s.n)
	if _, err := s.w.Write(s.sum.Sum(tail)); err != nil {
		return err
	}
	return s.w.Flush()
}

func (s *snapshotWriter) all(t *tx) error {
	for _, f := range []func(*tx) error{s.buckets, s.docs, s.slabs, s.gone, s.versions, s.tombs, s.early} {
		if err := f(t); err != nil {
			return err
		}
	}
	return nil
}

func (s *snapshotWriter) buckets(t *tx) error {
	return t.each(`SELECT `+bucketColumns+`, sum FROM buckets WHERE clock > 0 AND `+logged("name"), nil, func(scan func(...any) error) error {
		var b bucketRow
		if err := scan(b.into()...); err != nil {
			return err
		}
		if err := verify(b.sum, "buckets", b.columns()...); err != nil {
			return err
		}
		return s.put(encodeBucket(&b))
	})
}

func (s *snapshotWriter) docs(t *tx) error {
	return t.each(`SELECT `+docColumns+` FROM docs WHERE `+logged("bucket"), nil, func(scan func(...any) error) error {
		var d docRow
		if err := scan(d.into()...); err != nil {
			return err
		}
		if err := verify(d.sum, "docs", d.columns()...); err != nil {
			return err
		}
		return s.put(encodeDoc(&d))
	})
}

func (s *snapshotWriter) slabs(t *tx) error {
	return t.each(`SELECT id, `+slabColumns+` FROM slabs WHERE local = 0 AND length(body) > 0`, nil, func(scan func(...any) error) error {
		var id []byte
		var row slabRow
		if err := scan(append([]any{&id}, row.into()...)...); err != nil {
			return err
		}
		if len(id) != len(SlabID{}) {
			return fault.New(fault.DamagedIndex, "a slab's name has %d bytes", len(id))
		}
		if err := verify(row.sum, "slabs", row.columns(SlabID(id))...); err != nil {
			return err
		}
		c, err := t.slabChange(SlabID(id), &row)
		if err != nil {
			return err
		}
		return s.put(encodeSlabChange(c))
	})
}

func (s *snapshotWriter) gone(t *tx) error {
	return t.each(`SELECT slab, clock, device, sum FROM gone WHERE local = 0`, nil, func(scan func(...any) error) error {
		var id, sum []byte
		var g goneChange
		if err := scan(&id, &g.clock, &g.device, &sum); err != nil {
			return err
		}
		if err := verify(sum, "gone", id, int64(0), g.clock, g.device); err != nil {
			return err
		}
		copy(g.id[:], id)
		return s.put(encodeGone(&g))
	})
}

// versions writes each version with its present attributes, and behind it who
// wrote these if they were changed.
func (s *snapshotWriter) versions(t *tx) error {
	return t.each(`SELECT `+versionColumns+`, v.sum, coalesce(m.body, x''), coalesce(m.sum, x'') FROM versions v LEFT JOIN manifests m ON m.id = v.manifest
		WHERE `+logged("bucket"), nil, func(scan func(...any) error) error {
		var r version
		var body, sum []byte
		if err := scan(append(r.into(), &body, &sum)...); err != nil {
			return err
		}
		if err := r.verify(); err != nil {
			return err
		}
		if r.marker == 0 {
			if err := verify(sum, "manifests", r.manifest, body); err != nil {
				return err
			}
			if body[0] == keptMajor {
				return nil // others learn of it when it is packed
			}
		}
		if err := s.put(encodeVersion(&r, body)); err != nil {
			return err
		}
		attrs, err := decodeAttrs(r.attrs)
		if err != nil {
			return err
		}
		if r.written() == r.stamp() && r.floor == attrs.floor() {
			return nil
		}
		return s.put(encodeAttrsChange(&r))
	})
}

func (s *snapshotWriter) tombs(t *tx) error {
	return t.each(`SELECT `+tombColumns+`, sum FROM tombs`, nil, func(scan func(...any) error) error {
		var m tomb
		if err := scan(m.into()...); err != nil {
			return err
		}
		if err := verify(m.sum, "tombs", m.columns()...); err != nil {
			return err
		}
		return s.put(encodeTomb(&m))
	})
}

func (s *snapshotWriter) early(t *tx) error {
	return t.each(`SELECT body FROM early`, nil, func(scan func(...any) error) error {
		var b []byte
		if err := scan(&b); err != nil {
			return err
		}
		return s.put(b)
	})
}

// ApplySnapshot merges a snapshot, whoever made it, lot by lot. After an error a
// part of it may be merged, which does no harm: what is missing isn't known yet.
func (x *Index) ApplySnapshot(ctx context.Context, r io.Reader) error {
	var major [1]byte
	if _, err := io.ReadFull(r, major[:]); err != nil {
		return fault.New(fault.BadFrame, "read snapshot: it is cut short: %w", err)
	}
	if major[0] != snapshotMajor {
		return fault.New(fault.UnknownFormat, "read snapshot: format major %d, known is %d", major[0], snapshotMajor)
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<20), zstd.WithDecoderMaxMemory(8<<20))
	if err != nil {
		return failed("read snapshot", err)
	}
	defer z.Close()
	s := &snapshotReader{r: bufio.NewReaderSize(z, 1<<16), sum: sha256.New()}
	for {
		lot, last, err := s.lot()
		if err != nil {
			return failed("read snapshot", err)
		}
		if len(lot) > 0 {
			list, err := decodeChanges(lot)
			if err != nil {
				return err
			}
			if err := x.apply(ctx, list); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

type snapshotReader struct {
	r   *bufio.Reader
	sum hash.Hash
	n   uint64
}

func (s *snapshotReader) lot() (lot [][]byte, last bool, err error) {
	for size := 0; len(lot) < lotChanges && size < lotBytes; {
		var n [4]byte
		if _, err := io.ReadFull(s.r, n[:]); err != nil {
			return nil, false, fault.New(fault.BadFrame, "it is cut short: %w", err)
		}
		length := binary.BigEndian.Uint32(n[:])
		if length == 0 {
			return lot, true, s.end()
		}
		if length > maxBody {
			return nil, false, fault.New(fault.TooLarge, "a change of %d bytes, at most %d are allowed", length, maxBody)
		}
		body, err := readExactly(s.r, int(length))
		if err != nil {
			return nil, false, fault.New(fault.BadFrame, "it is cut short: %w", err)
		}
		s.sum.Write(n[:])
		s.sum.Write(body)
		s.n++
		lot, size = append(lot, body), size+len(body)
	}
	return lot, false, nil
}

// readExactly takes memory as the bytes come: a length alone claims none.
func readExactly(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, 0, min(n, 1<<16))
	for len(b) < n {
		step := min(n-len(b), max(len(b), 1<<16))
		b = append(b, make([]byte, step)...)
		if _, err := io.ReadFull(r, b[len(b)-step:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (s *snapshotReader) end() error {
	var tail [8 + sha256.Size]byte
	if _, err := io.ReadFull(s.r, tail[:]); err != nil {
		return fault.New(fault.BadFrame, "it is cut short: %w", err)
	}
	if binary.BigEndian.Uint64(tail[:]) != s.n || string(tail[8:]) != string(s.sum.Sum(nil)) {
		return fault.New(fault.BadFrame, "its checksum doesn't match")
	}
	if _, err := s.r.ReadByte(); err != io.EOF {
		return fault.New(fault.BadFrame, "something follows its end")
	}
	return nil
}
