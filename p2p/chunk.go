package p2p

import (
	"crypto/ed25519"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// A direct connection carries one stream after another. Each side sends chunks:
// a byte that says what it is, three bytes of length (big-endian), the content.
//
//	open    client: the protocol's name; the first chunk of a stream
//	answer  host: one byte, whether it takes the stream; then data flows
//	data    either: bytes of the stream
//	end     either: nothing more from this side; after both, another open
const (
	chunkData byte = iota
	chunkOpen
	chunkAnswer
	chunkEnd
)

// Answers to an open chunk.
const (
	answerYes byte = iota
	answerUnknown
	answerBusy
)

const (
	bulkALPN  = "hearth/bulk/1"
	maxChunk  = 1 << 20
	maxName   = 128      // of a protocol
	recordLen = 16 << 10 // of a TLS record: a chunk's head shares one with its first bytes
)

var (
	errCut   = errors.New("the connection was cut")
	errChunk = errors.New("the peer broke the rules of the connection")
)

// records lends buffers for a chunk's first record.
type records struct{ pool sync.Pool }

func newRecords() *records {
	return &records{sync.Pool{New: func() any { return new([recordLen]byte) }}}
}

// direct is a pipe over a TLS connection of its own.
type direct struct {
	*tls.Conn
	key     ed25519.PublicKey
	ip      string
	records *records
	back    func(d *direct, good bool) // called once a stream, when it has ended

	head [4]byte // of the chunk that comes next, as far as it is there: a deadline may split it
	have int
	left int  // bytes to come of the current data chunk
	over bool // the other side's end has come
}

// Read reads what is there of the stream.
func (d *direct) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for d.left == 0 {
		if d.over {
			return 0, io.EOF
		}
		kind, size, err := d.next()
		switch {
		case err != nil:
			return 0, err
		case kind == chunkEnd && size == 0:
			d.over = true
		case kind == chunkData && size <= maxChunk:
			d.left = size
		default:
			return 0, fmt.Errorf("chunk %d of %d bytes: %w", kind, size, errChunk)
		}
	}
	n, err := d.Conn.Read(p[:min(len(p), d.left)])
	d.left -= n
	return n, cutError(err)
}

// next reads the head of a chunk.
func (d *direct) next() (kind byte, size int, err error) {
	for d.have < len(d.head) {
		n, err := d.Conn.Read(d.head[d.have:])
		d.have += n
		if err != nil && d.have < len(d.head) {
			return 0, 0, cutError(err)
		}
	}
	d.have = 0
	h := binary.BigEndian.Uint32(d.head[:])
	return byte(h >> 24), int(h & 0xffffff), nil
}

// cutError keeps a lost connection apart from a stream's end.
func cutError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}

// Write sends p as data.
func (d *direct) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var sent int
		sent, err = d.send(chunkData, p[:min(len(p), maxChunk)])
		n, p = n+sent, p[sent:]
	}
	return n, err
}

// send writes one chunk: its head and first bytes in one record, the rest as it
// lies. It returns how much of p is on its way.
func (d *direct) send(kind byte, p []byte) (int, error) {
	first := d.records.pool.Get().(*[recordLen]byte)
	binary.BigEndian.PutUint32(first[:], uint32(kind)<<24|uint32(len(p)))
	n := copy(first[4:], p)
	_, err := d.Conn.Write(first[:4+n])
	d.records.pool.Put(first)
	if err != nil {
		return 0, err
	}
	if n == len(p) {
		return n, nil
	}
	m, err := d.Conn.Write(p[n:])
	return n + m, err
}

func (d *direct) end() error {
	_, err := d.send(chunkEnd, nil)
	return err
}

func (d *direct) leave(good bool) { d.back(d, good && d.left == 0) }
func (d *direct) cut()            { d.back(d, false) }

// renew makes d ready for its next stream.
func (d *direct) renew() { d.over = false }

// hangUp closes the connection without a goodbye, which could block.
func (d *direct) hangUp() { d.NetConn().Close() }

// ask opens a stream of protocol and reads the answer; deadlines are the caller's.
func (d *direct) ask(protocol string) (answer byte, err error) {
	if _, err := d.send(chunkOpen, []byte(protocol)); err != nil {
		return 0, err
	}
	kind, size, err := d.next()
	if err != nil {
		return 0, err
	}
	if kind != chunkAnswer || size != 1 {
		return 0, errChunk
	}
	var b [1]byte
	_, err = io.ReadFull(d.Conn, b[:])
	return b[0], cutError(err)
}

// asked reads an open chunk.
func (d *direct) asked() (protocol string, err error) {
	kind, size, err := d.next()
	if err != nil {
		return "", err
	}
	if kind != chunkOpen || size == 0 || size > maxName {
		return "", errChunk
	}
	name := make([]byte, size)
	if _, err := io.ReadFull(d.Conn, name); err != nil {
		return "", cutError(err)
	}
	return string(name), nil
}

func (d *direct) answer(a byte) error {
	_, err := d.send(chunkAnswer, []byte{a})
	return err
}

// hostIP is the IP part of a connection's address.
func hostIP(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return ""
	}
	return host
}
