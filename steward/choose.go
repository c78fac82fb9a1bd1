package steward

import (
	"crypto/sha256"
	"encoding/binary"

	"hearth/core/placement"
	"hearth/core/quote"
	"hearth/market"
	"hearth/p2p"
	"hearth/storage/index"
)

// seedOf is what hosts draw from for a shard.
func seedOf(id index.SlabID, shard int) [32]byte {
	b := append([]byte("hearth/steward/place/1"), id[:]...)
	return sha256.Sum256(binary.BigEndian.AppendUint16(b, uint16(shard)))
}

// candidates are the hosts that answered with a price within the ceiling, as
// everybody sees them.
func candidates(offers []market.Offer) []placement.Candidate {
	var out []placement.Candidate
	for _, o := range offers {
		if o.Err == nil {
			c := candidate(o)
			c.Prices, c.Free = o.Quote.Prices, int64(min(o.Free, 1<<62))
			out = append(out, c)
		}
	}
	return out
}

func candidate(o market.Offer) placement.Candidate {
	return placement.Candidate{Host: o.Host.Address, Owner: o.Host.Owner, Addrs: p2p.IPs(o.Peer.Addrs), Region: o.Host.Region}
}

// wish is the choice of one host for a shard of a slab that lies at these places.
// avoid are the steward's own hosts and the one that is left.
func wish(s Slab, at []index.Place, shard int, offers []market.Offer, avoid map[string]bool, ceiling quote.Prices, local bool) placement.Wish {
	known := make(map[string]placement.Candidate)
	for _, o := range offers {
		known[o.Host.Address] = candidate(o)
	}
	w := placement.Wish{
		Seed: seedOf(s.ID, shard), Class: s.Class, Want: 1, Shard: s.ShardSize, Ceiling: ceiling, Avoid: avoid, Local: local, Plain: true,
	}
	seen := make(map[string]bool)
	for i, p := range at {
		if i == shard || p == (index.Place{}) || seen[p.Host] {
			continue
		}
		seen[p.Host] = true
		c, ok := known[p.Host]
		if !ok { // it has left the network; its name still counts
			c = placement.Candidate{Host: p.Host}
		}
		w.Used = append(w.Used, c)
	}
	return w
}

// own are hosts at which a steward may put nothing: itself, and whatever belongs to
// its owner or to itself.
func own(offers []market.Offer, steward, owner string) map[string]bool {
	out := map[string]bool{steward: true}
	for _, o := range offers {
		h := o.Host
		if h.Address == steward || h.Owner == steward || owner != "" && (h.Owner == owner || h.Address == owner) {
			out[h.Address] = true
		}
	}
	return out
}
