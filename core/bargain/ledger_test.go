package bargain_test

import (
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/proving"
	"hearth/core/quote"
	"hearth/core/statement"
)

// A ledger is the public ledger in small: it gathers facts, asks core, and
// writes down the answer.
type ledger struct {
	now      int64
	supply   money.Amount
	wallets  map[string]money.Amount
	purses   map[string]money.Amount
	bonds    map[string]money.Amount
	hosts    []string
	mandates map[holder]mandate.Mandate
	spent    map[holder][]spending // kept apart from Mandate.Used, to check it
	leases   []lease.Lease         // by number; a pruned one is zero

	market  money.Amount // coins on the market's account
	bonded  money.Amount // coins on the hosts' account
	commons money.Amount // community and fees
	pruned  money.Amount // commission of forgotten leases
	fees    money.Amount // of open challenges
	fines   money.Amount // what the commons got beside commissions

	height     uint64
	beacon     proving.Beacon
	slots      [3]proving.Hash
	voids      [][2]int64
	pause      int64 // when the last pause that was too long ended
	provers    map[string]*prover
	challenges map[uint64]proving.Challenge // by lease
	rent       map[uint64]money.Product     // what answers have earned, counted one by one
	stopped    map[uint64]bool              // leases that earn no more proven time
}

type holder struct {
	grantor string
	key     [32]byte
}

type spending struct {
	at     int64
	amount money.Amount
}

func newLedger() *ledger {
	return &ledger{
		now: start, wallets: map[string]money.Amount{}, purses: map[string]money.Amount{}, bonds: map[string]money.Amount{},
		mandates: map[holder]mandate.Mandate{}, spent: map[holder][]spending{}, leases: make([]lease.Lease, 1),
		provers: map[string]*prover{}, challenges: map[uint64]proving.Challenge{}, rent: map[uint64]money.Product{}, stopped: map[uint64]bool{},
	}
}

func (l *ledger) mint(owner string, amount money.Amount) {
	l.wallets[owner] += amount
	l.supply += amount
}

func (l *ledger) deposit(owner string, amount money.Amount) error {
	if amount > l.wallets[owner] {
		return fault.New(fault.NoFunds, "deposit %d of %d", amount, l.wallets[owner])
	}
	l.wallets[owner] -= amount
	l.market += amount
	l.purses[owner] += amount
	return nil
}

func (l *ledger) withdraw(owner string, amount money.Amount) error {
	if amount > l.purses[owner] {
		return fault.New(fault.NoFunds, "withdraw %d of %d", amount, l.purses[owner])
	}
	l.purses[owner] -= amount
	l.market -= amount
	l.wallets[owner] += amount
	return nil
}

func (l *ledger) grant(m mandate.Mandate) error {
	if err := m.Check(l.now); err != nil {
		return err
	}
	h := holder{m.Grantor, m.Key}
	if old, ok := l.mandates[h]; ok {
		var err error
		if m, err = old.Replace(m, l.now, rules.CloseTime); err != nil {
			return err
		}
	}
	l.mandates[h] = m
	return nil
}

func (l *ledger) revoke(h holder) error {
	m, ok := l.mandates[h]
	if !ok || m.Until <= l.now {
		return fault.New(fault.MandateRefused, "revoke: none, or ended")
	}
	m.Until = l.now
	l.mandates[h] = m
	return nil
}

// take moves amount out of h's grantor's purse under h's mandate.
func (l *ledger) take(h holder, amount money.Amount) error {
	if amount > l.purses[h.grantor] {
		return fault.New(fault.NoFunds, "take %d of %d", amount, l.purses[h.grantor])
	}
	m, err := l.mandates[h].Spend(amount, l.now, rules.MandateWindow)
	if err != nil {
		return err
	}
	l.mandates[h] = m
	l.spent[h] = append(l.spent[h], spending{l.now, amount})
	l.purses[h.grantor] -= amount
	return nil
}

func (l *ledger) open(h holder, q quote.Signed, amount money.Amount, until int64) (uint64, error) {
	m := l.mandates[h]
	if err := m.May(mandate.Open, l.now); err != nil {
		return 0, err
	}
	if err := m.Buys(q.Kind, q.Prices); err != nil {
		return 0, err
	}
	if err := rules.CheckOpen(amount, until, l.now); err != nil {
		return 0, err
	}
	if err := l.take(h, amount); err != nil {
		return 0, err
	}
	id := uint64(len(l.leases))
	l.leases = append(l.leases, lease.New(id, h.grantor, q.Quote, until, amount, l.now))
	return id, nil
}

func (l *ledger) fund(h holder, id uint64, amount money.Amount) error {
	if err := l.mandates[h].May(mandate.Fund, l.now); err != nil {
		return err
	}
	after, err := l.leases[id].Fund(amount, l.clock(l.leases[id].Host), rules)
	if err != nil {
		return err
	}
	if err := l.take(h, amount); err != nil {
		return err
	}
	l.leases[id] = after
	return nil
}

func (l *ledger) reprice(h holder, id uint64, q quote.Signed, until int64) error {
	m := l.mandates[h]
	if err := m.May(mandate.Renew, l.now); err != nil {
		return err
	}
	if err := m.Buys(q.Kind, q.Prices); err != nil {
		return err
	}
	after, err := l.leases[id].Reprice(q.Prices, until, l.now)
	if err != nil {
		return err
	}
	l.leases[id] = after
	return nil
}

// post writes down a statement that both sides have signed.
func (l *ledger) post(n notary, hostKey signer, s statement.Signed) error {
	if err := n.checkClient(s); err != nil {
		return err
	}
	if err := n.checkHost(s, hostKey); err != nil {
		return err
	}
	after, err := l.judge(s)
	if err == nil {
		err = l.put(after)
	}
	return err
}

// judge says what a statement with good signatures would make of its lease.
func (l *ledger) judge(s statement.Signed) (lease.Lease, error) {
	before := l.leases[s.Lease]
	m, ok := l.mandates[holder{before.Client, [32]byte(s.ClientKey)}]
	if !ok {
		return before, fault.New(fault.MandateRefused, "the key has no mandate")
	}
	if err := m.Posts(l.now, rules.CloseTime); err != nil {
		return before, err
	}
	after, err := before.Post(s.Statement, l.clock(before.Host), rules)
	if err == nil {
		after.Key = [32]byte(s.ClientKey)
	}
	return after, err
}

func (l *ledger) settle(id uint64) error {
	before := l.leases[id]
	h := holder{before.Client, before.Key}
	var free money.Amount
	if m, ok := l.mandates[h]; ok && m.May(mandate.Sign, l.now) == nil {
		free = min(l.purses[before.Client], m.Left(l.now, rules.MandateWindow))
	}
	l.touch(before.Host)
	after, f := before.Settle(l.clock(before.Host), free, rules)
	return l.move(after, f)
}

func (l *ledger) finish(id uint64) error {
	l.touch(l.leases[id].Host)
	after, f, err := l.leases[id].Finish(l.clock(l.leases[id].Host))
	if err != nil {
		return err
	}
	return l.move(after, f)
}

// move writes a lease and what it made flow.
func (l *ledger) move(after lease.Lease, f lease.Flow) error {
	if l.leases[after.ID].Rate != after.Rate && after.Kind == quote.Storage && l.frozen(after.Host) {
		return fault.New(fault.Frozen, "lease %d: its host is drawn", after.ID)
	}
	if f.FromPurse > 0 {
		if err := l.take(holder{after.Client, after.Key}, f.FromPurse); err != nil {
			return err
		}
	}
	if err := l.put(after); err != nil {
		return err
	}
	l.stopped[after.ID] = after.State == lease.Closed || after.State == lease.Closing && after.ClosedAt < after.EndsAt
	l.purses[after.Client] += f.ToPurse
	l.market -= f.ToHost + f.Commission
	l.commons += f.Commission
	l.pay(after.Host, f.ToHost)
	return nil
}

// pay gives a host its part; half of it goes to its bond until that is full.
func (l *ledger) pay(host string, amount money.Amount) {
	p := l.provers[host]
	var owed money.Amount
	p.record, amount, owed = p.record.Repay(amount)
	l.commons += owed
	l.fines += owed
	bond := min(amount/2, money.SubFloor(l.target(host), l.bonds[host]))
	l.bonds[host] += bond
	l.bonded += bond
	l.wallets[host] += amount - bond
}

// target is 30 days of a host's storage rates and a day of the others.
func (l *ledger) target(host string) (sum money.Amount) {
	for _, x := range l.leases {
		if x.Host != host {
			continue
		}
		seconds := int64(day)
		if x.Kind == quote.Storage {
			seconds = 30 * day
		}
		sum = money.AddCap(sum, x.Rate.Over(seconds))
	}
	return sum
}
