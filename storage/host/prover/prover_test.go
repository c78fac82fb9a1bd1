package prover

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/chain/pb/proofsv1"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/proving"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/storage/host"
)

// world is a host's store and what a ledger node tells of it.
type world struct {
	*host.Host
	t       *testing.T
	p       *Prover
	turn    chain.Turn
	demand  []chain.Demand
	leases  map[uint64]lease.Lease // proved
	sent    []proto.Message
	refuse  error
	posts   int
	newest  map[uint64]statement.Statement
	damaged map[uint64]error // what proving a lease comes to
	ruined  map[uint64][]proof.Hash
}

const me = "hearth1host"

func newWorld(t *testing.T) *world {
	h, err := host.Open(host.Config{Dir: "host", FS: vfs.NewMem(), Capacity: 64 << 20, VolumeSize: 8 << 20, Ballast: 64 << 10, Posted: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	w := &world{Host: h, t: t, leases: map[uint64]lease.Lease{}, newest: map[uint64]statement.Statement{}, damaged: map[uint64]error{}, ruined: map[uint64][]proof.Hash{}}
	if w.p, err = New(Config{Host: me, Ledger: w, Store: w, Market: market{w}}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) Turn(context.Context, string) (chain.Turn, error) { return w.turn, nil }

func (w *world) Challenges(context.Context, string) ([]chain.Demand, error) { return w.demand, nil }

func (w *world) ProvingRules(context.Context) (proving.Params, error) {
	return proving.Defaults(0, 100, 1), nil
}

func (w *world) Lease(_ context.Context, id uint64) (lease.Lease, error) {
	l, ok := w.leases[id]
	if !ok {
		return l, fault.New(fault.NoLease, "none")
	}
	return l, nil
}

func (w *world) Send(_ context.Context, msgs ...proto.Message) (chain.Receipt, error) {
	if w.refuse != nil {
		return chain.Receipt{}, w.refuse
	}
	w.sent = append(w.sent, msgs...)
	return chain.Receipt{}, nil
}

func (w *world) ProveDraw(id uint64, root [32]byte, draw func(uint64) (uint64, error)) (proof.Answer, error) {
	if err := w.damaged[id]; err != nil {
		return proof.Answer{}, err
	}
	return w.Host.ProveDraw(id, root, draw)
}

func (w *world) Ruined() (map[uint64][]proof.Hash, error) { return w.ruined, nil }

type market struct{ w *world }

func (m market) Post(context.Context) (int, error) { m.w.posts++; return 1, nil }

func (m market) Statement(id uint64) statement.Statement { return m.w.newest[id] }

// change puts shards under a lease, removes others, and says the new root.
func (w *world) change(id uint64, units uint64, add [][]byte, remove ...proof.Hash) proof.Hash {
	w.t.Helper()
	var roots []proof.Hash
	for _, b := range add {
		root := proof.Sum(b)
		roots = append(roots, root)
		if err := w.Put(id, root, int64(len(b)), bytes.NewReader(b)); err != nil {
			w.t.Fatal(err)
		}
	}
	next, _, err := w.Stage(id, roots, remove)
	if err == nil {
		err = w.Covers(id, quote.Units{units}, next)
	}
	if err == nil {
		err = w.Commit(id, quote.Units{units}, next)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return next
}

// drawn is a turn in which five leaves of leases are drawn.
func (w *world) drawn(period int64, draws ...chain.Draw) {
	w.turn = chain.Turn{Time: period*100 + 30, Period: period, Begins: period * 100, Ends: period*100 + 100, SlotBegins: period*100 + 20, Owes: true, Frozen: true, Seed: proving.Seed{1, 2, 3}}
	for i := range 5 {
		w.turn.Draws = append(w.turn.Draws, draws[i%len(draws)])
	}
}

func (w *world) answers() []*proofsv1.MsgAnswer {
	var out []*proofsv1.MsgAnswer
	for _, m := range w.sent {
		if a, ok := m.(*proofsv1.MsgAnswer); ok {
			out = append(out, a)
		}
	}
	return out
}

// What is drawn is shown under the root that the ledger has, also when the client
// has changed and removed everything since; once a period.
func TestDrawsAreAnsweredUnderThePostedRoot(t *testing.T) {
	w := newWorld(t)
	a, b := bytes.Repeat([]byte{1}, 5000), bytes.Repeat([]byte{2}, 300_000)
	posted := w.change(1, 305_000, [][]byte{a, b})
	w.change(1, 700, [][]byte{bytes.Repeat([]byte{3}, 700)}, proof.Sum(a), proof.Sum(b))
	w.drawn(7, chain.Draw{Lease: 1, Root: posted})
	w.p.round(t.Context())
	w.p.round(t.Context())
	sent := w.answers()
	if len(sent) != 1 || sent[0].Period != 7 || len(sent[0].Confessed) != 0 {
		t.Fatalf("sent %v", w.sent)
	}
	for i, raw := range sent[0].Answers {
		a, err := proof.DecodeAnswer(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.turn.Seed.Verify(i, posted, a); err != nil {
			t.Errorf("draw %d: %v", i, err)
		}
	}
	if s := w.p.Status(); s.Answered != 1 || s.Cause != "" {
		t.Errorf("%+v", s)
	}
}

// A refusal is tried again within the period, and its cause is shown.
func TestAnAnswerIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	root := w.change(1, 500, [][]byte{bytes.Repeat([]byte{1}, 500)})
	w.drawn(7, chain.Draw{Lease: 1, Root: root})
	w.refuse = fault.New(fault.LedgerDown, "the ledger is away")
	w.p.round(t.Context())
	if s := w.p.Status(); s.Cause == "" || s.Answered != 0 {
		t.Errorf("%+v", s)
	}
	w.refuse = nil
	w.p.round(t.Context())
	if s := w.p.Status(); s.Answered != 1 || len(w.answers()) != 1 {
		t.Errorf("%+v", s)
	}
}

// A lease is confessed only if its data can't be read twice, under the root that
// the ledger proves; the others are shown.
func TestWhatIsDamagedForSureIsConfessed(t *testing.T) {
	w := newWorld(t)
	good, bad := w.change(1, 500, [][]byte{bytes.Repeat([]byte{1}, 500)}), w.change(2, 600, [][]byte{bytes.Repeat([]byte{2}, 600)})
	w.damaged[2] = fault.New(fault.DamagedShard, "rotten")
	w.drawn(7, chain.Draw{Lease: 1, Root: good}, chain.Draw{Lease: 2, Root: bad})
	w.leases[2] = lease.Lease{ID: 2, Host: me, Root: [32]byte{9}} // the hint has told another root
	for range 4 {
		w.p.round(t.Context())
	}
	if len(w.sent) != 0 {
		t.Fatal("confessed on a ledger node's word")
	}
	w.leases[2] = lease.Lease{ID: 2, Host: me, Root: bad}
	w.p.round(t.Context())
	w.p.round(t.Context())
	sent := w.answers()
	if len(sent) != 1 || !slices.Equal(sent[0].Confessed, []uint64{2}) {
		t.Fatalf("sent %v", w.sent)
	}
	for i, raw := range sent[0].Answers {
		if confessed := len(raw) == 0; confessed != (w.turn.Draws[i].Lease == 2) {
			t.Errorf("draw %d", i)
		}
	}
	if s := w.p.Status(); s.Confessed != 1 || s.Answered != 0 || s.Cause == "" {
		t.Errorf("%+v", s)
	}
}

// Other trouble than damage confesses nothing: it may pass.
func TestAPassingTroubleConfessesNothing(t *testing.T) {
	w := newWorld(t)
	root := w.change(1, 500, [][]byte{bytes.Repeat([]byte{1}, 500)})
	w.damaged[1] = errors.New("too many open files")
	w.leases[1] = lease.Lease{ID: 1, Host: me, Root: root}
	w.drawn(7, chain.Draw{Lease: 1, Root: root})
	for range 5 {
		w.p.round(t.Context())
	}
	if len(w.sent) != 0 {
		t.Fatalf("sent %v", w.sent)
	}
	before := w.turn
	w.turn = chain.Turn{Time: 801, Period: 8, Begins: 800, Ends: 900, SlotBegins: 830, Owes: true, Misses: before.Misses + 1, Run: 1}
	w.p.round(t.Context())
	if s := w.p.Status(); s.Missed != 1 || s.Cause == "" {
		t.Errorf("the miss has no cause: %+v", s)
	}
}

// Changes are posted once a period, in its second half and never while frozen;
// what the ledger has gone past is then freed.
func TestChangesArePostedWhileNothingIsFrozen(t *testing.T) {
	w := newWorld(t)
	a := bytes.Repeat([]byte{1}, 500)
	w.change(1, 500, [][]byte{a})
	root := w.change(1, 600, [][]byte{bytes.Repeat([]byte{2}, 600)}, proof.Sum(a))
	w.newest[1] = statement.Statement{Lease: 1, Seq: 2}
	w.leases[1] = lease.Lease{ID: 1, Host: me, Root: root, Seq: 2}
	w.turn = chain.Turn{Time: 710, Period: 7, Begins: 700, Ends: 800, SlotBegins: 720, Owes: true}
	w.p.round(t.Context())
	if w.posts != 0 {
		t.Fatal("posted in the first half")
	}
	w.turn.Time, w.turn.Frozen = 799, true
	w.p.round(t.Context())
	if w.posts != 0 {
		t.Fatal("posted while frozen")
	}
	w.turn.Frozen, w.turn.Owes = false, false
	w.p.round(t.Context())
	w.p.round(t.Context())
	if s := w.Stats(); w.posts != 1 || s.Kept != 0 || s.Shards != 1 {
		t.Errorf("posted %d times, kept %d bytes, %d shards", w.posts, s.Kept, s.Shards)
	}
}

// A ledger node that told a period to come, and took an answer and a post for it,
// keeps the host from neither in the true one.
func TestAFalsePeriodSilencesNobody(t *testing.T) {
	w := newWorld(t)
	root := w.change(1, 500, [][]byte{bytes.Repeat([]byte{1}, 500)})
	for _, period := range []int64{1 << 40, 7} {
		w.drawn(period, chain.Draw{Lease: 1, Root: root})
		w.p.round(t.Context())
		w.turn.Frozen, w.turn.Owes, w.turn.Time = false, false, w.turn.Ends-1
		w.p.round(t.Context())
	}
	if got := w.answers(); len(got) != 2 || got[1].Period != 7 || w.posts != 2 {
		t.Errorf("%d answers, %d posts", len(got), w.posts)
	}
}

func TestChallengesAreAnswered(t *testing.T) {
	w := newWorld(t)
	root := w.change(1, 5000, [][]byte{bytes.Repeat([]byte{1}, 5000)})
	w.turn = chain.Turn{Time: 710, Period: 7, Begins: 700, Ends: 800, SlotBegins: 720}
	w.demand = []chain.Demand{{Lease: 1, Leaf: 1<<63 + 3, Root: root, Due: 750}}
	w.p.round(t.Context())
	if len(w.sent) != 1 {
		t.Fatalf("sent %v", w.sent)
	}
	a, err := proof.DecodeAnswer(w.sent[0].(*proofsv1.MsgAnswerChallenge).Answer)
	if err != nil {
		t.Fatal(err)
	}
	c := proving.Challenge{Lease: 1, Leaf: 1<<63 + 3}
	if err := c.Verify(root, a); err != nil {
		t.Error(err)
	}
}

// A lease is given up when waiting for the draw costs more: where most of it is gone.
func TestALossIsDeclaredWhereThatIsCheaper(t *testing.T) {
	for name, tt := range map[string]struct {
		bad  int
		lost bool
	}{"one of four": {1, false}, "all": {4, true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var bodies [][]byte
			var roots []proof.Hash
			for i := range 4 {
				bodies = append(bodies, bytes.Repeat([]byte{byte(i)}, 1000))
				roots = append(roots, proof.Sum(bodies[i]))
			}
			root := w.change(1, 4000, bodies)
			w.p.rules = &proving.Params{Draws: 5, Period: 100, LossSeconds: 300}
			w.ruined[1] = roots[:tt.bad]
			w.leases[1] = lease.Lease{ID: 1, Host: me, Kind: quote.Storage, State: lease.Open, Root: root, Rate: money.Rate(5)}
			w.turn = chain.Turn{Time: 710, Period: 7, Begins: 700, Ends: 800, SlotBegins: 720, Owes: true}
			w.p.round(t.Context())
			if got := len(w.sent) == 1; got != tt.lost {
				t.Errorf("sent %v", w.sent)
			}
		})
	}
}
