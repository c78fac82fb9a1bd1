package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"hearth/api"
)

// functions measures warm calls of a Go program, which takes what it is given and
// gives it back in capitals.
func (b *bench) functions(ctx context.Context) error {
	file := filepath.Join(b.dir, "function.wasm")
	c := exec.CommandContext(ctx, "go", "build", "-o", file, "hearth/test/weather/testdata/function")
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build a function: %w: %s", err, out)
	}
	module, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := b.client.Deploy(ctx, api.FunctionWish{Name: "bench"}, module); err != nil {
		return err
	}
	began := time.Now()
	if _, err := b.called(ctx, 1); err != nil {
		return err
	}
	say("first call of a Go program: %.2f s", time.Since(began).Seconds())
	group, warm := errgroup.WithContext(ctx)
	for range 16 { // so that every host that will be asked has it
		group.Go(func() error {
			_, err := b.called(warm, 20)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return b.often(ctx, "calls of a Go program, SDK", b.called)
}

func (b *bench) called(ctx context.Context, n int) ([]time.Duration, error) {
	times := make([]time.Duration, n)
	for i := range times {
		began := time.Now()
		done, err := b.client.Call(ctx, "bench", api.CallWish{Args: []string{"upper"}, Input: []byte("quiet")})
		if err != nil {
			return nil, err
		}
		if string(done.Output) != "QUIET" {
			return nil, fmt.Errorf("call a function: it gives %q", done.Output)
		}
		times[i] = time.Since(began)
	}
	return times, nil
}
