package chain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

// trust holds the blocks that were verified: the newest ones in memory, the
// newest of all on disk.
type trust struct {
	file    string // "": nothing is kept
	chainID string
	log     *slog.Logger

	lock   chan struct{} // holds a token while free, so that waiting can be cancelled
	blocks map[int64]*types.LightBlock
	newest *types.LightBlock
	saved  time.Time
}

const (
	trustMagic = "HEARTHTRUST1\n"
	keepBlocks = 512
	saveEvery  = time.Minute
	maxTrust   = 8 << 20
)

func newTrust(dir, chainID string, log *slog.Logger) *trust {
	t := &trust{chainID: chainID, log: log, lock: make(chan struct{}, 1), blocks: make(map[int64]*types.LightBlock)}
	t.lock <- struct{}{}
	if dir != "" {
		t.file = filepath.Join(dir, "trusted-block")
	}
	return t
}

func (t *trust) acquire(ctx context.Context) error {
	select {
	case <-t.lock:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *trust) release() { t.lock <- struct{}{} }

// add takes a verified block. The lock is held.
func (t *trust) add(b *types.LightBlock) {
	t.blocks[b.Height] = b
	if t.newest == nil || b.Height > t.newest.Height {
		t.newest = b
	}
	for len(t.blocks) > keepBlocks {
		oldest := t.newest.Height
		for h := range t.blocks {
			oldest = min(oldest, h)
		}
		delete(t.blocks, oldest)
	}
	if time.Since(t.saved) > saveEvery {
		if err := t.write(); err != nil {
			t.log.Warn("the newest trusted block can't be kept", "err", err)
		}
	}
}

// restart forgets everything but b. The lock is held.
func (t *trust) restart(b *types.LightBlock) {
	t.blocks, t.newest, t.saved = make(map[int64]*types.LightBlock), nil, time.Time{}
	t.add(b)
}

// below is the newest trusted block before a height, nil if there is none. The
// lock is held.
func (t *trust) below(height int64) *types.LightBlock {
	if t.newest != nil && t.newest.Height < height {
		return t.newest
	}
	var best *types.LightBlock
	for h, b := range t.blocks {
		if h < height && (best == nil || h > best.Height) {
			best = b
		}
	}
	return best
}

// load reads the kept block. One that is damaged or of another network counts as none:
// trust can be built again from the genesis, and a mistake here must not be believed.
func (t *trust) load() *types.LightBlock {
	if t.file == "" {
		return nil
	}
	data, err := os.ReadFile(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	b, err := t.decode(data, err)
	if err != nil {
		t.log.Warn("the kept trusted block can't be used", "file", t.file, "err", err)
		return nil
	}
	return b
}

func (t *trust) decode(data []byte, err error) (*types.LightBlock, error) {
	if err != nil {
		return nil, err
	}
	end := len(data) - sha256.Size
	if len(data) > maxTrust || !bytes.HasPrefix(data, []byte(trustMagic)) || end < len(trustMagic) ||
		sha256.Sum256(data[:end]) != [sha256.Size]byte(data[end:]) {
		return nil, errors.New("damaged")
	}
	var p cmtproto.LightBlock
	if err := p.Unmarshal(data[len(trustMagic):end]); err != nil {
		return nil, err
	}
	b, err := types.LightBlockFromProto(&p)
	if err != nil {
		return nil, err
	}
	if err := b.ValidateBasic(t.chainID); err != nil {
		return nil, err
	}
	return b, nil
}

// save keeps the newest block on disk.
func (t *trust) save() error {
	<-t.lock
	defer t.release()
	return t.write()
}

func (t *trust) write() error {
	if t.file == "" || t.newest == nil {
		return nil
	}
	t.saved = time.Now()
	p, err := t.newest.ToProto()
	if err != nil {
		return fmt.Errorf("keep trusted block: %w", err)
	}
	body, err := p.Marshal()
	if err != nil {
		return fmt.Errorf("keep trusted block: %w", err)
	}
	data := append([]byte(trustMagic), body...)
	sum := sha256.Sum256(data)
	f, err := os.CreateTemp(filepath.Dir(t.file), ".trusted-*")
	if err != nil {
		return fmt.Errorf("keep trusted block: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(data, sum[:]...))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), t.file)
	}
	if err != nil {
		return fmt.Errorf("keep trusted block: %w", err)
	}
	return nil
}
