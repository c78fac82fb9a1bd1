package node

import (
	"hearth/api"
	"hearth/core/machine"
	"hearth/market"
)

// judge compares what hosts claim with the speeds that this node's own calls had there.
func (b *buying) judge(offers []market.Offer) map[string]machine.Verdict {
	claims := map[string]uint64{}
	for _, o := range offers {
		if o.Machine != nil {
			claims[o.Host.Address] = o.Machine.Core
		}
	}
	return machine.Judge(claims, b.functions.Speeds())
}

// slowLast orders two hosts of which one may be slow.
func slowLast(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// classOf is what a host says of its machine; nil: nothing.
func classOf(o market.Offer) *api.Class {
	if o.Machine == nil {
		return nil
	}
	return ShowClass(o.Machine.Figures)
}
