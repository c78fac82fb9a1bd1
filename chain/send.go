package chain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	abciv1 "cosmossdk.io/api/cosmos/base/abci/v1beta1"
	txv1 "cosmossdk.io/api/cosmos/tx/v1beta1"
	abci "github.com/cometbft/cometbft/abci/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"hearth/chain/pb/marketv1"
	"hearth/core/fault"
)

// A Receipt tells of a transaction that a block carried out, by a ledger node's
// word: what matters is to be read with proof, which from now on shows at least
// the state after that block.
type Receipt struct {
	Hash    string // hex
	Height  int64
	GasUsed int64
	Fee     uint64 // uember
	Changes []Change

	answers []*anypb.Any
}

// Opened are the ids of the leases it opened, in order.
func (r Receipt) Opened() []uint64 {
	var ids []uint64
	for _, a := range r.answers {
		var m marketv1.MsgOpenLeasesResponse
		if strings.HasSuffix(a.TypeUrl, "/hearth.market.v1.MsgOpenLeasesResponse") && proto.Unmarshal(a.Value, &m) == nil {
			ids = append(ids, m.Ids...)
		}
	}
	return ids
}

// Skipped are the statements it did not post, by lease, with the reason's code.
func (r Receipt) Skipped() map[uint64]error {
	out := make(map[uint64]error)
	for _, a := range r.answers {
		var m marketv1.MsgPostStatementsResponse
		if !strings.HasSuffix(a.TypeUrl, "/hearth.market.v1.MsgPostStatementsResponse") || proto.Unmarshal(a.Value, &m) != nil {
			continue
		}
		for _, s := range m.Refusals {
			code := fault.Code(s.Code)
			if _, ok := fault.Lookup(code); !ok {
				code = fault.TxRefused
			}
			out[s.Lease] = fault.New(code, "post statement of lease %d: %s", s.Lease, s.Reason)
		}
	}
	return out
}

// Send carries out msgs in one transaction, all or nothing, and returns when a
// block holds it. It is unordered: any number may be in flight. A refusal has the code of
// the rule it broke, else fault.TxRefused, and a *Refusal in its chain.
//
// If the ledger can't be asked about the outcome the error is fault.LedgerDown;
// the transaction can't happen any more once Config.Lifetime is over.
func (c *Client) Send(ctx context.Context, s Signer, msgs ...proto.Message) (Receipt, error) {
	return c.SendTogether(ctx, []Signer{s}, msgs...)
}

// SendTogether is Send with several signers, in the order in which the messages
// first need them; the first one pays.
func (c *Client) SendTogether(ctx context.Context, signers []Signer, msgs ...proto.Message) (Receipt, error) {
	if len(signers) == 0 || len(msgs) == 0 {
		return Receipt{}, errors.New("send transaction: no signer or no message")
	}
	what := "send " + string(msgs[0].ProtoReflect().Descriptor().Name())
	r, err := c.send(ctx, signers, msgs)
	if isRefusal(err, 11) { // nothing was done: the state had changed since it was simulated
		r, err = c.send(ctx, signers, msgs)
	}
	if err == nil {
		return r, nil
	}
	if code := fault.CodeOf(err); code != fault.Internal {
		return r, fault.New(code, "%s: %w", what, err)
	}
	return r, fmt.Errorf("%s: %w", what, err)
}

func (c *Client) send(ctx context.Context, signers []Signer, msgs []proto.Message) (Receipt, error) {
	parties, err := c.parties(ctx, signers)
	if err != nil {
		return Receipt{}, err
	}
	head, err := c.header(ctx, 0)
	if err != nil {
		return Receipt{}, err
	}
	// Counted from the ledger's clock, so that a wrong one here does no harm.
	dies := c.clock.next(signers[0].Address(), head.Time.Add(c.c.Lifetime))
	body, err := envelope(msgs, dies)
	if err != nil {
		return Receipt{}, err
	}
	gas, err := c.simulate(ctx, body, parties)
	if err != nil {
		return Receipt{}, err
	}
	raw, err := c.encode(body, parties, gas, true)
	if err != nil {
		return Receipt{}, err
	}
	if err := c.broadcast(ctx, raw); err != nil {
		if isRefusal(err, 4) { // of a wrong signature: the number may have been a lie, ask again next time
			for _, p := range parties {
				c.accounts.Delete(p.Address())
			}
		}
		return Receipt{}, err
	}
	r, err := c.outcome(ctx, raw, dies)
	r.Fee = c.fee(gas)
	return r, err
}

// isRefusal reports whether the ledger refused a transaction with this code of the SDK.
func isRefusal(err error, code uint32) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Codespace == "sdk" && r.Code == code
}

// simulate asks what gas the transaction will use, and adds a fifth, because the
// state may change before it runs.
func (c *Client) simulate(ctx context.Context, body []byte, parties []party) (uint64, error) {
	const usual = 200_000
	raw, err := c.encode(body, parties, usual, false)
	if err != nil {
		return 0, err
	}
	var res txv1.SimulateResponse
	err = c.ask(ctx, "simulate", func(n *node) error {
		_, err := n.list(ctx, "/cosmos.tx.v1beta1.Service/Simulate", 0, &txv1.SimulateRequest{TxBytes: raw}, &res)
		var no *Refusal
		if errors.As(err, &no) {
			return refused(no.Codespace, no.Code, no.Log)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	used := res.GetGasInfo().GetGasUsed()
	if used == 0 || used > 1<<40 {
		return 0, fault.New(fault.LedgerLies, "simulate: %d gas", used)
	}
	return used + used/5, nil
}

// broadcast hands raw to the first node that takes it. The same bytes can run
// only once, so handing them to another node after a disconnect is safe.
func (c *Client) broadcast(ctx context.Context, raw []byte) error {
	return c.ask(ctx, "broadcast", func(n *node) error {
		var res struct {
			Code      uint32 `json:"code"`
			Codespace string `json:"codespace"`
			Log       string `json:"log"`
		}
		err := n.call(ctx, "broadcast_tx_sync", smallAnswer, map[string]any{"tx": raw}, &res)
		if says(err, "tx already exists in cache") {
			return nil
		}
		if err != nil {
			return err
		}
		if res.Code != 0 {
			// Another node may have taken it before the answer got lost: the ledger
			// then calls the repetition a used nonce. Its outcome tells.
			if strings.Contains(res.Log, "already used timeout") || strings.Contains(res.Log, "tx already in mempool") {
				return nil
			}
			return refused(res.Codespace, res.Code, res.Log)
		}
		return nil
	})
}

// outcome waits until a block holds the transaction, or none can any more.
func (c *Client) outcome(ctx context.Context, raw []byte, dies time.Time) (Receipt, error) {
	sum := sha256.Sum256(raw)
	hash := hex.EncodeToString(sum[:])
	var r Receipt
	err := c.await(ctx, func() error {
		return c.ask(ctx, "await transaction "+hash, func(n *node) error {
			var res struct {
				Height   int64             `json:"height"`
				TxResult abci.ExecTxResult `json:"tx_result"`
				Tx       []byte            `json:"tx"`
			}
			err := n.call(ctx, "tx", largeAnswer, map[string]any{"hash": sum[:]}, &res)
			if says(err, "not found") {
				return c.alive(ctx, dies)
			}
			if err != nil {
				return err
			}
			if sha256.Sum256(res.Tx) != sum || res.Height <= 0 {
				return fault.New(fault.LedgerLies, "it shows another transaction")
			}
			r = Receipt{Hash: hash, Height: res.Height, GasUsed: res.TxResult.GasUsed}
			if res.TxResult.Code != 0 {
				return refused(res.TxResult.Codespace, res.TxResult.Code, res.TxResult.Log)
			}
			var data abciv1.TxMsgData
			if err := proto.Unmarshal(res.TxResult.Data, &data); err != nil {
				return odd("read the transaction's answers: %w", err)
			}
			r.answers = data.MsgResponses
			r.Changes, err = changesOf(res.TxResult.Events)
			return err
		})
	})
	if err == nil {
		raise(&c.seen, r.Height)
	}
	return r, err
}

// alive answers errNotYet while a block can still take the transaction.
func (c *Client) alive(ctx context.Context, dies time.Time) error {
	head, err := c.header(ctx, 0)
	if err != nil {
		return err
	}
	if head.Time.After(dies.Add(time.Minute)) { // blocks that the node hadn't indexed yet are long past
		return fault.New(fault.TxRefused, "no block took it before it died")
	}
	return errNotYet
}
