package sdk

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
)

// A MapJob is one input of many for one function. Its functions may be called more
// than once, and together with those of other jobs.
type MapJob struct {
	Name  string // the function's first argument
	Read  func(ctx context.Context) ([]byte, error)
	Write func(ctx context.Context, output []byte) error
}

// MapOptions say how a function is run over many inputs.
type MapOptions struct {
	Args     []string         // behind the input's name
	Env      []string         // NAME=value
	Verify   int              // on how many other hosts outcomes are checked, where they are
	Parallel int              // calls at once; default 16
	Most     money.Amount     // nothing more is begun once it has cost so much; 0: no limit
	Tell     func(api.Mapped) // how far it is, now and then; may be nil
}

// mapTries is how often a job is begun anew when no host ran it.
const mapTries = 4

// mapping is one run over many inputs.
type mapping struct {
	c        *Client
	function string
	o        MapOptions

	mu   sync.Mutex
	out  api.Mapped
	cost money.Amount
	by   map[int][]string // who has signed what a job gave, where that is all there is for it
	bad  map[int]api.MapFailure
}

// Map runs a function over many inputs. What hosts computed that turn out to be
// liars, and nobody checked, is computed anew. Inputs on which the function fails
// are named in the answer; an error ends all of it, and what is written by then
// stays.
func (c *Client) Map(ctx context.Context, function string, jobs []MapJob, o MapOptions) (api.Mapped, error) {
	if o.Parallel == 0 {
		o.Parallel = 16
	}
	if o.Tell == nil {
		o.Tell = func(api.Mapped) {}
	}
	m := &mapping{
		c: c, function: function, o: o, out: api.Mapped{Total: len(jobs), Liars: []string{}},
		by: map[int][]string{}, bad: map[int]api.MapFailure{},
	}
	known, err := c.Liars(ctx)
	if err != nil {
		return m.report(jobs), err
	}
	todo := make([]int, len(jobs))
	for i := range todo {
		todo[i] = i
	}
	for len(todo) > 0 {
		if err := m.round(ctx, jobs, todo); err != nil {
			return m.report(jobs), err
		}
		liars, err := c.Liars(ctx)
		if err != nil {
			return m.report(jobs), err
		}
		todo = m.redo(known, liars)
	}
	return m.report(jobs), nil
}

func (m *mapping) round(ctx context.Context, jobs []MapJob, todo []int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(m.o.Parallel)
	for _, i := range todo {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return m.one(ctx, i, jobs[i]) })
	}
	return group.Wait()
}

func (m *mapping) one(ctx context.Context, i int, job MapJob) error {
	input, err := job.Read(ctx)
	if err != nil {
		return err
	}
	done, err := m.call(ctx, job.Name, input)
	if err != nil {
		return err
	}
	if done.Fault == "" && done.Exit == 0 {
		if err := job.Write(ctx, done.Output); err != nil {
			return err
		}
	}
	m.took(i, done)
	return nil
}

// call runs the function once, also where hosts are scarce for a while.
func (m *mapping) call(ctx context.Context, name string, input []byte) (api.Called, error) {
	for try := 1; ; try++ {
		if err := m.affordable(); err != nil {
			return api.Called{}, err
		}
		done, err := m.c.Call(ctx, m.function, api.CallWish{
			Args: append([]string{name}, m.o.Args...), Env: m.o.Env, Input: input, Verify: m.o.Verify,
		})
		if err == nil {
			return done, nil
		}
		if entry, _ := fault.Lookup(fault.CodeOf(err)); entry.Exit != fault.ExitHosts || try == mapTries {
			return api.Called{}, err
		}
		select {
		case <-ctx.Done():
			return api.Called{}, context.Cause(ctx)
		case <-time.After(time.Duration(try) * time.Second):
		}
	}
}

func (m *mapping) affordable() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.o.Most > 0 && m.cost >= m.o.Most {
		return fault.New(fault.PriceTooHigh, "run %s over inputs: it has cost %s, at most %s are allowed", m.function, api.MoneyOf(m.cost), api.MoneyOf(m.o.Most))
	}
	return nil
}

// took counts a call that was run.
func (m *mapping) took(i int, done api.Called) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.bad, i)
	if done.Fault != "" || done.Exit != 0 {
		m.bad[i] = api.MapFailure{Fault: done.Fault, Reason: done.Reason, Exit: done.Exit}
	}
	if done.Here || len(done.Witnesses) > 1 {
		m.out.Checked++
	}
	if !done.Here {
		m.by[i] = done.Witnesses
	}
	m.out.Done++
	m.out.Gas += done.Gas
	if cost, err := done.Cost.Value(); err == nil {
		m.cost = money.AddCap(m.cost, cost)
	}
	m.out.Cost = api.MoneyOf(m.cost)
	m.o.Tell(m.out)
}

// redo gives the jobs for which nobody has signed but liars: those that agree on a
// lie check each other. Liars that were known before all this had no part in it.
func (m *mapping) redo(known, now api.Liars) (again []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out.Liars = []string{}
	for _, l := range now.Liars {
		if !slices.Contains(known.Liars, l) {
			m.out.Liars = append(m.out.Liars, l.Host)
		}
	}
	honest := func(host string) bool { return !slices.Contains(m.out.Liars, host) }
	for i, witnesses := range m.by {
		if !slices.ContainsFunc(witnesses, honest) {
			again = append(again, i)
			delete(m.by, i)
		}
	}
	m.out.Done -= len(again)
	m.out.Redone += len(again)
	return again
}

func (m *mapping) report(jobs []MapJob) api.Mapped {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.out
	out.Cost, out.Failed = api.MoneyOf(m.cost), []api.MapFailure{}
	for i, f := range m.bad {
		f.Name = jobs[i].Name
		out.Failed = append(out.Failed, f)
	}
	slices.SortFunc(out.Failed, func(a, b api.MapFailure) int { return strings.Compare(a.Name, b.Name) })
	return out
}
