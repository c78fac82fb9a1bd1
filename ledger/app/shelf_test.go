package app_test

import (
	"bytes"
	"encoding/binary"

	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/proving"
	"hearth/core/quote"
	"hearth/core/statement"
	proofstypes "hearth/ledger/proofs/types"
)

// A shelf is what a host really has of a lease.
type shelf struct {
	id     uint64
	tree   *proof.SumTree
	bodies map[proof.Hash][]byte
	gone   bool // the host has lost it
}

// stored is a lease's shelf with shards of these sizes.
func stored(id uint64, sizes ...int) *shelf {
	s := &shelf{id: id, bodies: map[proof.Hash][]byte{}}
	var slots []proof.Shard
	for i, size := range sizes {
		seed := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, id), uint64(i))
		b := bytes.Repeat(seed, size/len(seed)+1)[:size]
		root := proof.Sum(b)
		s.bodies[root] = b
		slots = append(slots, proof.Shard{Size: int64(size), Root: root})
	}
	s.tree = proof.NewSumTree(slots)
	return s
}

func (s *shelf) root() proof.Hash {
	root, _ := s.tree.Root()
	return root
}

// leaf proves one leaf of the lease.
func (s *shelf) leaf(pick func(total uint64) uint64) *proof.Answer {
	_, total := s.tree.Root()
	slot, n := s.tree.Draw(pick(total))
	path := s.tree.Prove(slot)
	body := s.bodies[path.Shard.Root]
	_, tree := proof.Build(body)
	off := int64(n) * proof.LeafSize
	first := off / proof.BlockSize * proof.BlockSize
	data, hashes, err := tree.Prove(body[first:min(first+proof.BlockSize, int64(len(body)))], off, proof.LeafSize)
	if err != nil {
		panic(err)
	}
	return &proof.Answer{Path: path, Data: data, Leaf: hashes}
}

// says is the statement by which the lease is paid for rate whole uember a second.
func (l *ledger) says(s *shelf, seq uint64, rate uint64) statement.Statement {
	return statement.Statement{Lease: s.id, Seq: seq, Units: quote.Units{rate * gib}, Root: s.root(), AsOf: l.now(), RunsUntil: l.now()}
}

// storing opens leases of anna with hosts and posts what they store, a GiB each.
func (l *ledger) storing(hosts ...person) []*shelf {
	l.t.Helper()
	l.must(l.opening(anna, anna, 100_000, hosts...), anna)
	var out []*shelf
	for i, h := range hosts {
		s := stored(uint64(i+1), 5000, 300_000, 1)
		if got := l.refusals(h, l.by(l.says(s, 1, 1), h)); got != nil {
			l.t.Fatalf("refused: %v", got)
		}
		out = append(out, s)
	}
	return out
}

func (l *ledger) turn(host person) proofstypes.QueryTurnResponse {
	l.t.Helper()
	var res proofstypes.QueryTurnResponse
	if !l.query("/hearth.proofs.v1.Query/Turn", &proofstypes.QueryTurnRequest{Host: host.address}, &res) {
		l.t.Fatal("no answer about a turn")
	}
	return res
}

// untilFree makes blocks until a host isn't frozen in the next one either,
// untilDrawn until it is.
func (l *ledger) untilFree(host person) {
	l.t.Helper()
	l.until(host, func(t proofstypes.QueryTurnResponse) bool {
		return !t.Owes && t.Time < t.Ends-1 || t.Owes && t.Time < t.SlotBegins-1
	})
}

func (l *ledger) untilDrawn(host person) proofstypes.QueryTurnResponse {
	l.t.Helper()
	return l.until(host, func(t proofstypes.QueryTurnResponse) bool { return t.Frozen && t.Time < t.Ends-1 })
}

func (l *ledger) until(host person, ok func(proofstypes.QueryTurnResponse) bool) proofstypes.QueryTurnResponse {
	l.t.Helper()
	for range 100 {
		if t := l.turn(host); ok(t) {
			return t
		}
		l.block()
	}
	l.t.Fatal("never in a hundred blocks")
	return proofstypes.QueryTurnResponse{}
}

// silence lets so many whole periods go by.
func (l *ledger) silence(periods int) {
	l.t.Helper()
	for range 10 * periods {
		l.block()
	}
}

// answer shows what is drawn, and confesses what is gone.
func (l *ledger) answer(host person, shelves ...*shelf) *proofstypes.MsgAnswer {
	l.t.Helper()
	t := l.turn(host)
	m := &proofstypes.MsgAnswer{Host: host.address, Period: t.Period}
	seed := proving.Seed(t.Seed)
	for i, d := range t.Draws {
		var b []byte
		for _, s := range shelves {
			if s.id != d.Lease {
				continue
			}
			if s.gone {
				m.Confessed = append(m.Confessed, s.id)
				break
			}
			b = s.leaf(func(total uint64) uint64 { return seed.Leaf(i, total) }).Encode()
		}
		m.Answers = append(m.Answers, b)
	}
	return m
}

// proves waits for a host's turn and answers.
func (l *ledger) proves(host person, shelves ...*shelf) {
	l.t.Helper()
	l.untilDrawn(host)
	l.must(l.answer(host, shelves...), host)
}

func (l *ledger) proving(host person) proving.Record { return l.host(host).Proving.Core() }

func (l *ledger) bond(host person, amount money.Amount) {
	l.t.Helper()
	l.must(&hostsBond{Address: host.address, Amount: uint64(amount)}, host)
}
