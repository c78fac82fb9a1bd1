package wallet

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"hearth/core/canon"
	"hearth/core/fault"
)

// An Identity is what a keystore file holds.
type Identity struct {
	Phrase  Phrase
	Device  uint64
	Network string // its whole name
}

// The file: magic, major, how it is kept, the body, SHA-256 of all before.
// An open body is the identity's canonical bytes; a sealed one is the cost of
// argon2id (passes, KiB, lanes), salt, nonce, and XChaCha20-Poly1305 over those
// bytes with all before as additional data.
const (
	magic    = "HEARTHKEY\n"
	major    = 1
	keptOpen = 0
	sealed   = 1

	headSize = len(magic) + 2
	saltSize = 16
	sealSize = headSize + 9 + saltSize + chacha20poly1305.NonceSizeX // ahead of the ciphertext
	maxFile  = 16 << 10
	maxName  = 8 << 10 // of the network's name
)

// cost is argon2id's. A reader bounds it, or a bad file would eat all memory.
type cost struct {
	passes, memory uint32 // memory in KiB
	lanes          uint8
}

var usualCost = cost{3, 64 << 10, 4} // RFC 9106, section 4, second choice

func (c cost) valid() bool {
	return c.passes >= 1 && c.passes <= 16 && c.lanes >= 1 && c.lanes <= 16 &&
		c.memory >= 8*uint32(c.lanes) && c.memory <= 1<<20
}

// Create writes id to a new file at path with mode 0600, sealed if there is a
// passphrase, and returns when it is safely on disk. A file that exists stays.
func Create(path string, id Identity, passphrase []byte) error {
	if id.Phrase.IsZero() {
		return fmt.Errorf("create keystore %s: no phrase", path)
	}
	if len(id.Network) > maxName {
		return fault.New(fault.TooLarge, "create keystore %s: the network's name has %d bytes, at most %d", path, len(id.Network), maxName)
	}
	data, err := encode(id, passphrase, usualCost)
	if err != nil {
		return fmt.Errorf("create keystore %s: %w", path, err)
	}
	defer clear(data)
	err = writeNew(path, data)
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.IdentityExists, "create keystore %s: there is one already", path)
	}
	if err != nil {
		return fmt.Errorf("create keystore %s: %w", path, err)
	}
	return nil
}

// Open reads the identity at path. It refuses a file that others may read.
func Open(path string, passphrase []byte) (Identity, error) {
	data, err := read(path)
	if err != nil {
		return Identity{}, err
	}
	defer clear(data)
	id, err := decode(data, passphrase)
	if err != nil {
		return Identity{}, fault.New(fault.CodeOf(err), "open keystore %s: %w", path, err)
	}
	return id, nil
}

// Sealed says whether the keystore at path needs a passphrase.
func Sealed(path string) (bool, error) {
	data, err := read(path)
	if err != nil {
		return false, err
	}
	defer clear(data)
	kind, err := check(data)
	if err != nil {
		return false, fault.New(fault.CodeOf(err), "look at keystore %s: %w", path, err)
	}
	return kind == sealed, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NoIdentity, "open keystore: %w", err)
	}
	if err != nil {
		return nil, fault.New(fault.KeyUnreadable, "open keystore: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fault.New(fault.KeyUnreadable, "open keystore: %w", err)
	case !info.Mode().IsRegular():
		return nil, fault.New(fault.KeyUnreadable, "open keystore %s: not a file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fault.New(fault.KeyUnreadable, "open keystore %s: others may read it (mode %04o): set it to 0600, and if others use this machine take the phrase for known", path, info.Mode().Perm())
	case info.Size() > maxFile:
		return nil, fault.New(fault.KeyUnreadable, "open keystore %s: %d bytes are too many", path, info.Size())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fault.New(fault.KeyUnreadable, "open keystore: %w", err)
	}
	return data, nil
}

func encode(id Identity, passphrase []byte, c cost) ([]byte, error) {
	plain := canon.New(major).String(id.Phrase.Reveal()).Uint64(id.Device).String(id.Network).Bytes()
	defer clear(plain)
	out := append([]byte(magic), major, keptOpen)
	if len(passphrase) == 0 {
		out = append(out, plain...)
	} else {
		out[headSize-1] = sealed
		out = binary.BigEndian.AppendUint32(out, c.passes)
		out = binary.BigEndian.AppendUint32(out, c.memory)
		out = append(out, c.lanes)
		random := make([]byte, saltSize+chacha20poly1305.NonceSizeX)
		if _, err := rand.Read(random); err != nil {
			return nil, err
		}
		out = append(out, random...)
		aead, err := chacha20poly1305.NewX(c.key(passphrase, random[:saltSize]))
		if err != nil {
			return nil, err
		}
		out = aead.Seal(out, random[saltSize:], plain, out)
	}
	sum := sha256.Sum256(out)
	return append(out, sum[:]...), nil
}

func (c cost) key(passphrase, salt []byte) []byte {
	return argon2.IDKey(passphrase, salt, c.passes, c.memory, c.lanes, chacha20poly1305.KeySize)
}

// check tells a whole file from a damaged one, so that a wrong passphrase can be
// told from both.
func check(data []byte) (kind byte, err error) {
	if !bytes.HasPrefix(data, []byte(magic)) || len(data) < headSize+sha256.Size {
		return 0, fault.New(fault.KeyUnreadable, "not a keystore, or cut off")
	}
	end := len(data) - sha256.Size
	if sha256.Sum256(data[:end]) != [sha256.Size]byte(data[end:]) {
		return 0, fault.New(fault.KeyUnreadable, "damaged: the checksum doesn't match")
	}
	if data[headSize-2] != major {
		return 0, fault.New(fault.UnknownFormat, "format %d, known is %d", data[headSize-2], major)
	}
	kind = data[headSize-1]
	if kind != keptOpen && (kind != sealed || end < sealSize) {
		return 0, fault.New(fault.KeyUnreadable, "damaged header")
	}
	return kind, nil
}

func decode(data, passphrase []byte) (Identity, error) {
	kind, err := check(data)
	if err != nil {
		return Identity{}, err
	}
	body := data[:len(data)-sha256.Size]
	plain := body[headSize:]
	if kind == sealed {
		if len(passphrase) == 0 {
			return Identity{}, fault.New(fault.WrongPassphrase, "it is sealed with a passphrase, none was given")
		}
		c := cost{binary.BigEndian.Uint32(plain), binary.BigEndian.Uint32(plain[4:]), plain[8]}
		if !c.valid() {
			return Identity{}, fault.New(fault.KeyUnreadable, "damaged header")
		}
		random := plain[9:]
		aead, err := chacha20poly1305.NewX(c.key(passphrase, random[:saltSize]))
		if err != nil {
			return Identity{}, fault.New(fault.KeyUnreadable, "%w", err)
		}
		nonce := random[saltSize : saltSize+chacha20poly1305.NonceSizeX]
		if plain, err = aead.Open(nil, nonce, body[sealSize:], body[:sealSize]); err != nil {
			return Identity{}, fault.New(fault.WrongPassphrase, "the passphrase doesn't open it")
		}
		defer clear(plain)
	}
	r := canon.Read(plain, major)
	words, device, name := r.String(1024), r.Uint64(), r.String(maxName)
	if err := r.Done(); err != nil {
		return Identity{}, fault.New(fault.KeyUnreadable, "%w", err)
	}
	phrase, err := ParsePhrase(words)
	if err != nil {
		return Identity{}, fault.New(fault.KeyUnreadable, "the phrase in it is invalid")
	}
	return Identity{phrase, device, name}, nil
}

// writeNew puts data at path as a whole or not at all, never over another file.
func writeNew(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".keystore-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename, it refuses to replace
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
