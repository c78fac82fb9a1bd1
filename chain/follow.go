package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"hearth/chain/pb/hostsv1"
	"hearth/chain/pb/marketv1"
	"hearth/chain/pb/proofsv1"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
)

// ErrPruned is Follow's answer when no ledger node keeps a block any more. Read
// the records afresh, then follow from the newest block.
var ErrPruned = errors.New("the ledger nodes no longer keep this block")

// A Block is what changed in one block. Its height and time are verified. The
// changes are a hint: no header commits to events, so a ledger node could hide
// or invent some. What matters is read with proof.
type Block struct {
	Height  int64
	Time    time.Time
	Changes []Change
}

// A Change is one of the types below.
type Change interface{ change() }

// LeaseChanged carries the whole record after the change. Reason is opened, funded,
// posted, settled, low, closing, closed or pruned.
type LeaseChanged struct {
	Lease  lease.Lease
	Reason string
}

// Paid tells what a lease's settlement moved.
type Paid struct {
	Lease      uint64
	Host       string
	Amount     money.Amount // to the host, what went to its bond included
	Commission money.Amount
}

// PurseChanged tells what is free in a purse now.
type PurseChanged struct {
	Owner string
	Free  money.Amount
}

// MandateChanged tells of a mandate that was granted, replaced or revoked.
type MandateChanged struct {
	Grantor string
	Key     [32]byte
	Revoked bool
}

// HostChanged tells of a host's record.
type HostChanged struct {
	Address, Owner string
	Roles          uint32
	Region         string
	Bond           money.Amount
	LeavingAt      int64
}

// EndpointsChanged tells where a host answers now.
type EndpointsChanged struct {
	Address   string
	Endpoints []string
}

// HostGone tells that a host's record was removed.
type HostGone struct{ Address string }

func (LeaseChanged) change()     {}
func (Paid) change()             {}
func (PurseChanged) change()     {}
func (MandateChanged) change()   {}
func (HostChanged) change()      {}
func (EndpointsChanged) change() {}
func (HostGone) change()         {}

// Follow calls fn for every block from a height on (0: the newest), in order and
// without a gap, until ctx ends or fn returns an error, which Follow then returns.
// Ledger nodes that go away are waited for. A node's other errors don't end it;
// ErrPruned and fault.TrustExpired do.
func (c *Client) Follow(ctx context.Context, from int64, fn func(Block) error) error {
	f := follower{c: c, next: from}
	wait, asked := c.c.Poll, false
	for {
		b, err := f.block(ctx)
		switch {
		case err == nil:
			if err := fn(b); err != nil {
				return err
			}
			f.took(b)
			if !asked {
				continue // there may be more already
			}
			wait, asked = f.soon(), false
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrPruned) || fault.CodeOf(err) == fault.TrustExpired:
			return fmt.Errorf("follow from block %d: %w", f.next, err)
		case errors.Is(err, errNotYet):
			wait, asked = f.soon(), true
		default:
			c.c.Log.Warn("the ledger can't be followed for now", "block", f.next, "err", err)
			wait = min(2*wait, 10*time.Second)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

type follower struct {
	c    *Client
	next int64
	last time.Time // of the block before
	came time.Time // when it came, by this machine's clock

	gap time.Duration // from one block to the next, the least by either clock

	// Times of the blocks below what is trusted, from the one at height past.
	past  int64
	times []time.Time
}

// maxGap bounds how long a ledger that was slow is thought to stay so.
const maxGap = 5 * time.Second

// took notes a block.
func (f *follower) took(b Block) {
	now := time.Now()
	if !f.came.IsZero() {
		f.gap = min(b.Time.Sub(f.last), now.Sub(f.came), maxGap)
	}
	f.next, f.last, f.came = b.Height+1, b.Time, now
}

// soon is how long to wait before the next block is looked for: until it is
// nearly due, then a tenth of the time between blocks.
func (f *follower) soon() time.Duration {
	due := time.Until(f.came.Add(f.gap * 9 / 10))
	return max(due, f.gap/10, f.c.c.Poll)
}

// block gathers the next block's changes. Looking for its header is what wakes it.
func (f *follower) block(ctx context.Context) (Block, error) {
	b, err := f.header(ctx)
	if err != nil {
		return b, err
	}
	err = f.c.ask(ctx, fmt.Sprintf("read the events of block %d", b.Height), func(n *node) (err error) {
		b.Changes, err = n.events(ctx, b.Height)
		return err
	})
	return b, err
}

// header finds height and time: of a new block forwards, of an old one backwards.
func (f *follower) header(ctx context.Context) (Block, error) {
	if f.next > 0 && f.times == nil {
		low, err := f.c.oldest(ctx)
		if err != nil {
			return Block{}, err
		}
		if f.times, err = f.c.past(ctx, f.next, low); err != nil {
			return Block{}, err
		}
		f.past = f.next
	}
	if i := f.next - f.past; f.next > 0 && i < int64(len(f.times)) {
		return Block{Height: f.next, Time: f.times[i]}, nil
	}
	b, err := f.c.header(ctx, f.next)
	if err != nil {
		return Block{}, err
	}
	return Block{Height: b.Height, Time: b.Time}, nil
}

type blockResults struct {
	Height     int64                `json:"height"`
	TxsResults []*abci.ExecTxResult `json:"txs_results"`
	Events     []abci.Event         `json:"finalize_block_events"`
}

func (r *blockResults) changes() ([]Change, error) {
	var out []Change
	for _, tx := range r.TxsResults {
		if tx == nil || tx.Code != 0 {
			continue
		}
		some, err := changesOf(tx.Events)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	some, err := changesOf(r.Events)
	return append(out, some...), err
}

// changesOf reads our events. The SDK writes each attribute of a typed event as JSON.
func changesOf(events []abci.Event) ([]Change, error) {
	var out []Change
	for _, e := range events {
		if !strings.HasPrefix(e.Type, "hearth.") {
			continue
		}
		c, err := readChange(e)
		if err != nil {
			return nil, odd("event %.64s: %w", e.Type, err)
		}
		if c != nil {
			out = append(out, c)
		}
	}
	return out, nil
}

func readChange(e abci.Event) (Change, error) {
	switch e.Type {
	case "hearth.market.v1.EventLease":
		var m marketv1.EventLease
		if err := readEvent(e, &m); err != nil {
			return nil, err
		}
		l, err := coreLease(m.Lease)
		return LeaseChanged{l, m.Reason}, err
	case "hearth.market.v1.EventPaid":
		var m marketv1.EventPaid
		err := readEvent(e, &m)
		return Paid{m.Lease, m.Host, money.Amount(m.Amount), money.Amount(m.Commission)}, err
	case "hearth.market.v1.EventPurse":
		var m marketv1.EventPurse
		err := readEvent(e, &m)
		return PurseChanged{m.Owner, money.Amount(m.Free)}, err
	case "hearth.market.v1.EventMandate":
		var m marketv1.EventMandate
		err := readEvent(e, &m)
		if err == nil && len(m.Key) != 32 {
			err = fmt.Errorf("a key of %d bytes", len(m.Key))
		}
		if err != nil {
			return nil, err
		}
		return MandateChanged{m.Grantor, [32]byte(m.Key), m.Revoked}, nil
	case "hearth.proofs.v1.EventProof":
		var m proofsv1.EventProof
		err := readEvent(e, &m)
		return Proved{m.Host, m.Result, m.Period, m.Periods, money.Amount(m.Fine), money.Amount(m.Bond)}, err
	case "hearth.proofs.v1.EventLost":
		var m proofsv1.EventLost
		err := readEvent(e, &m)
		return Lost{m.Lease, m.Host, m.Reason, money.Amount(m.Compensation)}, err
	case "hearth.proofs.v1.EventChallenge":
		var m proofsv1.EventChallenge
		err := readEvent(e, &m)
		return Challenged{m.Lease, m.Host, m.Leaf, m.State, m.Due}, err
	case "hearth.proofs.v1.EventCompensated":
		var m proofsv1.EventCompensated
		err := readEvent(e, &m)
		return Compensated{m.Lease, m.Host, money.Amount(m.Amount)}, err
	case "hearth.hosts.v1.EventHost":
		var m hostsv1.EventHost
		err := readEvent(e, &m)
		return HostChanged{m.Address, m.Owner, m.Roles, m.Region, money.Amount(m.Bond), m.LeavingAt}, err
	case "hearth.hosts.v1.EventHostEndpoints":
		var m hostsv1.EventHostEndpoints
		err := readEvent(e, &m)
		return EndpointsChanged{m.Address, m.Endpoints}, err
	case "hearth.hosts.v1.EventHostGone":
		var m hostsv1.EventHostGone
		err := readEvent(e, &m)
		return HostGone{m.Address}, err
	}
	return nil, nil // of a newer ledger
}

// readEvent puts the attributes together to the JSON object they came from.
func readEvent(e abci.Event, into proto.Message) error {
	var b bytes.Buffer
	b.WriteByte('{')
	for _, a := range e.Attributes {
		if a.Key == "msg_index" || a.Key == "mode" { // added by the SDK, not ours and not JSON
			continue
		}
		key, err := json.Marshal(a.Key)
		if err != nil {
			return err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(key)
		b.WriteByte(':')
		b.WriteString(a.Value)
	}
	b.WriteByte('}')
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b.Bytes(), into)
}
