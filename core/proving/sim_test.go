package proving_test

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"hearth/core/proving"
)

var update = flag.Bool("update", false, "write docs/proofs.md anew")

// storing is what it costs to keep the bytes, of their rent after the commission:
// as dear as it can be for a host that still gains nothing by honesty would be 1.
const storing = 0.5

const runs = 200

var scenes = []scene{
	{name: "honest"},
	{name: "honest, restarts for an hour at any time each day", down: func(_ int64, r *rand.Rand) (int64, int64) {
		from := r.Int64N(23) * hour
		return from, from + hour
	}},
	{name: "honest, off for one whole day in a month", down: func(period int64, _ *rand.Rand) (int64, int64) {
		if period%30 == 7 {
			return 0, day
		}
		return 0, 0
	}},
	{name: "honest, the ledger pauses for 4 hours each day", pause: func(int64) int64 { return 4 * hour }},
	{name: "honest, a disk with 5 % of the leases dies, declared in time", gone: 0.05, whole: true, drawn: declare},
	{name: "keeps 99 %", theft: true, gone: 0.01},
	{name: "keeps 95 %", theft: true, gone: 0.05},
	{name: "keeps 90 %", theft: true, gone: 0.10},
	{name: "keeps 50 %", theft: true, gone: 0.50},
	{name: "keeps 99 %, and 1,000 leases with itself", theft: true, gone: 0.01, self: 1000},
	{name: "keeps 90 %, and 1,000 leases with itself", theft: true, gone: 0.10, self: 1000},
	{name: "keeps 50 %, and 1,000 leases with itself", theft: true, gone: 0.50, self: 1000},
	{name: "keeps nothing, and 1,000 leases with itself", theft: true, gone: 1, self: 1000},
	{name: "keeps nothing, and 300 leases with itself", theft: true, gone: 1, self: 300},
	{name: "keeps 90 % of the leases, confesses when drawn", theft: true, gone: 0.10, whole: true, drawn: confess},
	{name: "keeps 90 % of the leases, declares the loss after the draw", theft: true, gone: 0.10, whole: true, drawn: lateLoss},
	{name: "keeps 90 % of the leases, posts without them after the draw", theft: true, gone: 0.10, whole: true, drawn: latePost},
	{name: "keeps 90 % of the leases, declares the rest before each slot and heals it after", theft: true, gone: 0.10, whole: true, drawn: dodge},
}

// odds is the chance to be caught in one period.
func (s scene) odds() float64 {
	draws := float64(proving.Defaults(0, day, 6).Draws)
	share := s.gone * others / float64(others+s.self)
	q := 1 - math.Pow(1-share, draws)
	switch {
	case !s.theft:
		return 0
	case s.drawn == dodge: // only a host in the first slot is drawn before it can declare
		return q / 512
	}
	return q
}

// net is what is left after the cost of storing, in percent of rent.
func (r result) net() float64 { return 100 * (r.earned - storing*0.9*(1-r.saved)) }

// Cheating never pays, and honesty never loses: simulated with the rules that the
// ledger runs, against what the odds say.
func TestHonestyPays(t *testing.T) {
	var table bytes.Buffer
	var honest result
	for i, s := range scenes {
		r := play(s, runs)
		q := s.odds()
		if i == 0 {
			honest = r
		}
		caught, theory := "never", "never"
		if q > 0 {
			// Cut off at the end of the simulation, as the runs are.
			mean := (1 - math.Pow(1-q, lasting+1)) / q
			week := 1 - math.Pow(1-q, 7)
			caught, theory = fmt.Sprintf("%.1f", r.caught), fmt.Sprintf("%.1f", mean)
			if sigma := math.Sqrt(week * (1 - week) / runs); math.Abs(r.within7-week) > 4*sigma+1e-9 {
				t.Errorf("%s: caught within 7 periods %.3f of the time, %.3f was to be expected", s.name, r.within7, week)
			}
			caught += fmt.Sprintf(" (%.0f %%)", 100*r.within7)
			theory += fmt.Sprintf(" (%.0f %%)", 100*week)
			if s.drawn == silent && math.Abs(r.paid-(1-q)) > 0.02 {
				t.Errorf("%s: %.3f of the periods were paid, %.3f was to be expected", s.name, r.paid, 1-q)
			}
		} else if r.caught <= lasting {
			t.Errorf("%s: it was caught", s.name)
		}
		switch {
		case s.theft && r.net() >= honest.net():
			t.Errorf("%s: %.1f is left of the rent, to the honest %.1f", s.name, r.net(), honest.net())
		case !s.theft && r.fined > 0:
			t.Errorf("%s: fined", s.name)
		case (s.drawn == lateLoss || s.drawn == latePost) != (r.refused > 0):
			t.Errorf("%s: %d acts were refused", s.name, r.refused)
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %.1f | %.1f | %.1f | %.1f |\n", s.name, caught, theory, 100*r.paid, 100*r.fined, 100*r.earned, r.net())
	}
	path := filepath.Join("..", "..", "docs", "proofs.md")
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := []byte("<!-- simulated -->\n"), []byte("<!-- end -->\n")
	i, j := bytes.Index(was, begin), bytes.Index(was, end)
	if i < 0 || j < i {
		t.Fatalf("%s: no place for the table", path)
	}
	head := "| host | caught in period (within 7) | by the odds | paid % | fined % | earned % | net % |\n|---|---|---|---|---|---|---|\n"
	is := append(append(append([]byte(nil), was[:i+len(begin)]...), head+table.String()...), was[j:]...)
	switch {
	case bytes.Equal(is, was):
	case *update:
		if err := os.WriteFile(path, is, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: the table is another now; write it with -update", path)
	}
}

// A restart or a pause of the ledger costs an honest host nothing.
func TestRestartsAndPausesCostNothing(t *testing.T) {
	for _, i := range []int{0, 1, 3} {
		if r := play(scenes[i], 50); r.paid < 1-1e-9 || r.missed != 0 || r.fined != 0 {
			t.Errorf("%s: %.3f of the periods paid, %.3f missed", scenes[i].name, r.paid, r.missed)
		}
	}
	dark := scene{pause: func(period int64) int64 {
		if period%10 == 0 {
			return 16 * hour // to the end of the period and beyond
		}
		return 0
	}, down: func(int64, *rand.Rand) (int64, int64) { return 0, 9 * hour }}
	if r := play(dark, 50); r.missed != 0 || r.paid >= 1 || r.paid < 0.88 {
		t.Errorf("pauses to a period's end: %.3f paid, %.3f missed", r.paid, r.missed)
	}
}
