package p2p

import (
	"context"
	"log/slog"

	"github.com/libp2p/go-libp2p/gologshim"
)

// LogTo has libp2p's own errors go to h, as debug: what matters of them comes back
// as an error as well. Otherwise they go to standard error, in another form. They
// belong to the process, so a program says it once, before its first node.
func LogTo(h slog.Handler) { gologshim.SetDefaultHandler(quiet{h}) }

// quiet passes errors on as debug, and nothing else.
type quiet struct{ slog.Handler }

// Enabled says whether a record of that level is of interest.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && q.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle passes a record on.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if !q.Enabled(ctx, r.Level) {
		return nil
	}
	r.Level = slog.LevelDebug
	return q.Handler.Handle(ctx, r)
}

// WithAttrs keeps the quiet.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup keeps the quiet.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
