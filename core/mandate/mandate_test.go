package mandate_test

import (
	"math"
	"testing"

	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"

	"pgregory.net/rapid"
)

const (
	now    = 1_800_000_000
	window = 30 * 86_400
)

func good() mandate.Mandate {
	return mandate.Mandate{
		Grantor: "hearth1owner", Key: [32]byte{1}, Ops: mandate.Open | mandate.Sign, Cap: 1000, Until: now + 100,
		Ceilings: map[quote.Kind]quote.Prices{quote.Storage: {Unit: [quote.Dims]uint64{10}, Out: 5}},
	}
}

func TestWhichMandatesMakeSense(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(m *mandate.Mandate)
		want fault.Code
	}{
		{"limits and an end", func(*mandate.Mandate) {}, ""},
		{"everything", func(m *mandate.Mandate) { m.Ops = mandate.All }, ""},
		{"nothing", func(m *mandate.Mandate) { m.Ops = 0 }, fault.BadRequest},
		{"an operation nobody knows", func(m *mandate.Mandate) { m.Ops |= mandate.All + 1 }, fault.BadRequest},
		{"an end that is now", func(m *mandate.Mandate) { m.Until = now }, fault.BadRequest},
		{"no key", func(m *mandate.Mandate) { m.Key = [32]byte{} }, fault.BadRequest},
		{"a ceiling of no kind", func(m *mandate.Mandate) { m.Ceilings = map[quote.Kind]quote.Prices{0: {}} }, fault.BadRequest},
		{"no ceilings: it may buy nothing", func(m *mandate.Mandate) { m.Ceilings = nil }, ""},
	} {
		m := good()
		tt.make(&m)
		if got := fault.CodeOf(m.Check(now)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestWhatAMandateAllows(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   mandate.Op
		at   int64
		want fault.Code
	}{
		{"what it names", mandate.Open, now, ""},
		{"all it names", mandate.Open | mandate.Sign, now, ""},
		{"its last second", mandate.Sign, now + 99, ""},
		{"its end", mandate.Sign, now + 100, fault.MandateRefused},
		{"what it doesn't name", mandate.Close, now, fault.MandateRefused},
		{"half of what it names", mandate.Open | mandate.Fund, now, fault.MandateRefused},
	} {
		if got := fault.CodeOf(good().May(tt.op, tt.at)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestWhatWasSignedIsPostedForAWhileAfterTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		ops  mandate.Op
		at   int64
		want fault.Code
	}{
		{"while it lasts", mandate.Sign, now, ""},
		{"after its end", mandate.Sign, now + 100, ""},
		{"the last second", mandate.Sign, now + 100 + 3599, ""},
		{"too late", mandate.Sign, now + 100 + 3600, fault.MandateRefused},
		{"by a key that may not sign", mandate.Open, now, fault.MandateRefused},
	} {
		m := good()
		m.Ops = tt.ops
		if got := fault.CodeOf(m.Posts(tt.at, 3600)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestReplacingAMandate(t *testing.T) {
	old := good()
	old.Used, old.WindowStart = 700, now-5
	wider, mute := good(), good()
	wider.Cap, mute.Ops = 5000, mandate.Open
	for _, tt := range []struct {
		name string
		next mandate.Mandate
		at   int64
		want fault.Code
	}{
		{"a wider one", wider, now, ""},
		{"one that takes the right to sign", mute, now, fault.BadRequest},
		{"while a host may still post", mute, now + 100 + 3599, fault.BadRequest},
		{"after that", mute, now + 100 + 3600, ""},
	} {
		got, err := old.Replace(tt.next, tt.at, 3600)
		if code := fault.CodeOf(err); code != tt.want || got.Used != 700 || got.WindowStart != now-5 {
			t.Errorf("%s: %q, %d used since %d", tt.name, code, got.Used, got.WindowStart)
		}
	}
}

func TestWhatAMandateBuys(t *testing.T) {
	at := good().Ceilings[quote.Storage]
	above := at
	above.Out++
	for _, tt := range []struct {
		name   string
		kind   quote.Kind
		prices quote.Prices
		want   fault.Code
	}{
		{"at its ceiling", quote.Storage, at, ""},
		{"for nothing", quote.Storage, quote.Prices{}, ""},
		{"a uember above", quote.Storage, above, fault.PriceTooHigh},
		{"a kind it doesn't name, even for nothing", quote.Compute, quote.Prices{}, fault.MandateRefused},
	} {
		if got := fault.CodeOf(good().Buys(tt.kind, tt.prices)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// In no window is more spent than the cap, and what is left is exactly what may
// still be spent.
func TestNeverMoreThanTheCapInAWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := good()
		m.Cap = money.Amount(rapid.Uint64Range(0, 1000).Draw(t, "cap"))
		at := int64(now)
		var spent money.Amount
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			at += rapid.SampledFrom([]int64{0, 1, window / 3, window - 1, window, 5 * window}).Draw(t, "later")
			left := m.Left(at, window)
			amount := money.Amount(rapid.Uint64Range(0, 600).Draw(t, "amount"))
			before, start := m, m.WindowStart
			after, err := m.Spend(amount, at, window)
			if m.Used != before.Used || m.WindowStart != before.WindowStart {
				t.Fatal("the mandate itself was changed")
			}
			if (err == nil) != (amount <= left) {
				t.Fatalf("%d of %d left: %v", amount, left, err)
			}
			if err != nil {
				if fault.CodeOf(err) != fault.CapReached {
					t.Fatal(err)
				}
				continue
			}
			if after.WindowStart != start {
				spent = 0
			}
			spent += amount
			m = after
			if spent > m.Cap || m.Used != spent {
				t.Fatalf("%d spent in a window, counted %d, cap %d", spent, m.Used, m.Cap)
			}
		}
	})
}

func TestSpendingAtTheEdges(t *testing.T) {
	m := good()
	m.Cap, m.Used, m.WindowStart = money.Max, money.Max-1, now
	if _, err := m.Spend(2, now, window); fault.CodeOf(err) != fault.CapReached {
		t.Errorf("a sum that doesn't fit: %v", err)
	}
	if after, err := m.Spend(1, now, window); err != nil || after.Left(now, window) != 0 {
		t.Errorf("the last uember: %v", err)
	}
	m.Cap, m.Used = 5, 9 // replaced by a narrower one in the middle of a window
	if m.Left(now, window) != 0 {
		t.Error("a mandate that was narrowed has something left")
	}
	if m.Left(math.MaxInt64, window) != 5 {
		t.Error("a new window starts whole")
	}
}

func TestOperationsHaveNames(t *testing.T) {
	for op, want := range map[mandate.Op]string{
		mandate.Open: "open", mandate.Fund: "fund", mandate.Sign: "sign", mandate.Renew: "renew", mandate.Close: "close",
	} {
		if op.String() != want {
			t.Errorf("operation %d is called %q", op, op)
		}
	}
}
