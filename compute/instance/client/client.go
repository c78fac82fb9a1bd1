// Package client rents machines for instances: it chooses none of its own, but
// reserves where it is told to, signs only rosters whose every entry it can account
// for, has the host start what was signed, and lets people in. It believes no host
// what runs: a host's owner can do with an instance what he likes.
package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/instance"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/p2p"
)

// Protocol is the name of the exchange between client and host.
const Protocol = "/hearth/instance/1"

// A Pair is the bargain with one host. Its methods may be called together.
type Pair interface {
	Lease() uint64
	Host() string // the host's account
	Peer() p2p.Peer
	// Grant gives what lets this node act on the lease, good for hours.
	Grant() (g grant.Grant, key ed25519.PublicKey, sig []byte)
	// Pay makes sure that so many bytes more are paid ahead. They are on their way
	// until Over.
	Pay(ctx context.Context, in, out uint64) error
	Over(in, out uint64)
	// Resync learns from the host what was really used, besides what is on its way.
	Resync(ctx context.Context) error
	// Chunk is the most that one Pay should ask for.
	Chunk() uint64
	// Until is the end of the time that is signed.
	Until() time.Time
	// Reserved is what the newest statement reserves, and its root.
	Reserved(ctx context.Context) (units quote.Units, root [32]byte, err error)
	// Reserve signs what the host has staged, and returns once the host has too.
	Reserve(ctx context.Context, units quote.Units, root [32]byte) error
}

// A Market knows bargains.
type Market interface {
	// Open gives the bargain with a host, that can hold these units more. It is refused
	// where they cost more than most in 30 days.
	Open(ctx context.Context, host string, units quote.Units, most money.Amount) (Pair, error)
	// Lease gives a bargain by its number.
	Lease(ctx context.Context, id uint64) (Pair, error)
}

// Records keeps bytes under names, sealed, at hosts, for all devices of the account.
type Records interface {
	Keep(ctx context.Context, name string, b []byte) error
	// Read writes what is kept under name; fault.NotFound where nothing is.
	Read(ctx context.Context, name string, w io.Writer) error
	Drop(ctx context.Context, name string) error
	Names(ctx context.Context, prefix string) ([]string, error)
}

// Images holds what instances are made of.
type Images interface {
	// Blob opens a manifest, a config or a layer.
	Blob(ctx context.Context, d digest.Digest) (r io.ReadCloser, size int64, err error)
}

// A Dialer opens streams to peers.
type Dialer interface {
	Open(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error)
	OpenBulk(ctx context.Context, peer p2p.Peer, protocol string) (p2p.Stream, error)
}

// A Config is what a Client needs. A zero field takes its stated default.
type Config struct {
	Market  Market  // required
	Records Records // required
	Images  Images  // required
	Dialer  Dialer  // required
	Dial    time.Duration
	Pause   time.Duration    // without a byte, or an answer; default 20 s
	Prepare time.Duration    // that a host may take over an image; default 10 min
	Log     *slog.Logger     // default: discard
	Now     func() time.Time // default: time.Now
}

// Client looks after the account's instances. It is safe for concurrent use.
type Client struct {
	c Config

	changing chan struct{} // holds one during a change of what is reserved
}

// New makes a Client. It speaks to nobody yet.
func New(c Config) (*Client, error) {
	if c.Market == nil || c.Records == nil || c.Images == nil || c.Dialer == nil {
		return nil, errors.New("instances: Market, Records, Images and Dialer are required")
	}
	if c.Dial == 0 {
		c.Dial = 10 * time.Second
	}
	if c.Pause == 0 {
		c.Pause = 20 * time.Second
	}
	if c.Prepare == 0 {
		c.Prepare = 10 * time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Client{c: c, changing: make(chan struct{}, 1)}, nil
}

// lock waits for other changes of what is reserved.
func (x *Client) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case x.changing <- struct{}{}:
		return func() { <-x.changing }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

const (
	staleTries = 3                      // times that a change is made anew that another device was quicker with
	busyTries  = 20                     // times that the host may be at another change
	busyPause  = 500 * time.Millisecond // before such a try
	undoWithin = time.Minute            // of what can't run
)

// Create reserves a machine at a host, for at most so much in 30 days, and has it run s.
// The record is kept before anything is signed: what breaks off is shown, and can be
// started or removed. Its secrets are kept beside the record, and s has their commitment
// from here.
func (x *Client) Create(ctx context.Context, name, image, host string, s instance.Spec, most money.Amount, files ...instance.Secret) (Instance, error) {
	secrets, err := newSecrets(files)
	if err != nil {
		return Instance{}, err
	}
	if s.Secrets = [32]byte{}; secrets != nil {
		s.Secrets = secrets.Commitment()
	}
	if err := s.Check(); err != nil {
		return Instance{}, err
	}
	i, pair, err := x.reserve(ctx, name, image, host, s, most, secrets)
	if err != nil {
		return Instance{}, err
	}
	if err := x.start(ctx, pair, i); err != nil {
		return i, x.undo(ctx, i, err)
	}
	return i, nil
}

// undo removes an instance that can't ever run as it is wanted: nobody is to pay for what
// he was told is wrong. Another stays, since its host may run it, and cause says so.
func (x *Client) undo(ctx context.Context, i Instance, cause error) error {
	switch fault.CodeOf(cause) {
	case fault.BadImage, fault.TooLarge, fault.BadRequest:
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoWithin)
		defer cancel()
		err := x.Remove(ctx, i.Name, 0)
		if err == nil {
			return cause
		}
		x.c.Log.Warn("remove an instance that can't run", "name", i.Name, "err", err)
	}
	return fmt.Errorf("%w; its machine stays reserved, and paid for: start it again, or remove it", cause)
}

// reserve has a machine at a host reserved for an instance, and its record kept. Other
// changes wait for it, but not for the image's way to the host.
func (x *Client) reserve(ctx context.Context, name, image, host string, s instance.Spec, most money.Amount, secrets *instance.Secrets) (i Instance, pair Pair, err error) {
	unlock, err := x.lock(ctx)
	if err != nil {
		return i, nil, err
	}
	defer unlock()
	if _, err := x.read(ctx, name); err == nil {
		return i, nil, fault.New(fault.Exists, "create instance %s: there is one of this name", name)
	} else if fault.CodeOf(err) != fault.NotFound && fault.CodeOf(err) != fault.NoInstance {
		return i, nil, err
	}
	pair, err = x.c.Market.Open(ctx, host, s.Units(), most)
	if err != nil {
		return i, nil, err
	}
	i = Instance{Name: name, Host: host, Lease: pair.Lease(), Image: image, Spec: s, Created: x.c.Now().Unix()}
	if _, err := rand.Read(i.ID[:]); err != nil {
		return i, nil, err
	}
	if err := i.check(); err != nil {
		return i, nil, err
	}
	if err := x.keepAll(ctx, i, secrets); err != nil {
		return i, nil, err
	}
	err = x.change(ctx, pair, "create instance "+name,
		&wire.Order{Ask: &wire.Order_Create{Create: &wire.Create{Id: i.ID[:], Spec: s.Encode()}}},
		func(r instance.Roster) instance.Roster {
			return r.With(instance.Entry{ID: i.ID, Spec: s.Digest(), Units: s.Units()})
		})
	if err != nil {
		x.forget(context.WithoutCancel(ctx), pair, i)
		return i, nil, err
	}
	return i, pair, nil
}

// forget drops the record of an instance that didn't come to be. Where that can't be
// known, because an answer was lost, it stays: what is paid for has to be seen.
func (x *Client) forget(ctx context.Context, pair Pair, i Instance) {
	ctx, cancel := context.WithTimeout(ctx, x.c.Pause)
	defer cancel()
	r, err := x.roster(ctx, pair)
	if _, there := r.Get(i.ID); err != nil || there {
		x.c.Log.Warn("an instance may be reserved", "name", i.Name, "host", pair.Host(), "err", err)
		return
	}
	if err := x.drop(ctx, i); err != nil {
		x.c.Log.Warn("drop record of an instance that isn't", "name", i.Name, "err", err)
	}
}

// Start has the host run an instance that is reserved and doesn't run; one that is
// suspended goes on where it was. One that was to be gone stays.
func (x *Client) Start(ctx context.Context, name string) error {
	i, pair, err := x.find(ctx, name)
	if err != nil {
		return err
	}
	if i.Leaving != 0 {
		i.Leaving = 0
		if err := x.keep(ctx, i); err != nil {
			return err
		}
	}
	if on, err := x.resume(ctx, pair, i); on || err != nil {
		return err
	}
	return x.start(ctx, pair, i)
}

// Stop ends an instance, after grace. It stays reserved, and paid for.
func (x *Client) Stop(ctx context.Context, name string, grace time.Duration) error {
	i, pair, err := x.find(ctx, name)
	if err != nil {
		return err
	}
	t, end, err := x.open(ctx, pair, x.c.Dialer.Open)
	if err != nil {
		return err
	}
	defer end()
	_, err = t.order(ctx, &wire.Order{Ask: &wire.Order_Stop{Stop: &wire.Stop{Id: i.ID[:], Grace: uint32(grace / time.Second)}}}, grace+time.Minute)
	return err
}

// Remove ends an instance, after grace, and what is paid for it. Where the host says
// that it has none such, only the record goes; where it has lost all that is signed for,
// that is signed off. What a host doesn't remove isn't paid for any longer, see Holds.
func (x *Client) Remove(ctx context.Context, name string, grace time.Duration) error {
	unlock, err := x.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	i, err := x.read(ctx, name)
	if err != nil {
		return err
	}
	defer x.forgetKey(ctx, name)
	pair, err := x.c.Market.Lease(ctx, i.Lease)
	switch code := fault.CodeOf(err); {
	case code == fault.NoLease || code == fault.LeaseClosed:
		return x.drop(ctx, i)
	case err != nil:
		return err
	}
	if err = x.remove(ctx, pair, i, grace); err != nil && fault.CodeOf(err) != fault.LeaseClosed {
		return x.leave(ctx, pair, i, err)
	}
	return x.drop(ctx, i)
}

func (x *Client) remove(ctx context.Context, pair Pair, i Instance, grace time.Duration) error {
	if lost, err := x.lost(ctx, pair); err != nil {
		return fmt.Errorf("remove instance %s: %w", i.Name, err)
	} else if lost {
		if err := pair.Reserve(ctx, quote.Units{}, [32]byte{}); err != nil {
			return fmt.Errorf("sign off what %s has lost: %w", pair.Host(), err)
		}
		return nil
	}
	return x.change(ctx, pair, "remove instance "+i.Name,
		&wire.Order{Ask: &wire.Order_Remove{Remove: &wire.Remove{Id: i.ID[:], Grace: uint32(grace / time.Second)}}},
		func(r instance.Roster) instance.Roster { return r.Without(i.ID) })
}

// leave notes that an instance is to be gone which its host hasn't removed, and adds to
// cause what becomes of its pay.
func (x *Client) leave(ctx context.Context, pair Pair, i Instance, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.c.Pause)
	defer cancel()
	if i.Leaving == 0 {
		i.Leaving = x.c.Now().Unix()
		if err := x.keep(ctx, i); err != nil {
			return fmt.Errorf("%w; that it is to be gone isn't noted: %w", cause, err)
		}
	}
	_, stay, err := x.under(ctx, i.Lease)
	switch left := pair.Until().Sub(x.c.Now()).Round(time.Second); {
	case err != nil:
		return fmt.Errorf("%w; what else is there isn't known: %w", cause, err)
	case len(stay) > 0:
		return fmt.Errorf("%w; it is paid as long as %d others at this host are: try again", cause, len(stay))
	case left > 0:
		return fmt.Errorf("%w; no more time is signed for it: its pay ends in %s at the latest", cause, left)
	}
	return fmt.Errorf("%w; it isn't paid any more", cause)
}

// under gives the account's instances under a lease: those that are to be gone, and
// those that stay.
func (x *Client) under(ctx context.Context, lease uint64) (leave, stay map[instance.ID]Instance, err error) {
	names, err := x.c.Records.Names(ctx, named)
	if err != nil {
		return nil, nil, err
	}
	leave, stay = map[instance.ID]Instance{}, map[instance.ID]Instance{}
	for _, name := range names {
		i, err := x.read(ctx, strings.TrimPrefix(name, named))
		switch {
		case fault.CodeOf(err) == fault.NoInstance: // removed this moment
		case err != nil:
			return nil, nil, err
		case i.Lease == lease && i.Leaving != 0:
			leave[i.ID] = i
		case i.Lease == lease:
			stay[i.ID] = i
		}
	}
	return leave, stay, nil
}

// lost says whether a host shows nothing at all under a lease for which something is
// signed: nobody but itself can have lost it.
func (x *Client) lost(ctx context.Context, pair Pair) (bool, error) {
	if err := pair.Resync(ctx); err != nil { // another device may have signed it off
		return false, err
	}
	_, root, err := pair.Reserved(ctx)
	if err != nil || root == ([32]byte{}) {
		return false, err
	}
	_, r, err := x.show(ctx, pair)
	return err == nil && len(r) == 0, err
}

// change has a host stage what order asks for and signs it: a roster that is what the
// newest statement covers, with the change and nothing else.
func (x *Client) change(ctx context.Context, pair Pair, what string, order *wire.Order, change func(instance.Roster) instance.Roster) (err error) {
	for stale, busy := 0, 0; ; {
		err = x.changeOnce(ctx, pair, order, change)
		code := fault.CodeOf(err)
		if code == fault.Busy && busy < busyTries {
			busy++
			select {
			case <-time.After(busyPause):
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if stale++; stale == staleTries || code != fault.Stale && code != fault.BadStatement {
			break
		}
		if e := pair.Resync(ctx); e != nil {
			return e
		}
	}
	if err != nil {
		return fmt.Errorf("%s at %s: %w", what, pair.Host(), err)
	}
	return nil
}

func (x *Client) changeOnce(ctx context.Context, pair Pair, order *wire.Order, change func(instance.Roster) instance.Roster) error {
	have, err := x.roster(ctx, pair)
	if err != nil {
		return err
	}
	want := change(have)
	t, end, err := x.open(ctx, pair, x.c.Dialer.Open)
	if err != nil {
		return err
	}
	defer end()
	told, err := t.order(ctx, order, time.Minute)
	if err != nil {
		return err
	}
	staged, err := instance.DecodeRoster(told.GetRoster())
	if err != nil {
		return fault.New(fault.BadFrame, "the host's answer: %w", err)
	}
	if staged.Root() != want.Root() {
		return fault.New(fault.Stale, "the host has staged another roster than was asked for")
	}
	return pair.Reserve(ctx, want.Units(), want.Root())
}

// Holds says why no more time is to be signed for a host's instances, where ahead of it
// would be: it shows others than were signed, or doesn't answer, or hasn't removed them as
// it was asked to, or doesn't run them for its owner's sake, or owes enough time for that.
// What waits there for secrets that its host has lost is given them again.
func (x *Client) Holds(ctx context.Context, pair Pair, ahead time.Duration) error {
	shown, r, err := x.seen(ctx, pair)
	if err != nil {
		return fmt.Errorf("look for instances at %s: %w", pair.Host(), err)
	}
	if err := x.stands(pair, shown, ahead); err != nil {
		return err
	}
	leave, stay, err := x.under(ctx, pair.Lease())
	if err != nil {
		x.c.Log.Warn("which instances are to be gone isn't known", "host", pair.Host(), "err", err)
		return nil
	}
	x.giveAgain(ctx, pair, shown, r, stay)
	for _, e := range r {
		if _, leaves := leave[e.ID]; !leaves {
			return nil
		}
	}
	return fault.New(fault.HostRefused, "pay for instances at %s: all are to be gone, and the host hasn't removed them", pair.Host())
}

// stands says why no time is to be signed while a host lets all instances stand still, or
// as long as it owes time in which they did: it runs them for that unpaid. What is signed
// and owed together has to be enough for half of ahead, as what is signed is by itself.
func (x *Client) stands(pair Pair, shown *wire.Shown, ahead time.Duration) error {
	if why := shown.GetHeld(); why != "" {
		return fault.New(fault.HostRefused, "pay for instances at %s: it has paused them: %s", pair.Host(), fault.Brief(why))
	}
	owed := time.Duration(min(shown.GetOwed(), mostOwed)) * time.Second
	if signed := max(0, pair.Until().Sub(x.c.Now())); owed > 0 && signed+owed > ahead/2 {
		return fault.New(fault.HostRefused, "pay for instances at %s: it owes %s in which they stood still, and runs them for it", pair.Host(), owed)
	}
	return nil
}

// mostOwed is the most seconds that a host can owe: time isn't signed further ahead.
const mostOwed = 7 * 24 * 3600

// roster is what the host says is under a lease, where its root is what both have
// signed: anything else would be signed unseen.
func (x *Client) roster(ctx context.Context, pair Pair) (instance.Roster, error) {
	_, r, err := x.seen(ctx, pair)
	return r, err
}

// seen is roster, with how the instances stand.
func (x *Client) seen(ctx context.Context, pair Pair) (*wire.Shown, instance.Roster, error) {
	units, root, err := pair.Reserved(ctx)
	if err != nil {
		return nil, nil, err
	}
	shown, r, err := x.show(ctx, pair)
	if err != nil {
		return nil, nil, err
	}
	if r.Root() != root || r.Units() != units {
		return nil, nil, fault.New(fault.Stale, "the host shows another roster than was signed")
	}
	return shown, r, nil
}

// show asks a host how the instances under a lease stand.
func (x *Client) show(ctx context.Context, pair Pair) (*wire.Shown, instance.Roster, error) {
	t, end, err := x.open(ctx, pair, x.c.Dialer.Open)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	told, err := t.order(ctx, &wire.Order{Ask: &wire.Order_Show{Show: &wire.Show{}}}, 0)
	if err != nil {
		return nil, nil, err
	}
	r, err := instance.DecodeRoster(told.GetShown().GetRoster())
	if err != nil || len(r) != len(told.GetShown().GetStanding()) {
		return nil, nil, fault.New(fault.BadFrame, "the host's answer isn't how %d instances stand: %w", len(r), err)
	}
	return told.GetShown(), r, nil
}

// start gives the host what it needs of the image, and the secrets, until it runs the
// instance.
func (x *Client) start(ctx context.Context, pair Pair, i Instance) error {
	return x.startWith(ctx, pair, &bag{parts: newParts(x.c.Images, i.Spec.Image), i: i})
}

func (x *Client) startWith(ctx context.Context, pair Pair, b *bag) error {
	i := b.i
	ctx, cancel := context.WithTimeoutCause(ctx, x.c.Prepare, fault.New(fault.HostUnreachable, "start instance %s: %s has taken longer than %s", i.Name, pair.Host(), x.c.Prepare))
	defer cancel()
	t, end, err := x.open(ctx, pair, x.c.Dialer.OpenBulk)
	if err != nil {
		return err
	}
	defer end()
	told, err := t.order(ctx, &wire.Order{Ask: &wire.Order_Start{Start: &wire.Start{Id: i.ID[:]}}}, x.c.Prepare)
	for err == nil && told.GetNeed() != nil {
		if need := told.GetNeed(); need.GetSecrets() {
			err = x.supplySecrets(ctx, t, b, need)
		} else {
			err = x.supply(ctx, t, b.parts, need)
		}
		if err == nil {
			told, err = t.answer(ctx, x.c.Prepare)
		}
	}
	if err != nil {
		return fmt.Errorf("start instance %s: %w", i.Name, err)
	}
	return nil
}

// supply sends a blob of the image.
func (x *Client) supply(ctx context.Context, t *talk, parts *parts, need *wire.Need) error {
	if len(need.GetDigest()) != 32 {
		return fault.New(fault.BadFrame, "the host needs a blob without a digest")
	}
	d := digest.NewDigestFromBytes(digest.SHA256, need.GetDigest())
	if !parts.take(d) {
		return fault.New(fault.BadFrame, "%s asks for %s, which isn't of the image, or was sent to it", t.pair.Host(), d)
	}
	r, size, err := parts.blob(ctx, d)
	if err != nil {
		if e := t.send(ctx, &wire.Have{Code: string(fault.CodeOf(err))}); e != nil {
			return e
		}
		x.c.Log.Warn("blob that a host needs isn't here", "host", t.pair.Host(), "err", err)
		return nil // the host says what it makes of it
	}
	defer r.Close()
	return x.pour(ctx, t, r, size, need.GetMost())
}

// pour sends so many bytes of r, if the host takes as many.
func (x *Client) pour(ctx context.Context, t *talk, r io.Reader, size int64, most uint64) error {
	if uint64(size) > most {
		return t.send(ctx, &wire.Have{Code: string(fault.TooLarge)})
	}
	if err := t.send(ctx, &wire.Have{Size: uint64(size)}); err != nil {
		return err
	}
	b := make([]byte, piece)
	for left := size; left > 0; {
		n := min(left, piece)
		if _, err := io.ReadFull(r, b[:n]); err != nil {
			return err
		}
		if err := t.pay(ctx, uint64(n), 0); err != nil {
			return err
		}
		t.wait(ctx, t.s.SetWriteDeadline, 0)
		if _, err := t.s.Write(b[:n]); err != nil {
			return t.said(ctx, err)
		}
		left -= n
	}
	return nil
}
