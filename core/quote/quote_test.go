package quote_test

import (
	"bytes"
	"crypto/ed25519"
	"math"
	"math/big"
	"testing"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"

	"pgregory.net/rapid"
)

const (
	net   = "hearth-0123456789abcdef0123"
	now   = 1_800_000_000
	ahead = 24 * 3600
)

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func good() quote.Quote {
	return quote.Quote{
		ChainID: net, Host: "hearth1host", Kind: quote.Storage,
		Prices: quote.Prices{Unit: [quote.Dims]uint64{386_000_000}, Out: 1500}, ValidUntil: now + 3600,
	}
}

func TestWhichQuotesAreGood(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(q *quote.Quote)
		want fault.Code
	}{
		{"a fresh one", func(*quote.Quote) {}, ""},
		{"its last second", func(q *quote.Quote) { q.ValidUntil = now }, ""},
		{"a second later", func(q *quote.Quote) { q.ValidUntil = now - 1 }, fault.QuoteExpired},
		{"from before the epoch", func(q *quote.Quote) { q.ValidUntil = math.MinInt64 }, fault.QuoteExpired},
		{"as far ahead as is allowed", func(q *quote.Quote) { q.ValidUntil = now + ahead }, ""},
		{"a second further", func(q *quote.Quote) { q.ValidUntil = now + ahead + 1 }, fault.BadRequest},
		{"for ever", func(q *quote.Quote) { q.ValidUntil = math.MaxInt64 }, fault.BadRequest},
		{"of another network", func(q *quote.Quote) { q.ChainID += "4" }, fault.WrongNetwork},
		{"of no kind", func(q *quote.Quote) { q.Kind = 0 }, fault.BadFrame},
		{"of an unknown kind", func(q *quote.Quote) { q.Kind = quote.Talk + 1 }, fault.BadFrame},
	} {
		q := good()
		tt.make(&q)
		if got := fault.CodeOf(q.Sign(key).Check(net, key.Public().(ed25519.PublicKey), now, ahead)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestASignatureCoversEveryField(t *testing.T) {
	pub := key.Public().(ed25519.PublicKey)
	s := good().Sign(key)
	for name, change := range map[string]func(s *quote.Signed){
		"host":        func(s *quote.Signed) { s.Host += "x" },
		"kind":        func(s *quote.Signed) { s.Kind = quote.Edge },
		"unit price":  func(s *quote.Signed) { s.Prices.Unit[2]++ },
		"price in":    func(s *quote.Signed) { s.Prices.In++ },
		"price out":   func(s *quote.Signed) { s.Prices.Out++ },
		"gas price":   func(s *quote.Signed) { s.Prices.Gas++ },
		"end":         func(s *quote.Signed) { s.ValidUntil++ },
		"signature":   func(s *quote.Signed) { s.Sig = append([]byte{s.Sig[0] ^ 1}, s.Sig[1:]...) },
		"a short one": func(s *quote.Signed) { s.Sig = s.Sig[:63] },
		"none":        func(s *quote.Signed) { s.Sig = nil },
	} {
		forged := s
		change(&forged)
		if got := fault.CodeOf(forged.Check(net, pub, now, ahead)); got != fault.BadSignature {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := fault.CodeOf(s.Check(net, pub[:31], now, ahead)); got != fault.BadSignature {
		t.Errorf("a short key: %q", got)
	}
}

func anyPrices(t *rapid.T, name string) (p quote.Prices) {
	for i := range p.Unit {
		p.Unit[i] = rapid.Uint64().Draw(t, name+" unit")
	}
	p.In, p.Out, p.Gas = rapid.Uint64().Draw(t, name+" in"), rapid.Uint64().Draw(t, name+" out"), rapid.Uint64().Draw(t, name+" gas")
	return p
}

func anyQuote(t *rapid.T) quote.Quote {
	return quote.Quote{
		ChainID: rapid.StringN(0, 32, 128).Draw(t, "chain"), Host: rapid.StringN(0, 32, 128).Draw(t, "host"),
		Kind: quote.Kind(rapid.IntRange(int(quote.Storage), int(quote.Talk)).Draw(t, "kind")), Prices: anyPrices(t, "price"),
		ValidUntil: rapid.Int64().Draw(t, "until"),
	}
}

func TestDecodingAnEncodingGivesTheQuote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := anyQuote(t)
		s := quote.Signed{Quote: q, Sig: rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "sig")}
		got, err := quote.Decode(s.Encode())
		if err != nil || got.Quote != q || !bytes.Equal(got.Sig, s.Sig) {
			t.Fatalf("%+v became %+v, %v", s, got, err)
		}
	})
}

func TestQuotesOfOtherFormsAreRefused(t *testing.T) {
	whole := good().Sign(key).Encode()
	long, odd := good(), good()
	long.Host = string(make([]byte, 129))
	odd.Kind = 9
	for _, tt := range []struct {
		name string
		in   []byte
		want fault.Code
	}{
		{"nothing", nil, fault.BadFrame},
		{"another major", append([]byte{2}, whole[1:]...), fault.UnknownFormat},
		{"another major inside", append(append([]byte{}, whole[:5]...), append([]byte{2}, whole[6:]...)...), fault.UnknownFormat},
		{"cut short", whole[:len(whole)-1], fault.BadFrame},
		{"a byte too many", append(append([]byte{}, whole...), 0), fault.BadFrame},
		{"a name too long", long.Sign(key).Encode(), fault.TooLarge},
		{"a signature too long", quote.Signed{Quote: good(), Sig: make([]byte, 65)}.Encode(), fault.TooLarge},
		{"a kind nobody knows", odd.Sign(key).Encode(), fault.BadFrame},
	} {
		if _, err := quote.Decode(tt.in); fault.CodeOf(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Whatever decodes is the one encoding of its quote.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(good().Sign(key).Encode())
	f.Add(quote.Signed{Quote: quote.Quote{Kind: quote.Talk}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := quote.Decode(b)
		if err != nil {
			return
		}
		if !s.Kind.Valid() || !bytes.Equal(s.Encode(), b) {
			t.Errorf("%x and %x decode to the same", b, s.Encode())
		}
	})
}

func TestRateIsTheFloorOfTheExactSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPrices(t, "price")
		sum := new(big.Int)
		var u quote.Units
		for i := range u {
			u[i] = rapid.Uint64().Draw(t, "units")
			sum.Add(sum, new(big.Int).Mul(new(big.Int).SetUint64(u[i]), new(big.Int).SetUint64(p.Unit[i])))
		}
		want := money.Rate(math.MaxUint64)
		if sum.Rsh(sum, 30); sum.IsUint64() {
			want = money.Rate(sum.Uint64())
		}
		if got := p.Rate(u); got != want {
			t.Fatalf("rate of %d at %d is %d, want %d", u, p.Unit, got, want)
		}
	})
}

func TestRatesAtTheEdges(t *testing.T) {
	const most = math.MaxUint64
	for _, tt := range []struct {
		name  string
		units quote.Units
		price [quote.Dims]uint64
		want  money.Rate
	}{
		{"nothing reserved", quote.Units{}, [3]uint64{most, most, most}, 0},
		{"nothing asked", quote.Units{most, most, most}, [3]uint64{}, 0},
		{"a GiB", quote.Units{quote.GiB}, [3]uint64{386_000_000}, 386_000_000},
		{"under one part is nothing", quote.Units{quote.GiB - 1}, [3]uint64{1}, 0},
		{"dimensions are summed before rounding", quote.Units{quote.GiB / 2, quote.GiB / 2}, [3]uint64{1, 1}, 1},
		{"one product too large", quote.Units{most}, [3]uint64{most}, most},
		{"three that overflow 128 bits", quote.Units{most, most, most}, [3]uint64{most, most, most}, most},
	} {
		if got := (quote.Prices{Unit: tt.price}).Rate(tt.units); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// Use is priced from sums, so cutting it in pieces gains a client nothing and a
// host under three uember.
func TestUseIsPricedFromSums(t *testing.T) {
	figure := rapid.Uint64Range(0, 1<<40)
	use := rapid.Custom(func(t *rapid.T) quote.Use {
		return quote.Use{In: figure.Draw(t, "in"), Out: figure.Draw(t, "out"), Gas: figure.Draw(t, "gas")}
	})
	rapid.Check(t, func(t *rapid.T) {
		p := quote.Prices{In: figure.Draw(t, "price in"), Out: figure.Draw(t, "price out"), Gas: figure.Draw(t, "price of gas")}
		a, b := use.Draw(t, "a"), use.Draw(t, "b")
		whole, pieces := p.Owed(a.Plus(b)), p.Owed(a)+p.Owed(b)
		if pieces < whole || pieces > whole+3 {
			t.Fatalf("whole %d, in pieces %d", whole, pieces)
		}
		exact := new(big.Rat)
		for _, f := range [][3]uint64{{a.In, p.In, quote.GiB}, {a.Out, p.Out, quote.GiB}, {a.Gas, p.Gas, quote.Tgas}} {
			cost := new(big.Int).Mul(new(big.Int).SetUint64(f[0]), new(big.Int).SetUint64(f[1]))
			exact.Add(exact, new(big.Rat).SetFrac(cost, new(big.Int).SetUint64(f[2])))
		}
		owed := new(big.Rat).SetInt(new(big.Int).SetUint64(uint64(p.Owed(a))))
		if owed.Cmp(exact) < 0 || owed.Cmp(exact.Add(exact, big.NewRat(3, 1))) >= 0 {
			t.Fatalf("%+v owes %s at %+v", a, owed, p)
		}
		if got := a.Plus(b).Less(b); got != a {
			t.Fatalf("%+v and %+v less the latter are %+v", a, b, got)
		}
		if got := a.Less(a.Plus(b)); got != (quote.Use{}) {
			t.Fatalf("less than nothing is %+v", got)
		}
	})
}

func TestGasAtTheEdges(t *testing.T) {
	const most = math.MaxUint64
	for _, tt := range []struct {
		name  string
		use   quote.Use
		price uint64
		want  money.Amount
	}{
		{"nothing", quote.Use{}, most, 0},
		{"free", quote.Use{Gas: most - 1}, 0, 0},
		{"one unit costs a uember", quote.Use{Gas: 1}, 1, 1},
		{"a Tgas", quote.Use{Gas: quote.Tgas}, 250_000, 250_000},
		{"and one unit more", quote.Use{Gas: quote.Tgas + 1}, 250_000, 250_001},
		{"an hour of a core at 10^9 a second", quote.Use{Gas: 3600 * quote.Tgas / 1000}, 250_000, 900_000},
		{"the dearest", quote.Use{Gas: most - 1}, most, money.Max},
		{"a figure that doesn't fit", quote.Use{Gas: most}, 0, money.Max},
		{"a sum that doesn't fit", quote.Use{Gas: most - 5}.Plus(quote.Use{Gas: 6}), 0, money.Max},
		{"bytes that don't fit", quote.Use{Out: most - 5}.Plus(quote.Use{Out: 6}), 0, money.Max},
	} {
		if got := (quote.Prices{Gas: tt.price}).Owed(tt.use); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := (quote.Use{In: most, Out: 1}).Bytes(); got != most {
		t.Errorf("traffic that doesn't fit is %d bytes", got)
	}
}

func TestACeilingHoldsForEveryPrice(t *testing.T) {
	ceiling := quote.Prices{Unit: [3]uint64{5, 5, 5}, In: 5, Out: 5, Gas: 5}
	if !ceiling.Within(ceiling) || !(quote.Prices{}).Within(ceiling) {
		t.Error("a price at its ceiling is within it")
	}
	for name, above := range map[string]quote.Prices{
		"first unit": {Unit: [3]uint64{6}}, "last unit": {Unit: [3]uint64{0, 0, 6}}, "in": {In: 6}, "out": {Out: 6}, "gas": {Gas: 6},
	} {
		if above.Within(ceiling) {
			t.Errorf("%s passes its ceiling", name)
		}
	}
}
