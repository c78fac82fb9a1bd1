// Package host rents out machines: it keeps what leases reserve of this one, runs
// their instances in the engine's sandboxes, and lets their clients in. It starts
// nothing that no statement covers, keeps nothing running whose time isn't paid, and
// destroys nothing that it doesn't know to be over: what can't be reached may be alive.
package host

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"

	"hearth/compute/image"
	"hearth/compute/sandbox"
	"hearth/compute/sandbox/logfile"
	"hearth/core/fault"
	"hearth/core/instance"
	"hearth/core/quote"
	"hearth/market/gate"
)

// Protocol is the name of the exchange between client and host.
const Protocol = "/hearth/instance/1"

// An Engine runs instances, which outlive it.
type Engine interface {
	Start(ctx context.Context, id string, s sandbox.Spec) error
	Stop(ctx context.Context, id string, grace time.Duration) (sandbox.State, error)
	Remove(ctx context.Context, id string) error
	Exec(ctx context.Context, id string, x sandbox.Exec, s sandbox.Streams) (exit int, err error)
	Logs(ctx context.Context, id string, o sandbox.LogOptions) (*logfile.Reader, error)
	Stats(ctx context.Context, id string) (sandbox.Usage, error)
	Dial(ctx context.Context, id string, port uint16) (net.Conn, error)
	Pause(ctx context.Context, id string) error
	Resume(ctx context.Context, id string) error
	List(ctx context.Context) ([]sandbox.State, error)
	Suspender
}

// Images unpacks images once for all their instances. release is called when an
// instance needs it no more.
type Images interface {
	Get(ctx context.Context, d digest.Digest, from image.Source) (img image.Image, release func(), err error)
}

// Time knows whether the time of what a lease reserves is paid for now.
type Time interface {
	Runs(ctx context.Context, lease uint64) error
	// Takes says whether a lease may reserve more: it isn't ending and holds money.
	Takes(ctx context.Context, lease uint64) error
}

// A Config is what a Host needs. A zero field takes its stated default.
type Config struct {
	Dir      string             // required; holds what is reserved
	Engine   Engine             // required
	Images   Images             // required
	Meter    gate.Meter         // required
	Leases   gate.Leases        // required
	Time     Time               // required
	ChainID  string             // required: grants are signed for it
	Key      ed25519.PrivateKey // required: the host's identity, which the key for SSH is derived from
	All      quote.Units        // required: what this machine gives in all
	Rule     func() Rule        // what the owner allows now; default: All
	Patience time.Duration      // for a payment that comes beside the bytes, before which its lease may have to be funded; default 20 s
	Idle     time.Duration      // between two orders of a stream; default 2 min
	Pause    time.Duration      // for a piece of bytes in either direction; default 30 s
	Look     time.Duration      // between two looks at what is paid; default 5 s
	Beat     time.Duration      // how often a stream that is carried says that it is there; default 30 s
	PerPeer  int                // requests of one peer at once; default 32
	Total    int                // requests at once; default 256
	Registry prometheus.Registerer
	Log      *slog.Logger     // default: discard
	Now      func() time.Time // default: time.Now
}

// A Rule is what the host's owner allows at one moment.
type Rule struct {
	All    quote.Units // what this machine gives in all; what is signed beyond it stays
	CPU    uint64      // thousandths of a core that instances share; 0: as many as they have
	Closed bool        // nothing new is taken
	Held   string      // why all instances stand still for the owner's sake; empty: they don't
}

// A Host is what the market sells machines of, and what answers their clients. It is
// safe for concurrent use.
type Host struct {
	c      Config
	book   *book
	gate   *gate.Gate
	sshKey ed25519.PrivateKey

	mu   sync.Mutex
	busy map[instance.ID]bool   // being started, stopped or destroyed
	held map[instance.ID]func() // images of what has been started
	why  map[instance.ID]string // it doesn't run
	sore map[instance.ID]sore   // can't be kept as it is paid
	// secrets of what has been started since this program was, in memory only.
	secrets map[instance.ID]instance.Secrets
}

// sore is an instance that can't be kept as it is paid: why, and when what was lost is
// run again.
type sore struct {
	why   string
	pause time.Duration
	again time.Time
}

// mostPause is the longest between two attempts to run again what was lost.
const mostPause = 5 * time.Minute

// Open reads what is reserved. Run keeps it running.
func Open(c Config) (*Host, error) {
	if c.Dir == "" || c.Engine == nil || c.Images == nil || c.Meter == nil || c.Leases == nil || c.Time == nil || c.ChainID == "" || len(c.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("rent out machines: Dir, Engine, Images, Meter, Leases, Time, ChainID and Key are required")
	}
	for _, d := range []struct {
		v    *time.Duration
		zero time.Duration
	}{{&c.Patience, 20 * time.Second}, {&c.Idle, 2 * time.Minute}, {&c.Pause, 30 * time.Second}, {&c.Look, 5 * time.Second}, {&c.Beat, beat}} {
		if *d.v == 0 {
			*d.v = d.zero
		}
	}
	if c.PerPeer == 0 {
		c.PerPeer = 32
	}
	if c.Total == 0 {
		c.Total = 256
	}
	if c.Rule == nil {
		c.Rule = func() Rule { return Rule{All: c.All} }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	b, err := openBook(filepath.Join(c.Dir, "leases"), c.Now)
	if err != nil {
		return nil, err
	}
	key, err := sshKey(c.Key)
	if err != nil {
		return nil, err
	}
	h := &Host{c: c, book: b, sshKey: key, busy: map[instance.ID]bool{}, held: map[instance.ID]func(){}, why: map[instance.ID]string{}, sore: map[instance.ID]sore{}, secrets: map[instance.ID]instance.Secrets{}}
	h.gate = gate.New(gate.Config{
		Kind: quote.Compute, ChainID: c.ChainID, Leases: c.Leases, Meter: c.Meter, Patience: c.Patience, Pause: c.Pause,
		PerPeer: c.PerPeer, Total: c.Total, Now: func() int64 { return c.Now().Unix() },
	})
	if c.Registry != nil {
		if err := c.Registry.Register(figures{h}); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Left is what of this machine nobody has reserved.
func (h *Host) Left() quote.Units { return h.book.free(h.c.Rule().All) }

// Free is how many 2^30ths of a core are left; a host that takes nothing new has none.
func (h *Host) Free() uint64 {
	r := h.c.Rule()
	if r.Closed {
		return 0
	}
	return h.book.free(r.All)[0]
}

// Reserved is what is reserved of this machine.
func (h *Host) Reserved() quote.Units {
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	return h.book.reserved(0)
}

// Cores is what an instance may use of this machine by itself, in thousandths of a core,
// by its name at the engine.
func (h *Host) Cores(name string) (thousandths uint64, known bool) {
	id, err := parseID(name)
	if err != nil {
		return 0, false
	}
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	for _, a := range h.book.leases {
		if _, covered := a.roster.Get(id); covered {
			return a.specs[id].CPU, true
		}
	}
	return 0, false
}

// Covers says whether a change of what a lease reserves is staged.
func (h *Host) Covers(lease uint64, units quote.Units, root [32]byte) error {
	return h.book.covers(lease, units, root)
}

// Commit makes a staged change the truth. What is removed by it is destroyed soon.
func (h *Host) Commit(lease uint64, _ quote.Units, root [32]byte) error {
	return h.book.commit(lease, root)
}

// Reconcile settles after a crash whether a staged change took effect.
func (h *Host) Reconcile(lease uint64, root [32]byte) error { return h.book.commit(lease, root) }

// Drop ends all instances of a lease.
func (h *Host) Drop(lease uint64) error { return h.book.drop(lease) }

// Run keeps running what is paid, and ends what is over, until ctx ends. Instances
// go on after that.
func (h *Host) Run(ctx context.Context) {
	t := time.NewTicker(h.c.Look)
	defer t.Stop()
	for {
		h.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// look makes what runs what is paid for.
func (h *Host) look(ctx context.Context) {
	if err := h.book.finish(); err != nil {
		h.c.Log.Warn("write down what is signed", "err", err)
	}
	covered, gone := h.book.all()
	states, err := h.states(ctx)
	if err != nil {
		h.c.Log.Warn("look at instances", "err", err)
		return
	}
	for lease, ids := range gone {
		for _, id := range ids {
			if err := h.destroy(ctx, lease, id); err != nil && ctx.Err() == nil {
				h.c.Log.Warn("destroy instance", "lease", lease, "instance", nameOf(id), "err", err)
			}
		}
	}
	for lease, ids := range covered {
		unpaid := h.runs(ctx, lease)
		for _, id := range ids {
			s, started := states[nameOf(id)]
			if !started {
				continue
			}
			switch {
			case unpaid != nil || !lostIn(s):
				err = h.settle(ctx, id, s, unpaid)
			case h.rests(id):
				continue
			default:
				err = h.start(ctx, lease, id, nowhere{}) // the machine went down under it
			}
			if ctx.Err() == nil && h.note(id, err) {
				h.c.Log.Warn("keep instance as it is paid", "lease", lease, "instance", nameOf(id), "err", err)
			}
		}
	}
}

// lostIn says whether an instance ended because the machine did.
func lostIn(s sandbox.State) bool { return s.Phase == sandbox.Ended && s.Reason == sandbox.Lost }

// rests says whether it is too early to run again what couldn't be.
func (h *Host) rests(id instance.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.c.Now().Before(h.sore[id].again)
}

// note keeps in mind what came of keeping an instance as it is paid, and explains it.
// Pauses grow while it fails; news says that it does for another reason than before.
func (h *Host) note(id instance.ID, err error) (news bool) {
	if fault.CodeOf(err) == fault.Busy {
		return false // somebody is at it
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	was, failed := h.sore[id]
	if err == nil {
		delete(h.sore, id)
		if failed && h.why[id] == was.why {
			delete(h.why, id)
		}
		return false
	}
	now := sore{why: fault.Brief(err.Error()), pause: min(max(2*was.pause, h.c.Look), mostPause)}
	now.again = h.c.Now().Add(now.pause)
	h.sore[id], h.why[id] = now, now.why
	return now.why != was.why
}

// settle pauses what isn't to run, as for want of pay, and resumes what is again.
func (h *Host) settle(ctx context.Context, id instance.ID, s sandbox.State, unpaid error) error {
	if s.Phase != sandbox.Paused && (s.Phase != sandbox.Running || unpaid == nil) {
		return nil // who takes it for nothing is in the way of its client's orders
	}
	if !h.take(id) {
		return nil // its turn comes
	}
	defer h.give(id)
	switch {
	case unpaid != nil && s.Phase == sandbox.Running:
		h.explain(id, fault.Brief(unpaid.Error()))
		return h.c.Engine.Pause(ctx, nameOf(id))
	case unpaid != nil && s.Phase == sandbox.Paused:
		h.explain(id, fault.Brief(unpaid.Error())) // for another reason now, or since before a start
	case unpaid == nil && s.Phase == sandbox.Paused:
		h.explain(id, "")
		return h.c.Engine.Resume(ctx, nameOf(id))
	}
	return nil
}

// destroy ends an instance that no lease covers any more, and forgets it once that
// is done.
func (h *Host) destroy(ctx context.Context, lease uint64, id instance.ID) error {
	if !h.take(id) {
		return nil
	}
	defer h.give(id)
	if err := h.c.Engine.Remove(ctx, nameOf(id)); err != nil && fault.CodeOf(err) != fault.NotFound {
		return err
	}
	h.mu.Lock()
	release := h.held[id]
	delete(h.held, id)
	delete(h.why, id)
	delete(h.sore, id)
	h.mu.Unlock()
	h.dropSecrets(id)
	if release != nil {
		release()
	}
	return h.book.forget(lease, id)
}

// take makes the caller the only one that changes whether an instance runs.
func (h *Host) take(id instance.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy[id] {
		return false
	}
	h.busy[id] = true
	return true
}

func (h *Host) give(id instance.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.busy, id)
}

// explain notes for people why an instance doesn't run; empty: it does.
func (h *Host) explain(id instance.ID, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if why == "" {
		delete(h.why, id)
		return
	}
	h.why[id] = why
}

func (h *Host) reason(id instance.ID) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why[id]
}

// states are all instances that the engine knows, by name.
func (h *Host) states(ctx context.Context) (map[string]sandbox.State, error) {
	list, err := h.c.Engine.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]sandbox.State, len(list))
	for _, s := range list {
		out[s.ID] = s
	}
	return out, nil
}

// start runs an instance that a statement covers, also again one that has ended. To
// start what runs does nothing.
func (h *Host) start(ctx context.Context, lease uint64, id instance.ID, from giver) error {
	spec, err := h.book.find(lease, id)
	if err != nil {
		return err
	}
	if err := h.runs(ctx, lease); err != nil {
		return err
	}
	if !h.take(id) {
		return fault.New(fault.Busy, "start instance %x: it is being started or ended", id)
	}
	defer h.give(id)
	states, err := h.states(ctx)
	if err != nil {
		return err
	}
	if s, started := states[nameOf(id)]; started && s.Phase != sandbox.Ended {
		return nil
	} else if suspended(s) {
		return refuseAnew(id)
	}
	secrets, err := h.secretsOf(ctx, id, spec, from)
	if err != nil {
		return err
	}
	err = h.begin(ctx, id, spec, from, func(s sandbox.Spec) error {
		s.Secrets = files(secrets)
		return h.c.Engine.Start(ctx, nameOf(id), s)
	})
	if err == nil {
		h.keepSecrets(id, secrets)
	}
	return err
}

// begin has run run an instance as its spec and its image say, within what the owner
// allows, and holds the image for as long.
func (h *Host) begin(ctx context.Context, id instance.ID, spec instance.Spec, from image.Source, run func(sandbox.Spec) error) error {
	img, release, err := h.c.Images.Get(ctx, digestOf(spec.Image), from)
	if err != nil {
		return err
	}
	s, err := launch(spec, img)
	if all := h.c.Rule().CPU; all > 0 {
		s.CPU = min(s.CPU, all) // no kernel gives one more than all of them have
	}
	if err == nil {
		err = run(s)
	}
	if err != nil {
		release()
		return err
	}
	h.mu.Lock()
	before := h.held[id]
	h.held[id] = release
	delete(h.why, id)
	delete(h.sore, id)
	h.mu.Unlock()
	if before != nil {
		before()
	}
	return nil
}

// stop asks a lease's instance to end and ends it after grace.
func (h *Host) stop(ctx context.Context, lease uint64, id instance.ID, grace time.Duration) error {
	if _, err := h.book.find(lease, id); err != nil {
		return err
	}
	if !h.take(id) {
		return fault.New(fault.Busy, "end instance %x: it is being started or ended", id)
	}
	defer h.give(id)
	if _, err := h.c.Engine.Stop(ctx, nameOf(id), grace); err != nil && fault.CodeOf(err) != fault.NotFound {
		return err
	}
	return nil
}

// Hold takes again, after a start, the images of what runs: nobody may clear them away.
func (h *Host) Hold(ctx context.Context) {
	covered, _ := h.book.all()
	states, err := h.states(ctx)
	if err != nil {
		h.c.Log.Warn("hold images of instances", "err", err)
		return
	}
	for lease, ids := range covered {
		for _, id := range ids {
			spec, err := h.book.find(lease, id)
			if _, started := states[nameOf(id)]; err != nil || !started {
				continue
			}
			_, release, err := h.c.Images.Get(ctx, digestOf(spec.Image), nowhere{})
			if err != nil {
				h.c.Log.Warn("hold image", "instance", nameOf(id), "err", err)
				continue
			}
			h.mu.Lock()
			h.held[id] = release
			h.mu.Unlock()
		}
	}
}

// nowhere is a source that has nothing: what isn't here already isn't to be had.
type nowhere struct{}

func (nowhere) Blob(context.Context, digest.Digest) (io.ReadCloser, error) {
	return nil, fault.New(fault.NotFound, "read blob: there is nobody to ask for it")
}
