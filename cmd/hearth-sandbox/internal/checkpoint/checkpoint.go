// Package checkpoint is the form of the file that a suspended instance lies in: its
// memory, its files, its secrets. It is sealed with a key that the host doesn't keep,
// in pieces of which each can be opened alone, and none can be changed, left out, put
// elsewhere or taken from another file. The bytes are those of docs/formats/checkpoint.md.
package checkpoint

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// KeySize is the length of a key.
const KeySize = 32

const (
	magic    = "hearthC1"
	saltSize = 32
	header   = len(magic) + saltSize
	piece    = 1 << 20 // bytes of a piece, before it is sealed
	tag      = 16
)

// ErrDamaged says that a file isn't what was sealed with this key.
var ErrDamaged = errors.New("damaged, cut off, or sealed with another key")

// A Writer seals what is written to it. Close it, or the file is cut off.
type Writer struct {
	w     io.Writer
	aead  cipher.AEAD
	next  uint64
	plain []byte // of the piece that isn't whole yet
	out   []byte
	err   error
}

// NewWriter begins a file.
func NewWriter(w io.Writer, key []byte) (*Writer, error) {
	h := make([]byte, header)
	copy(h, magic)
	if _, err := rand.Read(h[len(magic):]); err != nil {
		return nil, err
	}
	aead, err := cipherOf(key, h[len(magic):])
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(h); err != nil {
		return nil, err
	}
	return &Writer{w: w, aead: aead, plain: make([]byte, 0, piece), out: make([]byte, 0, piece+tag)}, nil
}

// cipherOf is that of one file, so that a key may serve for several.
func cipherOf(key, salt []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("a checkpoint's key has %d bytes, not %d", len(key), KeySize)
	}
	own, err := hkdf.Key(sha256.New, key, salt, "hearth checkpoint 1", KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(own)
	clear(own)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// nonce is that of piece n; the last one has another, so that none can be the last
// but the one that was.
func nonce(n uint64, last bool) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b[3:], n)
	if last {
		b[11] = 1
	}
	return b
}

func (w *Writer) Write(b []byte) (n int, err error) {
	for len(b) > 0 && w.err == nil {
		if len(w.plain) == piece {
			w.seal(false)
			continue
		}
		took := min(piece-len(w.plain), len(b))
		w.plain = append(w.plain, b[:took]...)
		b, n = b[took:], n+took
	}
	return n, w.err
}

func (w *Writer) seal(last bool) {
	w.out = w.aead.Seal(w.out[:0], nonce(w.next, last), w.plain, nil)
	_, w.err = w.w.Write(w.out)
	w.plain = w.plain[:0]
	w.next++
}

// Close writes the last piece. The file below is the caller's.
func (w *Writer) Close() error {
	if w.err == nil {
		w.seal(true)
	}
	err := w.err
	clear(w.plain[:cap(w.plain)])
	w.err = errors.Join(err, errors.New("closed"))
	return err
}

// A Reader opens what was sealed. It is safe for concurrent use.
type Reader struct {
	r      io.ReaderAt
	aead   cipher.AEAD
	size   int64 // of what was sealed
	pieces int64

	mu     sync.Mutex
	at     int64 // the piece in plain, -1: none
	plain  []byte
	sealed []byte
}

// Open begins to read a file of so many bytes.
func Open(r io.ReaderAt, size int64, key []byte) (*Reader, error) {
	h := make([]byte, header)
	body := size - int64(header)
	if body < tag {
		return nil, ErrDamaged
	}
	if _, err := r.ReadAt(h, 0); err != nil {
		return nil, err
	}
	if string(h[:len(magic)]) != magic {
		return nil, ErrDamaged
	}
	aead, err := cipherOf(key, h[len(magic):])
	if err != nil {
		return nil, err
	}
	pieces := (body + piece + tag - 1) / (piece + tag)
	if body-(pieces-1)*(piece+tag) < tag {
		return nil, ErrDamaged
	}
	return &Reader{r: r, aead: aead, size: body - pieces*tag, pieces: pieces, at: -1, plain: make([]byte, 0, piece), sealed: make([]byte, piece+tag)}, nil
}

// Size is how many bytes were sealed.
func (r *Reader) Size() int64 { return r.size }

// Verify reads all of it.
func (r *Reader) Verify() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range r.pieces {
		if err := r.open(n); err != nil {
			return err
		}
	}
	return nil
}

// open makes n the piece in plain.
func (r *Reader) open(n int64) error {
	if r.at == n {
		return nil
	}
	r.at = -1
	last := n == r.pieces-1
	length := int64(piece)
	if last {
		length = r.size - n*piece
	}
	sealed := r.sealed[:length+tag]
	if _, err := r.r.ReadAt(sealed, int64(header)+n*(piece+tag)); err != nil {
		if errors.Is(err, io.EOF) {
			err = ErrDamaged
		}
		return err
	}
	var err error
	if r.plain, err = r.aead.Open(r.plain[:0], nonce(uint64(n), last), sealed, nil); err != nil {
		return fmt.Errorf("piece %d of %d: %w", n+1, r.pieces, ErrDamaged)
	}
	r.at = n
	return nil
}

// ReadAt gives what was sealed.
func (r *Reader) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("before the beginning")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(b) {
		if off >= r.size {
			return n, io.EOF
		}
		if err := r.open(off / piece); err != nil {
			return n, err
		}
		took := copy(b[n:], r.plain[off%piece:])
		n, off = n+took, off+int64(took)
	}
	return n, nil
}
