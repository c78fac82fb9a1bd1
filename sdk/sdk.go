// Package sdk is the Go client of a node's local API: files, money, leases and
// the node itself, from another program on the same machine. It speaks to the
// unix socket in the node's folder, or to a loopback address with the token.
// Errors carry the code of package fault that the node gave them. It holds no
// keys and knows nothing of the network: the node does the work.
package sdk

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hearth/api"
	"hearth/core/fault"
)

const (
	answerMax  = 16 << 20        // bytes of a JSON answer
	answerTime = 3 * time.Minute // for one; a transaction may wait for its block
	dialTime   = 5 * time.Second
	tries      = 3 // of a request that spends, with one key
)

// A Config says which node is meant. Give Socket, or URL and Token.
type Config struct {
	Socket string // path of the node's api.sock
	URL    string // e.g. http://127.0.0.1:4780
	Token  string // content of the node's api.token
}

// A Client speaks to one node. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New returns a Client, or says which part of c is missing. It doesn't call
// the node yet.
func New(c Config) (*Client, error) {
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTime}).DialContext,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       time.Minute,
		ExpectContinueTimeout: dialTime,
		DisableCompression:    true,
	}
	client := &Client{http: &http.Client{Transport: transport, CheckRedirect: stay}}
	switch {
	case c.Socket != "" && c.URL == "":
		dialer := net.Dialer{Timeout: dialTime}
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", c.Socket)
		}
		client.base = "http://localhost"
	case c.URL != "" && c.Socket == "":
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fault.New(fault.BadRequest, "open node %q: not an http address", c.URL)
		}
		if c.Token == "" {
			return nil, fault.New(fault.Unauthorized, "open node %s: no token", c.URL)
		}
		client.base, client.token = strings.TrimSuffix(c.URL, "/"), c.Token
	default:
		return nil, errors.New("open node: give a socket, or a URL with a token")
	}
	return client, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// stay keeps the token from following a redirect.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// NewKey is a fresh Idempotency-Key.
func NewKey() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: it ends the process instead
	return hex.EncodeToString(b)
}

// call sends a request and reads its JSON answer into out, unless out is nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any, headers ...string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return c.exchange(ctx, method, path, in, out, headers...)
}

// exchange is call without a limit of its own.
func (c *Client) exchange(ctx context.Context, method, path string, in, out any, headers ...string) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(b)
		headers = append(headers, "Content-Type", "application/json")
	}
	r, err := c.do(ctx, method, path, body, headers...)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if out == nil {
		return nil
	}
	if err := decode(r.Body, out); err != nil {
		return fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	return nil
}

// do sends a request. An answer that is no success comes back as its fault.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, headers ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "%s %s: %w", method, path, err)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return c.send(r)
}

func (c *Client) send(r *http.Request) (*http.Response, error) {
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, unreached(r.Context(), err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols && (answer.StatusCode < 200 || answer.StatusCode > 299) {
		defer answer.Body.Close()
		return nil, api.ReadProblem(answer)
	}
	return answer, nil
}

// unreached gives a broken request its code.
func unreached(ctx context.Context, err error) error {
	var dial *net.OpError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.New(fault.Interrupted, "ask the node: %w", err)
	case errors.As(err, &dial) && dial.Op == "dial":
		if dial.Addr == nil { // its name wasn't found
			return fault.New(fault.NotRunning, "ask the node: %w", dial.Err)
		}
		return fault.New(fault.NotRunning, "ask the node at %s: %w", dial.Addr, dial.Err)
	}
	return &broken{err}
}

// broken is a connection that ended before the answer: nobody knows how far
// the request came.
type broken struct{ err error }

func (b *broken) Error() string { return "ask the node: the connection broke: " + b.err.Error() }
func (b *broken) Unwrap() error { return b.err }

// spend posts a request that spends, again with the same key where the
// connection broke. An empty key stands for a fresh one.
func (c *Client) spend(ctx context.Context, path, key string, in, out any) error {
	if key == "" {
		key = NewKey()
	}
	var err error
	for range tries {
		err = c.call(ctx, http.MethodPost, path, in, out, api.HeaderKey, key)
		var b *broken
		if !errors.As(err, &b) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// decode reads a JSON answer.
func decode(from io.Reader, out any) error {
	return json.NewDecoder(io.LimitReader(from, answerMax)).Decode(out)
}
