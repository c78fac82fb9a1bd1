package network

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"hearth/core/fault"
)

// ChainID computes the chain id of a genesis document: `hearth-` and the first
// 20 hex digits of SHA-256 over its canonical JSON with chain_id blank.
//
// The same genesis is written in several ways: as a file of CometBFT or of the
// SDK, and as a ledger node's RPC renders it. They differ in absent, null and
// zero fields, in numbers as strings, and in key order; all have one id. What
// the application reads (app_state) counts as it stands, key order apart. A key that
// stands twice is refused, because readers differ on which one counts.
func ChainID(genesisJSON []byte) (string, error) {
	canonical, err := canonicalGenesis(genesisJSON)
	if err != nil {
		return "", fault.New(fault.WrongNetwork, "read genesis: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return idPrefix + hex.EncodeToString(sum[:])[:idDigits], nil
}

func canonicalGenesis(genesisJSON []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(genesisJSON))
	d.UseNumber()
	v, err := readValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("bytes after the document")
	}
	in, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not an object")
	}
	params, validators := in["consensus_params"], in["validators"]
	if c, ok := in["consensus"].(map[string]any); ok { // the SDK's file
		if params != nil || validators != nil {
			return nil, errors.New("consensus stands in it twice")
		}
		params, validators = c["params"], c["validators"]
	}
	if params == nil {
		return nil, errors.New("consensus parameters are missing")
	}
	out := map[string]any{
		"chain_id":         "",
		"initial_height":   "1",
		"consensus_params": plain(params),
		"app_hash":         "",
		"app_state":        in["app_state"],
	}
	if h := plain(in["initial_height"]); h != nil {
		out["initial_height"] = h
	}
	if h := plain(in["app_hash"]); h != nil {
		out["app_hash"] = h
	}
	if out["genesis_time"], err = genesisTime(in["genesis_time"]); err != nil {
		return nil, err
	}
	if out["validators"], err = genesisValidators(validators); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b) // sorts keys
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// genesisTime is written as CometBFT does: UTC, no zeros at the end.
func genesisTime(v any) (string, error) {
	s, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.IsZero() {
		return "", fmt.Errorf("genesis_time %q is no time", s)
	}
	return t.UTC().Format(time.RFC3339Nano), nil
}

// genesisValidators drops the addresses: they follow from the keys, and a node
// fills in those that are absent.
func genesisValidators(v any) ([]any, error) {
	list, ok := v.([]any)
	if v != nil && !ok {
		return nil, errors.New("validators are no list")
	}
	out := make([]any, 0, len(list))
	for i, e := range list {
		m, ok := e.(map[string]any)
		if !ok || m["pub_key"] == nil {
			return nil, fmt.Errorf("validator %d has no key", i)
		}
		delete(m, "address")
		out = append(out, plain(m))
	}
	return out, nil
}

// plain writes numbers as strings and drops what says nothing (null, zero,
// false, empty), which is what an absent field means to the ledger. Elements of
// a list stay in their places.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		return plain(v.String())
	case string:
		if v == "" || v == "0" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			if p := plain(e); p != nil {
				out[k] = p
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		if len(v) == 0 {
			return nil
		}
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	}
	return v
}

const maxDepth = 100

// readValue reads one JSON value, refusing repeated keys and great depth.
func readValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxDepth {
		return nil, errors.New("nested too deeply")
	}
	var list []any
	object := map[string]any{}
	for d.More() {
		var key string
		if open == '{' {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			key = k.(string) // the decoder takes nothing else for a key
			if _, twice := object[key]; twice {
				return nil, fmt.Errorf("key %q stands twice", key)
			}
		}
		v, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		if open == '{' {
			object[key] = v
		} else {
			list = append(list, v)
		}
	}
	if _, err := d.Token(); err != nil { // the closing one
		return nil, err
	}
	if open == '{' {
		return object, nil
	}
	if list == nil {
		list = []any{}
	}
	return list, nil
}
