package upload

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"hearth/core/proof"
	"hearth/storage/remote"
)

// A taker is a host whose Put does what the test says.
type taker struct {
	name string
	put  func(ctx context.Context, shard byte) error
}

func (t *taker) Name() string  { return t.name }
func (t *taker) Lease() uint64 { return 1 }

func (t *taker) Put(ctx context.Context, root proof.Hash, _ []byte) error { return t.put(ctx, root[0]) }

func (t *taker) Change(context.Context, []proof.Shard, func() ([]proof.Hash, error)) error {
	return nil
}

// The only spare is called for a shard that is merely late, which then arrives by
// itself: the spare must still be there for the shard of a host that never answers.
func TestASpareCalledTooEarlyIsCalledAgain(t *testing.T) {
	called := make(chan struct{})
	quick := func(context.Context, byte) error { return nil }
	hosts := []Host{
		&taker{"quick", quick},
		&taker{"as quick", quick},
		&taker{"late", func(ctx context.Context, _ byte) error {
			<-called
			return nil
		}},
		&taker{"deaf", func(ctx context.Context, _ byte) error {
			<-ctx.Done()
			return ctx.Err()
		}},
		&taker{"spare", func(ctx context.Context, shard byte) error {
			if shard == 2 {
				close(called)
				<-ctx.Done()
			}
			return ctx.Err()
		}},
	}
	c := Config{
		Book: remote.NewBook(time.Now), Patience: time.Hour, Slow: time.Millisecond, Retry: time.Hour,
		Log: slog.New(slog.DiscardHandler),
	}
	roots := []proof.Hash{{0}, {1}, {2}, {3}}
	at, err := place(t.Context(), &c, hosts, roots, len(roots), func(int) []byte { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if at[2].Name() != "late" || at[3].Name() != "spare" {
		t.Errorf("the late shard is at %s, the deaf host's at %s", at[2].Name(), at[3].Name())
	}
}
