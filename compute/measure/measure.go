// Package measure finds out what this machine can do for others: gas in a second, by a
// module of ours in the very engine that runs strangers' modules; memory, disk, GPUs.
// It takes about three seconds, some 80 MB of memory and 8 MB of disk, and leaves
// nothing behind. A busy machine looks weaker than it is, most of all in what all of
// its cores do together.
package measure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"hearth/core/fault"
	"hearth/core/machine"
)

// A Config says what is measured. A zero field takes its stated default.
type Config struct {
	Dir     string        // required: on the disk that is meant; what doesn't exist of it isn't made
	Program []string      // required: command line of a worker, see compute/wasm
	Memory  uint64        // that is installed, in bytes; less where a control group has less
	Time    time.Duration // that all of it takes, about; default 2.5 s
	Root    fs.FS         // where proc, sys and usr are; default the machine's own
}

// usual is how long all of it takes; each part has its share.
const usual = 2500 * time.Millisecond

// Run measures. Every part of it ends soon after ctx.
func Run(ctx context.Context, c Config) (f machine.Figures, err error) {
	if c.Dir == "" || len(c.Program) == 0 {
		return f, errors.New("measure: Dir and Program are required")
	}
	c.Time = cmp.Or(c.Time, usual)
	if c.Root == nil {
		c.Root = os.DirFS("/")
	}
	dir, err := existing(c.Dir)
	if err != nil {
		return f, err
	}
	tidy(dir)
	if dir, err = os.MkdirTemp(dir, rest+"*"); err != nil {
		return f, fmt.Errorf("measure: %w", err)
	}
	defer os.RemoveAll(dir)
	f.GPUs = GPUs(c.Root)
	f.Memory = within(c.Root, c.Memory)
	f.Cores = uint64(runtime.NumCPU())
	if f.DiskFree, err = free(dir); err != nil {
		return f, fmt.Errorf("measure disk: %w", err)
	}
	if f.DiskWrite, f.DiskRead, err = disk(ctx, dir, c.Time/5); err != nil {
		return f, fmt.Errorf("measure disk: %w", err)
	}
	if f.Copy, err = memory(ctx, c.Time/10); err != nil {
		return f, fmt.Errorf("measure memory: %w", err)
	}
	if f.Core, f.All, err = cores(ctx, c.Program, filepath.Join(dir, "engine"), int(f.Cores), c.Time/4); err != nil {
		return f, fmt.Errorf("measure processor: %w", err)
	}
	f.Measured = time.Now().Unix()
	return f, nil
}

// existing is the folder, or the nearest above it that is there.
func existing(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("measure: %w", err)
	}
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && info.IsDir():
			return dir, nil
		case err == nil:
			return "", fault.New(fault.BadRequest, "measure: %s isn't a folder", dir)
		case !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir:
			return "", fmt.Errorf("measure: %w", err)
		}
		dir = filepath.Dir(dir)
	}
}

// rest begins the names of folders that a crash may leave.
const rest = ".hearth-measure-"

// tidy removes what a crash has left: nothing that is measured takes so long.
func tidy(dir string) {
	left, err := filepath.Glob(filepath.Join(dir, rest+"*"))
	if err != nil {
		return
	}
	for _, l := range left {
		if info, err := os.Lstat(l); err == nil && time.Since(info.ModTime()) > time.Hour {
			os.RemoveAll(l)
		}
	}
}

// memory copies between two pieces that no cache holds, and gives bytes a second, in
// the best of many turns.
func memory(ctx context.Context, time time.Duration) (uint64, error) {
	const size, piece = 32 << 20, 4 << 20
	from, to := make([]byte, size), make([]byte, size)
	for i := range from { // pages that were never written are all the same one
		from[i], to[i] = byte(i), 1
	}
	var rates []float64
	s := watch(time)
	for at := 0; !s.over() || len(rates) < 3; at = (at + piece) % size {
		if err := ctx.Err(); err != nil {
			return 0, stopped(ctx)
		}
		began := s.now()
		copy(to[at:at+piece], from[at:at+piece])
		rates = append(rates, piece/max(s.now()-began, 1e-9))
	}
	return uint64(slices.Max(rates)), nil
}

// A stopwatch tells when a part has had its time, which is counted in seconds.
type stopwatch struct {
	began time.Time
	most  time.Duration
}

func watch(most time.Duration) stopwatch { return stopwatch{time.Now(), most} }

func (s stopwatch) over() bool { return time.Since(s.began) >= s.most }

func (s stopwatch) now() float64 { return time.Since(s.began).Seconds() }

func stopped(ctx context.Context) error {
	return fault.New(fault.Interrupted, "it was stopped: %w", context.Cause(ctx))
}

// median is the one in the middle: what others do on the machine meanwhile moves it
// little.
func median(rates []float64) uint64 {
	if len(rates) == 0 {
		return 0
	}
	slices.Sort(rates)
	return uint64(rates[len(rates)/2])
}
