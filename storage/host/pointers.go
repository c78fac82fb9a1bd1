package host

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"lukechampine.com/blake3"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/storage/host/volume"
)

// MaxHead bounds the sealed head of a log.
const MaxHead = 64 << 10

// A pointed is the newest pointer of a device, the head it points at, and the
// lease of its account under which it lies here.
type pointed struct {
	lease   uint64
	pointer pointer.Signed
	head    []byte
}

func (p pointed) encode() []byte {
	return canon.New(1).Uint64(p.lease).Blob(p.pointer.Encode()).Blob(p.head).Bytes()
}

func parsePointed(b []byte) (p pointed, err error) {
	r := canon.Read(b, 1)
	p.lease = r.Uint64()
	raw := r.Blob(pointer.MaxBytes)
	p.head = r.Blob(MaxHead)
	if r.Done() != nil {
		return p, bad("pointer", b)
	}
	if p.pointer, err = pointer.Decode(raw); err != nil {
		return p, bad("pointer", b)
	}
	return p, nil
}

// pointersKey begins the keys of all pointers under an account's pointer key.
func pointersKey(key []byte) []byte { return append([]byte{keyPointer}, key...) }

func pointerKey(p pointer.Signed) []byte {
	return binary.BigEndian.AppendUint64(pointersKey(p.Key[:]), p.Device)
}

// pointedKey says that a lease has this pointer here.
func pointedKey(lease uint64, p pointer.Signed) []byte {
	return append(leaseKey(keyPointed, lease), pointerKey(p)[1:]...)
}

// PutPointer keeps the pointer of a device and its head, durably, in the place of
// an older one. The lease is one of the pointer's account; when it ends they go.
func (h *Host) PutPointer(lease uint64, p pointer.Signed, head []byte) error {
	if len(head) == 0 || len(head) > MaxHead {
		return fault.New(fault.TooLarge, "pointer of device %016x: a head of %d bytes, 1 to %d are allowed", p.Device, len(head), MaxHead)
	}
	if blake3.Sum256(head) != [32]byte(p.LogRoot) {
		return fault.New(fault.BadFrame, "pointer of device %016x: it points at another head", p.Device)
	}
	if h.store.Stats().DiskFull {
		return fault.New(fault.DiskFull, "the disk is full")
	}
	err := h.store.Apply(func(tx *volume.Tx) error {
		old, err := pointersOf(tx, p.Key[:])
		if err != nil {
			return err
		}
		before := make([]pointer.Signed, len(old))
		for i := range old {
			before[i] = old[i].pointer
		}
		after, err := pointer.Admit(before, p)
		if err != nil {
			return err
		}
		if err := roomForKeys(tx, lease, p); err != nil {
			return err
		}
		for i := range before {
			if after[i] == before[i] && after[i] != p {
				continue
			}
			tx.Delete(pointerKey(before[i]))
			tx.Delete(pointedKey(old[i].lease, before[i]))
		}
		tx.Set(pointerKey(p), pointed{lease, p, head}.encode())
		tx.Set(pointedKey(lease, p), nil)
		return nil
	})
	if err != nil {
		return fmt.Errorf("put pointer: %w", err)
	}
	return nil
}

// roomForKeys bounds what one lease may have here under other pointer keys: an
// account has one.
func roomForKeys(tx *volume.Tx, lease uint64, p pointer.Signed) error {
	others := 0
	err := tx.Each(leaseKey(keyPointed, lease), func(key, _ []byte) error {
		if string(key) != string(pointedKey(lease, p)) {
			others++
		}
		return nil
	})
	if err == nil && others >= pointer.MaxDevices+1 {
		err = fault.New(fault.TooLarge, "lease %d has %d pointers here, no more are kept", lease, others)
	}
	return err
}

// pointersOf reads what lies under a pointer key.
func pointersOf(tx *volume.Tx, key []byte) (out []pointed, err error) {
	err = tx.Each(pointersKey(key), func(_, value []byte) error {
		p, err := parsePointed(value)
		out = append(out, p)
		return err
	})
	return out, err
}

// Pointers are the newest pointers under an account's pointer key.
func (h *Host) Pointers(key ed25519.PublicKey) (out []pointer.Signed, err error) {
	err = h.store.Each(pointersKey(key), func(_, value []byte) error {
		p, err := parsePointed(value)
		out = append(out, p.pointer)
		return err
	})
	return out, err
}

// Head is the newest pointer of a device and the head it points at; fault.NotFound
// where there is none.
func (h *Host) Head(key ed25519.PublicKey, device uint64) (pointer.Signed, []byte, error) {
	b, err := h.store.Get(binary.BigEndian.AppendUint64(pointersKey(key), device))
	if err != nil {
		return pointer.Signed{}, nil, err
	}
	if b == nil {
		return pointer.Signed{}, nil, fault.New(fault.NotFound, "there is no pointer of device %016x here", device)
	}
	p, err := parsePointed(b)
	return p.pointer, p.head, err
}

// dropPointers deletes what lies here under a lease that has ended.
func dropPointers(tx *volume.Tx, lease uint64) error {
	return tx.Each(leaseKey(keyPointed, lease), func(key, _ []byte) error {
		if len(key) != 49 {
			return bad("key", key)
		}
		tx.Delete(append([]byte(nil), key...))
		tx.Delete(append([]byte{keyPointer}, key[9:]...))
		return nil
	})
}
