package chain

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/cometbft/cometbft/types"

	"hearth/core/fault"
)

const maxPast = 500_000

// past is when the blocks from (included) to to were made, verified from to, a
// verified block, down the chain of hashes.
func (c *Client) past(ctx context.Context, from int64, to *types.LightBlock) ([]time.Time, error) {
	if to.Height-from > maxPast {
		return nil, fmt.Errorf("%w: block %d is %d blocks ago", ErrPruned, from, to.Height-from)
	}
	times := make([]time.Time, max(to.Height-from, 0))
	want := to.LastBlockID.Hash
	for height := to.Height - 1; height >= from; {
		err := c.ask(ctx, fmt.Sprintf("read block %d", height), func(n *node) error {
			var res struct {
				Metas []*types.BlockMeta `json:"block_metas"` // newest first, at most 20
			}
			params := map[string]any{"minHeight": max(from, height-19), "maxHeight": height}
			if err := n.call(ctx, "blockchain", largeAnswer, params, &res); err != nil {
				return pruned(err)
			}
			if len(res.Metas) == 0 {
				return fmt.Errorf("%w: block %d", ErrPruned, height)
			}
			for _, m := range res.Metas {
				if height < from {
					break
				}
				if m == nil || m.Header.Height != height || !bytes.Equal(m.Header.Hash(), want) {
					return fault.New(fault.LedgerLies, "block %d doesn't lie below the verified block %d", height, to.Height)
				}
				times[height-from] = m.Header.Time
				height, want = height-1, m.Header.LastBlockID.Hash
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return times, nil
}

// pruned turns a node's "no longer kept" into ErrPruned.
func pruned(err error) error {
	if says(err, "is not available, lowest height is") || says(err, "can't be greater than max height") {
		return fmt.Errorf("%w: %w", ErrPruned, err)
	}
	return err
}

// oldest is the lowest block in memory, from which past goes down.
func (c *Client) oldest(ctx context.Context) (*types.LightBlock, error) {
	if err := c.trust.acquire(ctx); err != nil {
		return nil, err
	}
	defer c.trust.release()
	low := c.trust.newest
	for _, b := range c.trust.blocks {
		if b.Height < low.Height {
			low = b
		}
	}
	return low, nil
}
