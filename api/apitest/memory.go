// Package apitest is a node in memory: everything the API serves, without a
// network, a ledger or a disk. It keeps the promises that the roles make, and
// is what tests of the API's server, of its client and of the command line
// talk to.
package apitest

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"lukechampine.com/blake3"

	"hearth/api"
	"hearth/api/server"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/store"
	"hearth/internal/version"
)

// A Node answers for every role. It is safe for concurrent use. The zero Node
// is not ready; see New.
type Node struct {
	Now time.Time // of everything that is made

	mu      sync.Mutex
	account money.Amount
	purse   money.Amount
	txs     int64
	buckets map[string]time.Time
	objects map[[2]string]object
	leases  []api.Lease
	left    bool
	limits  api.HostLimits
	agreed  money.Amount
	cap     money.Amount
	hired   []api.Steward
	broken  error // what Get fails with halfway, see Break

	functions map[string]api.Function
	logs      map[string][]byte // by function
	stores    map[string]*store.Store
	call      func(name string, w api.CallWish) (api.Called, error)
	door      api.FunctionDoor
	instances map[string]api.Instance
	secrets   map[string][]api.Secret // by instance
	gone      chan struct{}           // see Gone
}

type object struct {
	api.Object
	content []byte
}

// New makes a node whose account holds so much.
func New(account money.Amount) *Node {
	return &Node{
		Now:     time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC),
		account: account,
		cap:     100 * money.Ember,
		buckets: map[string]time.Time{},
		objects: map[[2]string]object{},

		stores:    map[string]*store.Store{},
		functions: map[string]api.Function{},
		logs:      map[string][]byte{},
		instances: map[string]api.Instance{},
		secrets:   map[string][]api.Secret{},
		gone:      make(chan struct{}),
	}
}

// Roles hands the node to a server.
func (n *Node) Roles() server.Roles {
	return server.Roles{
		Node: self{n}, Wallet: wallet{n}, Market: market{n}, Ledger: ledger{n}, Storage: storage{n}, Host: host{n}, Stewards: stewards{n},
		Functions: functions{n}, FunctionDoor: functionDoor{n}, Instances: instances{n},
	}
}

// Break makes downloads end with err after the first half, until it is nil.
func (n *Node) Break(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken = err
}

// AddLeases gives the account so many more leases.
func (n *Node) AddLeases(count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for range count {
		id := uint64(len(n.leases) + 1)
		n.leases = append(n.leases, api.Lease{
			ID: id, Client: address, Host: fmt.Sprintf("hearth1host%d", id), Kind: "storage", State: "open", Bytes: 4 << 20,
			Month: api.MoneyOf(1), Paid: api.MoneyOf(0), Signed: api.MoneyOf(0), Left: api.MoneyOf(10_000),
			PricesTil: n.Now.Add(24 * time.Hour), Opened: n.Now,
		})
	}
}

const (
	address = "hearth1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqg0n3z4"
	chainID = "hearth-00000000000000000000"
	netName = chainID + "@http://127.0.0.1:1"
)

type (
	self    struct{ *Node }
	wallet  struct{ *Node }
	market  struct{ *Node }
	ledger  struct{ *Node }
	storage struct{ *Node }
	host    struct{ *Node }

	stewards struct{ *Node }

	functions    struct{ *Node }
	functionDoor struct{ *Node }
)

func (n self) Status(context.Context) (api.Node, error) {
	return api.Node{
		Build: version.Get(), Network: netName, Account: address, Device: "0000000000000001",
		PeerKey: strings.Repeat("00", 32), Roles: []string{"client", "host"}, Addresses: []string{},
		Reach: "direct", Started: n.Now, Ledger: api.LedgerBrief{Height: 7, Time: n.Now},
	}, nil
}

func (n self) Ready(context.Context) []api.Check { return []api.Check{{Name: "memory", OK: true}} }

func (n self) Events(ctx context.Context, tell func(api.Event) error) error {
	if err := tell(api.Event{Time: n.Now, Severity: "info", Code: "started", Text: "The node has started."}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (n wallet) Show(context.Context) (api.Wallet, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	zero := api.MoneyOf(0)
	return api.Wallet{
		Account: address, Device: "0000000000000001", SpendingKey: strings.Repeat("00", 32),
		Mandate: &api.Mandate{Operations: []string{"open", "fund"}, Cap: api.MoneyOf(n.cap), Used: zero, Until: n.Now.Add(365 * 24 * time.Hour)},
		Balance: api.Balance{Account: api.MoneyOf(n.account), Purse: api.MoneyOf(n.purse), Leases: zero, Bond: zero, AsOf: n.Now},
	}, nil
}

func (n wallet) Send(_ context.Context, to string, amount money.Amount) (api.Tx, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !strings.HasPrefix(to, "hearth1") {
		return api.Tx{}, fault.New(fault.BadRequest, "send to %q: not an address", to)
	}
	if amount > n.account {
		return api.Tx{}, fault.New(fault.NoFunds, "send %s: the account holds %s", amount, n.account)
	}
	n.account -= amount
	return n.tx(), nil
}

func (n wallet) Fund(_ context.Context, amount money.Amount) (api.Tx, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if amount > n.account {
		return api.Tx{}, fault.New(fault.NoFunds, "fund the purse with %s: the account holds %s", amount, n.account)
	}
	n.account, n.purse = n.account-amount, n.purse+amount
	return n.tx(), nil
}

func (n wallet) Withdraw(_ context.Context, amount money.Amount) (api.Tx, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if amount == 0 {
		amount = n.purse
	}
	if amount > n.purse {
		return api.Tx{}, fault.New(fault.NoFunds, "withdraw %s: the purse holds %s", amount, n.purse)
	}
	n.account, n.purse = n.account+amount, n.purse-amount
	return n.tx(), nil
}

func (n *Node) tx() api.Tx {
	n.txs++
	return api.Tx{Hash: fmt.Sprintf("%064X", n.txs), Height: 7 + n.txs, Fee: api.MoneyOf(100)}
}

func (n market) Quotes(_ context.Context, kind string) (api.Quotes, error) {
	return api.Quotes{Asked: 1, Quotes: []api.Quote{{
		Host: "hearth1host1", PeerKey: strings.Repeat("11", 32), Kind: kind, ValidUntil: n.Now.Add(time.Hour),
		Prices: api.Prices{Month: api.MoneyOf(2_000), In: api.MoneyOf(100), Out: api.MoneyOf(500), Tgas: api.MoneyOf(0)}, Free: 50 << 30, Latency: 1.5,
		Class: host(n).class(), Speed: 3_000_000_000,
	}}}, nil
}

func (n market) Leases(_ context.Context, after uint64, limit int) ([]api.Lease, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	page := []api.Lease{}
	for _, l := range n.leases {
		if l.ID > after && len(page) < limit {
			page = append(page, l)
		}
	}
	return page, nil
}

func (n market) Lease(_ context.Context, id uint64) (api.Lease, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id == 0 || id > uint64(len(n.leases)) {
		return api.Lease{}, fault.New(fault.NoLease, "show lease %d: not on the ledger", id)
	}
	return n.leases[id-1], nil
}

func (n ledger) Status(context.Context) (api.Ledger, error) {
	return api.Ledger{
		Network: netName, ChainID: chainID, Height: 7, Time: n.Now, Trusted: 1,
		Nodes: []api.LedgerNode{{URL: "http://127.0.0.1:1", Up: true, Height: 7}},
	}, nil
}

func (n host) Status(context.Context) (api.Host, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	zero := api.MoneyOf(0)
	h := api.Host{
		Account: address, State: "serving", Reach: "direct", Capacity: 50 << 30, Free: 50 << 30, Month: zero, Projected: zero, Earned: zero, Commission: zero, Bond: zero, Target: zero,
		Prices:    api.Prices{Month: api.MoneyOf(2_000), In: api.MoneyOf(100), Out: api.MoneyOf(500), Tgas: api.MoneyOf(0)},
		Checklist: []api.Check{{Name: "registered", OK: true}}, Class: n.class(),
	}
	if n.left {
		h.State, h.LeavesAt = "leaving", n.Now.Add(14*24*time.Hour)
	}
	return h, nil
}

func (n host) Leave(ctx context.Context) (api.Host, error) {
	n.mu.Lock()
	n.left = true
	n.mu.Unlock()
	return n.Status(ctx)
}

func (n storage) Buckets(context.Context) ([]api.Bucket, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := []api.Bucket{}
	for name, created := range n.buckets {
		all = append(all, api.Bucket{Name: name, Created: created})
	}
	slices.SortFunc(all, func(a, b api.Bucket) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (n storage) MakeBucket(_ context.Context, name string) (api.Bucket, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(name) < 3 {
		return api.Bucket{}, fault.New(fault.BadName, "make bucket %q: a bucket has 3 to 63 characters", name)
	}
	if _, ok := n.buckets[name]; !ok {
		n.buckets[name] = n.Now
	}
	return api.Bucket{Name: name, Created: n.buckets[name]}, nil
}

func (n storage) RemoveBucket(_ context.Context, name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.buckets[name]; !ok {
		return fault.New(fault.NotFound, "remove bucket %s: not there", name)
	}
	for at := range n.objects {
		if at[0] == name {
			return fault.New(fault.Exists, "remove bucket %s: it holds objects", name)
		}
	}
	delete(n.buckets, name)
	return nil
}

func (n storage) List(_ context.Context, bucket string, q api.ListQuery) (api.Objects, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.buckets[bucket]; !ok {
		return api.Objects{}, fault.New(fault.NotFound, "list %s: no such bucket", bucket)
	}
	keys := []string{}
	for at := range n.objects {
		if at[0] == bucket && strings.HasPrefix(at[1], q.Prefix) && at[1] > q.After {
			keys = append(keys, at[1])
		}
	}
	slices.Sort(keys)
	page := api.Objects{Objects: []api.Object{}, Prefixes: []string{}}
	for _, key := range keys {
		if len(page.Objects)+len(page.Prefixes) == q.Limit {
			break
		}
		folder, _, deeper := strings.Cut(strings.TrimPrefix(key, q.Prefix), q.Delimiter)
		if q.Delimiter != "" && deeper {
			if folder = q.Prefix + folder + q.Delimiter; !slices.Contains(page.Prefixes, folder) {
				page.Prefixes = append(page.Prefixes, folder)
			}
		} else {
			page.Objects = append(page.Objects, n.objects[[2]string{bucket, key}].Object)
		}
		page.Next = key
	}
	if len(keys) == 0 || page.Next == keys[len(keys)-1] {
		page.Next = ""
	}
	return page, nil
}

func (n storage) Stat(_ context.Context, bucket, key string) (api.Object, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o, ok := n.objects[[2]string{bucket, key}]
	if !ok {
		return api.Object{}, fault.New(fault.NotFound, "stat hearth://%s/%s: no such object", bucket, key)
	}
	return o.Object, nil
}

func (n storage) Health(ctx context.Context, bucket, key string) (api.Health, error) {
	o, err := n.Stat(ctx, bucket, key)
	return api.Health{Object: o, Month: api.MoneyOf(1), Slabs: []api.SlabHealth{{
		Needed: 1, Shards: []api.ShardHealth{{Root: o.Sum, Size: o.Size, Host: "hearth1host1", Lease: 1, State: "held"}},
	}}}, err
}

func (n storage) Check(ctx context.Context, bucket string, q api.CheckQuery) (api.Findings, error) {
	page, err := n.List(ctx, bucket, api.ListQuery{Prefix: q.Prefix, After: q.After, Limit: q.Limit})
	out := api.Findings{Findings: []api.Finding{}, Next: page.Next}
	for _, o := range page.Objects {
		out.Findings = append(out.Findings, api.Finding{Bucket: o.Bucket, Key: o.Key, Size: o.Size, State: "healthy", Slabs: 1, Need: 1, Held: 1})
	}
	return out, err
}

func (n storage) Remove(_ context.Context, bucket, key string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.objects[[2]string{bucket, key}]; !ok {
		return fault.New(fault.NotFound, "remove hearth://%s/%s: no such object", bucket, key)
	}
	delete(n.objects, [2]string{bucket, key})
	return nil
}

func (n storage) Put(_ context.Context, bucket, key string, from io.Reader, o server.PutOptions) (api.Object, error) {
	n.mu.Lock()
	_, known := n.buckets[bucket]
	old, taken := n.objects[[2]string{bucket, key}]
	n.mu.Unlock()
	switch {
	case !known:
		return api.Object{}, fault.New(fault.NotFound, "put hearth://%s/%s: no such bucket", bucket, key)
	case taken && o.IfAbsent:
		return api.Object{}, fault.New(fault.Exists, "put hearth://%s/%s: it is there already", bucket, key)
	}
	content, err := io.ReadAll(from)
	if err != nil {
		return api.Object{}, fmt.Errorf("put hearth://%s/%s: %w", bucket, key, err)
	}
	o.Report(api.Progress{Bytes: int64(len(content)), Total: int64(len(content)), Shards: 1, Hosts: 1})
	sum := blake3.Sum256(content)
	n.mu.Lock()
	defer n.mu.Unlock()
	fresh := object{content: content, Object: api.Object{
		Bucket: bucket, Key: key, Size: int64(len(content)), Modified: n.Now, Version: nextVersion(old.Version),
		Type: o.Type, Class: "1/1", Sum: hex.EncodeToString(sum[:]),
	}}
	n.objects[[2]string{bucket, key}] = fresh
	return fresh.Object, nil
}

func nextVersion(old string) string {
	var v int
	if _, err := fmt.Sscanf(old, "v%d", &v); err != nil {
		return "v1"
	}
	return fmt.Sprintf("v%d", v+1)
}

func (n storage) Get(_ context.Context, bucket, key, version string, off, count int64, to io.Writer, report func(api.Progress)) error {
	n.mu.Lock()
	o, ok := n.objects[[2]string{bucket, key}]
	broken := n.broken
	n.mu.Unlock()
	if !ok || o.Version != version {
		return fault.New(fault.NotFound, "get hearth://%s/%s: version %s is gone", bucket, key, version)
	}
	part := o.content[off : off+count]
	if broken != nil {
		part = part[:len(part)/2]
	}
	if _, err := io.Copy(to, bytes.NewReader(part)); err != nil {
		return err
	}
	report(api.Progress{Bytes: int64(len(part)), Total: count, Hosts: 1})
	return broken
}
