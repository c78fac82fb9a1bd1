package chain

import (
	"context"
	"encoding/binary"
	"strconv"

	"google.golang.org/protobuf/proto"

	"hearth/chain/pb/hostsv1"
	"hearth/chain/pb/marketv1"
	"hearth/core/address"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
)

// Where the ledger keeps its records.
const (
	bankStore   = "bank"
	hostsStore  = "hosts"
	marketStore = "market"
)

func hostKey(address string) []byte { return append([]byte{1}, address...) }
func leaseKey(id uint64) []byte     { return binary.BigEndian.AppendUint64([]byte{1}, id) }
func purseKey(owner string) []byte  { return append([]byte{2}, owner...) }
func balanceKey(address []byte) []byte {
	return append(append([]byte{2, byte(len(address))}, address...), Denom...)
}

func mandateKey(grantor string, key [32]byte) []byte {
	return append(append(append([]byte{3}, grantor...), 0), key[:]...)
}

// record proves one record and decodes it; it says whether there is one.
func (c *Client) record(ctx context.Context, store string, key []byte, into proto.Message) (bool, error) {
	value, _, err := c.prove(ctx, store, key, 0)
	if err != nil || value == nil {
		return false, err
	}
	if err := proto.Unmarshal(value, into); err != nil {
		return false, odd("read %s: %w", store, err)
	}
	return true, nil
}

// Balance is what an account holds outside its purse, proved. An account that
// the ledger doesn't know holds nothing.
func (c *Client) Balance(ctx context.Context, account string) (money.Amount, error) {
	raw, err := address.Bytes(account)
	if err != nil {
		return 0, err
	}
	value, _, err := c.prove(ctx, bankStore, balanceKey(raw), 0)
	if err != nil || value == nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil {
		return 0, odd("balance of %s: %w", account, err)
	}
	return money.Amount(n), nil
}

// Purse is what is free in an account's purse, proved; 0 where there is none.
func (c *Client) Purse(ctx context.Context, owner string) (money.Amount, error) {
	var p marketv1.Purse
	ok, err := c.record(ctx, marketStore, purseKey(owner), &p)
	if err != nil || !ok {
		return 0, err
	}
	if p.Owner != owner {
		return 0, odd("purse of %s: it is of %s", owner, p.Owner)
	}
	return money.Amount(p.Free), nil
}

// Lease is the record of a lease, proved. fault.NoLease: proved that there is none.
func (c *Client) Lease(ctx context.Context, id uint64) (lease.Lease, error) {
	var l marketv1.Lease
	ok, err := c.record(ctx, marketStore, leaseKey(id), &l)
	switch {
	case err != nil:
		return lease.Lease{}, err
	case !ok:
		return lease.Lease{}, fault.New(fault.NoLease, "lease %d: the ledger has none", id)
	case l.Id != id:
		return lease.Lease{}, odd("lease %d: it is lease %d", id, l.Id)
	}
	return coreLease(&l)
}

// Host is the record of a host, proved. fault.NotFound: proved that there is none.
func (c *Client) Host(ctx context.Context, address string) (Host, error) {
	var h hostsv1.Host
	ok, err := c.record(ctx, hostsStore, hostKey(address), &h)
	switch {
	case err != nil:
		return Host{}, err
	case !ok:
		return Host{}, fault.New(fault.NotFound, "host %s: the ledger has none", address)
	case h.Address != address:
		return Host{}, odd("host %s: it is %s", address, h.Address)
	}
	return coreHost(&h)
}

// Mandate is what key may do for grantor, proved. fault.NotFound: proved that there is none.
func (c *Client) Mandate(ctx context.Context, grantor string, key [32]byte) (mandate.Mandate, error) {
	var m marketv1.Mandate
	ok, err := c.record(ctx, marketStore, mandateKey(grantor, key), &m)
	switch {
	case err != nil:
		return mandate.Mandate{}, err
	case !ok:
		return mandate.Mandate{}, fault.New(fault.NotFound, "mandate of %s for %x: the ledger has none", grantor, key[:4])
	}
	out, err := coreMandate(&m)
	if err == nil && (out.Grantor != grantor || out.Key != key) {
		return mandate.Mandate{}, odd("mandate of %s: it is another's", grantor)
	}
	return out, err
}
