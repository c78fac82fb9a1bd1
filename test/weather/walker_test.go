package weather

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"hearth/sdk"
)

// A walker is a client on a death march: what it has written, and how that went.
type walker struct {
	w       *world
	name    string
	rng     *rand.Rand
	objects [][]byte
	at      map[string]int // how many of its shards each host holds, when it last looked
	good    map[int]bool   // objects that were seen whole at the end

	writes, writesAgain, reads, readsAgain, checked int
}

func newWalker(w *world, name string) *walker {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &walker{w: w, name: name, rng: rand.New(rand.NewPCG(2, h.Sum64())), good: map[int]bool{}}
}

func (c *walker) key(i int) string { return fmt.Sprintf("march-%03d", i) }

// again does something until it goes well, and counts how often it didn't.
func (c *walker) again(what string, count *int, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s of the %s: not after %s: %w", what, c.name, patient, err)
		case <-time.After(200 * time.Millisecond):
			*count++
		}
	}
}

func (c *walker) write() error {
	i := len(c.objects)
	b := content(c.rng.Uint64(), 1+c.rng.IntN(2*mib))
	err := c.again("write "+c.key(i), &c.writesAgain, func(ctx context.Context) error {
		_, err := c.w.api.Put(ctx, bucket, c.key(i), bytes.NewReader(b), int64(len(b)), sdk.PutOptions{})
		return err
	})
	c.objects = append(c.objects, b)
	c.writes++
	return err
}

func (c *walker) read(i int) error {
	c.reads++
	return c.again("read "+c.key(i), &c.readsAgain, func(ctx context.Context) error {
		return c.w.reads(ctx, c.key(i), c.objects[i])
	})
}

// live writes and reads for a while, and something at least.
func (c *walker) live(d time.Duration) error {
	for end := time.Now().Add(d); ; {
		if err := c.write(); err != nil {
			return err
		}
		for range 3 {
			if err := c.read(c.rng.IntN(len(c.objects))); err != nil {
				return err
			}
		}
		if time.Now().After(end) {
			return nil
		}
		time.Sleep(d / 6) // so that the files don't become too many
	}
}

// checkAll reads everything once more.
func (c *walker) checkAll() error {
	for i := range c.objects {
		if err := c.read(i); err != nil {
			return err
		}
		c.checked++
	}
	return nil
}

// look asks where the shards lie.
func (c *walker) look() error {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	c.at = map[string]int{}
	for i := range c.objects {
		h, err := c.w.api.Health(ctx, bucket, c.key(i))
		if err != nil {
			return err
		}
		for _, s := range h.Slabs {
			for _, sh := range s.Shards {
				c.at[sh.Host]++
			}
		}
	}
	return nil
}

// recovered says whether at most so many of the dead still hold something.
func (c *walker) recovered(dead map[string]bool, most int) error {
	if len(dead) <= most {
		return nil
	}
	if err := c.look(); err != nil {
		return err
	}
	left := 0
	for host := range dead {
		if c.at[host] > 0 {
			left++
		}
	}
	if left > most {
		return fmt.Errorf("%d dead hosts hold shards of the %s", left, c.name)
	}
	return nil
}

// whole waits until every slab has all its shards again, on hosts that run.
func (c *walker) whole() error {
	return c.again("restore all redundancy", new(int), func(ctx context.Context) error {
		for i := range c.objects {
			if c.good[i] {
				continue
			}
			h, err := c.w.api.Health(ctx, bucket, c.key(i))
			if err != nil {
				return err
			}
			for _, s := range h.Slabs {
				held := 0
				for _, sh := range s.Shards {
					if sh.State == "held" {
						held++
					}
				}
				if held < len(s.Shards) {
					return fmt.Errorf("%s: %d of %d shards are held", c.key(i), held, len(s.Shards))
				}
			}
			c.good[i] = true
		}
		return nil
	})
}
