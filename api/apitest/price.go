package apitest

import (
	"context"

	"hearth/api"
	"hearth/core/money"
)

// monthEach is what a byte costs for 30 days here: an ember for a megabyte.
const monthEach = 1

// Price is one host's, which keeps a single copy.
func (n market) Price(_ context.Context, bytes int64, _ string) (api.Price, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var stored int64
	for _, o := range n.objects {
		if o.Size >= inline {
			stored += o.Size
		}
	}
	return api.Price{
		Bytes: bytes, Class: "1/1", Month: api.MoneyOf(money.Amount(bytes * monthEach)), Once: api.MoneyOf(0),
		Then: api.MoneyOf(money.Amount((stored + bytes) * monthEach)), Spending: n.spending(money.Amount(stored * monthEach)),
	}, nil
}

// spending is what the account spends and may spend. The caller holds mu.
func (n *Node) spending(now money.Amount) api.Spending {
	return api.Spending{Now: api.MoneyOf(now), Agreed: api.MoneyOf(n.agreed), Cap: api.MoneyOf(n.cap), Left: api.MoneyOf(n.cap)}
}

const inline = 4 << 10

func (n market) Agree(_ context.Context, month money.Amount) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.agreed = month
	return nil
}

func (n wallet) SetCap(ctx context.Context, amount money.Amount) (api.Wallet, error) {
	n.mu.Lock()
	n.cap = amount
	n.mu.Unlock()
	return n.Show(ctx)
}
