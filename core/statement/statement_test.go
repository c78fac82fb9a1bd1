package statement_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/statement"

	"pgregory.net/rapid"
)

const net = "hearth-0123456789abcdef0123"

var (
	clientKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	hostKey   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
)

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func anyStatement(t *rapid.T) (s statement.Statement) {
	s = statement.Statement{
		ChainID: rapid.StringN(0, 32, 64).Draw(t, "chain"), Lease: rapid.Uint64().Draw(t, "lease"), Seq: rapid.Uint64().Draw(t, "seq"),
		Total: money.Amount(rapid.Uint64().Draw(t, "total")), AsOf: rapid.Int64().Draw(t, "as of"), RunsUntil: rapid.Int64().Draw(t, "runs until"),
		Root: [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "root")),
	}
	for i := range s.Units {
		s.Units[i] = rapid.Uint64().Draw(t, "units")
	}
	return s
}

func TestDecodingAnEncodingGivesTheStatement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyStatement(t).SignClient(clientKey)
		if rapid.Bool().Draw(t, "by both") {
			s = s.SignHost(hostKey)
		}
		got, err := statement.Decode(s.Encode())
		if err != nil || got.Statement != s.Statement || !bytes.Equal(got.ClientKey, s.ClientKey) ||
			!bytes.Equal(got.ClientSig, s.ClientSig) || !bytes.Equal(got.HostSig, s.HostSig) {
			t.Fatalf("%+v became %+v, %v", s, got, err)
		}
	})
}

func TestASignatureCoversEveryField(t *testing.T) {
	s := statement.Statement{ChainID: net, Lease: 1, Seq: 2, Total: 3, AsOf: 4, RunsUntil: 5}.SignClient(clientKey).SignHost(hostKey)
	if err := s.CheckClient(net); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckHost(public(hostKey)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(s *statement.Signed){
		"lease":      func(s *statement.Signed) { s.Lease++ },
		"seq":        func(s *statement.Signed) { s.Seq++ },
		"total":      func(s *statement.Signed) { s.Total++ },
		"units":      func(s *statement.Signed) { s.Units[2]++ },
		"root":       func(s *statement.Signed) { s.Root[31]++ },
		"as of":      func(s *statement.Signed) { s.AsOf++ },
		"runs until": func(s *statement.Signed) { s.RunsUntil++ },
	} {
		forged := s
		change(&forged)
		if got := fault.CodeOf(forged.CheckClient(net)); got != fault.BadSignature {
			t.Errorf("%s, client: %q", name, got)
		}
		if got := fault.CodeOf(forged.CheckHost(public(hostKey))); got != fault.BadSignature {
			t.Errorf("%s, host: %q", name, got)
		}
	}
}

func TestWhoseSignatureCounts(t *testing.T) {
	s := statement.Statement{ChainID: net, Lease: 1, Seq: 1}.SignClient(clientKey)
	other := s
	other.ClientKey = public(hostKey)
	short := s
	short.ClientKey = short.ClientKey[:31]
	for _, tt := range []struct {
		name string
		got  error
		want fault.Code
	}{
		{"another network", s.CheckClient("hearth-00000000000000000000"), fault.WrongNetwork},
		{"another key", other.CheckClient(net), fault.BadSignature},
		{"a short key", short.CheckClient(net), fault.BadSignature},
		{"a host that hasn't signed", s.CheckHost(public(hostKey)), fault.BadSignature},
		{"a client that signs as the host", s.SignHost(clientKey).CheckHost(public(hostKey)), fault.BadSignature},
		{"a host without a key", s.SignHost(hostKey).CheckHost(nil), fault.BadSignature},
	} {
		if got := fault.CodeOf(tt.got); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestTheHostsSignatureLeavesTheClientsAlone(t *testing.T) {
	s := statement.Statement{ChainID: net, Lease: 1, Seq: 1}.SignClient(clientKey)
	both := s.SignHost(hostKey)
	if len(s.HostSig) != 0 || both.CheckClient(net) != nil {
		t.Error("signing as the host changed the client's part")
	}
}

func TestStatementsOfOtherFormsAreRefused(t *testing.T) {
	s := statement.Statement{ChainID: net, Lease: 1, Seq: 1}.SignClient(clientKey)
	whole := s.Encode()
	longName, longKey := s, s
	longName.ChainID = string(make([]byte, 65))
	longKey.ClientKey = make([]byte, 33)
	for _, tt := range []struct {
		name string
		in   []byte
		want fault.Code
	}{
		{"nothing", nil, fault.BadFrame},
		{"another major", append([]byte{2}, whole[1:]...), fault.UnknownFormat},
		{"another major inside", append(append([]byte{}, whole[:5]...), append([]byte{2}, whole[6:]...)...), fault.UnknownFormat},
		{"cut short", whole[:len(whole)-1], fault.BadFrame},
		{"a byte too many", append(append([]byte{}, whole...), 0), fault.BadFrame},
		{"a name too long", longName.Encode(), fault.TooLarge},
		{"a key too long", longKey.Encode(), fault.TooLarge},
	} {
		if _, err := statement.Decode(tt.in); fault.CodeOf(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Whatever decodes is the one encoding of its statement.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(statement.Signed{}.Encode())
	f.Add(statement.Statement{ChainID: net, Lease: 1, Seq: 2, Total: 3, AsOf: 4, RunsUntil: 5}.SignClient(clientKey).SignHost(hostKey).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := statement.Decode(b); err == nil && !bytes.Equal(s.Encode(), b) {
			t.Errorf("%x and %x decode to the same", b, s.Encode())
		}
	})
}
