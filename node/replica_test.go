package node

import (
	"slices"
	"testing"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/quote"
	"hearth/storage/index"
)

// A lease that a ledger node has made up doesn't hide the host's true one.
func TestAnInventedLeaseHidesNoHost(t *testing.T) {
	stored := func(id uint64, host string, state lease.State) lease.Lease {
		return lease.Lease{ID: id, Host: host, Kind: quote.Storage, State: state}
	}
	truth := map[uint64]lease.Lease{
		3: stored(3, "one", lease.Closed), 5: stored(5, "one", lease.Open), 7: stored(7, "two", lease.Low), 8: stored(8, "somebody", lease.Open),
	}
	asked := 0
	prove := func(id uint64) (lease.Lease, error) {
		asked++
		if l, ok := truth[id]; ok {
			return l, nil
		}
		return lease.Lease{}, fault.New(fault.NoLease, "none")
	}
	want := []index.Place{{Host: "one", Lease: 5}, {Host: "two", Lease: 7}}
	honest := []lease.Lease{truth[3], truth[5], truth[7], {ID: 9, Host: "three", Kind: quote.Compute, State: lease.Open}}
	if got := leasedPlaces(honest, prove); !slices.Equal(got, want) || asked != 0 {
		t.Errorf("%v, %d proofs", got, asked)
	}
	lies := []lease.Lease{stored(99, "one", lease.Open), stored(8, "two", lease.Open), stored(3, "one", lease.Open)}
	for _, list := range [][]lease.Lease{append(lies, honest...), append(honest, lies...)} {
		if got := leasedPlaces(list, prove); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
	}
}
