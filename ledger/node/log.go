package node

import (
	"context"
	"log/slog"
	"sync/atomic"

	sdklog "cosmossdk.io/log/v2"
	cmtlog "github.com/cometbft/cometbft/libs/log"
)

// CometBFT and the SDK tell about every block at level info; here that is debug,
// and their debug is dropped.

// cometLog says nothing once hush is set: a node that is being closed complains
// about every listener it closes.
type cometLog struct {
	*slog.Logger
	hush *atomic.Bool
}

var _ cmtlog.Logger = cometLog{}

func (cometLog) Debug(string, ...any) {}

func (l cometLog) Info(msg string, kv ...any) { l.Logger.Debug(msg, kv...) }

func (l cometLog) Warn(msg string, kv ...any) { l.say(slog.LevelWarn, msg, kv) }

func (l cometLog) Error(msg string, kv ...any) {
	if msg == tooEarly {
		l.Logger.Debug(msg, kv...)
		return
	}
	l.say(slog.LevelError, msg, kv)
}

// tooEarly is told when a node asks for a block's results in the moment between the
// block and its results, which those who follow the chain do all the time. Whoever
// asks gets the error, so nothing is lost.
const tooEarly = "failed to LoadFinalizeBlockResponse"

func (l cometLog) say(level slog.Level, msg string, kv []any) {
	if !l.hush.Load() {
		l.Log(context.Background(), level, msg, kv...)
	}
}

func (l cometLog) With(kv ...any) cmtlog.Logger { return cometLog{l.Logger.With(kv...), l.hush} }

type appLog struct{ *slog.Logger }

var _ sdklog.Logger = appLog{}

func (appLog) Debug(string, ...any) {}

func (appLog) DebugContext(context.Context, string, ...any) {}

func (l appLog) Info(msg string, kv ...any) { l.Logger.Debug(msg, kv...) }

func (l appLog) InfoContext(ctx context.Context, msg string, kv ...any) {
	l.Logger.DebugContext(ctx, msg, kv...)
}

func (l appLog) With(kv ...any) sdklog.Logger { return appLog{l.Logger.With(kv...)} }

func (l appLog) Impl() any { return l.Logger }
