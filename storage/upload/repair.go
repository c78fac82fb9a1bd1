package upload

import (
	"context"

	"hearth/core/proof"
	"hearth/storage/index"
)

// Repair places shards of a slab that is stored already, given what they are
// made of, and has their hosts sign. It returns the places of those that found
// one, and why others didn't.
func Repair(ctx context.Context, c Config, slab *index.PlacedSlab, want []int, body func(shard int) []byte) (map[int]index.Place, error) {
	c.Class = slab.Class
	if err := c.complete(); err != nil {
		return nil, err
	}
	roots := make([]proof.Hash, len(want))
	for i, shard := range want {
		roots[i] = slab.Roots[shard]
	}
	hosts, failed := place(ctx, &c, c.Hosts, roots, max(1, len(want)/2), func(i int) []byte { return body(want[i]) })
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	s := &sealed{PlacedSlab: *slab, hosts: make([]Host, slab.Class.N)}
	s.At = make([]index.Place, slab.Class.N) // those of the new shards alone
	for i, h := range hosts {
		s.hosts[want[i]] = h
	}
	if err := cover(ctx, &c, []*sealed{s}); err != nil {
		return nil, err
	}
	at := make(map[int]index.Place)
	for i, p := range s.At {
		if p != (index.Place{}) {
			at[i] = p
		}
	}
	return at, failed
}
