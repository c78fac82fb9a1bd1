package app_test

import (
	"bytes"
	"strings"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"

	"hearth/core/quote"
	"hearth/core/statement"
	hostskeeper "hearth/ledger/hosts/keeper"
	hoststypes "hearth/ledger/hosts/types"
	markettypes "hearth/ledger/market/types"
)

// event finds an attribute of the first event of a type.
func event(r *abci.ExecTxResult, kind, key string) string {
	for _, e := range r.Events {
		if e.Type != kind {
			continue
		}
		for _, a := range e.Attributes {
			if a.Key == key {
				return a.Value
			}
		}
	}
	return ""
}

func TestAHostRegisters(t *testing.T) {
	l := newLedger(t, bert, anna)
	m := l.registration(bert)
	r := l.must(m, bert)
	h := l.host(bert)
	if !bytes.Equal(h.Key, m.Key) || h.RegisteredAt != l.now() || h.EndpointsHeight != l.LastBlockHeight() ||
		!bytes.Equal(h.EndpointsHash, hostskeeper.EndpointsHash(m.Endpoints)) {
		t.Errorf("registered as %+v", h)
	}
	if got := event(r, "hearth.hosts.v1.EventHostEndpoints", "endpoints"); got != jsonOf(t, m.Endpoints) {
		t.Errorf("endpoints in the event: %s", got)
	}
	if got := event(r, "hearth.hosts.v1.EventHost", "region"); got != `"eu-west"` {
		t.Errorf("region in the event: %s", got)
	}
	l.refuse("exists", l.registration(bert), bert)
}

func TestWhoCannotRegister(t *testing.T) {
	l := newLedger(t, bert, berta, anna)
	l.must(l.registration(bert), bert)
	for name, tt := range map[string]struct {
		want   string
		change func(*hoststypes.MsgRegister)
	}{
		"with the key of another host": {"exists", func(m *hoststypes.MsgRegister) {
			m.Key, m.KeyProof = public(hostKey(bert)), sign(hostKey(bert), hostskeeper.KeyDigest(l.chainID, berta.address))
		}},
		"with a proof for another": {"bad_signature", func(m *hoststypes.MsgRegister) {
			m.KeyProof = sign(hostKey(berta), hostskeeper.KeyDigest(l.chainID, bert.address))
		}},
		"with a proof for another chain": {"bad_signature", func(m *hoststypes.MsgRegister) {
			m.KeyProof = sign(hostKey(berta), hostskeeper.KeyDigest("hearth-0", berta.address))
		}},
		"without a key":              {"bad_signature", func(m *hoststypes.MsgRegister) { m.Key = nil }},
		"without a role":             {"bad_request", func(m *hoststypes.MsgRegister) { m.Roles = 0 }},
		"with a role there isn't":    {"bad_request", func(m *hoststypes.MsgRegister) { m.Roles = 64 }},
		"with a region of two words": {"bad_request", func(m *hoststypes.MsgRegister) { m.Region = "eu west" }},
		"with a long region":         {"bad_request", func(m *hoststypes.MsgRegister) { m.Region = strings.Repeat("a", 33) }},
		"with nine endpoints":        {"too_large", func(m *hoststypes.MsgRegister) { m.Endpoints = strings.Fields("1 2 3 4 5 6 7 8 9") }},
		"with a long endpoint":       {"bad_request", func(m *hoststypes.MsgRegister) { m.Endpoints = []string{strings.Repeat("a", 129)} }},
	} {
		t.Run(name, func(t *testing.T) {
			l.t = t
			m := l.registration(berta)
			tt.change(m)
			l.refuse(tt.want, m, berta)
		})
	}
}

func TestAnOwnerSignsToo(t *testing.T) {
	l := newLedger(t, bert, anna)
	m := l.registration(bert)
	m.Owner = anna.address
	if r := l.do(m, bert); r.Code == 0 {
		t.Error("registered for an owner who didn't sign")
	}
	l.must(m, bert, anna)
	if h := l.host(bert); h.Owner != anna.address {
		t.Errorf("owner %s", h.Owner)
	}
}

func TestAHostUpdates(t *testing.T) {
	l := newLedger(t, bert, berta)
	l.must(l.registration(bert), bert)
	update := &hoststypes.MsgUpdate{Address: bert.address, Roles: 1, Region: "us", Endpoints: []string{"/ip4/192.0.2.9/tcp/1"}}
	l.must(update, bert)
	if h := l.host(bert); h.Roles != 1 || h.Region != "us" || h.EndpointsHeight != l.LastBlockHeight() {
		t.Errorf("updated to %+v", h)
	}
	l.refuse("not_a_host", &hoststypes.MsgUpdate{Address: berta.address, Roles: 1}, berta)
}

func TestABondGoesInAndOut(t *testing.T) {
	l := newLedger(t, bert)
	l.must(l.registration(bert), bert)
	l.must(&hoststypes.MsgBond{Address: bert.address, Amount: 1000}, bert)
	l.refuse("no_funds", &hoststypes.MsgBond{Address: bert.address, Amount: fortune * 2}, bert)
	l.refuse("bad_request", &hoststypes.MsgBond{Address: bert.address}, bert)
	l.refuse("no_funds", &hoststypes.MsgUnbond{Address: bert.address, Amount: 1001}, bert)
	l.must(&hoststypes.MsgUnbond{Address: bert.address, Amount: 400}, bert)
	if h := l.host(bert); h.Bond != 600 || h.Unbonding != 400 || h.UnbondingUntil != l.now()+30 {
		t.Errorf("after unbonding: %+v", h)
	}
	l.refuse("no_funds", &hoststypes.MsgClaim{Address: bert.address}, bert)
	l.pass(30)
	before := l.balance(bert.address)
	l.must(&hoststypes.MsgClaim{Address: bert.address}, bert)
	if got := l.balance(bert.address) - before + 2000; got != 400 { // 2000 is the fee
		t.Errorf("claimed %d", got)
	}
	if h := l.host(bert); h.Bond != 600 || h.Unbonding != 0 {
		t.Errorf("after the claim: %+v", h)
	}
}

func TestAHostLeavesWithItsBond(t *testing.T) {
	l := newStreet(t)
	l.must(&hoststypes.MsgBond{Address: bert.address, Amount: 1000}, bert)
	l.must(l.opening(anna, anna, 10_000, bert), anna)
	l.refuse("bad_request", &hoststypes.MsgRemove{Address: bert.address}, bert)
	l.must(&hoststypes.MsgLeave{Address: bert.address}, bert)
	l.refuse("exists", &hoststypes.MsgLeave{Address: bert.address}, bert)
	compute := l.opening(anna, anna, 10_000, bert)
	compute.Open[0].Quote = l.quote(bert, quote.Compute, prices)
	l.refuse("host_refused", compute, anna)
	l.pass(20)
	l.refuse("still_leased", &hoststypes.MsgRemove{Address: bert.address}, bert)
	l.must(&markettypes.MsgClose{Signer: bert.address, Lease: 1}, bert) // with a notice
	l.pass(20)
	l.block()
	before := l.balance(bert.address)
	l.must(&hoststypes.MsgRemove{Address: bert.address}, bert)
	if got := l.balance(bert.address) - before + 2000; got != 1000 {
		t.Errorf("returned %d", got)
	}
	l.must(l.registration(bert), bert) // with the same key again
}

// Half of what a host earns goes to its bond until that is what it should be,
// and none of that can be taken out while it is leased so much.
func TestABondFillsFromEarnings(t *testing.T) {
	l := newStreet(t)
	l.must(l.opening(anna, anna, 500_000, bert), anna)
	now := l.now()
	// 10 GiB at 1 uember a GiB and second: 10 a second; the target is 60 s of it.
	l.must(post(bert, l.by(statement.Statement{Lease: 1, Seq: 1, Total: 1000, Units: quote.Units{10 * gib}, AsOf: now, RunsUntil: now}, bert)), bert)
	if h := l.host(bert); h.StorageRate != 10e12 || h.Leases != 1 {
		t.Errorf("rate %d, %d leases", h.StorageRate, h.Leases)
	}
	l.must(settle(anna, 1), anna)
	if h := l.host(bert); h.Bond < 450 || h.Bond >= 460 { // half of 900, and of what two seconds may have earned
		t.Errorf("bond %d", h.Bond)
	}
	l.must(post(bert, l.by(statement.Statement{Lease: 1, Seq: 2, Total: 2000, Units: quote.Units{10 * gib}, AsOf: now, RunsUntil: now})), bert)
	l.must(settle(anna, 1), anna)
	if h := l.host(bert); h.Bond != 600 { // and no more
		t.Errorf("bond %d", h.Bond)
	}
	l.refuse("no_funds", &hoststypes.MsgUnbond{Address: bert.address, Amount: 1}, bert)
}

func TestHostsComeInPages(t *testing.T) {
	l := newLedger(t, bert, berta)
	l.must(l.registration(bert), bert)
	l.must(l.registration(berta), berta)
	var seen []string
	after := ""
	for range 3 {
		var res hoststypes.QueryHostsResponse
		if !l.query("/hearth.hosts.v1.Query/Hosts", &hoststypes.QueryHostsRequest{After: after, Limit: 1}, &res) {
			t.Fatal("no answer")
		}
		for _, h := range res.Hosts {
			seen = append(seen, h.Address)
			after = h.Address
		}
	}
	if len(seen) != 2 || seen[0] >= seen[1] {
		t.Errorf("saw %v", seen)
	}
}
