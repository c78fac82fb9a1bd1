package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"path/filepath"
	"slices"
	"time"

	"hearth/api"
	compute "hearth/compute/client"
	"hearth/compute/wasm"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/quote"
	"hearth/market"
	"hearth/storage/client"
	"hearth/storage/index"
)

// functionBucket is where an account's functions are kept: objects like any, so
// that they come back with the phrase.
const functionBucket = "hearth-functions"

// startFunctions opens the functions of a client.
func startFunctions(b *buying) (*compute.Client, error) {
	dir := filepath.Join(b.n.dir, "data", "functions")
	worker, err := functionWorker()
	if err != nil {
		return nil, err
	}
	b.engine, err = wasm.Open(wasm.Config{Dir: filepath.Join(dir, "checks"), Program: worker, MaxPages: call.MaxPages, Log: b.n.log})
	if err != nil {
		return nil, err
	}
	appear := time.Duration(0)
	if b.n.settings.Local {
		appear = 2 * lookLocally
	}
	x, err := compute.New(compute.Config{
		Dir: dir, Engine: b.engine, Market: functionMarket{b}, Blobs: bucketBlobs{b, functionBucket}, Dialer: b.n.net,
		ChainID: b.n.ledger.ChainID(), Device: b.n.device, Others: otherMachines{b}, Appear: appear, Log: b.n.log,
	})
	if err != nil {
		return nil, errors.Join(err, b.engine.Close())
	}
	return x, nil
}

// functionMarket finds hosts for calls.
type functionMarket struct{ b *buying }

// Hosts opens leases with the cheapest hosts that answer; among equals with the
// nearest. Those that are slower than they claim come last.
func (m functionMarket) Hosts(ctx context.Context, most int, avoid []string) ([]compute.Pair, error) {
	if err := m.b.account.prepared(ctx); err != nil {
		return nil, err
	}
	offers, err := m.offers(ctx, avoid, false)
	if err == nil && len(offers) == 0 {
		offers, err = m.offers(ctx, avoid, true)
	}
	if err != nil {
		return nil, err
	}
	if len(offers) == 0 {
		return nil, fault.New(fault.NoHosts, "find hosts: of those that sell runs of functions none answers within the ceiling, or all were tried")
	}
	verdicts := m.b.judge(offers)
	slices.SortFunc(offers, func(a, b market.Offer) int {
		return cmp.Or(slowLast(verdicts[a.Host.Address].Slow, verdicts[b.Host.Address].Slow), cmp.Compare(a.Quote.Prices.Gas, b.Quote.Prices.Gas), cmp.Compare(a.Latency, b.Latency))
	})
	pairs, err := m.b.market.Open(ctx, offers[:min(most, len(offers))], 0)
	if err != nil {
		return nil, err
	}
	out := make([]compute.Pair, len(pairs))
	for i, p := range pairs {
		out[i] = pricedPair{p, m.b.market, offers[i].Host.Owner}
	}
	return out, nil
}

// offers are those of hosts that would take a call now.
func (m functionMarket) offers(ctx context.Context, avoid []string, fresh bool) ([]market.Offer, error) {
	all, err := m.b.market.Offers(ctx, quote.Compute, fresh)
	return slices.DeleteFunc(all, func(o market.Offer) bool {
		return o.Err != nil || o.Free == 0 || o.Host.Address == m.b.n.address() || slices.Contains(avoid, o.Host.Address)
	}), err
}

// pricedPair is a bargain with its prices and its host's owner.
type pricedPair struct {
	*market.Pair
	market *market.Client
	owner  string
}

func (p pricedPair) Owner() string { return p.owner }

func (p pricedPair) Prices() quote.Prices { return p.market.Prices(p.Lease()) }

// bucketBlobs keeps small things as objects of the account, in a bucket of their own.
type bucketBlobs struct {
	b      *buying
	bucket string
}

func (f bucketBlobs) ref(name string) index.Ref { return index.Ref{Bucket: f.bucket, Key: name} }

func (f bucketBlobs) Keep(ctx context.Context, name string, b []byte) error {
	if err := f.b.index.MakeBucket(ctx, f.bucket); err != nil && fault.CodeOf(err) != fault.Exists {
		return err
	}
	_, err := f.b.files.Put(ctx, f.ref(name), bytes.NewReader(b), client.PutOptions{Wait: true, Size: int64(len(b))})
	return err
}

func (f bucketBlobs) Read(ctx context.Context, name string, w io.Writer) error {
	_, err := f.b.files.Get(ctx, f.ref(name), w, client.GetOptions{})
	return err
}

func (f bucketBlobs) Drop(ctx context.Context, name string) error {
	_, err := f.b.files.Remove(ctx, f.ref(name), index.RemoveOptions{})
	return err
}

func (f bucketBlobs) Names(ctx context.Context, prefix string) ([]string, error) {
	return f.b.index.Keys(ctx, f.bucket, prefix)
}

func (f bucketBlobs) Load(ctx context.Context, name string, w io.Writer) (version string, err error) {
	o, err := f.b.files.Get(ctx, f.ref(name), w, client.GetOptions{})
	return o.At().Version, err
}

func (f bucketBlobs) Swap(ctx context.Context, name string, b []byte, version string) error {
	_, err := f.b.files.Put(ctx, f.ref(name), bytes.NewReader(b), client.PutOptions{
		Wait: f.b.company.Load(), // what is in this machine's journal no other can read
		Size: int64(len(b)), If: index.Condition{Absent: version == "", Version: version},
	})
	return err
}

// otherMachines are those of the account, as far as they read the same list of files.
type otherMachines struct{ b *buying }

func (o otherMachines) Any() bool                      { return o.b.company.Load() }
func (o otherMachines) Tell(ctx context.Context) error { return o.b.replica.Flush(ctx) }
func (o otherMachines) Meet(ctx context.Context) error { return o.b.replica.Meet(ctx) }

// functionRole shows the functions to the API.
type functionRole struct{ b *buying }

const page = 64 << 10 // of WebAssembly's memory

func (r functionRole) Deploy(ctx context.Context, w api.FunctionWish, module []byte) (api.Function, error) {
	f, err := r.b.functions.Deploy(ctx, compute.Function{
		Name: w.Name, Gas: w.Gas, Pages: uint32((w.Memory + page - 1) / page), Deadline: time.Duration(w.Deadline) * time.Millisecond, Env: w.Env,
		Store: int(min(w.Store, math.MaxInt32)),
	}, module)
	if err != nil {
		return api.Function{}, err
	}
	return r.show(f), nil
}

func (r functionRole) show(f compute.Function) api.Function {
	return api.Function{
		Name: f.Name, Module: hex.EncodeToString(f.Module[:]), Size: f.Size, Gas: f.Gas, Memory: int64(f.Pages) * page,
		Deadline: f.Deadline.Milliseconds(), Env: append([]string{}, f.Env...), Created: time.Unix(f.Created, 0).UTC(), Store: int64(f.Store),
		Most: api.MoneyOf(r.b.n.terms.functionCeiling.Owed(quote.Use{Gas: f.Gas})),
	}
}

func (r functionRole) Functions(ctx context.Context) (api.Functions, error) {
	list, err := r.b.functions.Functions(ctx)
	out := api.Functions{Functions: make([]api.Function, len(list))}
	for i, f := range list {
		out.Functions[i] = r.show(f)
	}
	return out, err
}

func (r functionRole) Remove(ctx context.Context, name string) error {
	return r.b.functions.Remove(ctx, name)
}

func (r functionRole) Call(ctx context.Context, name string, w api.CallWish) (api.Called, error) {
	res, err := r.b.functions.Invoke(ctx, name, compute.Wish{Args: w.Args, Env: w.Env, Input: w.Input, Verify: w.Verify})
	if err != nil {
		return api.Called{}, err
	}
	return api.Called{
		Exit: res.Exit, Fault: string(res.Fault), Reason: res.Reason, Gas: res.Gas, Host: res.Host, Cost: api.MoneyOf(res.Cost),
		Took: res.Took.Nanoseconds(), Witnesses: res.Witnesses, Here: res.Here, Output: res.Output, Log: res.Log,
	}, nil
}

func (r functionRole) Log(ctx context.Context, name string, w io.Writer) error {
	return r.b.functions.Logs(ctx, name, w)
}

func (r functionRole) Store(ctx context.Context, name, prefix, after string) (api.FunctionStore, error) {
	s, f, err := r.b.functions.Stored(ctx, name)
	if err != nil {
		return api.FunctionStore{}, err
	}
	out := api.FunctionStore{Size: int64(s.Size()), Most: int64(f.Store), Keys: []api.FunctionKey{}}
	for key, ok := s.Next(prefix, after); ok; key, ok = s.Next(prefix, key) {
		if len(out.Keys) == api.FunctionStorePage {
			out.Next = out.Keys[len(out.Keys)-1].Key
			break
		}
		value, _ := s.Get(key)
		out.Keys = append(out.Keys, api.FunctionKey{Key: key, Size: int64(len(value))})
	}
	return out, nil
}

func (r functionRole) StoreGet(ctx context.Context, name, key string) ([]byte, error) {
	s, _, err := r.b.functions.Stored(ctx, name)
	if err != nil {
		return nil, err
	}
	value, ok := s.Get(key)
	if !ok {
		return nil, fault.New(fault.NotFound, "the store of %s has no key %q", name, fault.Brief(key))
	}
	return value, nil
}

func (r functionRole) StorePut(ctx context.Context, name, key string, value []byte) error {
	return r.b.functions.Put(ctx, name, key, value)
}

func (r functionRole) StoreRemove(ctx context.Context, name, key string) error {
	return r.b.functions.Forget(ctx, name, key)
}

func (r functionRole) Liars(context.Context) (api.Liars, error) {
	out := api.Liars{Liars: []api.Liar{}}
	for _, l := range r.b.functions.Liars() {
		out.Liars = append(out.Liars, api.Liar(l))
	}
	return out, nil
}
