package node

import (
	"runtime"
	"strings"
	"testing"

	"hearth/core/quote"
	"hearth/internal/owner"
)

const gib = 1 << 30

func TestHowManyCallsRunAtOnce(t *testing.T) {
	for _, c := range []struct {
		name     string
		now      held
		weighed  bool
		reserved uint64
		most     int
		room     bool
	}{
		{"as many as there are", held{}, false, 0, 0, true},
		{"one for each core that is begun", held{allowance: allowance{cpu: 1500}}, true, 0, 2, true},
		{"less than a core runs one", held{allowance: allowance{cpu: 100}}, true, 0, 1, true},
		{"slow: they have the least weight", held{pace: pace{slow: true}}, true, 0, 0, true},
		{"slow, where nothing has a weight", held{pace: pace{slow: true}}, false, 0, 1, true},
		{"as many as have memory", held{allowance: allowance{memory: 2 * gib}}, true, 0, 8, true},
		{"beside instances", held{allowance: allowance{memory: 2 * gib}}, true, gib + gib/2, 2, true},
		{"the fewer of both", held{allowance: allowance{cpu: 1000, memory: 2 * gib}}, true, 0, 1, true},
		{"none where instances have it all", held{allowance: allowance{memory: 2 * gib}}, true, 3 * gib, 1, false},
		{"none where less is left than one may have", held{allowance: allowance{memory: gib / 8}}, true, 0, 1, false},
	} {
		if most, room := callsAtOnce(c.now, c.weighed, c.reserved, gib/4); most != c.most || room != c.room {
			t.Errorf("%s: %d, %v", c.name, most, room)
		}
	}
}

// What can't be kept as it is wished is said in plain words, and nothing else is.
func TestAnOwnerIsToldWhatCantBeKept(t *testing.T) {
	two := quote.Units{2 * quote.GiB, 3 * gib}
	for _, c := range []struct {
		name                          string
		now                           held
		when                          string
		grouped, instances, functions bool
		reserved                      quote.Units
		want                          []string
	}{
		{"nothing is wished", held{}, paceGo, false, true, true, two, nil},
		{"there is enough", held{allowance: allowance{cpu: 2000, memory: 4 * gib}}, paceGo, true, true, true, two, nil},
		{"less than is reserved", held{allowance: allowance{cpu: 1500, memory: gib}}, paceGo, true, true, true, two, []string{
			"instances have reserved 2 cores and share 1.5", "instances have reserved 3.0 GiB of memory and keep it",
		}},
		{"no control groups", held{allowance: allowance{cpu: 2500}}, paceGo, false, true, true, two, []string{"isn't slowed down", "run 3 at once at most"}},
		{"no control groups, and only functions", held{allowance: allowance{cpu: 2500}}, paceGo, false, false, true, quote.Units{}, []string{"run 3 at once at most"}},
		{"slow without control groups, before it is needed", held{}, paceSlow, false, true, false, two, []string{"isn't slowed down"}},
		{"slow without control groups, functions", held{}, paceSlow, false, false, true, two, []string{"one at a time"}},
	} {
		got := notes(c.now, limits{when: c.when}, c.grouped, c.instances, c.functions, c.reserved)
		if !owner.Known && c.when != paceGo {
			got = got[:len(got)-1] // said below
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %q", c.name, got)
			continue
		}
		for i, part := range c.want {
			if !strings.Contains(got[i], part) {
				t.Errorf("%s: %q, want %q", c.name, got[i], part)
			}
		}
	}
	said := notes(held{}, limits{when: pacePause}, true, true, true, quote.Units{})
	if owner.Known != (len(said) == 0) || !owner.Known && !strings.Contains(said[0], runtime.GOOS) {
		t.Errorf("who is watched for: %q", said)
	}
}

// Two hosts on one machine have groups of their own, and each the same after a restart.
func TestAHostsGroupIsItsOwn(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	if groupName(a) != groupName(a+"/.") || groupName(a) == groupName(b) {
		t.Errorf("%s %s", groupName(a), groupName(b))
	}
}
