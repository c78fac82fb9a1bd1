package proving_test

import (
	"testing"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/proving"

	"pgregory.net/rapid"
)

func TestSharesOfABondNeverPassIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bond := money.Amount(rapid.Uint64().Draw(t, "bond"))
		half, rest := proving.Split(bond)
		if half+rest != bond || half > rest {
			t.Fatalf("%d is split into %d and %d", bond, half, rest)
		}
		rates := rapid.SliceOfN(rapid.Uint64Range(0, 1<<50), 1, 20).Draw(t, "rates")
		var total money.Rate
		for _, r := range rates {
			total += money.Rate(r)
		}
		var sum money.Amount
		for _, r := range rates {
			sum += proving.Share(half, money.Rate(r), total)
		}
		if sum > half || total > 0 && half-sum >= money.Amount(len(rates)) {
			t.Fatalf("of %d the leases get %d", half, sum)
		}
	})
}

func TestAChallengeHasItsTime(t *testing.T) {
	c, err := rules.NewChallenge(7, 1<<60, "client", rate, 100)
	if err != nil || c.Fee != 10_000 || c.Due(0, rules) != 100+day/2 {
		t.Errorf("%+v until %d, %v", c, c.Due(0, rules), err)
	}
	if got := c.Due(5000, rules); got != 5000+day/2 {
		t.Errorf("after a pause until %d", got)
	}
	if _, err := rules.NewChallenge(7, 0, "client", 0, 100); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("of nothing: %v", err)
	}
}

func TestALossIsThreeDaysOfTheRate(t *testing.T) {
	if got := rules.Loss(rate); got != rate.Over(3*day) {
		t.Error(got)
	}
}
