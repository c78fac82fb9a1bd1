package api

import (
	"fmt"
	"time"
)

// An InstanceWish says what is to run, and where.
type InstanceWish struct {
	Name    string   `json:"name" maxLength:"63" doc:"1 to 63 of a-z, 0-9 and -"`
	Image   string   `json:"image" maxLength:"512" doc:"NAME, NAME:TAG or NAME@sha256:... of the account's images"`
	Args    []string `json:"args,omitempty" doc:"Instead of the image's entrypoint and command"`
	Env     []string `json:"env,omitempty" doc:"NAME=value, after the image's own"`
	Dir     string   `json:"dir,omitempty" maxLength:"256" doc:"To start in; empty: the image's"`
	User    string   `json:"user,omitempty" maxLength:"256" doc:"uid, uid:gid or names of the image; empty: the image's"`
	Machine `json:"machine"`
	Pids    uint64   `json:"pids,omitempty" doc:"Processes and threads; 0: 512"`
	Egress  string   `json:"egress,omitempty" enum:"none,allow,open" doc:"What it may reach; none unless it is said"`
	Allowed []string `json:"allowed,omitempty" doc:"With allow: names of hosts, addresses and prefixes"`
	Host    string   `json:"host,omitempty" doc:"The host's account; empty: the cheapest that has room"`
	Most    *Money   `json:"max_month,omitempty" doc:"Refuse what costs more in 30 days, before anything is reserved"`
	Secrets []Secret `json:"secrets,omitempty" maxItems:"32" doc:"Files of /run/secrets: in no spec, and on no host's disk"`
}

// MaxWish is how many bytes an InstanceWish has at most as JSON.
const MaxWish = 2 << 20

// A Secret is a file of /run/secrets inside an instance. Printed it shows its name alone.
type Secret struct {
	Name  string `json:"name" maxLength:"128" doc:"Of a-z, A-Z, 0-9, -, _ and ."`
	Value []byte `json:"value" doc:"At most 64 KiB, 1 MiB in all"`
}

// Format writes the name.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "secret %q", s.Name) }

// A Machine is what is reserved.
type Machine struct {
	CPU    uint64 `json:"cpu" minimum:"1" doc:"Thousandths of a core"`
	Memory uint64 `json:"memory" doc:"Bytes"`
	Disk   uint64 `json:"disk" doc:"Bytes that may be written"`
}

// Bids are what hosts ask for a machine.
type Bids struct {
	Spending
	Bids []Bid `json:"bids" nullable:"false" doc:"The cheapest first; then those that are slower than they claim, then those that can't be had"`
}

// A Bid is one host's answer.
type Bid struct {
	Host    string `json:"host"`
	Region  string `json:"region,omitempty"`
	Month   Money  `json:"month" doc:"For 30 days"`
	Latency int64  `json:"latency" doc:"Nanoseconds, of the question"`
	Free    uint64 `json:"free" doc:"Thousandths of a core that nobody has reserved, by its word"`
	Why     string `json:"why,omitempty" doc:"It can't be had"`
	Class   *Class `json:"class,omitempty" doc:"What its machine can do, by its word; absent: it doesn't say"`
	Speed   uint64 `json:"speed,omitempty" doc:"Gas that a core of it has computed in a second, by this node's own measurement; absent: not measured"`
	Slow    bool   `json:"slow,omitempty" doc:"By that measurement it is slower than half of what it claims, where others aren't"`
}

// An Instance is a program in a sandbox on a host's machine.
type Instance struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"`
	Image   string    `json:"image" doc:"As it was named"`
	Digest  string    `json:"digest" doc:"Of the image's manifest"`
	Host    string    `json:"host"`
	Lease   uint64    `json:"lease"`
	Machine Machine   `json:"machine"`
	State   string    `json:"state" doc:"reserved, running, paused (its time isn't paid), suspended, exited, unreachable (it may run), gone, unknown"`
	Exit    int       `json:"exit" doc:"Status, of one that exited"`
	Reason  string    `json:"reason,omitempty" doc:"Why it isn't running"`
	Month   Money     `json:"month" doc:"For 30 days"`
	Created time.Time `json:"created"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Usage   Usage     `json:"usage"`
	HostKey string    `json:"host_key,omitempty" doc:"What its host shows when it speaks SSH, as in known_hosts"`
}

// Usage is what an instance has used, by its host's word.
type Usage struct {
	CPU    int64     `json:"cpu" doc:"Nanoseconds"`
	Memory uint64    `json:"memory" doc:"Bytes now"`
	Pids   uint32    `json:"pids"`
	NetIn  uint64    `json:"net_in" doc:"Bytes"`
	NetOut uint64    `json:"net_out" doc:"Bytes"`
	Taken  time.Time `json:"taken" doc:"When its host has said so"`
}

// Instances are those of the account.
type Instances struct {
	Instances []Instance `json:"instances" nullable:"false"`
}

// A Program is what runs inside an instance beside its first program.
type Program struct {
	Args []string
	Env  []string // NAME=value
	Dir  string
	User string
	TTY  bool
	Size Size
}

// A Size is that of a terminal.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}
