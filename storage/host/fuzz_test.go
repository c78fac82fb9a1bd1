package host

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"testing"
	"time"

	"hearth/core/grant"
	"hearth/core/proof"
	"hearth/p2p"

	"google.golang.org/protobuf/proto"
)

// wireStream plays recorded bytes to a server.
type wireStream struct {
	io.Reader
	io.Writer
	remote ed25519.PublicKey
}

func (wireStream) Close() error                     { return nil }
func (wireStream) SetDeadline(time.Time) error      { return nil }
func (wireStream) SetReadDeadline(time.Time) error  { return nil }
func (wireStream) SetWriteDeadline(time.Time) error { return nil }
func (s wireStream) Remote() ed25519.PublicKey      { return s.remote }
func (wireStream) RemoteIP() string                 { return "" }

// Whatever a peer with a grant sends, the server stays up and answers in frames.
func FuzzServe(f *testing.F) {
	peer := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := peer.Public().(ed25519.PublicKey)
	h := open(f, Config{Capacity: 1 << 30})
	data, root := shard(1, 300<<10)
	if err := h.Put(1, root, int64(len(data)), bytes.NewReader(data)); err != nil {
		f.Fatal(err)
	}
	m := &till{owner: pub, paid: 1 << 62, covered: make(chan struct{})}
	srv, err := NewServer(ServerConfig{Host: h, Meter: m, Leases: m, Clients: m, ChainID: chainID})
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	for _, r := range []proto.Message{
		getReq(root, 0, 1), getReq(root, 1, 0), rangeReq(root, 1000, 2048), statReq(root, root), putReq(root, 5),
		putPointerReq(points(peer, 7, 1, data[:9]), data[:9]), getPointersReq(pub, 7, true),
	} {
		b.Reset()
		if err := p2p.WriteFrame(&b, r); err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(b.Bytes()))
	}
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	until := time.Now().Unix() + 3600
	g := grant.Grant{Lease: 1, Peer: [32]byte(pub), Until: until}
	sig := g.Sign(chainID, peer)
	f.Fuzz(func(t *testing.T, in []byte) {
		v := &visit{srv, context.Background(), wireStream{bytes.NewReader(in), io.Discard, pub}, srv.gate.Pass(pub), nil}
		if err := v.pass.Show(1, pub, until, pub, sig); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if v.serveOne() != nil {
				break
			}
		}
		for range srv.c.PerPeer {
			leave, err := srv.gate.Enter(pub)
			if err != nil {
				t.Fatal("a request was never counted out")
			}
			defer leave()
		}
	})
}

func FuzzParseStaged(f *testing.F) {
	f.Add((&staged{bytes: 5, until: 9, turns: []turn{{slot: 3, to: proof.Shard{Size: 5}}}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStaged(b)
		if err == nil && !bytes.Equal(s.encode(), b) {
			t.Error("a staged change has two forms")
		}
	})
}

func FuzzParsePast(f *testing.F) {
	f.Add(past{slots: 5, turns: []turn{{slot: 3, from: proof.Shard{Size: 5}}}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePast(b)
		if err == nil && !bytes.Equal(p.encode(), b) {
			t.Error("a past change has two forms")
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add(signed{root: proof.EmptyRoot(), slots: 4}.encode())
	f.Add(waiting{5, 9}.encode())
	f.Add(encodeShard(proof.Shard{Size: 7}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseSigned(b); err == nil && !bytes.Equal(s.encode(), b) {
			t.Error("a signed tree has two forms")
		}
		if p, err := parsePending(b); err == nil && !bytes.Equal(p.encode(), b) {
			t.Error("a pending shard has two forms")
		}
		if s, err := parseShard(b); err == nil && !bytes.Equal(encodeShard(s), b) {
			t.Error("a shard has two forms")
		}
	})
}
