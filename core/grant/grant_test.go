package grant_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"testing"

	"hearth/core/fault"
	"hearth/core/grant"
)

const (
	net = "hearth-0123456789abcdef0123"
	now = 1_800_000_000
)

var (
	key    = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	public = key.Public().(ed25519.PublicKey)
)

func TestHowLongAGrantHolds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		until int64
		want  fault.Code
	}{
		{"an hour", now + 3600, ""},
		{"its last second", now, ""},
		{"a second later", now - 1, fault.Unauthorized},
		{"a day, by a clock five minutes ahead", now + grant.MaxSeconds + 300, ""},
		{"longer than a day", now + grant.MaxSeconds + 301, fault.Unauthorized},
		{"for ever", math.MaxInt64, fault.Unauthorized},
		{"before the epoch", math.MinInt64, fault.Unauthorized},
	} {
		g := grant.Grant{Lease: 7, Peer: [32]byte{9}, Until: tt.until}
		if got := fault.CodeOf(grant.Verify(net, g, public, g.Sign(net, key), now)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestASignatureCoversEveryField(t *testing.T) {
	g := grant.Grant{Lease: 7, Peer: [32]byte{9}, Until: now + 60}
	sig := g.Sign(net, key)
	lease, peer, until := g, g, g
	lease.Lease++
	peer.Peer[31]++
	until.Until++
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"another lease", grant.Verify(net, lease, public, sig, now)},
		{"another peer", grant.Verify(net, peer, public, sig, now)},
		{"another end", grant.Verify(net, until, public, sig, now)},
		{"another network", grant.Verify(net+"4", g, public, sig, now)},
		{"another key", grant.Verify(net, g, make([]byte, 32), sig, now)},
		{"a short key", grant.Verify(net, g, public[:31], sig, now)},
		{"a short signature", grant.Verify(net, g, public, sig[:63], now)},
		{"no signature", grant.Verify(net, g, public, nil, now)},
	} {
		if got := fault.CodeOf(tt.err); got != fault.BadSignature {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

type vector struct {
	Name       string
	ChainID    string `json:"chain_id"`
	Lease      uint64 `json:",string"`
	Peer       string
	Until      int64  `json:",string"`
	ClientSeed string `json:"client_seed"`
	ClientKey  string `json:"client_key"`
	Sig        string
}

// The vectors in docs/formats were made by another implementation.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../docs/formats/testdata/grant.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		seed, err1 := hex.DecodeString(v.ClientSeed)
		peer, err2 := hex.DecodeString(v.Peer)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		key := ed25519.NewKeyFromSeed(seed)
		if got := hex.EncodeToString(key.Public().(ed25519.PublicKey)); got != v.ClientKey {
			t.Errorf("%s: key %s, want %s", v.Name, got, v.ClientKey)
		}
		g := grant.Grant{Lease: v.Lease, Peer: [32]byte(peer), Until: v.Until}
		if got := hex.EncodeToString(g.Sign(v.ChainID, key)); got != v.Sig {
			t.Errorf("%s: signature %s, want %s", v.Name, got, v.Sig)
		}
	}
}
