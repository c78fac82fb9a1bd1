package chain

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	authv1 "cosmossdk.io/api/cosmos/auth/v1beta1"
	abciv1 "cosmossdk.io/api/cosmos/base/abci/v1beta1"
	txv1 "cosmossdk.io/api/cosmos/tx/v1beta1"
	abci "github.com/cometbft/cometbft/abci/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"hearth/chain/pb/marketv1"
	"hearth/core/fault"
)

// someone signs with an ed25519 key.
type someone struct {
	key  ed25519.PrivateKey
	name string
}

func newSomeone(name string) someone {
	seed := sha256.Sum256([]byte(name))
	return someone{ed25519.NewKeyFromSeed(seed[:]), name}
}

func (s someone) Address() string                 { return s.name }
func (s someone) PublicKey() (string, []byte)     { return "ed25519", s.key.Public().(ed25519.PublicKey) }
func (s someone) Sign(doc []byte) ([]byte, error) { return ed25519.Sign(s.key, doc), nil }

// application lets the ledger take transactions: every account has number 5.
func (l *ledger) application() {
	l.step = 10 * time.Millisecond // blocks come faster here than on a ledger; its time doesn't
	answer := func(m proto.Message) abci.ResponseQuery {
		raw, err := proto.Marshal(m)
		if err != nil {
			l.t.Error(err)
		}
		return abci.ResponseQuery{Value: raw}
	}
	l.queries["/cosmos.auth.v1beta1.Query/AccountInfo"] = func(data []byte) abci.ResponseQuery {
		var q authv1.QueryAccountInfoRequest
		if err := proto.Unmarshal(data, &q); err != nil || q.Address == "nobody" {
			return abci.ResponseQuery{Code: 22, Codespace: "sdk", Log: "rpc error: code = NotFound desc = account nobody not found: key not found"}
		}
		return answer(&authv1.QueryAccountInfoResponse{Info: &authv1.BaseAccount{Address: q.Address, AccountNumber: 5}})
	}
	l.queries["/cosmos.tx.v1beta1.Service/Simulate"] = func([]byte) abci.ResponseQuery {
		return answer(&txv1.SimulateResponse{GasInfo: &abciv1.GasInfo{GasUsed: 50_001}})
	}
}

// produce makes a block every few milliseconds.
func (l *ledger) produce() {
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(3 * time.Millisecond):
				l.grow(1)
			}
		}
	}()
	l.t.Cleanup(func() { close(done); <-stopped })
}

func decodeTx(t testing.TB, raw []byte) (*txv1.TxRaw, *txv1.TxBody, *txv1.AuthInfo) {
	t.Helper()
	var tx txv1.TxRaw
	var body txv1.TxBody
	var auth txv1.AuthInfo
	if err := errors.Join(proto.Unmarshal(raw, &tx), proto.Unmarshal(tx.BodyBytes, &body), proto.Unmarshal(tx.AuthInfoBytes, &auth)); err != nil {
		t.Error(err)
	}
	return &tx, &body, &auth
}

func TestATransactionAsTheLedgerWantsIt(t *testing.T) {
	l := newLedger(t, 1, began())
	l.application()
	var raw []byte
	l.run = func(b []byte) *abci.ExecTxResult {
		raw = b
		value, _ := proto.Marshal(&marketv1.MsgOpenLeasesResponse{Ids: []uint64{4, 5}})
		skipped, _ := proto.Marshal(&marketv1.MsgPostStatementsResponse{Refusals: []*marketv1.Refusal{{Lease: 9, Code: "stale", Reason: "number 4 is posted"}}})
		data, _ := proto.Marshal(&abciv1.TxMsgData{MsgResponses: []*anypb.Any{
			{TypeUrl: "/hearth.market.v1.MsgOpenLeasesResponse", Value: value},
			{TypeUrl: "/hearth.market.v1.MsgPostStatementsResponse", Value: skipped},
		}})
		return &abci.ExecTxResult{GasUsed: 40_000, Data: data}
	}
	s, first := l.serve(), l.blocks[0].Time
	l.produce()
	c := dial(t, l, Config{}, s)
	me := newSomeone("hearth1me")
	r, err := c.Send(t.Context(), PaidBy(me, "hearth1granter"), Deposit("hearth1me", 7))
	if err != nil {
		t.Fatal(err)
	}
	if r.Fee != 61 || r.GasUsed != 40_000 || r.Height < 2 || c.seen.Load() != r.Height {
		t.Errorf("receipt %+v, seen %d", r, c.seen.Load())
	}
	if ids := r.Opened(); len(ids) != 2 || ids[0] != 4 || ids[1] != 5 {
		t.Errorf("opened %v", ids)
	}
	if err := r.Skipped()[9]; fault.CodeOf(err) != fault.Stale {
		t.Errorf("skipped: %v", err)
	}
	tx, body, auth := decodeTx(t, raw)
	if !body.Unordered || body.Messages[0].TypeUrl != "/hearth.market.v1.MsgDeposit" {
		t.Errorf("body %v", body)
	}
	if ahead := body.TimeoutTimestamp.AsTime().Sub(first); ahead < time.Minute || ahead > 10*time.Minute {
		t.Errorf("it dies %v after the ledger's time", ahead)
	}
	if auth.Fee.GasLimit != 60_001 || auth.Fee.Amount[0].Amount != "61" || auth.Fee.Amount[0].Denom != "uember" || auth.Fee.Granter != "hearth1granter" {
		t.Errorf("fee %v", auth.Fee)
	}
	if auth.SignerInfos[0].Sequence != 0 || auth.SignerInfos[0].PublicKey.TypeUrl != "/cosmos.crypto.ed25519.PubKey" {
		t.Errorf("signer %v", auth.SignerInfos)
	}
	doc, err := proto.Marshal(&txv1.SignDoc{BodyBytes: tx.BodyBytes, AuthInfoBytes: tx.AuthInfoBytes, ChainId: l.chainID, AccountNumber: 5})
	if err != nil || !ed25519.Verify(me.key.Public().(ed25519.PublicKey), doc, tx.Signatures[0]) {
		t.Errorf("the signature doesn't cover it: %v", err)
	}
}

func TestManyInFlightNeverCollide(t *testing.T) {
	l := newLedger(t, 1, began())
	l.application()
	var mu sync.Mutex
	seen := map[int64]bool{}
	l.run = func(b []byte) *abci.ExecTxResult {
		_, body, _ := decodeTx(t, b)
		mu.Lock()
		defer mu.Unlock()
		at := body.TimeoutTimestamp.AsTime().UnixNano()
		if seen[at] {
			t.Error("two transactions with one nonce")
		}
		seen[at] = true
		return &abci.ExecTxResult{}
	}
	s := l.serve()
	l.produce()
	c := dial(t, l, Config{}, s)
	var wg sync.WaitGroup
	for range 60 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := c.Send(t.Context(), newSomeone("hearth1me"), Deposit("hearth1me", 7)); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if len(seen) != 60 || s.count("abci_query") < 60 {
		t.Errorf("%d ran", len(seen))
	}
}

func TestNoncesNeverRepeat(t *testing.T) {
	var n nonces
	now := time.Now()
	var last time.Time
	for range 1000 {
		at := n.next("a", now)
		if !at.After(last) || at.Sub(now) > 2*time.Second {
			t.Fatalf("%v after %v", at, last)
		}
		last = at
	}
}

// The answer to a broadcast is lost: the same bytes go to the next node, and run once.
func TestADisconnectSendsNothingTwice(t *testing.T) {
	l := newLedger(t, 1, began())
	l.application()
	first, second := l.serve(), l.serve()
	l.produce()
	c := dial(t, l, Config{}, first, second)
	first.lies(func(method string, _ map[string]json.RawMessage, r any) (any, bool) {
		return r, method == "broadcast_tx_sync"
	})
	if _, err := c.Send(t.Context(), newSomeone("hearth1me"), Deposit("hearth1me", 7)); err != nil {
		t.Fatal(err)
	}
	if l.took != 1 || second.count("broadcast_tx_sync") != 1 {
		t.Errorf("the ledger took %d", l.took)
	}
	// All go silent: the outcome is unknown, and said to be.
	c.c.Patience = 300 * time.Millisecond
	dead := func(method string, _ map[string]json.RawMessage, r any) (any, bool) { return r, method == "tx" }
	first.lies(dead)
	second.lies(dead)
	if _, err := c.Send(t.Context(), newSomeone("hearth1me"), Deposit("hearth1me", 7)); fault.CodeOf(err) != fault.LedgerDown {
		t.Errorf("silence: %v", err)
	}
}

func TestARefusalKeepsItsCode(t *testing.T) {
	for log, want := range map[string]fault.Code{
		"failed to execute message; message index: 0: no_funds: withdraw: 5 asked, 3 free": fault.NoFunds,
		"mandate_refused: it doesn't allow to open":                                        fault.MandateRefused,
		"signature verification failed":                                                    fault.TxRefused,
		"internal: something":                                                              fault.TxRefused,
		strings.Repeat("x", 10_000):                                                        fault.TxRefused,
	} {
		l := newLedger(t, 1, began())
		l.application()
		s := l.serve()
		l.produce()
		c := dial(t, l, Config{}, s)
		send := func() error {
			_, err := c.Send(t.Context(), newSomeone("hearth1me"), Deposit("hearth1me", 7))
			return err
		}
		check := func(where string, err error) {
			t.Helper()
			var r *Refusal
			if fault.CodeOf(err) != want || !errors.As(err, &r) || r.Codespace != "hearth" || r.Code != 2 || len(r.Log) > maxLog {
				t.Errorf("%s: %.100q: %v", where, log, err)
			}
		}
		l.run = func([]byte) *abci.ExecTxResult { return &abci.ExecTxResult{Code: 2, Codespace: "hearth", Log: log} }
		check("in a block", send())
		l.check = func([]byte) (uint32, string) { return 2, log }
		check("by a node", send())
		l.queries["/cosmos.tx.v1beta1.Service/Simulate"] = func([]byte) abci.ResponseQuery {
			return abci.ResponseQuery{Code: 2, Codespace: "hearth", Log: log}
		}
		check("in the simulation", send())
	}
}

func TestAnAccountTheLedgerDoesNotKnow(t *testing.T) {
	l := newLedger(t, 1, began())
	l.application()
	c := dial(t, l, Config{}, l.serve())
	if _, err := c.Send(t.Context(), newSomeone("nobody"), Deposit("nobody", 7)); fault.CodeOf(err) != fault.NoFunds {
		t.Error(err)
	}
}

func TestATransactionThatNoBlockTakesDies(t *testing.T) {
	l := newLedger(t, 1, began().Add(-5*24*time.Hour)) // its time runs fast, and mustn't pass ours
	l.application()
	l.step = 20 * time.Second
	s := l.serve()
	l.produce()
	c := dial(t, l, Config{}, s)
	s.lies(func(method string, _ map[string]json.RawMessage, r any) (any, bool) {
		if method == "tx" {
			return map[string]any{}, false
		}
		return r, false
	})
	l.mu.Lock()
	l.txs = map[string]txAt{}
	l.run = func([]byte) *abci.ExecTxResult { return nil }
	l.mu.Unlock()
	raw := []byte("never broadcast")
	s.lies(nil)
	head, err := c.header(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.outcome(t.Context(), raw, head.Time.Add(time.Minute)); fault.CodeOf(err) != fault.TxRefused {
		t.Error(err)
	}
}

func TestSponsorsAreAskedInTurn(t *testing.T) {
	const granter = "hearth19rl4cm2hmr8afy4kldpxz3fka4jguq0alj703p"
	l := newLedger(t, 1, began())
	rpc := l.serve()
	sponsor := func(answer func(w http.ResponseWriter)) *server {
		s := &server{l: l, log: map[string]int{}}
		s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/sponsor" {
				s.ServeHTTP(w, r)
				return
			}
			answer(w)
		}))
		t.Cleanup(s.Close)
		return s
	}
	refuse := sponsor(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"code":"sponsor_refused","title":"no","detail":"one an address"}`)
	})
	grant := sponsor(func(w http.ResponseWriter) { fmt.Fprintf(w, `{"granter":%q,"tx":"AB"}`, granter) })
	junk := sponsor(func(w http.ResponseWriter) { fmt.Fprint(w, `{"granter":"x"}`) })

	got, err := dial(t, l, Config{}, rpc, junk, refuse, grant).Sponsor(t.Context(), granter)
	if err != nil || got.Granter != granter || got.Tx != "AB" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := dial(t, l, Config{}, rpc, refuse).Sponsor(t.Context(), granter); fault.CodeOf(err) != fault.SponsorRefused {
		t.Errorf("refused: %v", err)
	}
	if _, err := dial(t, l, Config{}, junk).Sponsor(context.Background(), granter); fault.CodeOf(err) != fault.LedgerDown {
		t.Errorf("junk: %v", err)
	}
}

// The state may change so much between the simulation and the block that the gas
// doesn't do. Nothing was carried out then, so it is simulated and sent anew, once.
func TestWhatRanOutOfGasIsSentAnew(t *testing.T) {
	l := newLedger(t, 1, began())
	l.application()
	runs, most := 0, 1
	l.run = func([]byte) *abci.ExecTxResult {
		if runs++; runs <= most {
			return &abci.ExecTxResult{Code: 11, Codespace: "sdk", Log: "out of gas in location: ReadPerByte"}
		}
		return &abci.ExecTxResult{GasUsed: 40_000}
	}
	s := l.serve()
	l.produce()
	c := dial(t, l, Config{}, s)
	if _, err := c.Send(t.Context(), newSomeone("hearth1me"), Deposit("hearth1me", 7)); err != nil || runs != 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
	runs, most = 0, 10
	if _, err := c.Send(t.Context(), newSomeone("hearth1me"), Deposit("hearth1me", 7)); fault.CodeOf(err) != fault.TxRefused || runs != 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
}
