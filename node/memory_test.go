package node

import (
	"crypto/ed25519"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/market/markettest"
)

// world is a ledger with one lease on it, and its id.
func world(t *testing.T) (*markettest.Ledger, uint64) {
	t.Helper()
	w := markettest.New()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.AddHost(chain.Host{Address: "host", Key: [32]byte(pub), Roles: chain.RoleStorage}, []string{"/ip4/10.1.2.3/tcp/1"})
	w.Deposit("client", money.Ember)
	w.Grant(mandate.Mandate{
		Grantor: "client", Key: [32]byte{7}, Ops: mandate.All, Until: time.Now().Unix() + 1000,
		Ceilings: map[quote.Kind]quote.Prices{quote.Storage: {In: 3}},
	})
	q := quote.Quote{ChainID: markettest.ChainID, Host: "host", Kind: quote.Storage, ValidUntil: time.Now().Unix() + 60}.Sign(key)
	open := []chain.OpenLease{{Quote: q, Amount: 20_000, Until: time.Now().Unix() + 1000}}
	if _, err := w.Send(t.Context(), markettest.Signer{Name: "client"}, chain.OpenLeases("client", "client", open, nil)); err != nil {
		t.Fatal(err)
	}
	leases, err := w.Leases(t.Context(), "client", "")
	if err != nil || len(leases) != 1 {
		t.Fatal(leases, err)
	}
	return w, leases[0].ID
}

// What the ledger has said is known after a restart without it; what moves money
// or was never asked is not.
func TestMemoryOutlivesTheLedger(t *testing.T) {
	w, id := world(t)
	path := filepath.Join(t.TempDir(), "records")
	m := recall(w, path, slog.New(slog.DiscardHandler))
	ask := func(m *memory) (l lease.Lease, at []string, k mandate.Mandate, err error) {
		if _, err = m.Rules(t.Context()); err != nil {
			return
		}
		h, err := m.Host(t.Context(), "host")
		if err != nil {
			return
		}
		if at, err = m.Endpoints(t.Context(), h); err != nil {
			return
		}
		if k, err = m.Mandate(t.Context(), "client", [32]byte{7}); err != nil {
			return
		}
		l, err = m.Lease(t.Context(), id)
		return
	}
	was, _, _, err := ask(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.keep(); err != nil {
		t.Fatal(err)
	}
	w.SetDown(true)
	m = recall(w, path, slog.New(slog.DiscardHandler))
	l, at, k, err := ask(m)
	if err != nil || l != was || len(at) != 1 || k.Ceilings[quote.Storage].In != 3 {
		t.Errorf("%+v, %v, %+v: %v", l, at, k, err)
	}
	if _, err := m.Lease(t.Context(), id+1); fault.CodeOf(err) != fault.LedgerDown {
		t.Error("a lease nobody has read", err)
	}
	if _, err := m.Leases(t.Context(), "client", ""); fault.CodeOf(err) != fault.LedgerDown {
		t.Error("a list", err)
	}
	if _, err := m.Purse(t.Context(), "client"); fault.CodeOf(err) != fault.LedgerDown {
		t.Error("a purse", err)
	}
	// A mandate may have been revoked: it isn't remembered for long.
	for name, a := range m.kept.Mandates {
		a.Read = a.Read.Add(-mandateMemory)
		m.kept.Mandates[name] = a
	}
	if _, err := m.Mandate(t.Context(), "client", [32]byte{7}); fault.CodeOf(err) != fault.LedgerDown {
		t.Error("an old mandate", err)
	}
}

// The ledger's word counts wherever it can be had.
func TestMemoryBelievesTheLedger(t *testing.T) {
	w, id := world(t)
	m := recall(w, filepath.Join(t.TempDir(), "records"), slog.New(slog.DiscardHandler))
	if _, err := m.Lease(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.End(id)
	if l, err := m.Lease(t.Context(), id); err != nil || l.State != lease.Closed {
		t.Error(l.State, err)
	}
	w.Forget(id)
	if _, err := m.Lease(t.Context(), id); fault.CodeOf(err) != fault.NoLease {
		t.Error(err)
	}
	w.SetDown(true)
	if _, err := m.Lease(t.Context(), id); fault.CodeOf(err) != fault.LedgerDown {
		t.Error("a lease that is gone came back", err)
	}
}

// Where a host has moved to is remembered, and of nobody else.
func TestMemoryFollowsAHostThatMoves(t *testing.T) {
	w, _ := world(t)
	m := recall(w, filepath.Join(t.TempDir(), "records"), slog.New(slog.DiscardHandler))
	h, err := m.Host(t.Context(), "host")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Endpoints(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	m.moved("host", []string{"/ip4/10.9.9.9/tcp/1"})
	m.moved("stranger", []string{"/ip4/10.9.9.9/tcp/2"})
	w.SetDown(true)
	if at, err := m.Endpoints(t.Context(), h); err != nil || len(at) != 1 || at[0] != "/ip4/10.9.9.9/tcp/1" {
		t.Error(at, err)
	}
	if _, err := m.Endpoints(t.Context(), chain.Host{Address: "stranger"}); fault.CodeOf(err) != fault.LedgerDown {
		t.Error("a stranger is remembered", err)
	}
}

// A damaged memory is an empty one.
func TestADamagedMemoryIsNoLoss(t *testing.T) {
	w, id := world(t)
	path := filepath.Join(t.TempDir(), "records")
	if err := os.WriteFile(path, []byte(`{"leases":{"1":{"record":7`), 0o600); err != nil {
		t.Fatal(err)
	}
	m := recall(w, path, slog.New(slog.DiscardHandler))
	if l, err := m.Lease(t.Context(), id); err != nil || l.ID != id {
		t.Error(l, err)
	}
}
