package bargain_test

import (
	"bytes"
	"crypto/ed25519"

	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"

	"pgregory.net/rapid"
)

const (
	net    = "hearth-0123456789abcdef0123"
	start  = 1_800_000_000
	minute = 60
	hour   = 3600
	day    = 24 * hour
	window = 1000 // what a client pays ahead, uember
)

var rules = lease.Params{
	MinDeposit: 10_000, MaxUntil: 90 * day, MaxQuote: day, MaxRun: 7 * day, StorageReserve: 14 * day, OtherReserve: day,
	CloseTime: day, StorageNotice: 14 * day, OtherNotice: day, PruneTime: 7 * day, MandateWindow: 30 * day, CommunityShare: 500,
}

// A signer is a key pair.
type signer struct {
	private ed25519.PrivateKey
	public  [32]byte
}

func newSigner(n byte) signer {
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
	return signer{k, [32]byte(k.Public().(ed25519.PublicKey))}
}

// Keys cost more to make than a whole history.
var (
	deviceKeys = [2][3]signer{{newSigner(1), newSigner(2), newSigner(3)}, {newSigner(4), newSigner(5), newSigner(6)}}
	hostKeys   = [2]signer{newSigner(7), newSigner(8)}
	strangeKey = newSigner(9)
)

const steward = 2 // of a client's three keys

// A world is one history so far.
type world struct {
	ledger  *ledger
	notary  notary
	hosts   [2]*host
	clients [2]*client
	pairs   []*pair
}

type host struct {
	account string
	key     signer
	skew    int64 // of its clock

	up, confesses bool
	still         map[uint64]weight // its leases when it was drawn
	frozenIn      int64
}

type client struct {
	account string
	devices [3]*device // two of its owner, and a steward
}

type device struct {
	key  signer
	skew int64
}

// A pair is one lease with what both sides know of it and what is true.
type pair struct {
	id     uint64
	client *client
	host   *host
	sells  side
	buys   [3]view

	served   money.Amount // traffic that truly flowed
	lost     money.Amount // of it, what the host forgot in crashes
	exposed  money.Amount // the most traffic that an honest device ever signed for
	given    money.Amount // the most that a device gave away against its own interest
	before   lease.Lease  // as it was after the step before
	taken    taken        // what the host accepted last
	signed   []promise    // everything a key of the client's ever signed
	accepted []statement.Signed
	agreed   money.Amount // total that both agreed to end with
	missed   uint64       // number that the host didn't post in the day it had after the mandate's end
	gone     bool         // the host hasn't the bytes any more
	cheated  bool         // the host posted what it had refused: no law protects it
}

// A promise is a signed statement and the dearest rate it may be posted at.
type promise struct {
	statement.Signed
	rate money.Rate
}

// taken is one acceptance: which statement came after which, when by the host's
// clock, and at what rate the time before it counted.
type taken struct {
	prev, next statement.Statement
	at         int64
	rate       money.Rate
}

// A side is what a host knows: in memory, and what survives a crash.
type side struct{ mem, disk bargain }

type bargain struct {
	newest statement.Signed
	rent   money.Amount // the part of its total that is for time
	served money.Amount // traffic counted
}

// A view is what a device knows of a pair.
type view struct {
	mem, disk bought
	base      statement.Statement // what the host goes by
	synced    bool
}

type bought struct {
	newest    statement.Signed // the highest number ever signed here
	rent, got money.Amount
}

func newWorld(t *rapid.T) *world {
	w := &world{ledger: newLedger(), notary: newNotary(rapid.Uint8().Draw(t, "real keys")%64 == 63)}
	skew := rapid.Int64Range(-minute, minute)
	for i := range w.hosts {
		w.hosts[i] = &host{account: "host" + string(rune('a'+i)), key: hostKeys[i], skew: skew.Draw(t, "host's clock"), up: rapid.Bool().Draw(t, "up")}
		w.ledger.hosts = append(w.ledger.hosts, w.hosts[i].account)
		w.ledger.provers[w.hosts[i].account] = newProver()
	}
	for i := range w.clients {
		c := &client{account: "client" + string(rune('a'+i))}
		w.clients[i] = c
		w.ledger.mint(c.account, 5_000_000)
		w.must(t, w.ledger.deposit(c.account, 3_000_000))
		for j := range c.devices {
			c.devices[j] = &device{key: deviceKeys[i][j], skew: skew.Draw(t, "device's clock")}
			w.must(t, w.ledger.grant(w.mandate(c, j, mandate.All, 300_000, 60*day)))
		}
		w.openWith(t, c, w.hosts[i], 0, quote.Storage, 50_000, unitPrices[2])
		if p := w.pairs[len(w.pairs)-1]; rapid.Bool().Draw(t, "stores from the start") {
			w.must(t, w.store(p, 0, quote.GiB, 6*day, nothing))
			w.must(t, w.hostPosts(p))
		}
		w.openWith(t, c, w.hosts[1-i], 1, quote.Relay, 50_000, unitPrices[i])
	}
	return w
}

// mandate is what c's account grants to one of its keys.
func (w *world) mandate(c *client, n int, ops mandate.Op, limit money.Amount, lasts int64) mandate.Mandate {
	if n == steward {
		ops &= mandate.Sign | mandate.Renew
		limit /= 10
	}
	return mandate.Mandate{
		Grantor: c.account, Key: c.devices[n].key.public, Ops: ops, Cap: limit, Until: w.ledger.now + lasts,
		Ceilings: map[quote.Kind]quote.Prices{quote.Storage: ceiling, quote.Relay: ceiling},
	}
}

// Prices of a GiB, from nothing to what empties a lease in an hour. The last is
// above the ceiling.
var (
	unitPrices = []uint64{0, 386_000_000, 1_000_000_000, 10_000_000_000, uint64(money.RateUnit), 2 * uint64(money.RateUnit)}
	ceiling    = quote.Prices{Unit: [quote.Dims]uint64{uint64(money.RateUnit)}}
)

// must fails the history where an honest step is refused.
func (w *world) must(t *rapid.T, err error) {
	if err != nil {
		t.Fatalf("an honest step is refused: %v", err)
	}
}

func (p *pair) lease(w *world) lease.Lease { return w.ledger.leases[p.id] }

func (w *world) zero(p *pair) statement.Statement {
	return statement.Statement{ChainID: net, Lease: p.id}
}
