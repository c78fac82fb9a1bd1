package chain

import (
	"context"
	"errors"
	"fmt"

	cmtcrypto "github.com/cometbft/cometbft/proto/tendermint/crypto"
	ics23 "github.com/cosmos/ics23/go"

	"hearth/core/fault"
)

// prove reads a key of a module's store and checks the answer against a verified
// header. A proved absence is a nil value. With height 0 it reads the newest
// state, which the header of the next block proves: that takes about one block.
func (c *Client) prove(ctx context.Context, store string, key []byte, height int64) (value []byte, at int64, err error) {
	err = c.await(ctx, func() error {
		floor, err := c.floor(ctx)
		if err != nil {
			return err
		}
		return c.ask(ctx, "read "+store, func(n *node) error {
			value, at, err = c.proveFrom(ctx, n, store, key, height, floor)
			return err
		})
	})
	if err != nil {
		return nil, 0, err
	}
	return value, at, nil
}

// floor is the oldest state that a read of the newest may answer with: what is
// verified, and what holds our own transactions. So nobody turns time back.
func (c *Client) floor(ctx context.Context) (int64, error) {
	if err := c.trust.acquire(ctx); err != nil {
		return 0, err
	}
	defer c.trust.release()
	return max(c.trust.newest.Height-1, c.seen.Load()), nil
}

func (c *Client) proveFrom(ctx context.Context, n *node, store string, key []byte, height, floor int64) ([]byte, int64, error) {
	r, err := n.query(ctx, "/store/"+store+"/key", key, height, true)
	switch {
	case err != nil:
		return nil, 0, err
	case r.Code != 0:
		// The first block's state can't be proved, and a node that is behind doesn't have the newest.
		return nil, 0, fmt.Errorf("%w: %s code %d: %s", errNotYet, r.Codespace, r.Code, r.Log)
	case height > 0 && r.Height != height:
		return nil, 0, fault.New(fault.LedgerLies, "it was asked about block %d and answers about %d", height, r.Height)
	case height == 0 && r.Height < floor:
		return nil, 0, fmt.Errorf("%w: it answers with block %d, %d is known", errNotYet, r.Height, floor)
	case r.ProofOps == nil:
		return nil, 0, fault.New(fault.LedgerLies, "it sent no proof")
	}
	block, err := c.awaitHeader(ctx, r.Height+1) // the header of h+1 commits to the state after h
	if err != nil {
		return nil, 0, err
	}
	if err := verifyProof(r.ProofOps.Ops, block.AppHash, store, key, r.Value); err != nil {
		return nil, 0, fault.New(fault.LedgerLies, "proof at block %d: %w", r.Height, err)
	}
	return r.Value, r.Height, nil
}

// verifyProof checks two steps: the key lies in the store's tree (IAVL), and the
// store's root in the tree of all stores, whose root is appHash. An empty value must be
// proved absent. Names and keys come from us, never from the answer.
func verifyProof(ops []cmtcrypto.ProofOp, appHash []byte, store string, key, value []byte) error {
	if len(ops) != 2 || ops[0].Type != "ics23:iavl" || ops[1].Type != "ics23:simple" {
		return errors.New("not a proof of two ICS23 steps")
	}
	var inStore, inLedger ics23.CommitmentProof
	if err := inStore.Unmarshal(ops[0].Data); err != nil {
		return err
	}
	if err := inLedger.Unmarshal(ops[1].Data); err != nil {
		return err
	}
	var root []byte
	var err error
	if len(value) == 0 {
		root, err = absent(inStore.GetNonexist(), key)
	} else {
		root, err = inStore.Calculate()
	}
	if err != nil {
		return err
	}
	if len(value) > 0 && !ics23.VerifyMembership(ics23.IavlSpec, root, &inStore, key, value) {
		return errors.New("the value is not in the store")
	}
	if !ics23.VerifyMembership(ics23.TendermintSpec, appHash, &inLedger, []byte(store), root) {
		return errors.New("the store is not in the ledger's state")
	}
	return nil
}
