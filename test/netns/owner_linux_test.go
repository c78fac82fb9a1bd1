package netns

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/network"
	"hearth/node"
	"hearth/wallet"
)

// However many hosts somebody runs, and in however many networks, they have one
// shard of a slab together: k of its shards are never one owner's. The test talks
// to this world's ledger itself, so no other world runs beside it.
func TestTwelveHostsOfOneOwnerHoldOneShard(t *testing.T) {
	w := newWorld(t)
	w.reaches()
	ledger := w.machine("ledger", "198.18.1.2")
	client := w.machine("client", "198.18.2.2")
	name := found(ledger, client)
	w.machine("a", "198.18.11.2").join(name)

	// One machine with an address in each of twelve networks.
	rack := w.machine("rack", "198.18.29.2")
	his := map[string]bool{}
	var hosts []*machine
	for i := range 12 {
		h := rack.beside(fmt.Sprintf("his%d", i), fmt.Sprintf("198.18.%d.2", 30+i))
		h.run("hearth", "host", "join", name, "--storage", "1GB", "--owner", keysOf(t, client.dir).Account().Address(),
			"--listen", h.addr+":4001", "--settings-only")
		his[keysOf(t, h.dir).Account().Address()] = true
		hosts = append(hosts, h)
	}
	w.register(name, client, hosts)
	for _, h := range hosts {
		h.start("hearth", "up")
	}
	client.offers(13)
	file, _ := w.file(2 << 20)
	client.refused(fault.NotEnoughHosts, `2 of \d+ hosts found: 11 share an owner`, "hearth", "put", "--code", "2/4", file, "hearth://road/file")

	w.machine("b", "198.18.12.2").join(name)
	w.machine("c", "198.18.13.2").join(name)
	client.offers(15)
	client.run("hearth", "put", "--code", "2/4", file, "hearth://road/file")
	client.apart("road", "file", 4)
	health, err := client.client().Health(t.Context(), "road", "file")
	if err != nil {
		t.Fatal(err)
	}
	for i, slab := range health.Slabs {
		n := 0
		for _, s := range slab.Shards {
			if his[s.Host] {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d shards of slab %d lie with one owner", n, i)
		}
	}
}

// beside is a folder and an address more on a machine, for a program more.
func (m *machine) beside(name, addr string) *machine {
	m.w.Helper()
	h := &machine{w: m.w, name: name, ns: m.ns, dir: filepath.Join(m.w.dir, name), addr: addr}
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		m.w.Fatal(err)
	}
	m.w.ip("-n", m.ns, "addr", "add", addr+"/24", "dev", "eth0")
	m.w.Cleanup(func() {
		h.signal(syscall.SIGKILL)
		if m.w.Failed() {
			m.w.Logf("%s (%s):\n%s", name, addr, tail(h.output()))
		}
	})
	return h
}

// register has the ledger know hosts as their owner's, who signs too.
func (w *world) register(name string, owner *machine, hosts []*machine) {
	w.Helper()
	of, err := network.Parse(name)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.Context(), patient)
	defer cancel()
	c, err := chain.Dial(ctx, chain.Config{Network: of})
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	own := keysOf(w.T, owner.dir).Account()
	var gifts []proto.Message
	for _, h := range hosts {
		gifts = append(gifts, chain.Transfer(own.Address(), keysOf(w.T, h.dir).Account().Address(), money.Ember))
	}
	if _, err := c.Send(ctx, own, gifts...); err != nil {
		w.Fatal(err)
	}
	for _, h := range hosts {
		keys := keysOf(w.T, h.dir)
		address := keys.Account().Address()
		terms := chain.HostTerms{
			Roles: chain.RoleStorage, Endpoints: []string{"/ip4/" + h.addr + "/tcp/4001"}, Hardware: chain.Hardware{CPUMilli: 1000, DiskBytes: 1e9},
		}
		proof := ed25519.Sign(keys.Node(), chain.HostKeyDigest(of.ChainID, address))
		msg := chain.RegisterHost(address, own.Address(), [32]byte(keys.Node().Public().(ed25519.PublicKey)), proof, terms)
		if _, err := c.SendTogether(ctx, []chain.Signer{keys.Account(), own}, msg); err != nil {
			w.Fatal(err)
		}
	}
}

func keysOf(t *testing.T, dir string) *wallet.Keys {
	t.Helper()
	id, err := node.OpenIdentity(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := wallet.Derive(id.Phrase, id.Device)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
