package node

import (
	"context"
	"math/bits"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/api"
	"hearth/chain"
	"hearth/storage/host/prover"
)

// provingLedger is the ledger as a prover needs it: the records are never those
// that are remembered, and the host's fees are paid.
type provingLedger struct {
	*chain.Client
	fees *fees
}

// Send carries out msgs for the host's account.
func (l provingLedger) Send(ctx context.Context, msgs ...proto.Message) (chain.Receipt, error) {
	return l.fees.Send(ctx, msgs...)
}

func (s *selling) newProver() (*prover.Prover, error) {
	return prover.New(prover.Config{
		Host: s.n.address(), Ledger: provingLedger{s.n.ledger, s.fees}, Store: s.store, Market: s.market,
		Registry: s.n.metrics, Tell: s.n.news.tell, Log: s.n.log,
	})
}

// challenged has the prover look at a challenge that a block tells of.
func (s *selling) challenged(c chain.Challenged) {
	if c.Host == s.n.address() && c.State == "open" {
		s.prover.Look()
	}
}

// proofs fills in how this host's proving stands: by the ledger's record and by
// what the prover has seen.
func (s *selling) proofs(out *api.Host, h chain.Host) {
	st := s.prover.Status()
	t := st.Turn
	length := t.Ends - t.Begins
	if h.Proving.Answered > 0 && length > 0 {
		out.Proven = time.Unix(t.Begins+(h.Proving.Answered+1-t.Period)*length, 0).UTC()
	}
	if length > 0 {
		out.Proofs = h.Proving.Proven / length
	}
	out.Misses, out.MissRun, out.Debt = t.Misses, t.Run, api.MoneyOf(h.Proving.Debt)
	switch {
	case t.Period == 0:
		out.Proof = "unknown"
	case h.Proving.From == 0:
		out.Proof = "none"
	case t.Frozen:
		out.Proof = "due"
	case t.Owes:
		out.Proof = "waiting"
	default:
		out.Proof = "answered"
	}
	if st.Cause != "" && time.Since(st.CauseAt) < causeShown {
		out.ProofCause = st.Cause
	}
}

// misses is how many of the last 30 judged periods a host has missed. One that is
// silent is judged when something happens to it.
func misses(h chain.Host) int { return bits.OnesCount32(h.Proving.Missed << 2) }

// causeShown is how long what went wrong with a proof is shown.
const causeShown = 48 * time.Hour
