package cli

import (
	"context"
	"strings"
	"time"

	"hearth/core/fault"
)

// keepOpen says how long a door stays open, and waits until ctx ends. What the command
// opened it closes with shut then; what was open before stays. hint is a sentence on
// what to do meanwhile, or empty.
func (a *App) keepOpen(ctx context.Context, opened bool, hint string, shut func(context.Context) error) error {
	says := []string{"It was open already, by the settings, and stays open.", hint}
	if opened {
		says = []string{hint, "Ctrl-C closes the door."}
	}
	a.Term.Say("%s", strings.TrimSpace(strings.Join(says, " ")))
	<-ctx.Done()
	if !opened {
		return nil
	}
	quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := shut(quiet); err != nil && fault.CodeOf(err) != fault.NotRunning {
		return err
	}
	return nil
}
