package wasm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"hearth/core/fault"
)

// A Call is what a module gets to see, and what it may use.
type Call struct {
	Args      []string      // args[0] is the program's name
	Env       []string      // NAME=value
	Input     []byte        // standard input, or what hearth.input_* give
	Now       int64         // nanoseconds since 1970: what clocks say at the start, they advance with each reading
	Seed      [32]byte      // from which random numbers are drawn (ChaCha8 of math/rand/v2)
	Gas       uint64        // at most
	Pages     uint32        // memory at most, in pages; 0: Config.MaxPages
	Deadline  time.Duration // of wall clock, from when it runs; default 10 s
	MaxOutput int           // bytes of output; default 16 MiB
	Store     []byte        // what hearth.kv_* read and write, in canonical form; nil without StoreMax
	StoreMax  int           // how large it may become, as core/store counts; 0: there is none
}

// A Result is what came of a call. It is the same on every machine.
type Result struct {
	Exit   uint32
	Output []byte     // standard output, or what hearth.output_write got
	Log    []byte     // standard error and hearth.log; of a long one the beginning and the end
	Gas    uint64     // used
	Fault  fault.Code // "": it ended by itself, and Exit tells how; else out_of_gas, trapped or too_large
	Reason string     // of the fault, for people
	Store  []byte     // after the call, in canonical form; nil: as it was, as for any call that didn't end with status 0
}

// What Call waits for at most before a module of its own runs.
const (
	startWithin = 2 * time.Minute              // for a worker to compile its module
	patience    = startWithin + 30*time.Second // for other calls, which may wait for that, and modules to make room
	grace       = 5 * time.Second              // for a worker to end a call that is over its deadline
)

var errClosed = errors.New("the engine is closed")

// Call runs a module. An error is what isn't the module's doing; what is, and is
// the same everywhere, is in the result.
func (e *Engine) Call(ctx context.Context, digest [32]byte, c Call) (Result, error) {
	if err := c.settle(e.c.MaxPages); err != nil {
		return Result{}, err
	}
	l, info, err := e.enter(digest)
	if err != nil {
		return Result{}, err
	}
	defer e.leave(l)
	if info.Pages > c.Pages {
		return Result{Fault: fault.TooLarge, Reason: fmt.Sprintf("it begins with %d pages of memory, %d are allowed", info.Pages, c.Pages)}, nil
	}
	waiting, stop := context.WithTimeout(ctx, patience)
	defer stop()
	select {
	case l.slots <- struct{}{}:
	case <-waiting.Done():
		return Result{}, waited(ctx, digest, "other calls of it")
	case <-e.closed:
		return Result{}, fault.New(fault.Busy, "call %x: %w", digest[:4], errClosed)
	}
	defer func() { <-l.slots }()
	done, err := e.turn(ctx, waiting, digest)
	if err != nil {
		return Result{}, err
	}
	defer done()
	for again := false; ; again = true {
		w, err := e.worker(ctx, waiting, l)
		if err != nil {
			return Result{}, err
		}
		r, err := w.call(ctx, &c)
		if !errors.Is(err, errNeighbour) || again {
			return r, err
		}
	}
}

// waited says why a call didn't get to run.
func waited(ctx context.Context, digest [32]byte, what string) error {
	if err := ctx.Err(); err != nil {
		return stopped(digest, err)
	}
	return fault.New(fault.Busy, "call %x: %s took all the room for %v", digest[:4], what, patience)
}

// stopped says that the caller didn't wait for the end.
func stopped(digest [32]byte, err error) error {
	code := fault.Interrupted
	if errors.Is(err, context.DeadlineExceeded) {
		code = fault.Deadline
	}
	return fault.New(code, "call %x: %w", digest[:4], err)
}

// settle checks a call and fills what it leaves open.
func (c *Call) settle(most uint32) error {
	c.Pages = cmp.Or(c.Pages, most)
	c.Deadline = cmp.Or(c.Deadline, 10*time.Second)
	c.MaxOutput = cmp.Or(c.MaxOutput, 16<<20)
	c.Gas = min(c.Gas, math.MaxInt64)
	size := 0
	for _, list := range [][]string{c.Args, c.Env} {
		for _, s := range list {
			size += len(s) + 1
			if strings.IndexByte(s, 0) >= 0 {
				return fault.New(fault.BadRequest, "call module: an argument or a variable holds a zero byte")
			}
		}
	}
	switch {
	case size > MaxContext:
		return fault.New(fault.TooLarge, "call module: %d bytes of arguments and environment, %d are allowed", size, MaxContext)
	case len(c.Input) > MaxInput:
		return fault.New(fault.TooLarge, "call module: %d bytes of input, %d are allowed", len(c.Input), MaxInput)
	case c.Pages > most:
		return fault.New(fault.TooLarge, "call module: %d pages of memory, %d are allowed", c.Pages, most)
	case c.MaxOutput < 0 || c.MaxOutput > MaxOutput:
		return fault.New(fault.TooLarge, "call module: %d bytes of output, %d are allowed", c.MaxOutput, MaxOutput)
	case c.Deadline < 0 || c.Deadline > maxDeadline:
		return fault.New(fault.BadRequest, "call module: a deadline of %v, up to %v is possible", c.Deadline, maxDeadline)
	}
	return c.stored()
}
