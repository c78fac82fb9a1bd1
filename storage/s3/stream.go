package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"hearth/internal/tally"
	"hearth/storage/client"
	"hearth/storage/index"
)

// first is how much of an object is there before the door says that it has it:
// what can't be read at all is told as an error, not as a broken answer.
const first = 64 << 10

// chunk is how much is handed on at a time.
const chunk = 256 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// open begins to read a stretch of this very version. The caller closes it.
func (b *backend) open(o index.Object, s stretch) (io.ReadCloser, error) {
	if s.n == 0 {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	ctx, cancel := context.WithCancel(b.ctx)
	if s.n <= first {
		defer cancel()
		var buf bytes.Buffer
		_, err := b.c.Files.Get(ctx, o.At(), &buf, client.GetOptions{Offset: s.off, Length: s.n})
		return io.NopCloser(&buf), err
	}
	r, w := io.Pipe()
	go func() {
		_, err := b.c.Files.Get(ctx, o.At(), w, client.GetOptions{Offset: s.off, Length: s.n})
		if err != nil && ctx.Err() == nil {
			b.c.Log.Warn("object not read to its end", "name", o.Ref, "err", err)
		}
		w.CloseWithError(err) // nil is io.EOF
	}()
	head := make([]byte, first)
	if n, err := io.ReadFull(r, head); err != nil {
		cancel()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			head = head[:n]
			return io.NopCloser(bytes.NewReader(head)), nil
		}
		return nil, err
	}
	return &flow{head: head, r: r, cancel: cancel}, nil
}

// patience is how long a client may neither take nor give a byte.
const patience = time.Minute

// connOf is the connection of a request; nil where there is none.
func connOf(ctx context.Context) net.Conn {
	if r, ok := ctx.(*fasthttp.RequestCtx); ok {
		return r.Conn()
	}
	return nil
}

// A flow is an object on its way to a client.
type flow struct {
	head   []byte
	r      *io.PipeReader
	conn   net.Conn // of the client, which may stall for so long only; may be nil
	cancel context.CancelFunc
	sent   prometheus.Counter // may be nil
	of     *tally.Visit       // the request that it answers; may be nil
	over   sync.Once
}

// Read gives what comes next.
func (f *flow) Read(p []byte) (n int, err error) {
	if len(f.head) > 0 {
		n = copy(p, f.head)
		f.head = f.head[n:]
	} else {
		n, err = f.r.Read(p)
	}
	if f.sent != nil {
		f.sent.Add(float64(n))
	}
	return n, err
}

// WriteTo hands on large pieces: the gateway's own would be small.
func (f *flow) WriteTo(w io.Writer) (total int64, err error) {
	buf := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buf)
	for {
		n, err := f.Read(buf[:])
		if n > 0 {
			if f.conn != nil {
				_ = f.conn.SetWriteDeadline(time.Now().Add(patience)) // a write will tell
			}
			m, werr := w.Write(buf[:n])
			if total += int64(m); werr != nil {
				return total, werr
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return total, err
		}
	}
}

// Close ends the read: hosts are told, nothing more is paid.
func (f *flow) Close() error {
	f.cancel()
	f.over.Do(func() {
		if f.of != nil {
			f.of.Leave()
		}
	})
	if f.conn != nil {
		_ = f.conn.SetWriteDeadline(time.Time{}) // a write will tell
	}
	return f.r.Close()
}
