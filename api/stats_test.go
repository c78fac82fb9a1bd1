package api_test

import (
	"testing"
	"time"

	"hearth/api"
)

// What grows is told of one run that was seen twice, and of nothing else: a figure that
// isn't known is none, and not zero.
func TestRatesAreOfOneRunSeenTwice(t *testing.T) {
	at := time.Unix(1_900_000_000, 0)
	first := api.Instance{
		ID: "a", Name: "web", State: "running", Started: at, Machine: api.Machine{CPU: 2000, Memory: 400},
		Usage: api.Usage{CPU: 10_000_000_000, Memory: 50, NetIn: 1000, Taken: at.Add(time.Minute)},
	}
	then := first
	then.Usage = api.Usage{CPU: 13_000_000_000, Memory: 100, Pids: 7, NetIn: 5000, NetOut: 8, Taken: at.Add(time.Minute + 2*time.Second)}
	list := func(all ...api.Instance) api.Instances { return api.Instances{Instances: all} }
	s := api.Between(list(first), list(then)).Stats[0]
	if s.CPUPercent == nil || *s.CPUPercent != 150 || s.MemoryPercent != 25 || *s.NetInRate != 2000 || *s.NetOutRate != 4 || s.Over != 2_000_000_000 || s.Pids != 7 {
		t.Errorf("%+v", s)
	}
	for what, change := range map[string]func(was, is *api.Instance){
		"it has ended":               func(_, is *api.Instance) { is.State = "exited" },
		"it was paused":              func(was, _ *api.Instance) { was.State = "paused" },
		"it runs anew":               func(_, is *api.Instance) { is.Started = at.Add(time.Second) },
		"another has its name":       func(was, _ *api.Instance) { was.ID = "b" },
		"its host didn't answer":     func(was, _ *api.Instance) { was.Usage = api.Usage{} },
		"it didn't answer again":     func(_, is *api.Instance) { is.Usage = api.Usage{} },
		"both looks are at one time": func(was, is *api.Instance) { is.Usage.Taken = was.Usage.Taken },
	} {
		was, is := first, then
		change(&was, &is)
		if s := api.Between(list(was), list(is)).Stats[0]; s.CPUPercent != nil || s.NetInRate != nil || s.NetOutRate != nil || s.Over != 0 {
			t.Errorf("%s: %+v", what, s)
		}
	}
	then.Usage.CPU, then.Usage.NetIn = 1, 1 // a host that counts backwards
	if s := api.Between(list(first), list(then)).Stats[0]; *s.CPUPercent != 0 || *s.NetInRate != 0 {
		t.Errorf("%+v", s)
	}
	then.Machine.Memory = 0
	if s := api.Between(list(first), list(then)).Stats[0]; s.MemoryPercent != 0 {
		t.Errorf("%+v", s)
	}
}
