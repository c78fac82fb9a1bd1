package chain

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"hearth/core/fault"
)

// String is the form that ParseCheckpoint reads: HEIGHT:HASH, the hash in hex.
func (p Checkpoint) String() string { return fmt.Sprintf("%d:%x", p.Height, p.Hash) }

// ParseCheckpoint reads a checkpoint; an empty text is none.
func ParseCheckpoint(text string) (*Checkpoint, error) {
	if text == "" {
		return nil, nil
	}
	height, hash, _ := strings.Cut(text, ":")
	h, err := strconv.ParseInt(height, 10, 64)
	sum, hexErr := hex.DecodeString(hash)
	if err != nil || hexErr != nil || h < 1 || len(sum) != 32 {
		return nil, fault.New(fault.BadRequest, "read checkpoint %.100q: it is HEIGHT:HASH, as `hearth ledger status` shows it", text)
	}
	return &Checkpoint{h, sum}, nil
}

// Checkpoint is the newest verified block, for whoever has none to begin from.
func (c *Client) Checkpoint(ctx context.Context) (Checkpoint, error) {
	b, err := c.header(ctx, 0)
	if err != nil {
		return Checkpoint{}, err
	}
	return Checkpoint{b.Height, b.Hash()}, nil
}
