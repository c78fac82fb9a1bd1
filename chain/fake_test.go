package chain

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtbytes "github.com/cometbft/cometbft/libs/bytes"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmtcrypto "github.com/cometbft/cometbft/proto/tendermint/crypto"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	"github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"
	ics23 "github.com/cosmos/ics23/go"

	"hearth/core/network"
)

// A ledger is a chain of really signed blocks in memory. Its state is one key of
// one store, which is enough to be proved, and to be lied about.
type ledger struct {
	t       testing.TB
	chainID string
	genesis []byte

	mu     sync.Mutex
	privs  map[string]ed25519.PrivKey // by address
	vals   *types.ValidatorSet
	next   *types.ValidatorSet // of the block after the newest
	blocks []*types.LightBlock // blocks[0] has height 1
	states []state             // after blocks[i]
	events map[int64][]abci.Event
	txs    map[string]txAt
	took   int
	check  func(raw []byte) (code uint32, log string) // a node's first look at a transaction
	run    func(raw []byte) *abci.ExecTxResult
	// queries of the application that aren't about its stores, by path
	queries map[string]func(data []byte) abci.ResponseQuery
	step    time.Duration
}

type state struct{ key, value []byte }

type txAt struct {
	height int64
	raw    []byte
	result *abci.ExecTxResult
}

func newLedger(t testing.TB, validators int, started time.Time) *ledger {
	t.Helper()
	l := &ledger{t: t, privs: map[string]ed25519.PrivKey{}, events: map[int64][]abci.Event{}, txs: map[string]txAt{}, step: time.Second}
	l.queries = map[string]func([]byte) abci.ResponseQuery{}
	l.check = func([]byte) (uint32, string) { return 0, "" }
	l.run = func([]byte) *abci.ExecTxResult { return &abci.ExecTxResult{GasUsed: 7} }
	doc := types.GenesisDoc{ChainID: "blank", GenesisTime: started, InitialHeight: 1, ConsensusParams: types.DefaultConsensusParams(), AppState: json.RawMessage(`{}`)}
	l.vals = l.newValidators(validators)
	for _, v := range l.vals.Validators {
		doc.Validators = append(doc.Validators, types.GenesisValidator{Address: v.Address, PubKey: v.PubKey, Power: v.VotingPower})
	}
	raw, err := cmtjson.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if l.chainID, err = network.ChainID(raw); err != nil {
		t.Fatal(err)
	}
	doc.ChainID = l.chainID
	if l.genesis, err = cmtjson.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	l.next = l.vals
	l.make(state{[]byte("k"), []byte("v1")}, started)
	return l
}

func (l *ledger) newValidators(n int) *types.ValidatorSet {
	vals := make([]*types.Validator, n)
	for i := range vals {
		priv := ed25519.GenPrivKey()
		vals[i] = types.NewValidator(priv.PubKey(), 10)
		l.privs[priv.PubKey().Address().String()] = priv
	}
	return types.NewValidatorSet(vals)
}

// grow makes n blocks that don't change the state.
func (l *ledger) grow(n int) {
	for range n {
		l.mu.Lock()
		last, at := l.states[len(l.states)-1], l.blocks[len(l.blocks)-1].Time.Add(l.step)
		l.mu.Unlock()
		l.make(last, at)
	}
}

// make makes a block; s is the state after it.
func (l *ledger) make(s state, at time.Time) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var last types.BlockID
	var before state
	if n := len(l.blocks); n > 0 {
		last, before = l.blocks[n-1].Commit.BlockID, l.states[n-1]
	}
	l.vals = l.next
	b := l.block(int64(len(l.blocks)+1), last, before, at)
	l.blocks, l.states = append(l.blocks, b), append(l.states, s)
}

// block signs a header whose app hash is that of the state before.
func (l *ledger) block(height int64, last types.BlockID, before state, at time.Time) *types.LightBlock {
	hash := func(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }
	header := &types.Header{
		Version: cmtversion.Consensus{Block: version.BlockProtocol}, ChainID: l.chainID, Height: height, Time: at, LastBlockID: last,
		LastCommitHash: hash("c"), DataHash: hash("d"), ValidatorsHash: l.vals.Hash(), NextValidatorsHash: l.next.Hash(),
		ConsensusHash: hash("p"), LastResultsHash: hash("r"), EvidenceHash: hash("e"), ProposerAddress: l.vals.Validators[0].Address,
	}
	if before.key != nil {
		_, header.AppHash = before.proof()
	}
	id := types.BlockID{Hash: header.Hash(), PartSetHeader: types.PartSetHeader{Total: 1, Hash: hash("part")}}
	commit := &types.Commit{Height: height, BlockID: id}
	for i, v := range l.vals.Validators {
		commit.Signatures = append(commit.Signatures, types.CommitSig{BlockIDFlag: types.BlockIDFlagCommit, ValidatorAddress: v.Address, Timestamp: at})
		sig, err := l.privs[v.Address.String()].Sign(commit.VoteSignBytes(l.chainID, int32(i)))
		if err != nil {
			l.t.Fatal(err)
		}
		commit.Signatures[i].Signature = sig
	}
	return &types.LightBlock{SignedHeader: &types.SignedHeader{Header: header, Commit: commit}, ValidatorSet: l.vals}
}

// proof proves the state's key in a tree of one leaf, in a tree of one store.
func (s state) proof() (ops []cmtcrypto.ProofOp, appHash []byte) {
	leaf := func(spec *ics23.ProofSpec, prefix, key, value []byte) ([]byte, []byte) {
		op := *spec.LeafSpec
		op.Prefix = prefix
		p := &ics23.ExistenceProof{Key: key, Value: value, Leaf: &op}
		root, err := p.Calculate()
		if err != nil {
			panic(err)
		}
		raw, err := (&ics23.CommitmentProof{Proof: &ics23.CommitmentProof_Exist{Exist: p}}).Marshal()
		if err != nil {
			panic(err)
		}
		return raw, root
	}
	inStore, root := leaf(ics23.IavlSpec, []byte{0, 2, 2}, s.key, s.value)
	inLedger, appHash := leaf(ics23.TendermintSpec, []byte{0}, []byte("market"), root)
	return []cmtcrypto.ProofOp{{Type: "ics23:iavl", Key: s.key, Data: inStore}, {Type: "ics23:simple", Key: []byte("market"), Data: inLedger}}, appHash
}

// A server is a ledger node over HTTP. lie may change any answer, or (true) refuse to give one.
type server struct {
	*httptest.Server
	l   *ledger
	mu  sync.Mutex
	lie func(method string, params map[string]json.RawMessage, result any) (any, bool)
	log map[string]int
}

func (l *ledger) serve() *server {
	s := &server{l: l, log: map[string]int{}}
	s.Server = httptest.NewServer(s)
	l.t.Cleanup(s.Close)
	return s
}

func (s *server) lies(lie func(method string, params map[string]json.RawMessage, result any) (any, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lie = lie
}

func (s *server) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log[method]
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Method string
		Params map[string]json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil && r.URL.Path == "/" {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.log[req.Method]++
	lie := s.lie
	s.mu.Unlock()
	result, err := s.l.answer(req.Method, req.Params)
	if lie != nil {
		changed, dead := lie(req.Method, req.Params, result)
		if dead {
			panic(http.ErrAbortHandler)
		}
		result = changed
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error","data":%q}}`, err.Error())
		return
	}
	raw, err := render(result)
	if err != nil {
		s.l.t.Error(err)
	}
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":%s}`, raw)
}

// render writes JSON as CometBFT does, which knows no maps of anything.
func render(v any) ([]byte, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return cmtjson.Marshal(v)
	}
	out := map[string]json.RawMessage{}
	for k, e := range m {
		raw, err := render(e)
		if err != nil {
			return nil, err
		}
		out[k] = raw
	}
	return json.Marshal(out)
}

type commitAnswer struct {
	types.SignedHeader `json:"signed_header"`
}

type queryAnswer struct {
	Response abci.ResponseQuery `json:"response"`
}

func (l *ledger) answer(method string, params map[string]json.RawMessage) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := int64(len(l.blocks))
	number := func(name string) (n int64) {
		if raw := params[name]; raw != nil {
			if err := cmtjson.Unmarshal(raw, &n); err != nil {
				l.t.Error(err)
			}
		}
		return n
	}
	height := number("height")
	if height > newest {
		return nil, fmt.Errorf("height %d must be less than or equal to the current blockchain height %d", height, newest)
	}
	if height == 0 {
		height = newest
	}
	switch method {
	case "genesis_chunked":
		return map[string]any{"chunk": 0, "total": 1, "data": base64.StdEncoding.EncodeToString(l.genesis)}, nil
	case "commit":
		return commitAnswer{*l.blocks[height-1].SignedHeader}, nil
	case "validators":
		set := l.blocks[height-1].ValidatorSet
		return map[string]any{"block_height": height, "validators": set.Validators, "count": set.Size(), "total": set.Size()}, nil
	case "blockchain":
		var metas []*types.BlockMeta
		for h := number("maxHeight"); h >= max(1, number("minHeight")); h-- {
			metas = append(metas, &types.BlockMeta{BlockID: l.blocks[h-1].Commit.BlockID, Header: *l.blocks[h-1].Header})
		}
		return map[string]any{"last_height": newest, "block_metas": metas}, nil
	case "block_results":
		return map[string]any{"height": height, "finalize_block_events": l.events[height]}, nil
	case "abci_query":
		var path string
		if err := json.Unmarshal(params["path"], &path); err != nil {
			return nil, err
		}
		if fn := l.queries[path]; fn != nil {
			var data cmtbytes.HexBytes
			if err := json.Unmarshal(params["data"], &data); err != nil {
				return nil, err
			}
			r := fn(data)
			r.Height = height
			return queryAnswer{r}, nil
		}
		s := l.states[height-1]
		ops, _ := s.proof()
		return queryAnswer{abci.ResponseQuery{Key: s.key, Value: s.value, Height: height, ProofOps: &cmtcrypto.ProofOps{Ops: ops}}}, nil
	case "broadcast_tx_sync":
		var raw []byte
		if err := json.Unmarshal(params["tx"], &raw); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(raw)
		key := hex.EncodeToString(sum[:])
		if _, ok := l.txs[key]; ok {
			return nil, fmt.Errorf("tx already exists in cache")
		}
		if code, log := l.check(raw); code != 0 {
			return map[string]any{"code": code, "codespace": "hearth", "log": log}, nil
		}
		l.took++
		l.txs[key] = txAt{newest + 1, raw, l.run(raw)}
		return map[string]any{"code": uint32(0)}, nil
	case "tx":
		var sum []byte
		if err := json.Unmarshal(params["hash"], &sum); err != nil {
			return nil, err
		}
		tx, ok := l.txs[hex.EncodeToString(sum)]
		if !ok || tx.height > newest {
			return nil, fmt.Errorf("tx (%X) not found", sum)
		}
		return map[string]any{"height": tx.height, "tx": tx.raw, "tx_result": tx.result}, nil
	case "status":
		last := l.blocks[newest-1]
		return map[string]any{"node_info": map[string]any{"network": l.chainID}, "sync_info": map[string]any{"latest_block_height": newest, "latest_block_time": last.Time}}, nil
	}
	return nil, fmt.Errorf("unknown method %s", method)
}

// name is the network's, at these servers.
func (l *ledger) name(servers ...*server) network.Name {
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.URL)
	}
	n, err := network.Parse(l.chainID + "@" + strings.Join(urls, ","))
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}
