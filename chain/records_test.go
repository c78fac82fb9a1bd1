package chain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"
	"google.golang.org/protobuf/proto"

	"hearth/chain/pb/hostsv1"
	"hearth/chain/pb/marketv1"
	"hearth/core/address"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/quote"
)

const abandon = "hearth19rl4cm2hmr8afy4kldpxz3fka4jguq0alj703p"

// The ledger's stores are agreed on by their bytes.
func TestKeysOfTheStores(t *testing.T) {
	raw, err := address.Bytes(abandon)
	if err != nil {
		t.Fatal(err)
	}
	key := [32]byte{9, 8}
	for name, tt := range map[string]struct {
		got  []byte
		want string
	}{
		"balance": {balanceKey(raw), "0214" + hex.EncodeToString(raw) + hex.EncodeToString([]byte("uember"))},
		"host":    {hostKey("ab"), "016162"},
		"lease":   {leaseKey(258), "010000000000000102"},
		"purse":   {purseKey("ab"), "026162"},
		"mandate": {mandateKey("ab", key), "03616200" + hex.EncodeToString(key[:])},
	} {
		if hex.EncodeToString(tt.got) != tt.want {
			t.Errorf("%s: %x, want %s", name, tt.got, tt.want)
		}
	}
}

func pbLease() *marketv1.Lease {
	return &marketv1.Lease{
		Id: 7, Client: "c", Host: "h", Kind: 1, Prices: &marketv1.Prices{Unit: []uint64{1, 2, 3}, In: 4, Out: 5, Gas: 6}, Until: 8,
		In: 100, Out: 50, Commission: 5, Refunded: 1, Seq: 3, Total: 40, Units: []uint64{9, 0, 0}, Root: bytes.Repeat([]byte{7}, 32),
		Rate: 11, AsOf: 12, RunsUntil: 13, State: 2, OpenedAt: 14, ClosedAt: 15, EndsAt: 16,
	}
}

func wantLease() lease.Lease {
	l := lease.Lease{
		ID: 7, Client: "c", Host: "h", Kind: quote.Storage, Prices: quote.Prices{Unit: [3]uint64{1, 2, 3}, In: 4, Out: 5, Gas: 6}, Until: 8,
		In: 100, Out: 50, Commission: 5, Refunded: 1, Seq: 3, Total: 40, Units: quote.Units{9},
		Rate: 11, AsOf: 12, RunsUntil: 13, State: lease.Low, OpenedAt: 14, ClosedAt: 15, EndsAt: 16,
	}
	copy(l.Root[:], bytes.Repeat([]byte{7}, 32))
	return l
}

func TestALeaseReadsAsCoreKnowsIt(t *testing.T) {
	if got, err := coreLease(pbLease()); err != nil || got != wantLease() {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*marketv1.Lease){
		"two units":     func(l *marketv1.Lease) { l.Units = l.Units[:2] },
		"no prices":     func(l *marketv1.Lease) { l.Prices = nil },
		"a short root":  func(l *marketv1.Lease) { l.Root = l.Root[:31] },
		"unknown kind":  func(l *marketv1.Lease) { l.Kind = 257 },
		"unknown state": func(l *marketv1.Lease) { l.State = 5 },
	} {
		l := pbLease()
		change(l)
		if _, err := coreLease(l); fault.CodeOf(err) != fault.UnknownFormat {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Attributes as the SDK writes them: JSON values, all fields, sorted by name.
func TestEventsRead(t *testing.T) {
	attributes := func(kv ...string) (out []abci.EventAttribute) {
		for i := 0; i < len(kv); i += 2 {
			out = append(out, abci.EventAttribute{Key: kv[i], Value: kv[i+1]})
		}
		return append(out, abci.EventAttribute{Key: "msg_index", Value: "0"})
	}
	const record = `{"id":"7","client":"c","host":"h","kind":1,"prices":{"unit":["1","2","3"],"in":"4","out":"5","gas":"6"},"until":"8",` +
		`"in":"100","out":"50","commission":"5","refunded":"1","seq":"3","total":"40","units":["9","0","0"],` +
		`"root":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=","rate":"11","as_of":"12","runs_until":"13","state":2,"opened_at":"14","closed_at":"15","ends_at":"16","added_later":1}`
	for _, tt := range []struct {
		kind string
		attr []abci.EventAttribute
		want Change
	}{
		{"hearth.market.v1.EventLease", attributes("lease", record, "reason", `"low"`), LeaseChanged{wantLease(), "low"}},
		{"hearth.market.v1.EventPaid", attributes("amount", `"90"`, "commission", `"10"`, "host", `"h"`, "lease", `"7"`), Paid{7, "h", 90, 10}},
		{"hearth.market.v1.EventPurse", attributes("free", `"5"`, "owner", `"o"`), PurseChanged{"o", 5}},
		{"hearth.market.v1.EventMandate", attributes("grantor", `"g"`, "key", `"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="`, "revoked", "true"), MandateChanged{"g", wantLease().Root, true}},
		{"hearth.hosts.v1.EventHost", attributes("address", `"a"`, "bond", `"3"`, "leaving_at", `"4"`, "owner", `"o"`, "region", `"x"`, "roles", "1"), HostChanged{"a", "o", 1, "x", 3, 4}},
		{"hearth.hosts.v1.EventHostGone", attributes("address", `"a"`), HostGone{"a"}},
	} {
		got, err := changesOf([]abci.Event{{Type: "coin_spent"}, {Type: tt.kind, Attributes: tt.attr}, {Type: "hearth.new.v1.EventUnknown"}})
		if err != nil || len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: %+v, %v", tt.kind, got, err)
		}
	}
	for _, bad := range []abci.Event{
		{Type: "hearth.market.v1.EventLease", Attributes: attributes("reason", `"low"`)},
		{Type: "hearth.market.v1.EventPurse", Attributes: attributes("free", `"-5"`)},
		{Type: "hearth.market.v1.EventMandate", Attributes: attributes("key", `"Bw=="`)},
		{Type: "hearth.hosts.v1.EventHostGone", Attributes: attributes("address", `"a"} {`)},
	} {
		if got, err := changesOf([]abci.Event{bad}); fault.CodeOf(err) != fault.UnknownFormat {
			t.Errorf("%v: %v, %v", bad, got, err)
		}
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("hearth.market.v1.EventPurse", "free", `"5"`)
	f.Add("hearth.market.v1.EventLease", "lease", `{"id":"7"}`)
	f.Add("hearth.hosts.v1.EventHostEndpoints", "endpoints", `["a"]`)
	f.Fuzz(func(t *testing.T, kind, key, value string) {
		_, err := changesOf([]abci.Event{{Type: kind, Attributes: []abci.EventAttribute{{Key: key, Value: value}}}})
		if err != nil && fault.CodeOf(err) != fault.UnknownFormat {
			t.Error(err)
		}
	})
}

func hostRecord(address string, endpoints ...string) *hostsv1.Host {
	sum := EndpointsHash(endpoints)
	return &hostsv1.Host{Address: address, Owner: "o", Key: bytes.Repeat([]byte{1}, 32), Roles: RoleStorage, Hardware: &hostsv1.Hardware{DiskBytes: 5}, EndpointsHash: sum[:], EndpointsHeight: 3}
}

func TestEndpointsAreThoseInTheRecord(t *testing.T) {
	l := newLedger(t, 1, began())
	l.grow(5)
	said := func(list string) abci.Event {
		return abci.Event{Type: "hearth.hosts.v1.EventHostEndpoints", Attributes: []abci.EventAttribute{{Key: "address", Value: `"a"`}, {Key: "endpoints", Value: list}}}
	}
	l.events[3] = []abci.Event{said(`["/ip4/9.9.9.9/tcp/1"]`), said(`["/ip4/1.2.3.4/tcp/4001","x"]`)}
	s := l.serve()
	c := dial(t, l, Config{}, s)
	h, err := coreHost(hostRecord("a", "/ip4/1.2.3.4/tcp/4001", "x"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := c.Endpoints(t.Context(), h)
		if err != nil || len(got) != 2 || got[0] != "/ip4/1.2.3.4/tcp/4001" {
			t.Errorf("%v, %v", got, err)
		}
		got[0] = "changed by the caller"
	}
	if s.count("block_results") != 1 {
		t.Error("what doesn't change is asked for again")
	}
	h.EndpointsHash[0]++
	if got, err := c.Endpoints(t.Context(), h); fault.CodeOf(err) != fault.LedgerLies {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAListedHostMustBeProved(t *testing.T) {
	l := newLedger(t, 1, began())
	truth := hostRecord("a", "x")
	raw, err := proto.Marshal(truth)
	if err != nil {
		t.Fatal(err)
	}
	listed := []*hostsv1.Host{truth}
	l.queries["/hearth.hosts.v1.Query/Hosts"] = func([]byte) abci.ResponseQuery {
		b, _ := proto.Marshal(&hostsv1.QueryHostsResponse{Hosts: listed})
		return abci.ResponseQuery{Value: b}
	}
	l.make(state{hostKey("a"), raw}, began().Add(1e9))
	l.produce()
	c := dial(t, l, Config{}, l.serve())
	// The test ledger has one store, named market.
	key, store := hostKey("a"), marketStore
	if v, _, err := c.prove(t.Context(), store, key, 0); err != nil || !bytes.Equal(v, raw) {
		t.Fatalf("%x, %v", v, err)
	}
	if _, err := c.Hosts(t.Context()); fault.CodeOf(err) != fault.LedgerLies {
		t.Errorf("a proof of another store: %v", err)
	}
	c.proved.m = map[string]provedHost{"a": {raw, 2}} // as if it had been proved
	hosts, err := c.Hosts(t.Context())
	if err != nil || len(hosts) != 1 || hosts[0].Address != "a" {
		t.Errorf("%v, %v", hosts, err)
	}
	lie := proto.Clone(truth).(*hostsv1.Host)
	lie.Bond = 1e15
	listed = []*hostsv1.Host{lie}
	if hosts, err := c.Hosts(t.Context()); fault.CodeOf(err) != fault.LedgerLies {
		t.Errorf("an invented bond: %v, %v", hosts, err)
	}
	listed = []*hostsv1.Host{truth, truth}
	if hosts, err := c.Hosts(t.Context()); fault.CodeOf(err) != fault.LedgerLies {
		t.Errorf("one host twice: %v, %v", hosts, fmt.Sprint(err))
	}
}

// Whatever one ledger node leaves out, ends or keeps to itself, a lease that another
// names stays.
func TestOneNodeEndsNoLease(t *testing.T) {
	l := newLedger(t, 1, began())
	record := pbLease()
	l.queries["/hearth.market.v1.Query/Leases"] = func([]byte) abci.ResponseQuery {
		b, err := proto.Marshal(&marketv1.QueryLeasesResponse{Leases: []*marketv1.Lease{record}})
		if err != nil {
			t.Error(err)
		}
		return abci.ResponseQuery{Value: b}
	}
	l.make(state{[]byte("k"), []byte("v")}, began().Add(1e9))
	honest, liar := l.serve(), l.serve()
	says := func(leases ...*marketv1.Lease) func(*abci.ResponseQuery) {
		b, err := proto.Marshal(&marketv1.QueryLeasesResponse{Leases: leases})
		if err != nil {
			t.Fatal(err)
		}
		return func(r *abci.ResponseQuery) { r.Value = b }
	}
	changed := func(change func(*marketv1.Lease)) *marketv1.Lease {
		l := proto.Clone(record).(*marketv1.Lease)
		change(l)
		return l
	}
	for name, lie := range map[string]func(*abci.ResponseQuery){
		"left out":         says(),
		"ended":            says(changed(func(l *marketv1.Lease) { l.State = uint32(lease.Closed) })),
		"ended since":      says(changed(func(l *marketv1.Lease) { l.State, l.Seq = uint32(lease.Closed), 99 })),
		"another's lease":  says(changed(func(l *marketv1.Lease) { l.Client = "somebody" })),
		"at another host":  says(changed(func(l *marketv1.Lease) { l.Host, l.Seq = "elsewhere", 99 })),
		"of another kind":  says(changed(func(l *marketv1.Lease) { l.Kind, l.Seq = uint32(quote.Compute), 99 })),
		"no answer at all": func(r *abci.ResponseQuery) { r.Code = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			for _, first := range []bool{true, false} {
				nodes := []*server{honest, liar}
				if first {
					nodes = []*server{liar, honest}
				}
				liar.lies(nil)
				c := dial(t, l, Config{Patience: 3e9}, nodes...)
				liar.lies(func(method string, _ map[string]json.RawMessage, result any) (any, bool) {
					if q, ok := result.(queryAnswer); ok && method == "abci_query" {
						lie(&q.Response)
						return q, false
					}
					return result, false
				})
				got, err := c.AllLeases(t.Context(), record.Client, "")
				if err != nil || !slices.Contains(got, wantLease()) {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
}
