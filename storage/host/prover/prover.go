// Package prover has a host prove what it stores: it posts what has changed once
// a period, answers what the ledger draws, confesses what is damaged, declares
// what is better declared, and answers challenges. It decides when; what is right
// is core/proving's, and the shards are the store's. It never confesses a lease on
// a ledger node's word alone.
package prover

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/proof"
	"hearth/core/proving"
	"hearth/core/statement"
	"hearth/storage/host"
)

// Ledger is what a prover asks of a window on the ledger.
type Ledger interface {
	Turn(ctx context.Context, host string) (chain.Turn, error)           // a hint
	Challenges(ctx context.Context, host string) ([]chain.Demand, error) // a hint
	ProvingRules(ctx context.Context) (proving.Params, error)            // a hint
	Lease(ctx context.Context, id uint64) (lease.Lease, error)           // proved
	Send(ctx context.Context, msgs ...proto.Message) (chain.Receipt, error)
}

// Store is what it asks of the shards.
type Store interface {
	ProveDraw(lease uint64, root [32]byte, draw func(total uint64) (uint64, error)) (proof.Answer, error)
	Posted(lease uint64, root [32]byte, newest bool) error
	Behind() ([]uint64, error)
	Ruined() (map[uint64][]proof.Hash, error)
	Share(lease uint64, roots []proof.Hash) (of, all uint64, err error)
	Stats() host.Stats
}

// Market is what it asks of the host's statements.
type Market interface {
	Post(ctx context.Context) (posted int, err error)
	Statement(lease uint64) statement.Statement
}

// A Config is what a Prover needs.
type Config struct {
	Host     string // required: the host's account
	Ledger   Ledger // required
	Store    Store  // required
	Market   Market // required
	Registry prometheus.Registerer
	// Tell tells people what matters to them: severity, code, text; default nobody.
	Tell func(severity, code, format string, args ...any)
	Log  *slog.Logger // default: discard
}

// A Status is how a host's proving stands.
type Status struct {
	Turn      chain.Turn
	Answered  int       // periods, since the start
	Confessed int       // of this start as well
	Missed    int       // seen by this process; Turn.Misses has the ledger's count
	Last      time.Time // of the last answer that counted
	Cause     string    // why the last try failed or the last period was missed
	CauseAt   time.Time
}

// Prover works for one host. Its methods are safe together.
type Prover struct {
	c       Config
	results *prometheus.CounterVec
	wake    chan struct{}

	// What follows is Run's alone. Periods are as a ledger node has told them: they
	// are compared for being the same, so that a false one has no effect on others.
	rules    *proving.Params
	answered int64 // the period that was answered last by this process
	posted   int64 // the period in which changes were posted last
	postedAt time.Time
	looked   time.Time // at challenges and losses
	doubts   map[uint64]int64

	mu     sync.Mutex
	status Status
}

// New returns a prover; Run has it work.
func New(c Config) (*Prover, error) {
	if c.Host == "" || c.Ledger == nil || c.Store == nil || c.Market == nil {
		return nil, fmt.Errorf("prover: Host, Ledger, Store and Market are needed")
	}
	if c.Tell == nil {
		c.Tell = func(string, string, string, ...any) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	p := &Prover{c: c, wake: make(chan struct{}, 1), doubts: map[uint64]int64{}}
	p.results = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hearth_host_proofs_total", Help: "Proofs of storage: answered, confessed, missed, failed tries, challenges answered.",
	}, []string{"result"})
	for _, r := range []string{"answered", "confessed", "missed", "failed", "challenge"} {
		p.results.WithLabelValues(r)
	}
	if c.Registry != nil {
		if err := c.Registry.Register(p.results); err != nil {
			return nil, fmt.Errorf("prover: %w", err)
		}
	}
	return p, nil
}

// Status tells how it stands.
func (p *Prover) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Look has it look at once: a block told of a challenge.
func (p *Prover) Look() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

const (
	shortest = 400 * time.Millisecond // between two looks
	longest  = time.Minute
	retry    = time.Second
)

// Run proves until ctx ends.
func (p *Prover) Run(ctx context.Context) {
	for {
		wait := p.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
			p.looked = time.Time{}
		case <-time.After(wait):
		}
	}
}

// round does what is due and says when to look again.
func (p *Prover) round(ctx context.Context) time.Duration {
	asked := time.Now()
	turn, err := p.c.Ledger.Turn(ctx, p.c.Host)
	switch {
	case ctx.Err() != nil:
		return 0
	case fault.CodeOf(err) == fault.NotAHost:
		return longest / 12
	case err != nil:
		p.failed(ctx, fmt.Errorf("ask for this host's turn: %w", err))
		return retry
	}
	p.period(turn)
	again := false
	if turn.Frozen && len(turn.Draws) > 0 && p.answered != turn.Period {
		if err := p.answer(ctx, turn); err != nil {
			p.failed(ctx, fmt.Errorf("answer for period %d: %w", turn.Period, err))
			again = true
		}
	}
	length := time.Duration(turn.Ends-turn.Begins) * time.Second
	if time.Since(p.looked) > min(length/4, time.Hour) {
		p.looked = time.Now()
		if err := p.demands(ctx); err != nil {
			p.failed(ctx, fmt.Errorf("answer challenges: %w", err))
			p.looked, again = time.Time{}, true
		}
		if !turn.Frozen {
			if err := p.declare(ctx); err != nil {
				p.failed(ctx, fmt.Errorf("declare losses: %w", err))
			}
		}
	}
	if !turn.Frozen && p.mayPost(turn, length) {
		if err := p.post(ctx, turn); err != nil {
			p.failed(ctx, fmt.Errorf("post what has changed: %w", err))
			again = true
		}
	}
	if again {
		return retry
	}
	return p.wait(turn, length, time.Since(asked))
}

// wait is until the next thing that is known to come.
func (p *Prover) wait(t chain.Turn, length, since time.Duration) time.Duration {
	next := t.Ends
	for _, at := range []int64{t.SlotBegins, p.postAt(t)} {
		if at > t.Time {
			next = min(next, at)
		}
	}
	d := time.Duration(next-t.Time)*time.Second - since
	return max(shortest, min(d, length/5, longest))
}

// period notices that a period has ended without an answer.
func (p *Prover) period(now chain.Turn) {
	p.mu.Lock()
	before := p.status.Turn
	p.status.Turn = now
	missed := before.Period > 0 && now.Period > before.Period && before.Owes && p.answered != before.Period && now.Misses > before.Misses
	cause := p.status.Cause
	if missed {
		p.status.Missed++
		if p.status.CauseAt.IsZero() || time.Since(p.status.CauseAt) > time.Duration(2*(now.Ends-now.Begins))*time.Second {
			cause = "this host had no chance to answer: it was busy or stopped, or the ledger out of reach"
			p.status.Cause, p.status.CauseAt = cause, time.Now()
		}
	}
	p.mu.Unlock()
	if !missed {
		return
	}
	p.results.WithLabelValues("missed").Inc()
	p.c.Log.Warn("a period is unpaid: its proof was missed", "period", before.Period, "misses", now.Misses, "in_a_row", now.Run, "cause", cause)
	p.c.Tell("error", "proof_missed", "the proof for period %d was missed (%d of the last periods, %d in a row): %s", before.Period, now.Misses, now.Run, cause)
}

func (p *Prover) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	p.results.WithLabelValues("failed").Inc()
	p.c.Log.Warn("prove what is stored", "err", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Cause, p.status.CauseAt = err.Error(), time.Now()
}
