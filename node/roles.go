package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"hearth/api"
	"hearth/api/server"
	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/machine"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/internal/version"
)

// roles shows the node to the API.
func (n *Node) roles() server.Roles {
	r := server.Roles{Node: nodeRole{n}, Wallet: walletRole{n}, Market: marketRole{n}, Ledger: ledgerRole{n}, Storage: noStorage{}}
	if n.buys != nil {
		r.Storage = storageRole{n.buys}
		r.Sharing = n.buys.shares
		r.Functions = functionRole{n.buys}
		r.Instances = instanceRole{n.buys}
		r.FunctionDoor = n.web
		r.S3 = s3Role{n.door}
		r.Images = imageRole{n.images}
		r.Stewards = stewardRole{n.buys.care}
	}
	if n.sells != nil {
		r.Host = hostRole{n.sells}
	}
	return r
}

type nodeRole struct{ n *Node }

func (r nodeRole) Status(context.Context) (api.Node, error) {
	n := r.n
	n.mu.Lock()
	seen := n.seen
	n.mu.Unlock()
	return api.Node{
		Build: version.Get(), Network: n.settings.Network, Account: n.address(), Device: fmt.Sprintf("%016x", n.device),
		PeerKey: hex.EncodeToString(n.net.Key()), Roles: n.settings.Roles, Addresses: append([]string{}, n.net.Addrs()...),
		Reach: n.reach(), Peers: n.net.Peers(), Started: n.started, Ledger: api.LedgerBrief{Height: seen.Height, Time: seen.Time},
	}, nil
}

// blockDue is after how long without a block the ledger counts as out of reach.
const blockDue = 2 * time.Minute

// Ready is quick: it looks at what is known and asks nobody.
func (r nodeRole) Ready(context.Context) []api.Check {
	n := r.n
	n.mu.Lock()
	seen, came := n.seen, n.came
	n.mu.Unlock()
	ledger := api.Check{Name: "ledger", OK: seen.Height > 0 && time.Since(came) < blockDue}
	switch {
	case seen.Height == 0:
		ledger.Detail = "no block has been followed yet; `hearth ledger status` shows which ledger nodes answer"
	case !ledger.OK:
		ledger.Detail = fmt.Sprintf("block %d came %s and none since; `hearth ledger status` shows which ledger nodes answer", seen.Height, ago(came))
	}
	checks := []api.Check{ledger}
	if n.sells == nil {
		return checks
	}
	registered := api.Check{Name: "registered", OK: true}
	if err := n.sells.registered(); err != nil {
		registered.OK, registered.Detail = false, err.Error()
	}
	disk := api.Check{Name: "disk", OK: true}
	if n.sells.store.Stats().DiskFull {
		disk.OK, disk.Detail = false, "the disk is full: make room, or offer less with --storage"
	}
	return append(checks, registered, disk)
}

// Events tells what a person would want to know while ctx lasts.
func (r nodeRole) Events(ctx context.Context, tell func(api.Event) error) error {
	return r.n.news.listen(ctx, tell)
}

type walletRole struct{ n *Node }

func (r walletRole) Show(ctx context.Context) (api.Wallet, error) {
	n := r.n
	balance, err := n.balance(ctx)
	if err != nil {
		return api.Wallet{}, err
	}
	key := n.keys.Spending().Public()
	w := api.Wallet{Account: n.address(), Device: fmt.Sprintf("%016x", n.device), SpendingKey: hex.EncodeToString(key), Balance: balance}
	m, err := n.ledger.Mandate(ctx, n.address(), [32]byte(key))
	switch {
	case err == nil:
		w.Mandate = &api.Mandate{Operations: operations(m.Ops), Cap: api.MoneyOf(m.Cap), Used: api.MoneyOf(m.Used), Until: time.Unix(m.Until, 0).UTC()}
	case fault.CodeOf(err) != fault.NotFound:
		return api.Wallet{}, err
	}
	return w, nil
}

func operations(ops mandate.Op) []string {
	out := []string{}
	for o := mandate.Open; o <= mandate.All; o <<= 1 {
		if ops&o != 0 {
			out = append(out, o.String())
		}
	}
	return out
}

// balance adds up where the account's money is.
func (n *Node) balance(ctx context.Context) (api.Balance, error) {
	var b api.Balance
	own, err := n.ledger.Balance(ctx, n.address())
	if err != nil {
		return b, err
	}
	purse, err := n.ledger.Purse(ctx, n.address())
	if err != nil {
		return b, err
	}
	leases, err := n.ledger.Leases(ctx, n.address(), "")
	if err != nil {
		return b, err
	}
	_, at, err := n.ledger.Now(ctx)
	if err != nil {
		return b, err
	}
	var held money.Amount
	var rate money.Rate
	for _, l := range leases {
		held = money.AddCap(held, l.Free(l.AtMost(at.Unix())))
		rate += l.Rate
	}
	var bond money.Amount
	if n.sells != nil {
		h, err := n.ledger.Host(ctx, n.address())
		if err != nil {
			return b, err
		}
		bond = money.AddCap(h.Bond, h.Unbonding)
	}
	b = api.Balance{Account: api.MoneyOf(own), Purse: api.MoneyOf(purse), Leases: api.MoneyOf(held), Bond: api.MoneyOf(bond), AsOf: at}
	if seconds := runway(money.AddCap(held, purse), rate); seconds < longRunway {
		b.Runway = &api.Duration{Seconds: seconds}
	}
	return b, nil
}

func (r walletRole) Send(ctx context.Context, to string, amount money.Amount) (api.Tx, error) {
	return r.n.pay(ctx, chain.Transfer(r.n.address(), to, amount))
}

func (r walletRole) Fund(ctx context.Context, amount money.Amount) (api.Tx, error) {
	return r.n.pay(ctx, chain.Deposit(r.n.address(), amount))
}

func (r walletRole) Withdraw(ctx context.Context, amount money.Amount) (api.Tx, error) {
	return r.n.pay(ctx, chain.Withdraw(r.n.address(), amount))
}

type ledgerRole struct{ n *Node }

func (r ledgerRole) Status(ctx context.Context) (api.Ledger, error) {
	n := r.n
	out := api.Ledger{Network: n.settings.Network, ChainID: n.ledger.ChainID()}
	for _, s := range n.ledger.Status(ctx) {
		node := api.LedgerNode{URL: s.URL, Up: s.Err == nil, Height: s.Height}
		if s.Err != nil {
			node.Error = s.Err.Error()
		}
		out.Nodes = append(out.Nodes, node)
	}
	height, at, err := n.ledger.Now(ctx)
	if err != nil {
		return out, err
	}
	out.Height, out.Time, out.Trusted = height, at, 1
	from, err := n.ledger.Checkpoint(ctx)
	if err != nil {
		return out, err
	}
	out.Checkpoint = from.String()
	return out, nil
}

type marketRole struct{ n *Node }

func (r marketRole) Quotes(ctx context.Context, name string) (api.Quotes, error) {
	kind, err := kindOf(name)
	if err != nil {
		return api.Quotes{}, err
	}
	if r.n.buys == nil {
		return api.Quotes{}, fault.New(fault.BadRequest, "ask for quotes: this node has no client role")
	}
	offers, err := r.n.buys.market.Offers(ctx, kind, true)
	if err != nil {
		return api.Quotes{}, err
	}
	rules, err := r.n.ledger.HostRules(ctx)
	if err != nil {
		return api.Quotes{}, err
	}
	out := api.Quotes{Quotes: []api.Quote{}, Asked: len(offers)}
	var verdicts map[string]machine.Verdict
	if kind == quote.Compute {
		verdicts = r.n.buys.judge(offers)
	}
	for _, o := range offers {
		if o.Err != nil {
			out.Silent++
			continue
		}
		out.Quotes = append(out.Quotes, api.Quote{
			Host: o.Host.Address, PeerKey: hex.EncodeToString(o.Host.Key[:]), Kind: kind.String(), Prices: prices(o.Quote.Prices),
			ValidUntil: time.Unix(o.Quote.ValidUntil, 0).UTC(), Region: o.Host.Region, Free: int64(min(o.Free, 1<<62)),
			Latency: float64(o.Latency.Microseconds()) / 1000, Bonded: o.Host.Bond >= bondTarget(o.Host, rules),
			Misses: misses(o.Host), Class: classOf(o), Speed: verdicts[o.Host.Address].Speed, Slow: verdicts[o.Host.Address].Slow,
		})
	}
	return out, nil
}

func prices(p quote.Prices) api.Prices {
	return api.Prices{
		Month: api.MoneyOf(money.Amount(money.MulDivUp(p.Unit[0], month, money.RateUnit))),
		In:    api.MoneyOf(money.Amount(p.In)), Out: api.MoneyOf(money.Amount(p.Out)), Tgas: api.MoneyOf(money.Amount(p.Gas)),
	}
}

func bondTarget(h chain.Host, r chain.HostRules) money.Amount {
	return money.AddCap(h.StorageRate.OverUp(r.StorageBond), h.OtherRate.OverUp(r.OtherBond))
}

func (r marketRole) Leases(ctx context.Context, after uint64, limit int) ([]api.Lease, error) {
	client, host := r.n.address(), ""
	if r.n.buys == nil {
		client, host = "", client
	}
	leases, err := r.n.ledger.Leases(ctx, client, host)
	if err != nil {
		return nil, err
	}
	out := []api.Lease{}
	for _, l := range leases {
		if l.ID > after && len(out) < limit {
			out = append(out, r.show(l))
		}
	}
	return out, nil
}

func (r marketRole) Lease(ctx context.Context, id uint64) (api.Lease, error) {
	l, err := r.n.ledger.Lease(ctx, id)
	if err != nil {
		return api.Lease{}, err
	}
	return r.show(l), nil
}

// show writes a lease, with what this node has signed beyond what is posted.
func (r marketRole) show(l lease.Lease) api.Lease {
	seq, total, units, root := l.Seq, l.Total, l.Units, l.Root
	var newest statement.Statement
	switch {
	case r.n.buys != nil && l.Client == r.n.address():
		newest = r.n.buys.market.Newest(l.ID)
	case r.n.sells != nil && l.Host == r.n.address():
		newest = r.n.sells.market.Statement(l.ID)
	}
	if newest.Seq > seq {
		seq, total, units, root = newest.Seq, newest.Total, newest.Units, newest.Root
	}
	out := api.Lease{
		ID: l.ID, Client: l.Client, Host: l.Host, Kind: l.Kind.String(), State: l.State.String(), Bytes: units[0],
		Month: api.MoneyOf(l.Prices.Rate(units).OverUp(month)), Paid: api.MoneyOf(l.Out), Signed: api.MoneyOf(total),
		Left: api.MoneyOf(money.SubFloor(l.Funded(), max(total, l.Out))), Seq: seq,
		PricesTil: time.Unix(l.Until, 0).UTC(), Opened: time.Unix(l.OpenedAt, 0).UTC(),
	}
	if r.n.buys != nil {
		used := r.n.buys.market.Used(l.ID)
		out.In, out.Out, out.Gas = used.In, used.Out, used.Gas
	}
	if root != ([32]byte{}) {
		out.Root = hex.EncodeToString(root[:])
	}
	if l.EndsAt > 0 {
		out.Ends = time.Unix(l.EndsAt, 0).UTC()
	}
	return out
}
