package machine_test

import (
	"testing"

	"hearth/core/machine"
)

func TestWhoIsSlowerThanItClaims(t *testing.T) {
	one, two := machine.Program{1}, machine.Program{2}
	type programs = map[machine.Program]uint64
	for _, tt := range []struct {
		name   string
		claims map[string]uint64
		speeds map[string]programs
		slow   string // the one that is; "": none
	}{
		{"nobody was measured", map[string]uint64{"a": 100}, nil, ""},
		{"both are as fast as they say", map[string]uint64{"a": 100, "b": 50}, map[string]programs{"a": {one: 110}, "b": {one: 60}}, ""},
		{"one is at less than half", map[string]uint64{"a": 100, "b": 100}, map[string]programs{"a": {one: 100}, "b": {one: 49}}, "b"},
		{"half is enough", map[string]uint64{"a": 100, "b": 100}, map[string]programs{"a": {one: 100}, "b": {one: 50}}, ""},
		{"faster than claimed makes nobody else slow", map[string]uint64{"a": 10, "b": 100}, map[string]programs{"a": {one: 100}, "b": {one: 60}}, ""},
		{"a program that is slow everywhere", map[string]uint64{"a": 100, "b": 50}, map[string]programs{"a": {one: 20}, "b": {one: 11}}, ""},
		{"slow even for that program", map[string]uint64{"a": 100, "b": 100}, map[string]programs{"a": {one: 20}, "b": {one: 9}}, "b"},
		{"one host alone isn't compared", map[string]uint64{"a": 100}, map[string]programs{"a": {one: 1}}, ""},
		{"nor are hosts with different programs", map[string]uint64{"a": 100, "b": 100}, map[string]programs{"a": {one: 100}, "b": {two: 1}}, ""},
		{"slow with one and not with the other", map[string]uint64{"a": 100, "b": 100}, map[string]programs{"a": {one: 100, two: 100}, "b": {one: 10, two: 90}}, ""},
		{"slow with both", map[string]uint64{"a": 100, "b": 100}, map[string]programs{"a": {one: 100, two: 100}, "b": {one: 10, two: 40}}, "b"},
		{"who claims nothing can't lie", map[string]uint64{"a": 100}, map[string]programs{"a": {one: 100}, "b": {one: 1}}, ""},
		{"who claims a lot is held to it", map[string]uint64{"a": 100, "b": 1000}, map[string]programs{"a": {one: 100}, "b": {one: 150}}, "b"},
	} {
		got := machine.Judge(tt.claims, tt.speeds)
		if len(got) != len(tt.speeds) {
			t.Errorf("%s: %v", tt.name, got)
		}
		for host, v := range got {
			if v.Slow != (host == tt.slow) {
				t.Errorf("%s: %s: %+v", tt.name, host, v)
			}
		}
	}
	v := machine.Judge(nil, map[string]map[machine.Program]uint64{"a": {one: 3, two: 7}})
	if v["a"] != (machine.Verdict{Speed: 7}) {
		t.Errorf("%+v", v)
	}
}
