package api

import "time"

// HostLimits are what a host's owner allows: in each direction, at which hours, and
// whether new data is taken at all.
type HostLimits struct {
	Up       string    `json:"up" doc:"Sent at most in a second, like 2MB or 16Mbit; empty or none: no limit"`
	Down     string    `json:"down" doc:"Received at most in a second"`
	Schedule []string  `json:"schedule" nullable:"false" maxItems:"64" doc:"Hours in which something else holds, like 'mon-fri 08:00-18:00 up=1MB down=4MB' or '22:00-06:00 pause'; the first that fits counts"`
	Paused   bool      `json:"paused" doc:"No new data; what is held is served and proven"`
	Now      LimitsNow `json:"now,omitzero" doc:"What holds at this hour; not read when limits are set"`
}

// LimitsNow are the limits of one moment.
type LimitsNow struct {
	Up     int64 `json:"up" doc:"Bytes a second; 0: no limit"`
	Down   int64 `json:"down" doc:"Bytes a second; 0: no limit"`
	Paused bool  `json:"paused"`
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
