package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/host/volume"
)

// scrubbing is how far the reading of everything is. It goes through the shards in
// the order of their roots and begins anew when it is due.
type scrubbing struct {
	began time.Time // this reading, or the last
	ended time.Time // the last that came to its end
	at    proof.Hash
	over  bool // this one has come to its end
}

func (s scrubbing) encode() []byte {
	over := uint64(0)
	if s.over {
		over = 1
	}
	return canon.New(1).Int64(s.began.Unix()).Int64(s.ended.Unix()).Uint64(over).Fixed(s.at[:]).Bytes()
}

func parseScrubbing(b []byte) (scrubbing, error) {
	r := canon.Read(b, 1)
	began, ended, over := r.Int64(), r.Int64(), r.Uint64()
	s := scrubbing{began: time.Unix(began, 0), over: over == 1}
	r.Fixed(s.at[:])
	if r.Done() != nil || over > 1 {
		return scrubbing{}, bad("scrub state", b)
	}
	if ended > 0 {
		s.ended = time.Unix(ended, 0)
	}
	return s, nil
}

func (h *Host) loadScrub() error {
	b, err := h.store.Get([]byte{keyScrub})
	if err != nil || b == nil {
		h.scrub = scrubbing{began: h.c.Now()}
		return err
	}
	h.scrub, err = parseScrubbing(b)
	return err
}

const scrubPage = 64 // shards between two notes of how far it is

// scrubOnAndOn reads every shard once in Config.ScrubEvery, spread over that time.
func (h *Host) scrubOnAndOn(ctx context.Context) {
	for ctx.Err() == nil {
		h.mu.Lock()
		s := h.scrub
		h.mu.Unlock()
		if due := s.began.Add(h.c.ScrubEvery).Sub(h.c.Now()); s.over && due > 0 {
			_ = pause(ctx, min(due, time.Hour)) // the clock may be set meanwhile
			continue
		}
		if s.over {
			s.began, s.at, s.over = h.c.Now(), proof.Hash{}, false
		}
		if err := h.scrubOn(ctx, s, h.unhurried); err != nil && ctx.Err() == nil {
			h.c.Log.Warn("read shards in the background", "err", err)
			_ = pause(ctx, 10*time.Minute)
		}
	}
}

// Scrub reads every shard now, and compares it with its root. What is damaged is
// told as Config.Damaged says.
func (h *Host) Scrub(ctx context.Context) error {
	s := scrubbing{began: h.c.Now()}
	for !s.over {
		if err := h.scrubOn(ctx, s, h.slowly); err != nil {
			return err
		}
		h.mu.Lock()
		s = h.scrub
		h.mu.Unlock()
	}
	return nil
}

// scrubOn reads one page of shards.
func (h *Host) scrubOn(ctx context.Context, s scrubbing, pace func(context.Context, int64) error) error {
	page, err := h.store.From(s.at, scrubPage)
	if err != nil {
		return fmt.Errorf("scrub: %w", err)
	}
	for _, e := range page {
		if err := pace(ctx, e.Size); err != nil {
			return err
		}
		switch err := h.store.Check(e.Root); fault.CodeOf(err) {
		case "", fault.NotFound, fault.DamagedShard: // the store tells of damage
			h.scrubbed.Add(e.Size)
		default:
			return fmt.Errorf("scrub: %w", err)
		}
		s.at = e.Root
	}
	if len(page) < scrubPage {
		s.over, s.ended = true, h.c.Now()
	}
	err = h.store.Apply(func(tx *volume.Tx) error {
		tx.Set([]byte{keyScrub}, s.encode())
		return nil
	})
	if err != nil {
		return fmt.Errorf("scrub: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scrub = s
	return nil
}

// unhurried spreads what is stored over the time that reading it may take. What is
// stored meanwhile shortens a wait that has begun.
func (h *Host) unhurried(ctx context.Context, bytes int64) error {
	for began := h.c.Now(); ; {
		left := h.patience(bytes) - h.c.Now().Sub(began)
		if left <= 0 {
			return nil
		}
		if err := pause(ctx, min(left, time.Minute)); err != nil {
			return err
		}
	}
}

// patience is how long so many of the bytes that are stored may take.
func (h *Host) patience(bytes int64) time.Duration {
	share := float64(bytes) / float64(max(h.store.Stats().Stored, bytes))
	return max(time.Duration(share*float64(h.c.ScrubEvery)), time.Duration(float64(bytes)/float64(h.c.Pace)*float64(time.Second)))
}

// damaged tells the leases that need a shard that it is damaged.
func (h *Host) damaged(root proof.Hash) {
	if h.c.Damaged == nil {
		return
	}
	leases, err := h.needing(root, math.MaxInt)
	if err != nil {
		h.c.Log.Warn("find the leases of a damaged shard", "err", err)
	}
	for _, lease := range leases {
		h.c.Damaged(lease, root)
	}
}

// needing lists leases that need a shard, at most so many.
func (h *Host) needing(root proof.Hash, most int) (leases []uint64, err error) {
	err = h.store.Each(needsKey(root), func(key, _ []byte) error {
		if len(key) != 41 {
			return bad("key", key)
		}
		if leases = append(leases, binary.BigEndian.Uint64(key[33:])); len(leases) == most {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return leases, err
}

// Ruined lists the damaged shards that are held and the leases that need them.
func (h *Host) Ruined() (map[uint64][]proof.Hash, error) {
	out := map[uint64][]proof.Hash{}
	if h.store.Stats().Bad == 0 {
		return out, nil
	}
	var at proof.Hash
	for {
		page, err := h.store.From(at, 1024)
		if err != nil || len(page) == 0 {
			return out, err
		}
		for _, e := range page {
			if at = e.Root; !e.Damaged {
				continue
			}
			leases, err := h.needing(e.Root, math.MaxInt)
			if err != nil {
				return out, err
			}
			for _, lease := range leases {
				out[lease] = append(out[lease], e.Root)
			}
		}
	}
}
