package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/types"

	"hearth/core/fault"
)

// Limits of what a ledger node may answer, in bytes.
const (
	smallAnswer = 1 << 20
	largeAnswer = 32 << 20 // a page of validators, a block's events, a piece of the genesis
)

// A node is one ledger node's RPC (JSON-RPC over HTTP). It is not trusted.
type node struct {
	url     string
	http    *http.Client
	timeout time.Duration
}

func newNode(url string, timeout time.Duration) *node {
	return &node{url: url, timeout: timeout, http: &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   timeout,
			ResponseHeaderTimeout: timeout,
			MaxIdleConnsPerHost:   16,
			IdleConnTimeout:       90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// An rpcError is an answer that says no.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    string `json:"data"`
}

func (e *rpcError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("rpc error %d: %s %s", e.Code, e.Message, e.Data))
}

// says reports whether err is an answer of a node that contains text.
func says(err error, text string) bool {
	var e *rpcError
	return errors.As(err, &e) && strings.Contains(e.Message+" "+e.Data, text)
}

// call sends one request and decodes its result. An error that is an *rpcError is
// an answer; any other means that it is unknown whether the request arrived.
func (n *node) call(ctx context.Context, method string, limit int64, params map[string]any, result any) error {
	raw := make(map[string]json.RawMessage, len(params))
	for k, v := range params {
		b, err := cmtjson.Marshal(v)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", method, k, err)
		}
		raw[k] = b
	}
	request, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": raw})
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	body, status, err := n.post(ctx, "", request, limit)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
		Error  *rpcError       `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: status %d: not an answer of a ledger node: %w", method, status, err)
	}
	if answer.Error != nil {
		return fmt.Errorf("%s: %w", method, answer.Error)
	}
	if err := cmtjson.Unmarshal(answer.Result, result); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// post sends a JSON body to a path of the node and reads the answer, up to limit.
func (n *node) post(ctx context.Context, path string, body []byte, limit int64) (answer []byte, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := n.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, 0, err
	}
	if int64(len(answer)) > limit {
		return nil, 0, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return answer, res.StatusCode, nil
}

// notYet turns a node's "that block is in the future" into errNotYet.
func notYet(err error) error {
	if says(err, "must be less than or equal to the current blockchain height") || says(err, "could not find results for height") {
		return fmt.Errorf("%w: %w", errNotYet, err)
	}
	return err
}

// commit is the signed header of a height, 0 for the newest. It is not verified.
func (n *node) commit(ctx context.Context, height int64, chainID string) (*types.SignedHeader, error) {
	var res struct {
		SignedHeader types.SignedHeader `json:"signed_header"`
	}
	params := map[string]any{}
	if height > 0 {
		params["height"] = height
	}
	if err := n.call(ctx, "commit", largeAnswer, params, &res); err != nil {
		return nil, notYet(err)
	}
	sh := &res.SignedHeader
	if sh.Header == nil || sh.Commit == nil {
		return nil, fmt.Errorf("commit %d: %w", height, errNotYet) // the block is made, its commit not known
	}
	if sh.ChainID != chainID {
		return nil, fault.New(fault.WrongNetwork, "commit %d: it is of network %q, not %s", height, sh.ChainID, chainID)
	}
	if height > 0 && sh.Height != height {
		return nil, fault.New(fault.LedgerLies, "commit %d: the answer is about %d", height, sh.Height)
	}
	if err := sh.ValidateBasic(chainID); err != nil {
		return nil, fault.New(fault.LedgerLies, "commit %d: %w", height, err)
	}
	return sh, nil
}

// validators are those of a height. Their hash is for the caller to compare.
func (n *node) validators(ctx context.Context, height int64) (*types.ValidatorSet, error) {
	var all []*types.Validator
	for page := 1; page <= 100; page++ {
		var res struct {
			Validators []*types.Validator `json:"validators"`
			Total      int                `json:"total"`
		}
		if err := n.call(ctx, "validators", largeAnswer, map[string]any{"height": height, "page": page, "per_page": 100}, &res); err != nil {
			return nil, notYet(err)
		}
		for _, v := range res.Validators {
			if v == nil || v.ValidateBasic() != nil {
				return nil, fault.New(fault.LedgerLies, "validators %d: one isn't valid", height)
			}
		}
		all = append(all, res.Validators...)
		if len(all) >= res.Total || len(res.Validators) == 0 {
			break
		}
	}
	if !sane(all) {
		return nil, fault.New(fault.LedgerLies, "validators %d: their power doesn't add up", height)
	}
	set, err := types.ValidatorSetFromExistingValidators(all)
	if err != nil {
		return nil, fault.New(fault.LedgerLies, "validators %d: %w", height, err)
	}
	return set, nil
}

// sane checks what a validator set would panic about.
func sane(vals []*types.Validator) bool {
	var total int64
	for _, v := range vals {
		if v.VotingPower <= 0 || v.VotingPower > types.MaxTotalVotingPower-total {
			return false
		}
		total += v.VotingPower
	}
	return len(vals) > 0
}

// query asks the application, at a height or (0) at the newest. The answer is
// proved only with a proof, which is for the caller to check.
func (n *node) query(ctx context.Context, path string, data []byte, height int64, prove bool) (abci.ResponseQuery, error) {
	var res struct {
		Response abci.ResponseQuery `json:"response"`
	}
	params := map[string]any{"path": path, "data": fmt.Sprintf("%x", data), "height": height, "prove": prove}
	if err := n.call(ctx, "abci_query", largeAnswer, params, &res); err != nil {
		return res.Response, err
	}
	return res.Response, nil
}

// A Node is what Status tells of one ledger node, by its own word.
type Node struct {
	URL     string
	Height  int64
	Time    time.Time // of its newest block
	Syncing bool
	Err     error // why it can't be used, nil if it can
}

// Status asks every ledger node of the network how it is.
func (c *Client) Status(ctx context.Context) []Node {
	out := make([]Node, len(c.nodes))
	done := make(chan struct{})
	for i, n := range c.nodes {
		go func() {
			out[i] = n.status(ctx, c.ChainID())
			done <- struct{}{}
		}()
	}
	for range c.nodes {
		<-done
	}
	return out
}

func (n *node) status(ctx context.Context, chainID string) Node {
	var res struct {
		NodeInfo struct {
			Network string `json:"network"`
		} `json:"node_info"`
		SyncInfo struct {
			Height     int64     `json:"latest_block_height"`
			Time       time.Time `json:"latest_block_time"`
			CatchingUp bool      `json:"catching_up"`
		} `json:"sync_info"`
	}
	if err := n.call(ctx, "status", smallAnswer, nil, &res); err != nil {
		return Node{URL: n.url, Err: fault.New(fault.LedgerDown, "status: %w", err)}
	}
	out := Node{URL: n.url, Height: res.SyncInfo.Height, Time: res.SyncInfo.Time, Syncing: res.SyncInfo.CatchingUp}
	if res.NodeInfo.Network != chainID {
		out.Err = fault.New(fault.WrongNetwork, "status: the node is of network %q", res.NodeInfo.Network)
	}
	return out
}
