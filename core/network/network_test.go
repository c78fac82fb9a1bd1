package network_test

import (
	"slices"
	"strings"
	"testing"

	"hearth/core/fault"
	"hearth/core/network"
)

const id = "hearth-0123456789abcdef0123"

func TestNamesReadAndWrite(t *testing.T) {
	for _, tt := range []struct {
		in   string
		urls []string
	}{
		{id + "@http://127.0.0.1:26657", []string{"http://127.0.0.1:26657"}},
		{id + "@https://Ledger.Example/,http://[2001:DB8::1]:80/rpc/", []string{"https://ledger.example", "http://[2001:db8::1]:80/rpc"}},
		{" " + id + "@http://a,http://a/,http://b\n", []string{"http://a", "http://b"}},
	} {
		n, err := network.Parse(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if n.ChainID != id || !slices.Equal(n.URLs, tt.urls) {
			t.Errorf("%q: read as %v", tt.in, n)
		}
		again, err := network.Parse(n.String())
		if err != nil || again.String() != n.String() {
			t.Errorf("%q: written as %q, which reads as %v, %v", tt.in, n, again, err)
		}
	}
}

func TestWhatIsNoName(t *testing.T) {
	for in, want := range map[string]fault.Code{
		"http://127.0.0.1:26657":           fault.BareURL,
		"HTTPS://ledger.example":           fault.BareURL,
		"http://user@host":                 fault.BareURL,
		"":                                 fault.BadNetworkName,
		id:                                 fault.BadNetworkName,
		id + "@":                           fault.BadNetworkName,
		id + "@ledger.example":             fault.BadNetworkName,
		id + "@ftp://ledger.example":       fault.BadNetworkName,
		id + "@http://":                    fault.BadNetworkName,
		id + "@http://a,":                  fault.BadNetworkName,
		id + "@http://user:pw@a":           fault.BadNetworkName,
		id + "@http://a b":                 fault.BadNetworkName,
		id + "@http://a:0":                 fault.BadNetworkName,
		id + "@http://a:65536":             fault.BadNetworkName,
		id + "@http://a:":                  fault.BadNetworkName,
		id + "@http://a..b":                fault.BadNetworkName,
		id + "@http://[::1":                fault.BadNetworkName,
		id + "@http://[::1]x":              fault.BadNetworkName,
		id + "@http://a/?x=1":              fault.BadNetworkName,
		id + "@http://a/%2e":               fault.BadNetworkName,
		id[:26] + "@http://a":              fault.BadNetworkName,
		strings.ToUpper(id) + "@http://a":  fault.BadNetworkName,
		"cosmos-0123456789abcdef@http://a": fault.BadNetworkName,
		id + "@http://" + strings.Repeat("a.", 200) + "a":                                        fault.BadNetworkName,
		id + "@" + strings.Repeat("http://a,", 400):                                              fault.BadNetworkName,
		id + "@http://a,http://b,http://c,http://d,http://e,http://f,http://g,http://h,http://i": fault.BadNetworkName,
	} {
		if n, err := network.Parse(in); fault.CodeOf(err) != want {
			t.Errorf("%q: %v, %v, want %s", in, n, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(id + "@http://127.0.0.1:26657")
	f.Add(id + "@https://a.example/x,http://[::1]:1")
	f.Add("http://a")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := network.Parse(s)
		if err != nil {
			if c := fault.CodeOf(err); c != fault.BareURL && c != fault.BadNetworkName {
				t.Errorf("%q: code %s", s, c)
			}
			return
		}
		again, err := network.Parse(n.String())
		if err != nil || again.String() != n.String() {
			t.Errorf("%q: %q reads back as %q, %v", s, n, again, err)
		}
	})
}

// The same genesis as a file of CometBFT, as the RPC renders it, and as a file
// of the SDK.
const (
	asFile = `{
  "genesis_time": "2026-11-21T00:00:00.100Z", "chain_id": "hearth-0123456789abcdef0123", "initial_height": 1,
  "consensus_params": {"block": {"max_bytes": "4194304", "max_gas": "-1"}, "evidence": {"max_age_num_blocks": "100000"},
    "validator": {"pub_key_types": ["ed25519"]}},
  "validators": [{"pub_key": {"type": "tendermint/PubKeyEd25519", "value": "AA=="}, "power": "10"}],
  "app_state": {"bank": {"supply": [], "z": 0, "note": "a<b"}, "a": null}
}`
	asRPC = `{"genesis_time":"2026-11-21T00:00:00.1Z","chain_id":"other","initial_height":"1",` +
		`"consensus_params":{"block":{"max_bytes":"4194304","max_gas":"-1"},"evidence":{"max_age_num_blocks":"100000","max_bytes":"0"},` +
		`"validator":{"pub_key_types":["ed25519"]},"version":{"app":"0"},"abci":{"vote_extensions_enable_height":"0"}},` +
		`"validators":[{"address":"0102","pub_key":{"type":"tendermint/PubKeyEd25519","value":"AA=="},"power":"10","name":""}],` +
		`"app_hash":"","app_state":{"a":null,"bank":{"supply":[],"z":0,"note":"a\u003cb"}}}`
	asSDK = `{"app_name":"hearth-ledger","app_version":"1","genesis_time":"2026-11-21T01:00:00.1+01:00","chain_id":"","initial_height":0,"app_hash":null,
  "app_state":{"bank":{"supply":[],"z":0,"note":"a<b"},"a":null},
  "consensus":{"validators":[{"pub_key":{"type":"tendermint/PubKeyEd25519","value":"AA=="},"power":10}],
    "params":{"block":{"max_bytes":4194304,"max_gas":-1},"evidence":{"max_age_num_blocks":"100000"},"validator":{"pub_key_types":["ed25519"]}}}}`
)

func TestOneGenesisHasOneID(t *testing.T) {
	const want = "hearth-a28db2d1ac57c0fd2d04"
	for name, doc := range map[string]string{"file": asFile, "rpc": asRPC, "sdk": asSDK} {
		got, err := network.ChainID([]byte(doc))
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
		if !network.ValidID(got) {
			t.Errorf("%s: %s isn't a chain id", name, got)
		}
	}
}

func TestWhatCountsChangesTheID(t *testing.T) {
	first, err := network.ChainID([]byte(asFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range [][2]string{
		{"00.100Z", "00.101Z"},
		{`"initial_height": 1`, `"initial_height": 2`},
		{`"-1"`, `"1"`},
		{`"AA=="`, `"AQ=="`},
		{`"power": "10"`, `"power": "11"`},
		{`"z": 0`, `"z": 1`},
		{`"z": 0, `, ``},
	} {
		got, err := network.ChainID([]byte(strings.Replace(asFile, edit[0], edit[1], 1)))
		if err != nil || got == first {
			t.Errorf("%s -> %s: %s, %v", edit[0], edit[1], got, err)
		}
	}
}

func TestWhatIsNoGenesis(t *testing.T) {
	for _, doc := range []string{
		``, `null`, `[]`, `{}`, asFile + `x`, asFile[:200],
		strings.Replace(asFile, `"z": 0`, `"z": 0, "z": 1`, 1),
		strings.Replace(asFile, `"genesis_time"`, `"time"`, 1),
		strings.Replace(asFile, `"consensus_params"`, `"params"`, 1),
		strings.Replace(asFile, `"supply": []`, `"supply": `+strings.Repeat("[", 200)+strings.Repeat("]", 200), 1),
	} {
		if got, err := network.ChainID([]byte(doc)); fault.CodeOf(err) != fault.WrongNetwork {
			t.Errorf("%.40q: %s, %v", doc, got, err)
		}
	}
}

func FuzzChainID(f *testing.F) {
	f.Add([]byte(asFile))
	f.Add([]byte(asRPC))
	f.Add([]byte(asSDK))
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := network.ChainID(doc)
		if err == nil && !network.ValidID(got) {
			t.Errorf("%s", got)
		}
	})
}
