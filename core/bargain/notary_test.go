package bargain_test

import (
	"bytes"

	"hearth/core/fault"
	"hearth/core/statement"
)

// A notary signs and knows what it signed: an ideal signature, a hundred times
// cheaper than ed25519. In some histories it uses real keys as well.
type notary struct {
	real   bool
	signed map[seal]bool
}

type seal struct{ key, digest [32]byte }

func newNotary(realKeys bool) notary { return notary{realKeys, map[seal]bool{}} }

func (n notary) note(k signer, digest []byte) []byte {
	n.signed[seal{k.public, [32]byte(digest)}] = true
	return digest[:8]
}

func (n notary) noted(key [32]byte, digest, sig []byte) bool {
	return n.signed[seal{key, [32]byte(digest)}] && bytes.Equal(sig, digest[:8])
}

// client signs s as a client's key does.
func (n notary) client(s statement.Statement, k signer) statement.Signed {
	if n.real {
		n.note(k, s.Digest())
		return s.SignClient(k.private)
	}
	return statement.Signed{Statement: s, ClientKey: k.public[:], ClientSig: n.note(k, s.Digest())}
}

// host adds the host's signature.
func (n notary) host(s statement.Signed, k signer) statement.Signed {
	sig := n.note(k, s.Digest())
	if n.real {
		return s.SignHost(k.private)
	}
	s.HostSig = sig
	return s
}

func (n notary) checkClient(s statement.Signed) error {
	if n.real {
		return s.CheckClient(net)
	}
	if s.ChainID != net || len(s.ClientKey) != 32 || !n.noted([32]byte(s.ClientKey), s.Digest(), s.ClientSig) {
		return fault.New(fault.BadSignature, "statement %d of lease %d: not the client's", s.Seq, s.Lease)
	}
	return nil
}

func (n notary) checkHost(s statement.Signed, k signer) error {
	if n.real {
		return s.CheckHost(k.public[:])
	}
	if !n.noted(k.public, s.Digest(), s.HostSig) {
		return fault.New(fault.BadSignature, "statement %d of lease %d: not the host's", s.Seq, s.Lease)
	}
	return nil
}
