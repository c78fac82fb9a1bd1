// Package api holds the shapes of the node's local HTTP API: what goes over the
// door that the command line, the dashboard and the SDKs use. It has no
// behaviour but reading and writing these shapes; api/server serves them, sdk
// is the Go client. Times are RFC 3339, sizes are bytes, money is a decimal
// string with its currency, so that no client loses digits.
package api

import (
	"fmt"
	"path/filepath"
	"time"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/internal/version"
)

// Headers of ours.
const (
	HeaderKey      = "Idempotency-Key" // on whatever spends
	HeaderTransfer = "Hearth-Transfer" // on uploads and downloads: the caller's name for this transfer
	HeaderVersion  = "Hearth-Version"  // of an object
	HeaderPending  = "Hearth-Pending"  // shards of an object that are still to be placed
	HeaderModified = "Hearth-Modified" // when an object was put, to the nanosecond
	HeaderClass    = "Hearth-Class"    // k/n of an object's code
	HeaderSum      = "Hearth-Blake3"   // of an object's content, hex
	MaxSpend       = 64 << 10          // bytes of a JSON request body
	MaxKey         = 1024              // bytes of an object's key
	CurrencyEmber  = "ember"           // the only currency so far
	ProblemType    = "application/problem+json"
)

// Money is an amount as people read it. The ledger counts whole uember.
type Money struct {
	Amount   string `json:"amount" example:"1.25" doc:"Decimal number, at most six decimals" pattern:"^[0-9]+(\\.[0-9]{1,6})?$"`
	Currency string `json:"currency" enum:"ember"`
}

// MoneyOf writes an amount.
func MoneyOf(a money.Amount) Money {
	whole, part := a/money.Ember, a%money.Ember
	s := fmt.Sprintf("%d.%06d", uint64(whole), uint64(part))
	for s[len(s)-1] == '0' {
		s = s[:len(s)-1]
	}
	if s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	return Money{s, CurrencyEmber}
}

// Value reads an amount.
func (m Money) Value() (money.Amount, error) {
	if m.Currency != CurrencyEmber {
		return 0, fault.New(fault.BadRequest, "read amount: currency %q: only ember is known", m.Currency)
	}
	return money.Parse(m.Amount)
}

func (m Money) String() string { return m.Amount + " " + m.Currency }

// Socket is where the node of a folder serves this API.
func Socket(dir string) string { return filepath.Join(dir, "api.sock") }

// A Node is one running program.
type Node struct {
	Build     version.Info `json:"build"`
	Network   string       `json:"network" doc:"The network's whole name, id@url[,url]"`
	Account   string       `json:"account" doc:"hearth1... address of the machine's account"`
	Device    string       `json:"device" doc:"This device's number, 16 hex digits"`
	PeerKey   string       `json:"peer_key" doc:"ed25519 key of the node, hex"`
	Roles     []string     `json:"roles" nullable:"false" doc:"client, host"`
	Addresses []string     `json:"addresses" nullable:"false" doc:"Announced multiaddresses"`
	Reach     string       `json:"reach" enum:"direct,relay,unknown" doc:"How others reach this node"`
	Peers     int          `json:"peers" doc:"Connected peers"`
	Started   time.Time    `json:"started"`
	Ledger    LedgerBrief  `json:"ledger"`
}

// LedgerBrief is how far this node sees the ledger.
type LedgerBrief struct {
	Height int64     `json:"height" doc:"Newest verified block; 0: none yet"`
	Time   time.Time `json:"time" doc:"Time of that block"`
}

// A Check is one line of a readiness report.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty" doc:"What is wrong, and what to do"`
}

// A Wallet is the account, this device's part of it, and what it may spend.
type Wallet struct {
	Account     string   `json:"account" doc:"hearth1... address"`
	Device      string   `json:"device" doc:"This device's number, 16 hex digits"`
	SpendingKey string   `json:"spending_key" doc:"This device's ed25519 key, hex"`
	Mandate     *Mandate `json:"mandate,omitempty" doc:"What the spending key may do; absent: nothing yet"`
	Balance     Balance  `json:"balance"`
}

// A Mandate is what a key may do for the account.
type Mandate struct {
	Operations []string  `json:"operations" nullable:"false" doc:"open, fund, sign, renew, close"`
	Cap        Money     `json:"cap" doc:"What it may put into leases in the window"`
	Used       Money     `json:"used" doc:"Used since the window began"`
	Until      time.Time `json:"until"`
}

// A Balance says where the money is.
type Balance struct {
	Account Money     `json:"account" doc:"On the account itself"`
	Purse   Money     `json:"purse" doc:"Free in the purse; leases are refilled from it"`
	Leases  Money     `json:"leases" doc:"Set aside in leases, not earned by hosts yet"`
	Bond    Money     `json:"bond" doc:"Locked as a host's collateral"`
	Runway  *Duration `json:"runway,omitempty" doc:"How long purse and leases last at the present rate; absent: nothing is spent"`
	AsOf    time.Time `json:"as_of" doc:"Time of the block these figures are from"`
}

// A Duration is a number of seconds.
type Duration struct {
	Seconds int64 `json:"seconds"`
}

// A Payment moves money.
type Payment struct {
	To     string `json:"to" doc:"hearth1... address" maxLength:"90"`
	Amount Money  `json:"amount"`
}

// A Sum is money put into the purse, or taken out of it.
type Sum struct {
	Amount Money `json:"amount"`
}

// A Tx is a transaction that is in a block.
type Tx struct {
	Hash   string `json:"hash" doc:"Hex"`
	Height int64  `json:"height"`
	Fee    Money  `json:"fee"`
}

// Prices of one kind of service.
type Prices struct {
	Month Money `json:"month" doc:"For the unit (a GiB stored, a vCPU) in 30 days"`
	In    Money `json:"in" doc:"For a GiB the host receives"`
	Out   Money `json:"out" doc:"For a GiB the host sends"`
	Tgas  Money `json:"tgas" doc:"For 10^12 units of gas, about four minutes of one core"`
}

// A Quote is what a host asks.
type Quote struct {
	Host       string    `json:"host" doc:"hearth1... address"`
	PeerKey    string    `json:"peer_key" doc:"ed25519 key of the host's node, hex"`
	Kind       string    `json:"kind" enum:"storage,compute,edge,relay,talk"`
	Prices     Prices    `json:"prices"`
	ValidUntil time.Time `json:"valid_until"`
	Region     string    `json:"region,omitempty" doc:"As the host declares it"`
	Free       int64     `json:"free" doc:"Room the host says it has: bytes, or of compute 2^30ths of a core; -1: it doesn't say"`
	Latency    float64   `json:"latency_ms" doc:"Measured from here; -1: not measured"`
	Bonded     bool      `json:"bonded" doc:"Its bond is full"`
	Misses     int       `json:"misses" doc:"Proofs missed in the last 30 periods"`
	Class      *Class    `json:"class,omitempty" doc:"Of the kind compute: what its machine can do, by its word; absent: it doesn't say"`
	Speed      uint64    `json:"speed,omitempty" doc:"Gas that a core of it has computed in a second, by this node's own measurement; absent: not measured"`
	Slow       bool      `json:"slow,omitempty" doc:"By that measurement it is slower than half of what it claims, where others aren't"`
}

// Quotes is one answer of the market.
type Quotes struct {
	Quotes []Quote `json:"quotes" nullable:"false"`
	Asked  int     `json:"asked" doc:"Hosts asked"`
	Silent int     `json:"silent" doc:"Hosts that did not answer"`
}

// A Lease is one bargain with one host.
type Lease struct {
	ID        uint64    `json:"id"`
	Client    string    `json:"client"`
	Host      string    `json:"host"`
	Kind      string    `json:"kind" enum:"storage,compute,edge,relay,talk"`
	State     string    `json:"state" enum:"open,low,closing,closed"`
	Bytes     uint64    `json:"bytes" doc:"Reserved; for storage, bytes of shards"`
	Month     Money     `json:"month" doc:"What that costs in 30 days"`
	Paid      Money     `json:"paid" doc:"Paid out so far, commission included"`
	Signed    Money     `json:"signed" doc:"Traffic and run time signed for so far"`
	Left      Money     `json:"left" doc:"Still in the lease"`
	In        uint64    `json:"in" doc:"Bytes sent to the host, as counted here"`
	Out       uint64    `json:"out" doc:"Bytes the host sent, as counted here"`
	Gas       uint64    `json:"gas" doc:"Units of gas used, as counted here"`
	Seq       uint64    `json:"seq" doc:"Of the newest statement"`
	Root      string    `json:"root,omitempty" doc:"Of the stored shards, hex"`
	PricesTil time.Time `json:"prices_until" doc:"How long the prices are frozen"`
	Opened    time.Time `json:"opened"`
	Ends      time.Time `json:"ends,omitzero" doc:"When the rest goes back; absent: not closing"`
}

// Leases is one page of leases.
type Leases struct {
	Leases []Lease `json:"leases" nullable:"false"`
	Next   string  `json:"next,omitempty" doc:"Cursor of the next page; absent: this was the last"`
}

// A Ledger is the ledger as this node sees it.
type Ledger struct {
	Network    string       `json:"network" doc:"The network's whole name"`
	ChainID    string       `json:"chain_id"`
	Height     int64        `json:"height" doc:"Newest verified block"`
	Time       time.Time    `json:"time" doc:"Time of that block"`
	Trusted    int64        `json:"trusted" doc:"Height the light client's trust began at"`
	Checkpoint string       `json:"checkpoint,omitempty" doc:"A newest block, as --trust takes it on a machine that slept too long"`
	Nodes      []LedgerNode `json:"nodes" nullable:"false"`
}

// A LedgerNode is one of the ledger nodes in use.
type LedgerNode struct {
	URL    string `json:"url"`
	Up     bool   `json:"up"`
	Height int64  `json:"height,omitempty" doc:"What it says its newest block is; not verified"`
	Error  string `json:"error,omitempty"`
}

// A Host is this node's hosting side.
type Host struct {
	Account    string    `json:"account"`
	State      string    `json:"state" enum:"joining,serving,leaving,left"`
	Reach      string    `json:"reach" enum:"direct,relay,unknown"`
	Capacity   int64     `json:"capacity" doc:"Bytes offered"`
	Used       int64     `json:"used" doc:"Bytes of shards under a statement"`
	Pending    int64     `json:"pending" doc:"Bytes received and not under a statement yet"`
	Served     int64     `json:"served" doc:"Bytes of shards sent since the start"`
	Received   int64     `json:"received" doc:"Bytes of shards received since the start"`
	Leases     int       `json:"leases"`
	Free       int64     `json:"free" doc:"Bytes that can still be taken; trash gives way"`
	Trash      int64     `json:"trash" doc:"Bytes that nobody needs any more, kept for a while"`
	Kept       int64     `json:"kept" doc:"Bytes removed by clients that roots on the ledger still need"`
	Damaged    int64     `json:"damaged" doc:"Shards found to be damaged"`
	Reads      int64     `json:"reads" doc:"Reads served since the start, audits included: they look alike"`
	Scrubbed   time.Time `json:"scrubbed,omitzero" doc:"When every shard was last read and compared"`
	Limits     LimitsNow `json:"limits" doc:"What the owner allows at this hour"`
	Month      Money     `json:"month" doc:"What the leases pay in 30 days at the present rate, traffic not included"`
	Projected  Money     `json:"projected" doc:"Of it, what comes to this host: less the commission"`
	Earned     Money     `json:"earned" doc:"Paid out so far, without the commission"`
	Commission Money     `json:"commission" doc:"What the commons got of the same payments"`
	Bond       Money     `json:"bond"`
	Target     Money     `json:"bond_target" doc:"Half of what is earned goes to the bond until it reaches this"`
	Proven     time.Time `json:"proven,omitzero" doc:"Up to when storage is proven"`
	Misses     int       `json:"misses" doc:"Proofs missed in the last 30 periods"`
	// How proving what is stored goes.
	Proof      string    `json:"proof" enum:"none,waiting,due,answered,unknown" doc:"This period's proof: nothing to prove, not drawn yet, drawn and to be answered, answered, or the ledger wasn't asked yet"`
	Proofs     int64     `json:"proofs" doc:"Periods proven in all"`
	MissRun    int       `json:"miss_run" doc:"Proofs missed in a row"`
	ProofCause string    `json:"proof_cause,omitempty" doc:"Why the last proof failed or was missed"`
	Debt       Money     `json:"debt" doc:"Fines beyond the bond; the next earnings pay them"`
	LeavesAt   time.Time `json:"leaves_at,omitzero" doc:"When the notice ends"`
	Prices     Prices    `json:"prices"`
	Functions  *Sold     `json:"functions,omitempty" doc:"Runs of functions; absent: they aren't sold here"`
	Machines   *Rented   `json:"machines,omitempty" doc:"Machines for instances; absent: they aren't rented out here"`
	Class      *Class    `json:"class,omitempty" doc:"What the machine can do; absent: it wasn't measured"`
	Checklist  []Check   `json:"checklist" nullable:"false" doc:"What a host needs, and which of it is missing"`
}

// Rented is what of a host's machine is rented out.
type Rented struct {
	All       Machine `json:"all"`
	Free      Machine `json:"free" doc:"That nobody has reserved"`
	Instances int     `json:"instances"`
	Core      Money   `json:"core" doc:"Price of a core for 30 days"`
	Memory    Money   `json:"memory" doc:"Of a GiB"`
	Disk      Money   `json:"disk" doc:"Of a GiB"`
	Why       string  `json:"why,omitempty" doc:"Why it can't be rented out now"`
}

// Sold is what a host has run of others' functions since it started.
type Sold struct {
	Prices Prices `json:"prices"`
	Memory int64  `json:"memory" doc:"Bytes that one call may have"`
	Calls  uint64 `json:"calls"`
	Gas    uint64 `json:"gas"`
}
