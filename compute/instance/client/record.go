package client

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"hearth/compute/wire"
	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/internal/bounded"
)

// An Instance is what the account knows of one: where it is, and what was signed.
type Instance struct {
	Name    string
	ID      instance.ID
	Host    string // its account
	Lease   uint64
	Image   string // as it was named; Spec has the digest
	Spec    instance.Spec
	Created int64 // unix seconds
	Leaving int64 // unix seconds: since when its host has failed to remove it; 0: it stays
}

const (
	major     = 1
	leaving   = 2 // the major of one that is to be gone: Leaving at its end
	maxRecord = 1 << 20
	named     = "instances/" // what records are kept under, by name
	maxImage  = 512          // bytes of an image's name
)

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (i Instance) check() error {
	switch {
	case !nameForm.MatchString(i.Name):
		return fault.New(fault.BadName, "instance %q: a name has 1 to 63 of a-z, 0-9 and -, and begins and ends with a letter or digit", fault.Brief(i.Name))
	case len(i.Image) > maxImage:
		return fault.New(fault.BadName, "instance %s: its image's name has %d bytes, at most %d are allowed", i.Name, len(i.Image), maxImage)
	}
	if n := len(i.Spec.Encode()); n > canon.MaxBytes { // a record that can't be read any more would be paid for ever
		return fault.New(fault.TooLarge, "instance %s: its arguments, variables and destinations take %d bytes, at most %d are allowed", i.Name, n, canon.MaxBytes)
	}
	return i.Spec.Check()
}

func (i Instance) encode() []byte {
	w := canon.New(major)
	if i.Leaving != 0 {
		w = canon.New(leaving)
	}
	w.String(i.Name).Fixed(i.ID[:]).String(i.Host).Uint64(i.Lease).String(i.Image).Int64(i.Created).Blob(i.Spec.Encode())
	if i.Leaving != 0 {
		w.Int64(i.Leaving)
	}
	return w.Bytes()
}

func decode(b []byte) (i Instance, err error) {
	version := byte(major)
	if len(b) > 0 && b[0] == leaving {
		version = leaving
	}
	r := canon.Read(b, version)
	i.Name = r.String(64)
	r.Fixed(i.ID[:])
	i.Host, i.Lease, i.Image, i.Created = r.String(128), r.Uint64(), r.String(maxImage), r.Int64()
	spec := r.Blob(maxRecord)
	if version == leaving {
		i.Leaving = r.Int64()
	}
	if err := r.Done(); err != nil {
		return Instance{}, fault.New(fault.CodeOf(err), "read record of an instance: %w", err)
	}
	if i.Spec, err = instance.Decode(spec); err != nil {
		return Instance{}, err
	}
	return i, i.check()
}

func (x *Client) keep(ctx context.Context, i Instance) error {
	if err := x.c.Records.Keep(ctx, named+i.Name, i.encode()); err != nil {
		return fmt.Errorf("keep record of instance %s: %w", i.Name, err)
	}
	return nil
}

// read gives an instance's record; fault.NoInstance where there is none.
func (x *Client) read(ctx context.Context, name string) (Instance, error) {
	if !nameForm.MatchString(name) {
		return Instance{}, Instance{Name: name}.check()
	}
	b := &bounded.Buffer{Most: maxRecord, Err: fault.New(fault.TooLarge, "a record has more than %d bytes", maxRecord)}
	err := x.c.Records.Read(ctx, named+name, b)
	if fault.CodeOf(err) == fault.NotFound {
		return Instance{}, fault.New(fault.NoInstance, "instance %s: the account has none of this name", name)
	}
	if err != nil {
		return Instance{}, fmt.Errorf("read record of instance %s: %w", name, err)
	}
	return decode(b.Bytes())
}

// find is read, and the bargain that the instance is under.
func (x *Client) find(ctx context.Context, name string) (Instance, Pair, error) {
	i, err := x.read(ctx, name)
	if err != nil {
		return i, nil, err
	}
	pair, err := x.c.Market.Lease(ctx, i.Lease)
	if code := fault.CodeOf(err); code == fault.NoLease || code == fault.LeaseClosed {
		return i, nil, fault.New(fault.NoInstance, "instance %s: its lease has ended, and it with it: %w", name, err)
	}
	return i, pair, err
}

// A Standing is how an instance stands by its host's word.
type Standing struct {
	Instance
	State         string // reserved, running, paused, suspended, exited; unreachable and gone are our own words
	Exit          int
	Reason        string
	Started       time.Time
	Ended         time.Time
	CPU           time.Duration
	Memory        uint64
	Pids          uint32
	NetIn, NetOut uint64
	Taken         time.Time         // when its host has said so
	SSHKey        ed25519.PublicKey // what its host shows when it speaks SSH; nil: not known
}

const (
	listTime = 10 * time.Second
	listHost = 8 // asked at once
)

// List says how all instances stand. A host that doesn't answer in time has its
// instances shown as unreachable: that isn't gone.
func (x *Client) List(ctx context.Context) ([]Standing, error) {
	names, err := x.c.Records.Names(ctx, named)
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	out := make([]Standing, len(names))
	leases := map[uint64][]int{}
	for n, name := range names {
		i, err := x.read(ctx, strings.TrimPrefix(name, named))
		if fault.CodeOf(err) == fault.NoInstance {
			continue // removed this moment
		}
		if err != nil {
			return nil, err
		}
		out[n] = Standing{Instance: i, State: "gone"}
		leases[i.Lease] = append(leases[i.Lease], n)
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	var wg sync.WaitGroup
	slots := make(chan struct{}, listHost)
	for lease, which := range leases {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			x.ask(ctx, lease, out, which)
		})
	}
	wg.Wait()
	return slices.DeleteFunc(out, func(s Standing) bool { return s.Name == "" }), nil
}

// ask fills in how those of one lease stand.
func (x *Client) ask(ctx context.Context, lease uint64, out []Standing, which []int) {
	pair, err := x.c.Market.Lease(ctx, lease)
	var told *wire.Shown
	var roster instance.Roster
	if err == nil {
		told, roster, err = x.show(ctx, pair)
	}
	now := x.c.Now()
	for _, n := range which {
		s := &out[n]
		switch code := fault.CodeOf(err); {
		case code == fault.NoLease || code == fault.LeaseClosed:
			s.Reason = "its lease has ended"
		case err != nil:
			s.State, s.Reason = "unreachable", fault.Brief(err.Error())
		default:
			at := slices.IndexFunc(roster, func(e instance.Entry) bool { return e.ID == s.ID })
			if at < 0 {
				s.Reason = "its host doesn't have it"
				continue
			}
			s.fill(told.GetStanding()[at])
			s.Taken = now
			switch {
			case s.Leaving != 0:
				s.Reason = "its host hasn't removed it"
			case told.GetStanding()[at].GetWaits():
				s.Reason = "waits for its secrets: hearth instance start " + s.Name
			}
			if k := told.GetSshKey(); len(k) == ed25519.PublicKeySize {
				s.SSHKey = k
			}
		}
	}
}

func (s *Standing) fill(t *wire.Standing) {
	switch t.GetState() {
	case "reserved", "running", "paused", "suspended", "exited":
		s.State = t.GetState()
	default:
		s.State = "unknown"
	}
	s.Exit, s.Reason = int(t.GetExit()), fault.Brief(t.GetReason())
	s.Started, s.Ended = when(t.GetStarted()), when(t.GetEnded())
	s.CPU, s.Memory, s.Pids = time.Duration(min(t.GetCpu(), 1<<62)), t.GetMemory(), t.GetPids()
	s.NetIn, s.NetOut = t.GetNetIn(), t.GetNetOut()
}

func when(seconds int64) time.Time {
	if seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
