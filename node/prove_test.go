package node

import (
	"context"
	"sync"
	"testing"
	"time"

	"hearth/chain"
	"hearth/core/proof"
	"hearth/core/proving"
	"hearth/storage/host"
	"hearth/storage/host/prover"
)

// quietLedger has nothing to prove for a day; whatever else is asked of it panics.
type quietLedger struct{ prover.Ledger }

func (quietLedger) Turn(context.Context, string) (chain.Turn, error) {
	return chain.Turn{Time: 1000, Period: 1, Begins: 1000, Ends: 1000 + 86400, SlotBegins: 2000}, nil
}

func (quietLedger) Challenges(context.Context, string) ([]chain.Demand, error) { return nil, nil }

func (quietLedger) ProvingRules(context.Context) (proving.Params, error) {
	return proving.Defaults(1, 86400, 1), nil
}

// lookedAt tells whenever a prover asks what is damaged.
type lookedAt struct {
	prover.Store
	asked chan struct{}
}

func (s lookedAt) Ruined() (map[uint64][]proof.Hash, error) {
	s.asked <- struct{}{}
	return nil, nil
}

func (lookedAt) Stats() host.Stats { return host.Stats{Capacity: 1 << 30} }

// What is found to be damaged between two looks is looked at now: the next look by
// itself would come after an hour.
func TestDamageIsDeclaredNow(t *testing.T) {
	store := lookedAt{asked: make(chan struct{}, 16)}
	p, err := prover.New(prover.Config{Host: "me", Ledger: quietLedger{}, Store: store, Market: struct{ prover.Market }{}})
	if err != nil {
		t.Fatal(err)
	}
	s := &selling{n: &Node{}, prover: p, ruined: make(chan struct{}, 1)}
	s.damaged(7, proof.Hash{}) // before anything runs, and twice: it is kept, and blocks nobody
	s.damaged(7, proof.Hash{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { p.Run(ctx) })
	next := func(what string) {
		t.Helper()
		select {
		case <-store.asked:
		case <-time.After(time.Minute):
			t.Fatal(what)
		}
	}
	next("the prover doesn't look at all")
	wg.Go(func() { s.declareSoon(ctx) })
	next("damage of before isn't looked at")
	s.damaged(8, proof.Hash{1})
	next("new damage isn't looked at")
}
