// Package markettest is a ledger in memory, for tests of those who trade: purses,
// mandates, hosts and leases by core's own rules, and a clock that can be moved.
// Every transaction is a block. It checks the signatures under quotes and
// statements as the ledger does, and none under transactions.
package markettest

import (
	"context"
	"crypto/ed25519"
	"sort"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
)

// ChainID is the network's.
const ChainID = "hearth-00112233445566778899"

// Rules are those of a cloud on one machine.
func Rules() lease.Params {
	return lease.Params{
		MinDeposit: 10_000, MaxUntil: 90 * 86400, MaxQuote: 86400, MaxRun: 7 * 86400, StorageReserve: 60, OtherReserve: 60,
		CloseTime: 10, StorageNotice: 20, OtherNotice: 20, PruneTime: 30, MandateWindow: 30 * 86400,
		CommunityShare: 500, MaxOpen: 50, MaxPost: 100, MaxSettle: 100,
	}
}

type mandateKey struct {
	grantor string
	key     [32]byte
}

// Ledger is a market of clients and hosts.
type Ledger struct {
	mu        sync.Mutex
	rules     lease.Params
	offset    time.Duration
	down      bool
	hosts     map[string]chain.Host
	endpoints map[string][]string
	purses    map[string]money.Amount
	mandates  map[mandateKey]mandate.Mandate
	leases    map[uint64]lease.Lease
	keys      map[string][32]byte // of the accounts that have sent
	next      uint64
	deposited money.Amount
	paid      map[string]money.Amount
	commons   money.Amount
	txs       int
	reads     int
	tell      []func(lease.Lease)
	tellKeys  []func(grantor string)
	news      []func() // to tell once the lock is free
}

// New is an empty ledger.
func New() *Ledger {
	return &Ledger{
		rules: Rules(), hosts: map[string]chain.Host{}, endpoints: map[string][]string{}, purses: map[string]money.Amount{},
		mandates: map[mandateKey]mandate.Mandate{}, leases: map[uint64]lease.Lease{}, keys: map[string][32]byte{},
		paid: map[string]money.Amount{},
	}
}

// Clock is the ledger's time of day, for everybody's use.
func (l *Ledger) Clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock()
}

func (l *Ledger) clock() time.Time { return time.Now().Add(l.offset) }

func (l *Ledger) now() int64 { return l.clock().Unix() }

// both are the clocks of hosts that prove every second.
func (l *Ledger) both() lease.Clock { return lease.Clock{Now: l.now(), Proven: l.now()} }

// Both are the clocks that leases earn by.
func (l *Ledger) Both() lease.Clock { l.mu.Lock(); defer l.mu.Unlock(); return l.both() }

// Advance moves the clock and makes a block.
func (l *Ledger) Advance(d time.Duration) {
	l.change(func() { l.offset += d })
}

// change is one block: it does f, then what is due, and tells.
func (l *Ledger) change(f func()) {
	l.mu.Lock()
	f()
	for id, x := range l.leases {
		if x.Due(l.now()) {
			after, flow, err := x.Finish(l.both())
			if err == nil {
				l.move(after, flow)
				l.put(after)
			}
		} else if x.Prunable(l.now(), l.rules) {
			delete(l.leases, id)
			l.say(x)
		}
	}
	news := l.news
	l.news = nil
	l.mu.Unlock()
	for _, f := range news {
		f()
	}
}

func (l *Ledger) put(x lease.Lease) {
	l.leases[x.ID] = x
	l.say(x)
}

func (l *Ledger) say(x lease.Lease) {
	for _, f := range l.tell {
		l.news = append(l.news, func() { f(x) })
	}
}

// Follow has f told of every change of a lease, as blocks do.
func (l *Ledger) Follow(f func(lease.Lease)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell = append(l.tell, f)
}

// FollowKeys has f told of every change of a mandate.
func (l *Ledger) FollowKeys(f func(grantor string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tellKeys = append(l.tellKeys, f)
}

// SetRules changes the parameters.
func (l *Ledger) SetRules(change func(*lease.Params)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.rules)
}

// SetDown makes every question and transaction fail, or work again.
func (l *Ledger) SetDown(down bool) { l.mu.Lock(); defer l.mu.Unlock(); l.down = down }

// AddHost registers a host, or replaces its record.
func (l *Ledger) AddHost(h chain.Host, endpoints []string) {
	l.change(func() { l.hosts[h.Address], l.endpoints[h.Address] = h, endpoints })
}

// Deposit puts coins into a purse.
func (l *Ledger) Deposit(owner string, amount money.Amount) {
	l.change(func() { l.purses[owner] += amount; l.deposited += amount })
}

// Grant makes or replaces a mandate.
func (l *Ledger) Grant(m mandate.Mandate) {
	l.change(func() {
		l.mandates[mandateKey{m.Grantor, m.Key}] = m
		l.sayKeys(m.Grantor)
	})
}

// Revoke ends a mandate now.
func (l *Ledger) Revoke(grantor string, key ed25519.PublicKey) {
	l.change(func() {
		k := mandateKey{grantor, [32]byte(key)}
		m := l.mandates[k]
		m.Until = l.now()
		l.mandates[k] = m
		l.sayKeys(grantor)
	})
}

// ForgetKey deletes a mandate that has ended.
func (l *Ledger) ForgetKey(grantor string, key ed25519.PublicKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mandates, mandateKey{grantor, [32]byte(key)})
}

func (l *Ledger) sayKeys(grantor string) {
	for _, f := range l.tellKeys {
		l.news = append(l.news, func() { f(grantor) })
	}
}

// End closes a lease at once for what is posted, and tells nobody.
func (l *Ledger) End(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x, flow, err := l.leases[id].CloseAgreed(l.leases[id].Total, l.both()); err == nil {
		l.move(x, flow)
		l.leases[id] = x
	}
}

// Forget drops a lease without a word.
func (l *Ledger) Forget(id uint64) { l.mu.Lock(); defer l.mu.Unlock(); delete(l.leases, id) }

// Paid is what a host has received in all.
func (l *Ledger) Paid(host string) money.Amount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paid[host]
}

// Counts are the transactions so far, and the records that were read with proof.
func (l *Ledger) Counts() (txs, reads int) { l.mu.Lock(); defer l.mu.Unlock(); return l.txs, l.reads }

// Check says which law is broken, if any: money is neither made nor lost.
func (l *Ledger) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := l.commons
	for _, a := range l.purses {
		sum += a
	}
	for _, a := range l.paid {
		sum += a
	}
	for _, x := range l.leases {
		if err := x.Check(); err != nil {
			return err
		}
		sum += x.Held()
	}
	if sum != l.deposited {
		return fault.New(fault.Internal, "%d uember were put in, %d are there", l.deposited, sum)
	}
	return nil
}

// ask begins a question.
func (l *Ledger) ask(ctx context.Context) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.down {
		l.mu.Unlock()
		return nil, fault.New(fault.LedgerDown, "ask ledger: it is down")
	}
	l.reads++
	return l.mu.Unlock, nil
}

func (l *Ledger) ChainID() string { return ChainID }

func (l *Ledger) Lease(ctx context.Context, id uint64) (lease.Lease, error) {
	done, err := l.ask(ctx)
	if err != nil {
		return lease.Lease{}, err
	}
	defer done()
	return l.lease(id)
}

func (l *Ledger) lease(id uint64) (lease.Lease, error) {
	x, ok := l.leases[id]
	if !ok {
		return x, fault.New(fault.NoLease, "lease %d: the ledger has none", id)
	}
	return x, nil
}

func (l *Ledger) Leases(ctx context.Context, client, host string) ([]lease.Lease, error) {
	done, err := l.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var out []lease.Lease
	for _, x := range l.leases {
		if (client == "" || x.Client == client) && (host == "" || x.Host == host) {
			out = append(out, x)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out, nil
}

func (l *Ledger) Host(ctx context.Context, address string) (chain.Host, error) {
	done, err := l.ask(ctx)
	if err != nil {
		return chain.Host{}, err
	}
	defer done()
	h, ok := l.hosts[address]
	if !ok {
		return h, fault.New(fault.NotFound, "host %s: the ledger has none", address)
	}
	return h, nil
}

func (l *Ledger) Hosts(ctx context.Context) ([]chain.Host, error) {
	done, err := l.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var out []chain.Host
	for _, h := range l.hosts {
		out = append(out, h)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Address < out[j].Address })
	return out, nil
}

func (l *Ledger) Endpoints(ctx context.Context, h chain.Host) ([]string, error) {
	done, err := l.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return append([]string(nil), l.endpoints[h.Address]...), nil
}

func (l *Ledger) Mandate(ctx context.Context, grantor string, key [32]byte) (mandate.Mandate, error) {
	done, err := l.ask(ctx)
	if err != nil {
		return mandate.Mandate{}, err
	}
	defer done()
	m, ok := l.mandates[mandateKey{grantor, key}]
	if !ok {
		return m, fault.New(fault.NotFound, "mandate of %s for %x: the ledger has none", grantor, key[:4])
	}
	return m, nil
}

func (l *Ledger) Purse(ctx context.Context, owner string) (money.Amount, error) {
	done, err := l.ask(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	return l.purses[owner], nil
}

func (l *Ledger) Rules(ctx context.Context) (lease.Params, error) {
	done, err := l.ask(ctx)
	if err != nil {
		return lease.Params{}, err
	}
	defer done()
	return l.rules, nil
}

// Send carries out one transaction, all or nothing, in a block of its own.
func (l *Ledger) Send(ctx context.Context, s chain.Signer, msgs ...proto.Message) (chain.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return chain.Receipt{}, err
	}
	var err error
	l.change(func() { err = l.transact(s, msgs) })
	return chain.Receipt{}, err
}
