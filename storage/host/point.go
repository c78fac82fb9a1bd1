package host

import (
	"context"
	"crypto/ed25519"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/core/pointer"
	"hearth/storage/wire"
)

// putPointer takes the pointer of one of the lease's client's devices.
func (v *visit) putPointer(lease uint64, ask *wire.PutPointer) error {
	if v.c.Clients == nil {
		return fault.New(fault.HostRefused, "this host keeps no pointers")
	}
	if len(ask.GetHead()) > MaxHead {
		return fault.New(fault.TooLarge, "a head of %d bytes, at most %d are allowed", len(ask.Head), MaxHead)
	}
	p, err := pointer.Decode(ask.GetPointer())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(v.ctx, v.c.Pause)
	defer cancel()
	client, err := v.c.Clients.Client(ctx, lease)
	if err != nil {
		return err
	}
	if err := p.Of(v.c.ChainID, client, p.Key[:]); err != nil {
		return err
	}
	if err := v.take(lease, uint64(len(ask.Pointer)+len(ask.Head)), 0); err != nil {
		return err
	}
	if err := v.c.Host.PutPointer(lease, p, ask.Head); err != nil {
		return err
	}
	return v.answer(&wire.Response{})
}

// getPointers answers whoever knows an account's pointer key. What is read is
// sealed, and not paid for: it is little, and bounded by a pace.
func (v *visit) getPointers(ask *wire.GetPointers) error {
	if len(ask.GetKey()) != ed25519.PublicKeySize {
		return fault.New(fault.BadRequest, "a pointer key has %d bytes, not %d", ed25519.PublicKeySize, len(ask.GetKey()))
	}
	if !v.reads.step([32]byte(v.s.Remote()), v.c.Host.c.Now()) {
		return fault.New(fault.Busy, "pointers are asked for too often")
	}
	out := &wire.Pointers{}
	if ask.Head {
		p, head, err := v.c.Host.Head(ask.Key, ask.Device)
		if err != nil {
			return err
		}
		out.Pointers, out.Head = [][]byte{p.Encode()}, head
	} else {
		list, err := v.c.Host.Pointers(ask.Key)
		if err != nil {
			return err
		}
		for _, p := range list {
			out.Pointers = append(out.Pointers, p.Encode())
		}
	}
	return v.answer(&wire.Response{Answer: &wire.Response_Pointers{Pointers: out}})
}

const (
	readsEach  = 5 // of pointers a second, for one peer
	readsBurst = 60
	readsAll   = 200 // for all peers
	manyPeers  = 4096
)

// A pace allows so much a second, to each peer and to all together.
type pace struct {
	mu    sync.Mutex
	all   bucket
	peers map[[32]byte]bucket
}

// A bucket fills with time and is emptied by use.
type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) take(now time.Time, each, most float64) bool {
	if b.at.IsZero() {
		b.left = most
	} else {
		b.left = min(most, b.left+max(0, now.Sub(b.at).Seconds())*each)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

func (p *pace) step(peer [32]byte, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peers == nil || len(p.peers) >= manyPeers {
		p.peers = map[[32]byte]bucket{}
	}
	b := p.peers[peer]
	ok := b.take(now, readsEach, readsBurst) && p.all.take(now, readsAll, 2*readsAll)
	p.peers[peer] = b
	return ok
}
