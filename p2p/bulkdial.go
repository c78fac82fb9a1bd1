package p2p

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"hearth/core/fault"
)

// kept is a dialed connection between two streams.
type kept struct {
	*direct
	timer *time.Timer
}

// errNoEndpoint says that the peer can't be reached directly, or not now.
var errNoEndpoint = errors.New("no direct endpoint answers")

// open opens a stream over a direct connection, a kept one if there is. The
// error has a code when the peer has answered and refused: only then it is
// final. deaf are the endpoints that did not answer.
func (b *bulk) open(ctx context.Context, id peer.ID, to contact, protocol string) (s *stream, deaf []string, err error) {
	if d := b.takeKept(string(to.key)); d != nil {
		s, err := b.start(ctx, d, protocol)
		if err == nil || answered(err) || ctx.Err() != nil {
			return s, nil, err
		}
		b.dropKept(string(to.key)) // the peer has gone or started again: they are all dead
	}
	err = errNoEndpoint
	for _, e := range to.bulk {
		name := string(to.key) + e.hostport
		if b.isDeaf(name) {
			continue
		}
		d, dialErr := b.dial(ctx, id, e)
		if dialErr == nil {
			s, dialErr = b.start(ctx, d, protocol)
		}
		if dialErr == nil || answered(dialErr) {
			return s, deaf, dialErr
		}
		err = fmt.Errorf("%w: %s: %w", errNoEndpoint, e.hostport, dialErr)
		if ctx.Err() != nil {
			return nil, nil, err
		}
		deaf = append(deaf, name)
	}
	return nil, deaf, err
}

// answered reports that err is a peer's refusal, not a lack of an answer.
func answered(err error) bool {
	var e *fault.Error
	return errors.As(err, &e)
}

// dial connects to e and proves that id is there.
func (b *bulk) dial(ctx context.Context, id peer.ID, e endpoint) (*direct, error) {
	ctx, cancel := context.WithTimeout(ctx, b.node.cfg.BulkDialTimeout)
	defer cancel()
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, e.network, e.hostport)
	if err != nil {
		return nil, err
	}
	config, key := b.config(id)
	d, err := b.secure(ctx, tls.Client(raw, config), key)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return d, nil
}

// start opens a stream on d. It ends d when that fails.
func (b *bulk) start(ctx context.Context, d *direct, protocol string) (*stream, error) {
	limit := time.Now().Add(b.node.cfg.BulkDialTimeout)
	if t, ok := ctx.Deadline(); ok && t.Before(limit) {
		limit = t
	}
	d.renew()
	d.SetDeadline(limit)
	stop := context.AfterFunc(ctx, d.hangUp)
	answer, err := d.ask(protocol)
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	switch {
	case err != nil:
	case answer == answerYes:
		d.SetDeadline(time.Time{})
		d.back = b.keep
		m := b.node.metrics.paths[pathBulk]
		return newStream(d, d.key, d.ip, m, m.out), nil
	case answer == answerBusy:
		err = fault.New(fault.Busy, "peer refused the stream: too many connections")
	case answer == answerUnknown:
		err = fault.New(fault.HostRefused, "peer refused the stream: it doesn't serve %s", protocol)
	default:
		err = errChunk
	}
	b.drop(d)
	return nil, err
}

// keep keeps d for another stream, if it is good and there is room.
func (b *bulk) keep(d *direct, good bool) {
	l := b.node.cfg.Limits
	who := string(d.key)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !good || b.closed || b.kept >= l.BulkIdle || len(b.idle[who]) >= l.BulkIdlePerPeer {
		delete(b.live, d)
		d.hangUp()
		return
	}
	k := &kept{direct: d}
	k.timer = time.AfterFunc(idleDialed, func() { b.expire(who, k) })
	b.idle[who] = append(b.idle[who], k)
	b.kept++
}

// expire ends k if it is still kept.
func (b *bulk) expire(who string, k *kept) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.idle[who] {
		if other == k {
			b.remove(who, i)
			delete(b.live, k.direct)
			k.hangUp()
			return
		}
	}
}

// remove takes the i-th kept connection of who off the list. b.mu is held.
func (b *bulk) remove(who string, i int) {
	list := b.idle[who]
	b.kept--
	if len(list) == 1 {
		delete(b.idle, who)
		return
	}
	b.idle[who] = append(list[:i], list[i+1:]...)
}

// takeKept takes the connection to who that was used last; nil: there is none.
func (b *bulk) takeKept(who string) *direct {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.idle[who]
	if len(list) == 0 {
		return nil
	}
	k := list[len(list)-1]
	k.timer.Stop()
	b.remove(who, len(list)-1)
	return k.direct
}

// dropKept ends the kept connections to who.
func (b *bulk) dropKept(who string) {
	for d := b.takeKept(who); d != nil; d = b.takeKept(who) {
		b.drop(d)
	}
}

// maxDeaf bounds the memory of deaf endpoints.
const maxDeaf = 1024

// remember leaves endpoints alone for a while. It is told only of those whose
// peer was reached in another way: a peer that is down isn't deaf.
func (b *bulk) remember(endpoints []string) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.deaf) >= maxDeaf {
		for e, until := range b.deaf {
			if now.After(until) {
				delete(b.deaf, e)
			}
		}
	}
	for _, e := range endpoints {
		if len(b.deaf) < maxDeaf {
			b.deaf[e] = now.Add(b.node.cfg.BulkRetry)
		}
	}
}

func (b *bulk) isDeaf(endpoint string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, ok := b.deaf[endpoint]
	if ok && time.Now().After(until) {
		delete(b.deaf, endpoint)
		return false
	}
	return ok
}
