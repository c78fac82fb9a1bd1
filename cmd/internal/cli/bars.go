package cli

import (
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"hearth/api"
	"hearth/internal/terminal"
)

// bars draw the progress of transfers where a person watches; elsewhere they
// do nothing.
type bars struct {
	all  *mpb.Progress // nil: nobody watches
	many bool          // a bar goes when its transfer has ended
}

func newBars(t *terminal.Terminal, many bool) *bars {
	if !t.Bars() {
		return &bars{}
	}
	return &bars{mpb.New(mpb.WithOutput(t.Err()), mpb.WithWidth(48)), many}
}

// add begins a bar. tell is nil where nobody watches; done ends the bar.
func (b *bars) add(name string, size int64) (tell func(api.Transfer), done func(error)) {
	if b.all == nil {
		return nil, func(error) {}
	}
	bar := b.all.AddBar(size, mpb.BarOptional(mpb.BarRemoveOnComplete(), b.many),
		mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f"), decor.Name(" "), decor.AverageSpeed(decor.SizeB1024(0), "% .1f")),
	)
	var mu sync.Mutex // tell is called by another goroutine than done
	tell = func(t api.Transfer) {
		mu.Lock()
		defer mu.Unlock()
		if t.Progress.Total > 0 {
			bar.SetTotal(t.Progress.Total, false)
		}
		bar.SetCurrent(t.Progress.Bytes)
	}
	done = func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			bar.Abort(false)
			return
		}
		bar.SetTotal(-1, true)
	}
	return tell, done
}

func (b *bars) wait() {
	if b.all != nil {
		b.all.Wait()
	}
}

// A counter is the one bar of many small calls.
type counter struct {
	all *mpb.Progress // nil: nobody watches
	bar *mpb.Bar

	mu   sync.Mutex
	cost api.Money
}

func newCounter(t *terminal.Terminal, total int) *counter {
	c := &counter{cost: api.MoneyOf(0)}
	if !t.Bars() {
		return c
	}
	c.all = mpb.New(mpb.WithOutput(t.Err()), mpb.WithWidth(48))
	c.bar = c.all.AddBar(int64(total), mpb.AppendDecorators(
		decor.CountersNoUnit("%d / %d"), decor.Any(func(decor.Statistics) string {
			c.mu.Lock()
			defer c.mu.Unlock()
			return "  " + c.cost.String()
		}),
	))
	return c
}

func (c *counter) tell(m api.Mapped) {
	c.mu.Lock()
	c.cost = m.Cost
	c.mu.Unlock()
	if c.bar != nil {
		c.bar.SetCurrent(int64(m.Done))
	}
}

func (c *counter) wait() {
	if c.bar != nil {
		c.bar.Abort(false)
		c.all.Wait()
	}
}
