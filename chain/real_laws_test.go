package chain_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/pointer"
	"hearth/core/quote"
	"hearth/core/statement"
)

// Every record of a client and a host on the real ledger, read with proof.
func TestOnARealLedger(t *testing.T) {
	w := newWorld(t)
	for _, part := range []struct {
		name string
		test func(*world, *testing.T)
	}{
		{"money", (*world).money},
		{"a host", (*world).aHost},
		{"a purse and a mandate", (*world).aMandate},
		{"pointers", (*world).pointers},
		{"a lease", (*world).aLease},
		{"refusals", (*world).refusals},
		{"a newcomer", (*world).newcomer},
		{"many at once", (*world).manyAtOnce},
		{"over a crash", (*world).overACrash},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(w, t) }) {
			return // what follows stands on it
		}
	}
}

func (w *world) me() string { return w.client.Account().Address() }

func (w *world) money(t *testing.T) {
	if got := must(w.c.Balance(w.ctx, w.me()))(t); got != 100*money.Ember {
		t.Errorf("balance %s", got)
	}
	// Absent among others, wherever it would lie.
	for i := range uint64(8) {
		if got := must(w.c.Balance(w.ctx, newKeys(t, i).Account().Address()))(t); got != 0 {
			t.Errorf("a stranger holds %s", got)
		}
	}
	if must(w.c.Known(w.ctx, newKeys(t, 3).Account().Address()))(t) {
		t.Error("the ledger knows a stranger")
	}
	if !must(w.c.Known(w.ctx, w.me()))(t) {
		t.Error("the ledger doesn't know a funded account")
	}
	must(w.c.Send(w.ctx, w.client.Account(), chain.Transfer(w.me(), w.host.Account().Address(), 5)))(t)
	if got := must(w.c.Balance(w.ctx, w.host.Account().Address()))(t); got != 100*money.Ember+5 {
		t.Errorf("the receiver has %s", got)
	}
}

func (w *world) aHost(t *testing.T) {
	terms, host := w.registerHost(), w.host.Account().Address()
	h := must(w.c.Host(w.ctx, host))(t)
	if h.Owner != host || h.Region != "here" || !h.PublicKey().Equal(w.host.Node().Public()) || h.Hardware != terms.Hardware {
		t.Errorf("host %+v", h)
	}
	if _, err := w.c.Host(w.ctx, w.me()); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a host that is none: %v", err)
	}
	if got := must(w.c.Endpoints(w.ctx, h))(t); strings.Join(got, " ") != strings.Join(terms.Endpoints, " ") {
		t.Errorf("endpoints %v", got)
	}
	for range 2 { // proved, then remembered
		if got := must(w.c.Hosts(w.ctx))(t); len(got) != 1 || got[0] != h {
			t.Errorf("hosts %+v", got)
		}
	}
	if rules := must(w.c.HostRules(w.ctx))(t); rules.Unbonding == 0 {
		t.Errorf("rules of hosts %+v", rules)
	}
}

// now is the ledger's clock.
func (w *world) now(t *testing.T) int64 {
	t.Helper()
	_, at, err := w.c.Now(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return at.Unix()
}

func (w *world) aMandate(t *testing.T) {
	now, device := w.now(t), w.client.Spending()
	key := [32]byte(device.Public())
	grant := mandate.Mandate{
		Grantor: w.me(), Key: key, Ops: mandate.All, Cap: 5 * money.Ember, Until: now + 3600,
		Ceilings: map[quote.Kind]quote.Prices{quote.Storage: {Unit: [3]uint64{1 << 60, 0, 0}, In: 100, Out: 100}},
	}
	fees := must(chain.GrantFees(w.me(), device.Address(), now+3600))(t)
	must(w.c.Send(w.ctx, w.client.Account(), chain.Deposit(w.me(), 10*money.Ember), chain.GrantMandate(grant), fees))(t)
	if got := must(w.c.Purse(w.ctx, w.me()))(t); got != 10*money.Ember {
		t.Errorf("purse %s", got)
	}
	if got := must(w.c.Purse(w.ctx, w.host.Account().Address()))(t); got != 0 {
		t.Errorf("no purse holds %s", got)
	}
	m := must(w.c.Mandate(w.ctx, w.me(), key))(t)
	if m.Cap != grant.Cap || m.Ops != grant.Ops || m.Ceilings[quote.Storage] != grant.Ceilings[quote.Storage] {
		t.Errorf("mandate %+v", m)
	}
	if _, err := w.c.Mandate(w.ctx, w.me(), [32]byte{1}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a mandate that is none: %v", err)
	}
	if got := must(w.c.Mandates(w.ctx, w.me()))(t); len(got) != 1 || got[0].Key != key {
		t.Errorf("mandates %+v", got)
	}
}

func (w *world) pointers(t *testing.T) {
	device, key := w.client.Spending(), w.client.Pointer()
	if got := must(w.c.Pointers(w.ctx, w.me()))(t); len(got) != 0 {
		t.Errorf("pointers of nobody: %+v", got)
	}
	first := pointer.Pointer{ChainID: w.c.ChainID(), Account: w.me(), Device: 7, Seq: 1, LogRoot: pointer.Hash{1}, Time: w.now(t)}.Sign(key)
	next := first.Pointer
	next.Seq, next.Prev = 2, first.ID()
	second := next.Sign(key)
	for _, p := range []pointer.Signed{first, second} {
		must(w.c.Send(w.ctx, chain.PaidBy(device, w.me()), chain.SetPointer(device.Address(), p)))(t)
		if got := must(w.c.Pointers(w.ctx, w.me()))(t); len(got) != 1 || got[0] != p {
			t.Errorf("pointers %+v", got)
		}
	}
	_, err := w.c.Send(w.ctx, chain.PaidBy(device, w.me()), chain.SetPointer(device.Address(), first))
	if fault.CodeOf(err) != fault.Stale {
		t.Errorf("an older pointer: %v", err)
	}
}

// The device opens a lease with its own key, on the account's fees; a statement
// counts once; the ledger pays nine tenths to the host.
func (w *world) aLease(t *testing.T) {
	now, device, host := w.now(t), w.client.Spending(), w.host.Account().Address()
	if rules := must(w.c.Rules(w.ctx))(t); rules.MinDeposit == 0 || rules.MaxOpen == 0 {
		t.Errorf("rules %+v", rules)
	}
	open := chain.OpenLeases(device.Address(), w.me(), []chain.OpenLease{{Quote: w.quote(now), Amount: money.Ember, Until: now + 86400}}, nil)
	r := must(w.c.Send(w.ctx, chain.PaidBy(device, w.me()), open))(t)
	if len(r.Opened()) != 1 {
		t.Fatalf("opened %v", r.Opened())
	}
	id := r.Opened()[0]
	w.lease = id
	l := must(w.c.Lease(w.ctx, id))(t)
	if l.Client != w.me() || l.Host != host || l.In != money.Ember || l.State != lease.Open || l.Prices != w.quote(now).Prices {
		t.Errorf("lease %+v", l)
	}
	if _, err := w.c.Lease(w.ctx, id+1); fault.CodeOf(err) != fault.NoLease {
		t.Errorf("a lease that is none: %v", err)
	}
	for _, who := range [][2]string{{w.me(), ""}, {"", host}, {"", ""}} {
		if got := must(w.c.AllLeases(w.ctx, who[0], who[1]))(t); len(got) != 1 || got[0] != l {
			t.Errorf("all leases of %q and %q: %+v", who[0], who[1], got)
		}
		if got := must(w.c.Leases(w.ctx, who[0], who[1]))(t); len(got) != 1 || got[0] != l {
			t.Errorf("leases of %v: %+v", who, got)
		}
	}
	if got := must(w.c.Leases(w.ctx, host, ""))(t); len(got) != 0 {
		t.Errorf("leases of nobody: %+v", got)
	}
	s := statement.Statement{ChainID: w.c.ChainID(), Lease: id, Seq: 1, Total: 1000, AsOf: now, RunsUntil: now}.SignClient(device.Key()).SignHost(w.host.Node())
	post := chain.PostStatements(host, []statement.Signed{s})
	if skipped := must(w.c.Send(w.ctx, w.host.Account(), post))(t).Skipped(); len(skipped) != 0 {
		t.Errorf("skipped %v", skipped)
	}
	if skipped := must(w.c.Send(w.ctx, w.host.Account(), post))(t).Skipped(); fault.CodeOf(skipped[id]) != fault.Stale {
		t.Errorf("skipped %v", skipped)
	}
	paid := must(w.c.Send(w.ctx, w.host.Account(), chain.Settle(host, []uint64{id})))(t)
	if !slices.Contains(paid.Changes, chain.Change(chain.Paid{Lease: id, Host: host, Amount: 900, Commission: 100})) {
		t.Errorf("paid %+v", paid.Changes)
	}
	if l := must(w.c.Lease(w.ctx, id))(t); l.Out != 1000 || l.Commission != 100 || l.Seq != 1 {
		t.Errorf("lease %+v", l)
	}
}

func (w *world) refusals(t *testing.T) {
	device, host, stranger := w.client.Spending(), w.host.Account().Address(), newKeys(t, 9).Account()
	for name, tt := range map[string]struct {
		signer chain.Signer
		msg    proto.Message
		code   fault.Code
	}{
		"more than the purse holds":        {w.client.Account(), chain.Withdraw(w.me(), 1000*money.Ember), fault.NoFunds},
		"more than the account holds":      {w.client.Account(), chain.Transfer(w.me(), host, 1000*money.Ember), fault.NoFunds},
		"more than the mandate allows":     {chain.PaidBy(device, w.me()), chain.OpenLeases(device.Address(), w.me(), nil, []chain.FundLease{{Lease: w.lease, Amount: 6 * money.Ember}}), fault.CapReached},
		"another's purse":                  {w.host.Account(), chain.Withdraw(w.me(), 1), fault.TxRefused},
		"a lease that is none":             {w.host.Account(), chain.CloseLease(host, 1<<40), fault.NoLease},
		"a signer the ledger doesn't know": {stranger, chain.Deposit(stranger.Address(), 1), fault.NoFunds},
	} {
		if r, err := w.c.Send(w.ctx, tt.signer, tt.msg); fault.CodeOf(err) != tt.code {
			t.Errorf("%s: %+v, %v, want %s", name, r, err, tt.code)
		}
	}
}

// A newcomer without a coin is sponsored once, and becomes a host with that.
func (w *world) newcomer(t *testing.T) {
	k := newKeys(t, 3)
	me := k.Account().Address()
	sponsored := must(w.c.Sponsor(w.ctx, me))(t)
	key := [32]byte(k.Node().Public().(ed25519.PublicKey))
	proof := ed25519.Sign(k.Node(), chain.HostKeyDigest(w.c.ChainID(), me))
	terms := chain.HostTerms{Roles: chain.RoleStorage, Endpoints: []string{"/ip4/127.0.0.1/tcp/1"}}
	register := chain.RegisterHost(me, w.host.Account().Address(), key, proof, terms)
	must(w.c.SendTogether(w.ctx, []chain.Signer{chain.PaidBy(k.Account(), sponsored.Granter), w.host.Account()}, register))(t)
	if h := must(w.c.Host(w.ctx, me))(t); h.Owner != w.host.Account().Address() {
		t.Errorf("host %+v", h)
	}
	if got := must(w.c.Hosts(w.ctx))(t); len(got) != 2 {
		t.Errorf("hosts %+v", got)
	}
	if _, err := w.c.Sponsor(w.ctx, me); fault.CodeOf(err) != fault.SponsorRefused {
		t.Errorf("sponsored twice: %v", err)
	}
}

func (w *world) manyAtOnce(t *testing.T) {
	before := must(w.c.Balance(w.ctx, w.host.Account().Address()))(t)
	const n = 40
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, errs[i] = w.c.Send(w.ctx, w.client.Account(), chain.Transfer(w.me(), w.host.Account().Address(), 1))
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if after := must(w.c.Balance(w.ctx, w.host.Account().Address()))(t); after != before+n {
		t.Errorf("%s before, %s after", before, after)
	}
}

// The ledger dies while it is followed, and comes back: nothing is skipped, and
// a client that starts again goes on from what it kept.
func (w *world) overACrash(t *testing.T) {
	type told struct {
		height  int64
		changes []chain.Change
	}
	blocks := make(chan told, 1<<16)
	ctx, stop := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() {
		done <- w.c.Follow(ctx, 1, func(b chain.Block) error {
			blocks <- told{b.Height, b.Changes}
			return nil
		})
	}()
	if err := w.c.Close(); err != nil { // keeps the newest block; the client goes on
		t.Error(err)
	}
	w.program.kill()
	short := must(chain.Dial(w.ctx, chain.Config{Network: w.name, Dir: w.dir, Patience: 100 * time.Millisecond}))(t)
	if _, _, err := short.Now(w.ctx); fault.CodeOf(err) != fault.LedgerDown {
		t.Errorf("no ledger: %v", err)
	}
	if name := w.program.start(); name.String() != w.name.String() {
		t.Fatalf("it came back as %s", name)
	}
	r := must(w.c.Send(w.ctx, w.client.Account(), chain.Withdraw(w.me(), 7)))(t)
	var changes []chain.Change
	for want := int64(1); want <= r.Height; want++ {
		select {
		case b := <-blocks:
			if b.height != want {
				t.Fatalf("block %d, want %d", b.height, want)
			}
			changes = append(changes, b.changes...)
		case err := <-done:
			t.Fatal(err)
		case <-w.ctx.Done():
			t.Fatal("the blocks end")
		}
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	kinds := map[string]int{}
	for _, c := range changes {
		kinds[strings.TrimPrefix(fmt.Sprintf("%T", c), "chain.")]++
	}
	for _, k := range []string{"LeaseChanged", "Paid", "PurseChanged", "MandateChanged", "HostChanged", "EndpointsChanged"} {
		if kinds[k] == 0 {
			t.Errorf("no %s was told: %v", k, kinds)
		}
	}
	// From what was kept, without the genesis.
	again := w.dial(w.dir)
	height, _, err := again.Now(w.ctx)
	if err != nil || height < r.Height {
		t.Errorf("block %d, %v", height, err)
	}
	for _, n := range again.Status(w.ctx) {
		if n.Err != nil || n.Height < r.Height || n.Syncing {
			t.Errorf("%+v", n)
		}
	}
}
