package app_test

import (
	"fmt"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"golang.org/x/sys/unix"

	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/proving"
	"hearth/core/quote"
	"hearth/core/statement"
	markettypes "hearth/ledger/market/types"
)

// cpu is what this process has used. On a shared machine it tells more than the clock.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Transfers: checked, and carried out in a block. The yardstick is 500 a second
// on one core.
func BenchmarkTransfers(b *testing.B) {
	const perBlock = 100
	people := make([]person, perBlock)
	for i := range people {
		people[i] = secpPerson(fmt.Sprint("person ", i))
	}
	l := newLedger(b, people...)
	var used time.Duration
	for b.Loop() {
		b.StopTimer()
		var txs [][]byte
		for i, p := range people {
			txs = append(txs, l.txWith(200_000, 200, "", send(p, people[(i+1)%perBlock], 1), p))
		}
		b.StartTimer()
		begin := cpu(b)
		for _, tx := range txs {
			if r, err := l.CheckTx(&abci.RequestCheckTx{Tx: tx}); err != nil || r.Code != 0 {
				b.Fatal(r, err)
			}
		}
		for _, r := range l.finalize(l.LastBlockHeight()+1, txs...) {
			if r.Code != 0 {
				b.Fatal(r.Log)
			}
		}
		used += cpu(b) - begin
	}
	b.ReportMetric(perBlock*float64(b.N)/used.Seconds(), "transfers/cpu-s")
}

// Posting and settling leases of a hundred hosts, checked and in a block. The
// yardstick is 2 ms of CPU to settle one.
func BenchmarkSettle(b *testing.B) {
	const n = 100
	people := []person{anna}
	for i := range n {
		people = append(people, secpPerson(fmt.Sprint("host ", i)))
	}
	l := newLedger(b, people...)
	var txs [][]byte
	for _, h := range people[1:] {
		txs = append(txs, l.tx(l.registration(h), h))
	}
	txs = append(txs, l.tx(&markettypes.MsgDeposit{Owner: anna.address, Amount: 900_000_000_000}, anna), l.tx(l.mandate(), anna))
	l.block(txs...)
	big := func(msgs ...[]byte) {
		for _, r := range l.finalize(l.LastBlockHeight()+1, msgs...) {
			if r.Code != 0 {
				b.Fatal(r.Log)
			}
		}
	}
	big(l.txWith(20_000_000, 20_000, "", l.opening(anna, anna, 1_000_000_000, people[1:51]...), anna))
	big(l.txWith(20_000_000, 20_000, "", l.opening(anna, anna, 1_000_000_000, people[51:]...), anna))

	ids := make([]uint64, n)
	var posting, settling time.Duration
	seq := uint64(0)
	for b.Loop() {
		b.StopTimer()
		seq++
		m := post(anna)
		for i := range ids {
			ids[i] = uint64(i + 1)
			s := statement.Statement{ChainID: l.chainID, Lease: ids[i], Seq: seq, Total: 1000 * money.Amount(seq), Units: quote.Units{gib}, AsOf: l.now(), RunsUntil: l.now() + 600}
			m.Statements = append(m.Statements, l.by(s, people[1+i]))
		}
		p := l.txWith(30_000_000, 30_000, "", m, anna)
		s := l.txWith(30_000_000, 30_000, "", settle(anna, ids...), anna)
		b.StartTimer()
		begin := cpu(b)
		big(p)
		middle := cpu(b)
		big(s)
		posting, settling = posting+middle-begin, settling+cpu(b)-middle
	}
	b.ReportMetric(float64(posting.Microseconds())/1000/n/float64(b.N), "cpu-ms/post")
	b.ReportMetric(float64(settling.Microseconds())/1000/n/float64(b.N), "cpu-ms/settle")
}

// An answer of five leaves, in leases of 32,768 shards of 4 MiB, carried out in a
// block. The yardstick is 1 ms to verify the leaves.
func BenchmarkAnswer(b *testing.B) {
	l := newStreet(b)
	l.must(l.opening(anna, anna, 100_000, bert), anna)
	s := large(1)
	if got := l.refusals(bert, l.by(l.says(s, 1, 1), bert)); got != nil {
		b.Fatal(got)
	}
	var used, verify time.Duration
	for b.Loop() {
		b.StopTimer()
		turn := l.untilDrawn(bert)
		m := l.answer(bert, s)
		tx := l.tx(m, bert)
		var answers []proof.Answer
		for _, raw := range m.Answers {
			a, err := proof.DecodeAnswer(raw)
			if err != nil {
				b.Fatal(err)
			}
			answers = append(answers, a)
		}
		b.StartTimer()
		began := cpu(b)
		for i, a := range answers {
			if err := proving.Seed(turn.Seed).Verify(i, s.root(), a); err != nil {
				b.Fatal(err)
			}
		}
		middle := cpu(b)
		for _, r := range l.finalize(l.LastBlockHeight()+1, tx) {
			if r.Code != 0 {
				b.Fatal(r.Log)
			}
		}
		verify, used = verify+middle-began, used+cpu(b)-middle
	}
	b.ReportMetric(float64(verify.Microseconds())/1000/float64(b.N), "cpu-ms/verify")
	b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "cpu-ms/block")
}
