package proving_test

import (
	"reflect"
	"testing"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/proving"
)

const (
	day  = int64(24 * 3600)
	rate = money.Rate(money.RateUnit) // a uember a second
)

var rules = proving.Defaults(0, day, 5)

func never(int64) (int64, bool) { return 0, false }

// at is a time in a period, so many seconds after it began.
func at(period, into int64) int64 { return rules.Begins(period) + into }

func TestJudge(t *testing.T) {
	one := rate.Over(day)
	for name, c := range map[string]struct {
		record proving.Record
		now    int64
		voids  proving.Voids
		want   proving.Verdict
		run    int
		misses int
	}{
		"a host without rates owes nothing":                {now: at(100, 0)},
		"nothing is decided before the period ends":        {record: proving.Record{From: 1}, now: at(1, day-1)},
		"the period in which a host starts isn't owed":     {record: proving.Record{From: 3}, now: at(3, 9)},
		"one miss costs the period's pay and nothing":      {record: proving.Record{From: 1}, now: at(2, 0), want: proving.Verdict{Missed: 1}, run: 1, misses: 1},
		"two misses cost no more":                          {record: proving.Record{From: 1}, now: at(3, 0), want: proving.Verdict{Missed: 2}, run: 2, misses: 2},
		"the third costs a period's rates":                 {record: proving.Record{From: 1}, now: at(4, 0), want: proving.Verdict{Missed: 3, Fined: 1, Fine: one}, run: 3, misses: 3},
		"six cost four":                                    {record: proving.Record{From: 1}, now: at(7, 0), want: proving.Verdict{Missed: 6, Fined: 4, Fine: 4 * one}, run: 6, misses: 6},
		"the seventh in a row costs the bond":              {record: proving.Record{From: 1}, now: at(8, 0), want: proving.Verdict{Missed: 7, Fined: 4, Fine: 4 * one, Forfeit: true}, run: 7, misses: 7},
		"a thousand periods of silence cost no more":       {record: proving.Record{From: 1}, now: at(1001, 0), want: proving.Verdict{Missed: 1000, Fined: 4, Fine: 4 * one, Forfeit: true}, run: 8, misses: 30},
		"who has lost the bond loses no more":              {record: proving.Record{From: 1, Judged: 7, Missed: 127, Run: 7}, now: at(20, 0), want: proving.Verdict{Missed: 12}, run: 8, misses: 19},
		"misses are forgotten after thirty periods":        {record: proving.Record{From: 1, Judged: 40, Missed: 3 << 29}, now: at(42, 0), want: proving.Verdict{Missed: 1}, run: 1, misses: 1},
		"a miss of twenty-nine periods ago still counts":   {record: proving.Record{From: 1, Judged: 40, Missed: 3 << 27}, now: at(42, 0), want: proving.Verdict{Missed: 1, Fined: 1, Fine: one}, run: 1, misses: 3},
		"a void period is no miss":                         {record: proving.Record{From: 1}, now: at(2, 0), voids: func(p int64) (int64, bool) { return 1, p == 1 }},
		"a void period doesn't break a row of misses":      {record: proving.Record{From: 1}, now: at(4, 0), voids: func(p int64) (int64, bool) { return 2, p == 2 }, want: proving.Verdict{Missed: 2}, run: 2, misses: 2},
		"a void that reaches beyond now is followed to it": {record: proving.Record{From: 1}, now: at(4, 0), voids: func(int64) (int64, bool) { return 9, true }},
	} {
		t.Run(name, func(t *testing.T) {
			voids := c.voids
			if voids == nil {
				voids = never
			}
			r, v := c.record.Judge(c.now, rate, voids, rules)
			if v != c.want || r.Run != c.run || r.Misses(rules) != c.misses {
				t.Errorf("%+v, run %d, %d misses; want %+v, %d, %d", v, r.Run, r.Misses(rules), c.want, c.run, c.misses)
			}
			if again, v := r.Judge(c.now, rate, voids, rules); v != (proving.Verdict{}) || again != r {
				t.Errorf("judged twice: %+v", v)
			}
		})
	}
}

func TestAnAnswerIsPaidOncePerPeriodFromTheSlotOn(t *testing.T) {
	const slot = 100
	r := proving.Record{From: 5}
	begins := rules.SlotBegins(5, slot)
	r, _ = r.Judge(begins-1, rate, never, rules)
	if _, err := r.Answer(begins-1, slot, rules); fault.CodeOf(err) != fault.BadRequest || r.Frozen(begins-1, slot, rules) {
		t.Fatalf("before the slot: %v", err)
	}
	if !r.Frozen(begins, slot, rules) || !r.Frozen(at(6, -1), slot, rules) {
		t.Fatal("drawn and not frozen")
	}
	if err := r.MayLose(rate, begins, slot, rules); fault.CodeOf(err) != fault.Frozen {
		t.Fatalf("a loss after the draw: %v", err)
	}
	after, err := r.Answer(begins, slot, rules)
	if err != nil || after.Proven != day || after.Frozen(begins, slot, rules) {
		t.Fatalf("%+v, %v", after, err)
	}
	if _, err := after.Answer(begins+1, slot, rules); fault.CodeOf(err) != fault.Stale {
		t.Fatalf("a second answer: %v", err)
	}
	next, v := after.Judge(at(6, 0), rate, never, rules)
	if v != (proving.Verdict{}) || next.Frozen(at(6, 0), slot, rules) || next.Run != 0 {
		t.Fatalf("after an answer: %+v %+v", next, v)
	}
}

func TestAConfessedPeriodIsAMissButNoneInARow(t *testing.T) {
	r := proving.Record{From: 1, Run: 6, Judged: 6, Missed: 63, Proven: 9}
	got, v, err := r.Confess(at(7, day/2), 3, rate, rules)
	want := proving.Record{From: 1, Judged: 7, Answered: 7, Missed: 127, Proven: 9}
	if err != nil || !reflect.DeepEqual(got, want) || v != (proving.Verdict{Missed: 1, Fined: 1, Fine: rate.Over(day)}) {
		t.Errorf("%+v %+v %v", got, v, err)
	}
}

func TestRatesStartWithTheNextPeriod(t *testing.T) {
	r := proving.Record{}.Rates(0, 5, at(3, 10), rules)
	if r.From != 4 || r.Owes(at(3, day-1), rules) || !r.Owes(at(4, 0), rules) {
		t.Errorf("%+v", r)
	}
	if r = r.Rates(5, 9, at(6, 0), rules); r.From != 4 {
		t.Errorf("more rates moved the start: %+v", r)
	}
	if r = r.Rates(9, 0, at(6, 0), rules); r.Owes(at(9, 0), rules) {
		t.Errorf("without rates: %+v", r)
	}
}

func TestFinesComeFromTheBondThenFromEarnings(t *testing.T) {
	r, bond, taken := proving.Record{}.Take(100, 130)
	if bond != 0 || taken != 100 || r.Debt != 30 {
		t.Fatalf("%d left, %d taken, debt %d", bond, taken, r.Debt)
	}
	r, host, commons := r.Repay(20)
	if host != 0 || commons != 20 {
		t.Fatalf("of 20 the host gets %d", host)
	}
	if r, host, commons = r.Repay(20); host != 10 || commons != 10 || r.Debt != 0 {
		t.Fatalf("of 20 more the host gets %d", host)
	}
}
