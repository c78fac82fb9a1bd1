package api

import "time"

// HostLimits are what a host's owner allows: of the line in each direction, of the
// machine, at which hours, while somebody uses it, and whether anything new is taken.
type HostLimits struct {
	Up         string    `json:"up" doc:"Sent at most in a second, like 2MB or 16Mbit; empty or none: no limit"`
	Down       string    `json:"down" doc:"Received at most in a second"`
	CPU        string    `json:"cpu,omitempty" doc:"Cores that all programs of others share, instances and functions together, like 1.5; empty or none: all"`
	Memory     string    `json:"memory,omitempty" doc:"Memory that they have in all, like 4GiB; empty or none: as under host.instances. What is signed already stays"`
	WhenActive string    `json:"when_active,omitempty" enum:"go,slow,pause" doc:"What becomes of them while somebody uses the machine; default go"`
	ActiveFor  string    `json:"active_for,omitempty" doc:"How long somebody counts as there after the last sign; default 5m"`
	Schedule   []string  `json:"schedule" nullable:"false" maxItems:"64" doc:"Hours in which something else holds, like 'mon-fri 08:00-18:00 up=1MB cpu=0.5', '22:00-06:00 pause', 'sat,sun 09:00-22:00 compute=pause'; the first that fits counts"`
	Paused     bool      `json:"paused" doc:"No new data, calls and instances; what is held is served and proven"`
	Now        LimitsNow `json:"now,omitzero" doc:"What holds at this hour; not read when limits are set"`
}

// LimitsNow are the limits of one moment.
type LimitsNow struct {
	Up      int64    `json:"up" doc:"Bytes a second; 0: no limit"`
	Down    int64    `json:"down" doc:"Bytes a second; 0: no limit"`
	Paused  bool     `json:"paused"`
	CPU     uint64   `json:"cpu,omitempty" doc:"Thousandths of a core that others' programs share; 0: no limit"`
	Memory  uint64   `json:"memory,omitempty" doc:"Bytes that they have in all; 0: no limit"`
	Compute string   `json:"compute,omitempty" doc:"What others' programs may do: go, slow (they give way to all else), closed (nothing new is taken), closed and slow, paused (nothing new, and what runs stands still)"`
	Active  string   `json:"active,omitempty" doc:"By what sign somebody uses the machine; empty: nobody does, or it isn't looked at"`
	Notes   []string `json:"notes,omitempty" doc:"What can't be kept as it is wished, and why"`
}

// An Earning is one payment that the ledger has made to this host.
type Earning struct {
	Time       time.Time `json:"time" doc:"When this node learnt of it"`
	Lease      uint64    `json:"lease"`
	Client     string    `json:"client"`
	Gross      Money     `json:"gross" doc:"What the lease paid"`
	Commission Money     `json:"commission"`
	Net        Money     `json:"net" doc:"What came to the host, its bond included"`
}

// Earnings are a host's payments, the oldest first.
type Earnings struct {
	Earnings []Earning `json:"earnings" nullable:"false"`
	Net      Money     `json:"net" doc:"The sum of these"`
}

// A Class is what a host's machine can do, as it has measured itself.
type Class struct {
	Core      uint64    `json:"core" doc:"Gas that one core computes in a second"`
	All       uint64    `json:"all" doc:"And all of them at once"`
	Cores     uint64    `json:"cores"`
	Memory    uint64    `json:"memory" doc:"Bytes"`
	Copy      uint64    `json:"copy" doc:"Bytes of memory copied in a second"`
	DiskWrite uint64    `json:"disk_write" doc:"Bytes written in a second, until they are on the disk"`
	DiskRead  uint64    `json:"disk_read" doc:"Bytes read in a second"`
	DiskFree  uint64    `json:"disk_free" doc:"Bytes"`
	GPUs      []GPU     `json:"gpus" nullable:"false" doc:"Empty: none"`
	Measured  time.Time `json:"measured"`
}

// A GPU is a processor for graphics or the like.
type GPU struct {
	Vendor string `json:"vendor"`
	Model  string `json:"model" doc:"Its name, or an id"`
	Memory uint64 `json:"memory" doc:"Bytes; 0: not known"`
}

// Measured is a machine's class, and what it lacks to be a host of its network.
type Measured struct {
	Class
	Short []Shortfall `json:"short" nullable:"false" doc:"Empty: nothing is lacking"`
}

// A Shortfall is one thing of which a machine has too little.
type Shortfall struct {
	What   string `json:"what"`
	Reason string `json:"reason" doc:"What there is, and what is needed"`
	Fix    string `json:"fix" doc:"The cheapest that helps"`
}
