package repair

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hearth/core/erasure"
)

// stands lists so many of each standing, in the order of their numbers.
func stands(unknown, well, leaving, away, gone, pending int) []Standing {
	var out []Standing
	for s, n := range []int{unknown, well, leaving, away, gone, pending} {
		out = append(out, slices.Repeat([]Standing{Standing(s)}, n)...)
	}
	return out
}

func TestWhenASlabIsRepaired(t *testing.T) {
	tenOf20 := erasure.Class{K: 10, N: 20}
	for _, tt := range []struct {
		name                                        string
		unknown, well, leaving, away, gone, pending int
		want                                        Urgency
		made, moved                                 int
	}{
		{"all is well", 0, 20, 0, 0, 0, 0, None, 0, 0},
		{"nothing is known of anybody", 20, 0, 0, 0, 0, 0, None, 0, 0},
		{"15 are left, the others may come back", 0, 15, 0, 5, 0, 0, None, 0, 0},
		{"14 are left", 0, 14, 0, 6, 0, 0, Due, 6, 0},
		{"13 are left", 0, 13, 0, 7, 0, 0, Due, 7, 0},
		{"12 are left", 0, 12, 0, 8, 0, 0, Urgent, 8, 0},
		{"the last that is enough", 0, 10, 0, 10, 0, 0, Urgent, 10, 0},
		{"too few to read", 0, 9, 0, 11, 0, 0, Beyond, 0, 0},
		{"what isn't known counts as there", 6, 9, 0, 5, 0, 0, None, 0, 0},
		{"and is never made anew", 5, 9, 0, 6, 0, 0, Due, 6, 0},
		{"a host that left for good is replaced at leisure", 0, 19, 0, 0, 1, 0, Routine, 1, 0},
		{"those that are away are left alone meanwhile", 0, 16, 0, 3, 1, 0, Routine, 1, 0},
		{"a host gave notice", 0, 19, 1, 0, 0, 0, Routine, 0, 1},
		{"notice and want together", 0, 13, 1, 6, 0, 0, Due, 6, 1},
		{"pending shards are waited for", 0, 17, 0, 0, 0, 3, None, 0, 0},
		{"until too few are left", 0, 14, 0, 0, 0, 6, Due, 6, 0},
	} {
		p := Decide(tenOf20, stands(tt.unknown, tt.well, tt.leaving, tt.away, tt.gone, tt.pending))
		if p.Urgency != tt.want || len(p.Make) != tt.made || len(p.Move) != tt.moved {
			t.Errorf("%s: %s, %d made, %d moved; want %s, %d, %d", tt.name, p.Urgency, len(p.Make), len(p.Move), tt.want, tt.made, tt.moved)
		}
	}
}

func TestLawsOfEveryPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(1, 30).Draw(t, "k")
		c := erasure.Class{K: k, N: k + rapid.IntRange(1, 30).Draw(t, "spare")}
		shards := make([]Standing, c.N)
		readable, sure := 0, 0
		for i := range shards {
			shards[i] = Standing(rapid.IntRange(int(Unknown), int(Pending)).Draw(t, "standing"))
			if !shards[i].missing() {
				readable++
			}
			if shards[i] == Well || shards[i] == Leaving {
				sure++
			}
		}
		p := Decide(c, shards)
		for _, i := range p.Make {
			if !shards[i].missing() {
				t.Fatalf("a shard that is %s is made anew", shards[i])
			}
		}
		for _, i := range p.Move {
			if shards[i] != Leaving {
				t.Fatalf("a shard that is %s is moved", shards[i])
			}
		}
		switch {
		case readable < c.K && len(p.Make)+len(p.Move) > 0:
			t.Fatal("places are given up of a slab that can't be read")
		case readable < c.K && p.Urgency != Beyond:
			t.Fatal("it can't be read and isn't called that")
		case readable >= c.K && readable < Enough(c) && len(p.Make) != c.N-readable:
			t.Fatalf("%d of %d are left and %d are made", readable, c.N, len(p.Make))
		case sure >= Enough(c) && p.Urgency >= Due:
			t.Fatalf("%d are surely there, and it is %s", sure, p.Urgency)
		}
		// One more lost is never less urgent.
		for i, s := range shards {
			if !s.missing() {
				worse := slices.Clone(shards)
				worse[i] = Gone
				if Decide(c, worse).Urgency < p.Urgency {
					t.Fatal("it got less urgent with a shard less")
				}
			}
		}
	})
}

var (
	rules = Rules{
		Patience: time.Hour, GiveUp: 24 * time.Hour, Contacts: 4, Refusals: 3, Shun: 14 * 24 * time.Hour, Audit: 14 * 24 * time.Hour, Backoff: time.Hour, MostDelay: 24 * time.Hour,
	}
	noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	good = Lease{Known: true}
)

// told is a host that gave these answers, one every step.
func told(h Host, step time.Duration, answers ...Answer) (Host, time.Time) {
	now := noon
	for _, a := range answers {
		now = now.Add(step)
		h = h.Hear(a, now, rules)
	}
	return h, now
}

func TestHowAHostComesToStand(t *testing.T) {
	many := func(a Answer, n int) []Answer { return slices.Repeat([]Answer{a}, n) }
	for _, tt := range []struct {
		name    string
		step    time.Duration
		answers []Answer
		lease   Lease
		want    Standing
	}{
		{"never asked", time.Minute, nil, good, Unknown},
		{"it served", time.Minute, many(Served, 1), good, Well},
		{"silent once", time.Minute, []Answer{Served, Silent}, good, Unknown},
		{"silent often, not long", time.Minute, many(Silent, 30), good, Unknown},
		{"silent long, not often", 30 * time.Minute, many(Silent, 3), good, Unknown},
		{"silent long and often", 20 * time.Minute, many(Silent, 4), good, Away},
		{"one answer isn't a return", 20 * time.Minute, append(many(Silent, 4), Served), good, Away},
		{"two are", 20 * time.Minute, append(many(Silent, 4), Served, Served), good, Well},
		{"silent for good", time.Hour, many(Silent, 26), good, Gone},
		{"trouble of our own says nothing", time.Hour, append([]Answer{Served}, many(Nothing, 50)...), good, Well},
		{"refusing now and again", 25 * time.Minute, []Answer{Refused, Refused, Served, Refused, Refused}, good, Well},
		{"refusing always", 30 * time.Minute, many(Refused, 3), good, Gone},
		{"refusing in a short time", time.Minute, many(Refused, 9), good, Well},
		{"its lease has closed", time.Minute, many(Served, 1), Lease{Known: true, Closed: true}, Gone},
		{"its lease is ending", time.Minute, many(Served, 1), Lease{Known: true, Ending: true}, Leaving},
		{"too dear from now on", time.Minute, many(Served, 1), Lease{Known: true, TooDear: true}, Leaving},
		{"the ledger shows no lease", time.Minute, many(Served, 1), Lease{}, Unknown},
	} {
		h, now := told(Host{}, tt.step, tt.answers...)
		if got := Stand(h, tt.lease, now, rules); got != tt.want {
			t.Errorf("%s: %s, want %s (%+v)", tt.name, got, tt.want, h)
		}
	}
}

func TestDelaysDoubleUpToTheMost(t *testing.T) {
	for failed, want := range map[int]time.Duration{1: time.Hour, 2: 2 * time.Hour, 4: 8 * time.Hour, 6: 24 * time.Hour, 1000: 24 * time.Hour} {
		if got := rules.Delay(failed); got != want {
			t.Errorf("after %d failures %s, want %s", failed, got, want)
		}
	}
}
