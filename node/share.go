package node

import (
	"context"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/share"
	"hearth/market"
	"hearth/storage/client"
	"hearth/storage/index"
	"hearth/storage/remote"
)

// Readers opens leases with hosts that a link names, where there are none. Of
// those that ask too much or don't answer there is none.
func (m storageMarket) Readers(ctx context.Context, hosts []string, bytes uint64, by *client.Purse) ([]remote.Pair, error) {
	buyer := m.b.market
	var err error
	if by != nil {
		buyer, err = m.b.purses.of(by)
	} else {
		err = m.b.account.prepared(ctx)
	}
	if err != nil {
		return nil, err
	}
	offers, err := m.b.market.Offers(ctx, quote.Storage, false)
	if err != nil {
		return nil, err
	}
	var picked []market.Offer
	for _, o := range offers {
		if o.Err == nil && slices.Contains(hosts, o.Host.Address) && o.Quote.Prices.Within(m.b.n.terms.ceiling) {
			picked = append(picked, o)
		}
	}
	if len(picked) == 0 {
		return nil, fault.New(fault.NoHosts, "read a link: none of its %d hosts answers at a price that is allowed", len(hosts))
	}
	pairs, err := buyer.Open(ctx, picked, bytes)
	if err != nil {
		return nil, err
	}
	out := make([]remote.Pair, len(pairs))
	for i, p := range pairs {
		out[i] = p
	}
	return out, nil
}

// maxLinks is how many links stay open for what is read of them next.
const maxLinks = 8

// shareRole shows links to the API.
type shareRole struct {
	b *buying

	mu   sync.Mutex
	open []openLink // the newest last
}

type openLink struct {
	link   string
	shared *client.Shared
}

func (r *shareRole) Share(ctx context.Context, w api.ShareWish) (api.Share, error) {
	if w.Key == "" && !w.Prefix {
		return api.Share{}, fault.New(fault.BadName, "share hearth://%s/: no key; with a prefix an empty one is the whole bucket", w.Bucket)
	}
	by := client.Issuer{ChainID: r.b.n.terms.network.ChainID, Owner: r.b.n.address(), Key: r.b.n.keys.Spending().Key()}
	if w.Pay != nil {
		pay, err := w.Pay.Value()
		if err != nil {
			return api.Share{}, err
		}
		if pay < leastPay {
			return api.Share{}, fault.New(fault.BadRequest, "pay for reading: %s is less than leases cost, at least %s", pay, leastPay)
		}
		by.Pay = uint64(pay)
		by.Fund = func(ctx context.Context, serial share.Serial) (client.Purse, error) {
			return r.b.purses.fund(ctx, serial, pay, w.Until.Unix())
		}
	}
	link, s, err := r.b.files.Share(ctx, index.Ref{Bucket: w.Bucket, Key: w.Key}, w.Prefix, w.Until.Unix(), by)
	if err != nil {
		return api.Share{}, err
	}
	out := shareOf(s)
	out.Link = link.String()
	return out, nil
}

func shareOf(s client.Share) api.Share {
	return api.Share{
		Serial: s.Serial.String(), Name: s.Name, Until: time.Unix(s.Until, 0).UTC(), Created: time.Unix(s.Created, 0).UTC(),
		Objects: s.Objects, Bytes: s.Bytes, Pay: api.MoneyOf(money.Amount(s.Pay)),
	}
}

func (r *shareRole) Shares(ctx context.Context) (api.Shares, error) {
	list, err := r.b.files.Shares(ctx)
	out := api.Shares{Shares: []api.Share{}}
	for _, s := range list {
		out.Shares = append(out.Shares, shareOf(s))
	}
	return out, err
}

func (r *shareRole) Revoke(ctx context.Context, serial string) (api.Revoked, error) {
	n, err := share.ParseSerial(serial)
	if err != nil {
		return api.Revoked{}, err
	}
	s, untold, err := r.b.files.Revoke(ctx, n)
	return api.Revoked{Share: shareOf(s), Untold: append([]string{}, untold...)}, err
}

// find opens a link, or takes it as it was opened before.
func (r *shareRole) find(ctx context.Context, text string) (*client.Shared, share.Link, error) {
	link, err := share.Parse(text)
	if err != nil {
		return nil, link, err
	}
	chain := r.b.n.terms.network.ChainID
	if err := link.Check(chain, time.Now().Unix()); err != nil {
		return nil, link, err
	}
	r.mu.Lock()
	i := slices.IndexFunc(r.open, func(o openLink) bool { return o.link == text })
	if i >= 0 {
		defer r.mu.Unlock()
		return r.open[i].shared, link, nil
	}
	r.mu.Unlock()
	s, err := r.b.files.OpenLink(ctx, link, chain)
	if err != nil {
		return nil, link, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.open) == maxLinks {
		r.open[0].shared.Close() // who reads it goes on
		r.open = slices.Delete(r.open, 0, 1)
	}
	r.open = append(r.open, openLink{text, s})
	return s, link, nil
}

func (r *shareRole) Open(ctx context.Context, text string) (api.Linked, error) {
	s, link, err := r.find(ctx, text)
	if err != nil {
		return api.Linked{}, err
	}
	out := api.Linked{Name: s.Name(), Owner: link.Ticket.Owner, Until: time.Unix(link.Ticket.Until, 0).UTC(), Paid: s.Paid(), Objects: []api.Object{}}
	for _, o := range s.Objects() {
		out.Objects = append(out.Objects, api.Object{
			Bucket: "shared", Key: o.Key, Size: o.Size, Modified: time.Unix(o.Created, 0).UTC(), Type: o.Type, Version: strconv.FormatInt(o.Created, 10),
		})
	}
	return out, nil
}

func (r *shareRole) Read(ctx context.Context, text, key string, to io.Writer) error {
	s, _, err := r.find(ctx, text)
	if err != nil {
		return err
	}
	if _, err = s.Get(ctx, key, to, client.GetOptions{}); err != nil && ctx.Err() == nil {
		r.forget(s) // the next one begins anew
	}
	return err
}

func (r *shareRole) forget(s *client.Shared) {
	s.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = slices.DeleteFunc(r.open, func(o openLink) bool { return o.shared == s })
}

// close ends the streams of open links.
func (r *shareRole) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.open {
		o.shared.Close()
	}
	r.open = nil
}
