package api

import "time"

// Stats are what instances use at this time, by their hosts' word.
type Stats struct {
	Stats []Stat `json:"stats" nullable:"false"`
}

// A Stat is what one instance uses. What grows with time is measured between two looks;
// it is missing of one that didn't run at both.
type Stat struct {
	Name          string   `json:"name"`
	Host          string   `json:"host"`
	State         string   `json:"state" doc:"As of an instance"`
	Reason        string   `json:"reason,omitempty" doc:"Why it isn't running"`
	Machine       Machine  `json:"machine" doc:"What is reserved: the limits"`
	Over          int64    `json:"over,omitempty" doc:"Nanoseconds between the two looks"`
	CPUPercent    *float64 `json:"cpu_percent,omitempty" doc:"100 is one core"`
	Memory        uint64   `json:"memory" doc:"Bytes"`
	MemoryPercent float64  `json:"memory_percent" doc:"Of its machine's"`
	Pids          uint32   `json:"pids"`
	NetIn         uint64   `json:"net_in" doc:"Bytes since it started"`
	NetOut        uint64   `json:"net_out" doc:"Bytes since it started"`
	NetInRate     *float64 `json:"net_in_rate,omitempty" doc:"Bytes in a second"`
	NetOutRate    *float64 `json:"net_out_rate,omitempty" doc:"Bytes in a second"`
}

// Between is what instances have used from one look at them to the next.
func Between(before, after Instances) Stats {
	was := map[string]Instance{}
	for _, i := range before.Instances {
		was[i.ID] = i
	}
	out := Stats{Stats: make([]Stat, len(after.Instances))}
	for n, i := range after.Instances {
		s := Stat{
			Name: i.Name, Host: i.Host, State: i.State, Reason: i.Reason, Machine: i.Machine,
			Memory: i.Usage.Memory, Pids: i.Usage.Pids, NetIn: i.Usage.NetIn, NetOut: i.Usage.NetOut,
		}
		if i.Machine.Memory > 0 {
			s.MemoryPercent = 100 * float64(i.Usage.Memory) / float64(i.Machine.Memory)
		}
		s.since(was[i.ID], i)
		out.Stats[n] = s
	}
	return out
}

// since fills in what needs two looks at one run of an instance.
func (s *Stat) since(was, is Instance) {
	over := is.Usage.Taken.Sub(was.Usage.Taken)
	if was.Usage.Taken.IsZero() || over <= 0 || was.State != "running" || is.State != "running" || !was.Started.Equal(is.Started) {
		return
	}
	seconds := over.Seconds()
	rate := func(was, is uint64) *float64 { r := float64(is-min(was, is)) / seconds; return &r }
	cpu := max(0, 100*time.Duration(is.Usage.CPU-was.Usage.CPU).Seconds()/seconds)
	s.Over, s.CPUPercent = over.Nanoseconds(), &cpu
	s.NetInRate, s.NetOutRate = rate(was.Usage.NetIn, is.Usage.NetIn), rate(was.Usage.NetOut, is.Usage.NetOut)
}
