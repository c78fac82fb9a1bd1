package weather

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"hearth/api"
	"hearth/chain"
	"hearth/core/quote"
	"hearth/market"
	"hearth/node"
	"hearth/p2p"
	"hearth/sdk"
	"hearth/storage/host"
	"hearth/storage/wire"
	"hearth/wallet"
)

func TestAShardWhoseBytesFlipIsNoticedAndMadeAnewElsewhere(t *testing.T) {
	t.Parallel()
	w := shared(t)
	b := content(20, 24*mib)
	w.put(t, "rotten", b)
	h, err := w.api.Health(within(t, patient), bucket, "rotten")
	if err != nil {
		t.Fatal(err)
	}
	first := h.Slabs[0].Shards[0] // reading begins with it
	root, err := hex.DecodeString(first.Root)
	if err != nil {
		t.Fatal(err)
	}
	for i := range w.Hosts {
		if w.account(t, i) == first.Host {
			rot(t, w.Hosts[i].Dir, root)
		}
	}
	w.mustRead(t, "rotten", b)
	soon(t, patient, "make the shard anew at another host", func() error {
		in, err := w.api.Get(within(t, patient), bucket, "rotten", sdk.GetOptions{Range: &api.Range{Length: 64 << 10}}) // of which all lies in that shard
		if err != nil {
			return err
		}
		got, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
		if !bytes.Equal(got, b[:64<<10]) {
			t.Fatal("other bytes came")
		}
		h, err := w.api.Health(within(t, patient), bucket, "rotten")
		if err != nil {
			return err
		}
		if now := h.Slabs[0].Shards[0]; now.State != "held" || now.Host == first.Host {
			return fmt.Errorf("it is %s at %s, it was at %s", now.State, now.Host, first.Host)
		}
		return nil
	})
	w.mustRead(t, "rotten", b)
}

// rot flips a bit in a shard's bytes, in the volume of a host that runs. A record
// is a page with the shard's root in it, and the bytes after that.
func rot(t *testing.T, dir string, root []byte) {
	t.Helper()
	const page = 4096
	volumes, err := filepath.Glob(filepath.Join(dir, "data", "shards", "volumes", "*.volume"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range volumes {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for off := page; off+2*page <= len(b); off += page {
			if string(b[off:off+8]) != "HRTHSHRD" || !bytes.Contains(b[off:off+page], root) {
				continue
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			at := off + page + 1000
			_, err = f.WriteAt([]byte{b[at] ^ 4}, int64(at))
			if f.Close(); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no volume of %s holds the shard %x", dir, root)
}

func TestAHostThatFillsUpIsReplacedBySpares(t *testing.T) {
	t.Parallel()
	w := shared(t)
	for i := range 8 {
		if w.fills(t, i) {
			return
		}
	}
	t.Error("eight uploads passed the small host over")
}

// fills has a host run full in the middle of an upload that spares end well. It says
// whether the upload came to that host.
func (w *world) fills(t *testing.T, i int) bool {
	t.Helper()
	probe, key, b := fmt.Sprintf("probe-%d", i), fmt.Sprintf("full-%d", i), content(21, 96*mib)
	w.put(t, probe, content(22, 12*mib)) // a client keeps to its hosts: one of these is made small
	by, _ := w.shards(t, probe)
	small := 0
	for by[w.account(t, small)] == 0 {
		small++
	}
	h, err := w.host(small)
	if err != nil {
		t.Fatal(err)
	}
	room := h.Used + h.Pending + 36*mib // what is kept free for a stream without a length, 64 MiB, and little more
	w.offer(t, small, fmt.Sprintf("%dB", room))
	defer w.offer(t, small, "20GB")
	w.Client.Stop(3 * time.Second) // who asks for offers anew
	w.run(t, w.Client)
	if _, err := w.api.Put(within(t, patient), bucket, key, bytes.NewReader(b), -1, sdk.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	w.mustRead(t, key, b)
	w.whole(t, patient, key)
	if h, err = w.host(small); err != nil {
		t.Fatal(err)
	}
	if h.Used+h.Pending > room {
		t.Fatalf("it holds %d bytes and offers %d", h.Used+h.Pending, room)
	}
	if h.Received > 24*mib { // it was one of the hosts, and full before the end
		return true
	}
	if err := w.api.Remove(within(t, patient), bucket, key); err != nil {
		t.Fatal(err)
	}
	return false
}

// offer starts a host again with another size.
func (w *world) offer(t *testing.T, i int, size string) {
	t.Helper()
	p := w.Hosts[i]
	p.Stop(3 * time.Second)
	s, err := node.LoadSettings(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Host.Storage = size
	if err := s.Save(p.Dir); err != nil {
		t.Fatal(err)
	}
	w.run(t, p)
}

func TestAHostThatTalksRubbishHoldsNothing(t *testing.T) {
	t.Parallel()
	w := start(t, 5, twoOfFour)
	bad := rubbish(t, w)
	b := content(22, 24*mib)
	for mode, what := range rubbishModes {
		bad.mode.Store(int32(mode))
		w.Client.Stop(3 * time.Second) // it would avoid that host for an hour
		w.run(t, w.Client)
		before := bad.visits.Load()
		w.put(t, what, b)
		w.whole(t, patient, what, bad.account)
		w.mustRead(t, what, b)
		if bad.visits.Load() == before {
			t.Errorf("%s: nobody came to the host, though it is the cheapest", what)
		}
	}
}

// What the host of rubbish does on a storage stream.
var rubbishModes = []string{"random bytes", "false confirmations", "hanging up"}

type rubbishHost struct {
	account string
	mode    atomic.Int32
	visits  atomic.Int32
}

// rubbish is a host in this process: registered on the ledger, with an honest
// market and the lowest price, and a storage that isn't one.
func rubbish(t *testing.T, w *world) *rubbishHost {
	t.Helper()
	phrase, err := wallet.NewPhrase()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := wallet.Derive(phrase, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := &rubbishHost{account: keys.Account().Address()}
	ledger := w.ledger(t)
	ctx := within(t, patient)
	sponsored, err := ledger.Sponsor(ctx, r.account)
	if err != nil {
		t.Fatal(err)
	}
	payer := chain.PaidBy(keys.Account(), sponsored.Granter)
	net, err := p2p.New(p2p.Config{
		Key: keys.Node(), Network: ledger.ChainID(), AnnounceLoopback: true,
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, BulkListen: []string{"/ip4/127.0.0.1/tcp/0/tls"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { net.Close() })
	terms := chain.HostTerms{Roles: chain.RoleStorage, Region: "nowhere", Endpoints: net.Addrs(), Hardware: chain.Hardware{CPUMilli: 1000, DiskBytes: 1 << 40}}
	key := [32]byte(net.Key())
	proof := ed25519.Sign(keys.Node(), chain.HostKeyDigest(ledger.ChainID(), r.account))
	if _, err := ledger.Send(ctx, payer, chain.RegisterHost(r.account, r.account, key, proof, terms)); err != nil {
		t.Fatal(err)
	}
	sells, err := market.NewHost(market.HostConfig{
		Dir: t.TempDir(), Ledger: ledger, Account: payer, Key: keys.Node(), Log: slog.New(slog.DiscardHandler),
		Prices:  map[quote.Kind]quote.Prices{quote.Storage: {Unit: [quote.Dims]uint64{1}, In: 1, Out: 1}},
		Streets: map[quote.Kind]market.Street{quote.Storage: boundless{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sells.Close() })
	net.Handle(market.Protocol, sells.Serve)
	net.Handle(host.Protocol, r.serve)
	return r
}

func (r *rubbishHost) serve(_ context.Context, s p2p.Stream) {
	r.visits.Add(1)
	s.SetDeadline(time.Now().Add(patient))
	for {
		var ask wire.Request
		if err := p2p.ReadFrame(s, &ask, p2p.MaxFrame); err != nil {
			return
		}
		switch r.mode.Load() {
		case 0:
			noise := make([]byte, 64<<10)
			rand.Read(noise)
			s.Write(noise)
			return
		case 1:
			answer := &wire.Response{Answer: &wire.Response_Staged{Staged: &wire.Staged{Root: make([]byte, 32), Steps: [][]byte{{1, 2, 3}}}}}
			if put := ask.GetPut(); put != nil {
				answer = &wire.Response{} // thrown away, and said to be durable
				if _, err := s.Read(make([]byte, put.Size)); err != nil {
					return
				}
			}
			if err := p2p.WriteFrame(s, answer); err != nil {
				return
			}
		default:
			return
		}
	}
}

// boundless is a street that agrees to everything.
type boundless struct{}

func (boundless) Free() uint64                               { return 1 << 40 }
func (boundless) Covers(uint64, quote.Units, [32]byte) error { return nil }
func (boundless) Commit(uint64, quote.Units, [32]byte) error { return nil }
func (boundless) Reconcile(uint64, [32]byte) error           { return nil }
func (boundless) Drop(uint64) error                          { return nil }

// ledger opens the cloud's ledger from this process.
func (w *world) ledger(t *testing.T) *chain.Client {
	t.Helper()
	c, err := chain.Dial(within(t, patient), chain.Config{Network: w.Network})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
