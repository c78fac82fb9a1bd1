package chain

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/cometbft/cometbft/light"
	"github.com/cometbft/cometbft/types"

	"hearth/core/fault"
	"hearth/core/network"
)

const (
	maxGenesis = 64 << 20
	drift      = 10 * time.Second // how far a block's time may be ahead of this machine's clock
	maxHops    = 200              // of one way from a trusted block to another
	compareIn  = 2 * time.Second  // how long other nodes have to contradict
)

// anchor finds the block that everything else is verified from.
func (c *Client) anchor(ctx context.Context) error {
	kept := c.trust.load()
	if kept != nil && !c.expired(kept) {
		c.trust.add(kept)
		return nil
	}
	if kept == nil {
		first, err := c.firstBlock(ctx)
		if err != nil {
			return err
		}
		if !c.expired(first) {
			c.trust.restart(first)
			return nil
		}
		kept = first
	}
	return c.fromCheckpoint(ctx, kept)
}

func (c *Client) expired(b *types.LightBlock) bool {
	return light.HeaderExpired(b.SignedHeader, c.c.Trusting, c.c.now())
}

// firstBlock is the genesis' own: made and signed by the validators that the
// genesis names.
func (c *Client) firstBlock(ctx context.Context) (*types.LightBlock, error) {
	var first *types.LightBlock
	once := func() error {
		return c.ask(ctx, "check genesis", func(n *node) error {
			doc, err := n.genesis(ctx)
			if err != nil {
				return err
			}
			id, err := network.ChainID(doc)
			if err != nil {
				return err
			}
			if id != c.ChainID() {
				return fault.New(fault.WrongNetwork, "its genesis is that of %s, not %s", id, c.ChainID())
			}
			genesis, err := types.GenesisDocFromJSON(doc)
			if err != nil {
				return fault.New(fault.WrongNetwork, "read genesis: %w", err)
			}
			first, err = c.firstOf(ctx, n, genesis)
			return err
		})
	}
	if err := c.await(ctx, once); err != nil { // a ledger just started has no block yet
		return nil, err
	}
	return first, nil
}

func (c *Client) firstOf(ctx context.Context, n *node, genesis *types.GenesisDoc) (*types.LightBlock, error) {
	vals := make([]*types.Validator, len(genesis.Validators))
	for i, v := range genesis.Validators {
		vals[i] = types.NewValidator(v.PubKey, v.Power)
	}
	if !sane(vals) {
		return nil, fault.New(fault.WrongNetwork, "the genesis names no validators, or impossible ones")
	}
	set := types.NewValidatorSet(vals)
	sh, err := n.commit(ctx, genesis.InitialHeight, c.ChainID())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(sh.ValidatorsHash, set.Hash()) {
		return nil, fault.New(fault.LedgerLies, "block %d is not by the validators of the genesis", sh.Height)
	}
	if err := set.VerifyCommitLight(c.ChainID(), sh.Commit.BlockID, sh.Height, sh.Commit); err != nil {
		return nil, fault.New(fault.LedgerLies, "block %d: %w", sh.Height, err)
	}
	return &types.LightBlock{SignedHeader: sh, ValidatorSet: set}, nil
}

// genesis fetches the genesis document, in pieces as the RPC gives it.
func (n *node) genesis(ctx context.Context) ([]byte, error) {
	var doc []byte
	for i, total := 0, 1; i < total; i++ {
		var res struct {
			Total int    `json:"total"`
			Data  string `json:"data"`
		}
		if err := n.call(ctx, "genesis_chunked", largeAnswer, map[string]any{"chunk": uint(i)}, &res); err != nil {
			return nil, err
		}
		piece, err := base64.StdEncoding.DecodeString(res.Data)
		if err != nil {
			return nil, fmt.Errorf("genesis: piece %d: %w", i, err)
		}
		if doc = append(doc, piece...); len(doc) > maxGenesis || res.Total > 64 {
			return nil, fault.New(fault.TooLarge, "genesis: more than %d bytes", maxGenesis)
		}
		total = res.Total
	}
	return doc, nil
}

// fromCheckpoint starts again after everything trusted became too old. old is
// what was trusted last, which the checkpoint must come after.
func (c *Client) fromCheckpoint(ctx context.Context, old *types.LightBlock) error {
	expired := func(format string, args ...any) error {
		return fault.New(fault.TrustExpired, "the newest block trusted is of %s: %w", old.Time.Format(time.RFC3339), fmt.Errorf(format, args...))
	}
	cp := c.c.Checkpoint
	if cp == nil {
		return expired("no checkpoint was given; take the one that `hearth ledger status` shows on a machine that is up to date: --trust HEIGHT:HASH")
	}
	if cp.Height <= old.Height {
		return expired("the checkpoint at %d is older still", cp.Height)
	}
	var found *types.LightBlock
	confirmed := 0
	var reasons error
	for _, n := range c.nodes {
		b, err := n.lightBlock(ctx, cp.Height, c.ChainID())
		if err == nil && !bytes.Equal(b.Hash(), cp.Hash) {
			err = fmt.Errorf("it has another block at %d: %X", cp.Height, b.Hash())
		}
		if err != nil {
			reasons = errors.Join(reasons, fmt.Errorf("%s: %w", n.url, err))
			continue
		}
		found = b
		confirmed++
	}
	if confirmed < 2 {
		return expired("%d ledger nodes confirm the checkpoint at %d, two are needed: %w", confirmed, cp.Height, errors.Join(reasons, ctx.Err()))
	}
	if c.expired(found) {
		return expired("the checkpoint is of %s, too old as well", found.Time.Format(time.RFC3339))
	}
	c.c.Log.Info("trust starts again from the checkpoint", "height", cp.Height, "time", found.Time)
	c.trust.restart(found)
	return nil
}

// lightBlock is a header with its commit and validators, consistent in itself.
func (n *node) lightBlock(ctx context.Context, height int64, chainID string) (*types.LightBlock, error) {
	sh, err := n.commit(ctx, height, chainID)
	if err != nil {
		return nil, err
	}
	set, err := n.validators(ctx, sh.Height)
	if err != nil {
		return nil, err
	}
	b := &types.LightBlock{SignedHeader: sh, ValidatorSet: set}
	if err := b.ValidateBasic(chainID); err != nil {
		return nil, fault.New(fault.LedgerLies, "block %d: %w", height, err)
	}
	if err := set.VerifyCommitLight(chainID, sh.Commit.BlockID, sh.Height, sh.Commit); err != nil {
		return nil, fault.New(fault.LedgerLies, "block %d: %w", height, err)
	}
	return b, nil
}

// header is the verified block of a height, or the newest for 0. It answers
// errNotYet for a height that isn't reached.
func (c *Client) header(ctx context.Context, height int64) (*types.LightBlock, error) {
	if err := c.trust.acquire(ctx); err != nil {
		return nil, fmt.Errorf("read block %d: %w", height, err)
	}
	defer c.trust.release()
	if b := c.trust.blocks[height]; b != nil {
		return b, nil
	}
	if c.expired(c.trust.newest) { // asleep for very long
		if err := c.fromCheckpoint(ctx, c.trust.newest); err != nil {
			return nil, err
		}
	}
	var found *types.LightBlock
	err := c.ask(ctx, fmt.Sprintf("read block %d", height), func(n *node) (err error) {
		found, err = c.verify(ctx, n, height)
		return err
	})
	if err != nil {
		return nil, err
	}
	if height == 0 && found.Height < c.trust.newest.Height {
		found = c.trust.newest // a node that is behind doesn't turn time back
	}
	return found, nil
}

// awaitHeader is header, and waits for the block to be made.
func (c *Client) awaitHeader(ctx context.Context, height int64) (b *types.LightBlock, err error) {
	err = c.await(ctx, func() error {
		b, err = c.header(ctx, height)
		return err
	})
	return b, err
}

// verify fetches a block from n, verifies it from what is trusted, and lets the
// other nodes contradict. The trust's lock is held.
func (c *Client) verify(ctx context.Context, n *node, height int64) (*types.LightBlock, error) {
	sh, err := n.commit(ctx, height, c.ChainID())
	if err != nil {
		return nil, err
	}
	if known := c.trust.blocks[sh.Height]; known != nil {
		if !bytes.Equal(known.Hash(), sh.Hash()) {
			return nil, fault.New(fault.LedgerLies, "block %d is %X, not %X", sh.Height, known.Hash(), sh.Hash())
		}
		return known, nil
	}
	base := c.trust.below(sh.Height)
	if base == nil {
		return nil, fault.New(fault.NotFound, "block %d lies before what this client can verify", sh.Height)
	}
	target, err := n.withValidators(ctx, sh, base)
	if err != nil {
		return nil, err
	}
	hops := 0
	if err := c.walk(ctx, n, base, target, &hops); err != nil {
		return nil, err
	}
	if err := c.compare(ctx, n, base, target); err != nil {
		return nil, err
	}
	c.trust.add(target)
	return target, nil
}

// withValidators completes a signed header; the validators seldom change, so
// they seldom have to be fetched.
func (n *node) withValidators(ctx context.Context, sh *types.SignedHeader, base *types.LightBlock) (*types.LightBlock, error) {
	set := base.ValidatorSet
	if !bytes.Equal(sh.ValidatorsHash, base.ValidatorsHash) {
		var err error
		if set, err = n.validators(ctx, sh.Height); err != nil {
			return nil, err
		}
		if !bytes.Equal(sh.ValidatorsHash, set.Hash()) {
			return nil, fault.New(fault.LedgerLies, "validators of block %d are not those in its header", sh.Height)
		}
	}
	return &types.LightBlock{SignedHeader: sh, ValidatorSet: set}, nil
}

// walk verifies to from a trusted block: at once if a third of the known
// validators signed it, else by a block in between.
func (c *Client) walk(ctx context.Context, n *node, from, to *types.LightBlock, hops *int) error {
	if *hops++; *hops > maxHops {
		return fault.New(fault.LedgerLies, "block %d: more than %d steps from what is trusted", to.Height, maxHops)
	}
	err := light.Verify(from.SignedHeader, from.ValidatorSet, to.SignedHeader, to.ValidatorSet, c.c.Trusting, c.c.now(), drift, light.DefaultTrustLevel)
	var unknown light.ErrNewValSetCantBeTrusted
	var old light.ErrOldHeaderExpired
	switch {
	case err == nil:
		return nil
	case errors.As(err, &old):
		return fault.New(fault.TrustExpired, "block %d: %w", from.Height, err)
	case !errors.As(err, &unknown):
		return fault.New(fault.LedgerLies, "block %d: %w", to.Height, err)
	}
	middle, err := n.lightBlock(ctx, from.Height+(to.Height-from.Height)/2, c.ChainID())
	if err != nil {
		return err
	}
	if err := c.walk(ctx, n, from, middle, hops); err != nil {
		return err
	}
	return c.walk(ctx, n, middle, to, hops)
}

// compare asks the other nodes for the same block. One with another header is
// wrong if that doesn't verify; if it does, the validators signed two blocks, and
// neither is believed. Who doesn't answer in time has no say.
func (c *Client) compare(ctx context.Context, from *node, base, target *types.LightBlock) error {
	if len(c.nodes) < 2 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, compareIn)
	defer cancel()
	answers := make(chan error, len(c.nodes))
	for _, n := range c.nodes {
		go func() {
			if n == from {
				answers <- nil
				return
			}
			answers <- c.contradicts(ctx, n, base, target)
		}()
	}
	var fork error
	for range c.nodes {
		fork = errors.Join(fork, <-answers)
	}
	if fork != nil {
		return fault.New(fault.LedgerLies, "%w", fork)
	}
	return nil
}

func (c *Client) contradicts(ctx context.Context, n *node, base, target *types.LightBlock) error {
	sh, err := n.commit(ctx, target.Height, c.ChainID())
	if err != nil {
		if fault.CodeOf(err) == fault.LedgerLies || fault.CodeOf(err) == fault.WrongNetwork {
			c.c.Log.Warn("ledger node lies", "url", n.url, "err", err)
		}
		return nil
	}
	if bytes.Equal(sh.Hash(), target.Hash()) {
		return nil
	}
	other, err := n.withValidators(ctx, sh, base)
	if err == nil {
		hops := 0
		err = c.walk(ctx, n, base, other, &hops)
	}
	if err != nil {
		c.c.Log.Warn("ledger node shows a block that doesn't verify", "url", n.url, "height", target.Height, "err", err)
		return nil
	}
	return fmt.Errorf("block %d: %s has %X and another node %X, both signed", target.Height, n.url, sh.Hash(), target.Hash())
}

// Now is the newest verified block's height and time.
func (c *Client) Now(ctx context.Context) (height int64, at time.Time, err error) {
	b, err := c.header(ctx, 0)
	if err != nil {
		return 0, time.Time{}, err
	}
	return b.Height, b.Time, nil
}
