package repair

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"hearth/core/proof"
	"hearth/internal/durable"
	"hearth/storage/index"
)

// A round is one reading of all shards, a little of each. It goes through the
// slabs in the order of their names and begins again when it is through.
type round struct {
	path  string
	after index.SlabID
	began time.Time
	last  time.Time // when audits were done last
	owing float64   // audits that are due and not done
	ended time.Time // when a whole round was through last; zero: not yet
	part  bool      // this one began in the middle
}

// kept is a round as it lies on disk. Losing it costs reading a few shards twice.
type kept struct {
	Format int       `json:"format"`
	After  string    `json:"after"`
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended"`
}

func (r *round) load(path string, now time.Time, log *slog.Logger) {
	r.path, r.began, r.last, r.part = path, now, now, true
	for i := range r.after { // nobody knows where it would begin
		r.after[i] = byte(rand.Uint32())
	}
	if path == "" {
		return
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var k kept
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	id, herr := hex.DecodeString(k.After)
	if err = errors.Join(err, herr); err != nil || k.Format != 1 || len(id) != len(r.after) {
		log.Warn("audits begin anywhere: what is remembered of them can't be read", "file", path, "err", err)
		return
	}
	r.after, r.began, r.ended, r.part = index.SlabID(id), k.Began, k.Ended, false
}

func (r *round) keep() error {
	if r.path == "" || r.part {
		return nil
	}
	b, err := json.Marshal(kept{1, r.after.String(), r.began, r.ended})
	if err == nil {
		err = durable.Write(r.path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the state of audits: %w", err)
	}
	return nil
}

// next begins a round.
func (r *round) next(now time.Time) {
	if !r.part {
		r.ended = now
	}
	r.after, r.began, r.part = index.SlabID{}, now, false
}

// age is since when the oldest audit may date; 0 while no round was through.
func (r *round) age(now time.Time) time.Duration {
	if r.ended.IsZero() {
		return 0
	}
	return now.Sub(r.ended)
}

// due counts how many audits the time that has passed asks for: a round takes
// half the time in which it must be through.
func (r *round) due(shards int, period time.Duration, now time.Time) int {
	r.owing += float64(shards) * float64(now.Sub(r.last)) / (float64(period) / 2)
	r.last = now
	r.owing = min(r.owing, float64(shards), mostReads)
	return int(r.owing)
}

// audit reads what is due.
func (w *Watcher) audit(ctx context.Context) error {
	now := w.c.Now()
	left := w.round.due(w.state.Shards, w.c.Rules.Audit, now)
	began := w.state.Audits
	for passed := 0; left > 0 && passed < 2 && ctx.Err() == nil; {
		slabs, err := w.c.List.SlabsAfter(ctx, w.round.after, max(1, min(left/8, page)))
		if err != nil {
			return err
		}
		if len(slabs) == 0 {
			w.round.next(now)
			passed++
			continue
		}
		for i := range slabs {
			n := w.auditSlab(ctx, &slabs[i])
			w.round.owing -= float64(len(slabs[i].At))
			left -= max(n, 1)
			if w.round.after = slabs[i].ID; left <= 0 || ctx.Err() != nil {
				break
			}
		}
	}
	if w.state.Audits == began {
		return nil
	}
	return w.round.keep()
}

// auditSlab reads a leaf of every shard of a slab that could be read, and says
// of how many.
func (w *Watcher) auditSlab(ctx context.Context, s *index.PlacedSlab) int {
	var ask []int
	for i, at := range s.At {
		if !w.stand(at).missing() {
			ask = append(ask, i)
		}
	}
	errs := make([]error, len(ask))
	each(len(ask), atOnce, func(i int) {
		shard := ask[i]
		off := rand.Int64N(s.ShardSize/proof.LeafSize+1) * proof.LeafSize
		errs[i] = w.c.Hand.Read(ctx, s.At[shard], s.Roots[shard], s.ShardSize, min(off, s.ShardSize-1))
	})
	if ctx.Err() != nil {
		return 0
	}
	for i, err := range errs {
		answer := AnswerOf(err)
		w.m.audits[answer].Inc()
		w.state.Audits++
		if answer == Lost {
			w.lost(ctx, s.ID, ask[i], s.At[ask[i]], err)
		}
		if answer == Refused || answer == Lost { // silence is judged by the regular question
			host := s.At[ask[i]].Host
			w.why[host] = err
			w.hosts[host] = w.hosts[host].Hear(answer, w.c.Now(), w.c.Rules)
		}
	}
	return len(ask)
}
