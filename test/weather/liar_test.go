package weather

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/network"
	"hearth/node"
	"hearth/sdk"
)

// A lie alters what a ledger node says. A request may be altered too.
type lie struct {
	ask    func(method string, params map[string]any)
	answer func(method string, result map[string]any)
}

// liar stands before the cloud's ledger and lies when it is told to.
type liar struct {
	*httptest.Server
	lie atomic.Pointer[lie]
}

func newLiar(t *testing.T, w *world) *liar {
	t.Helper()
	target, err := url.Parse(w.Network.URLs[0])
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{}
	honest := httputil.NewSingleHostReverseProxy(target)
	l.Server = httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		now := l.lie.Load()
		if now == nil || req.Method != http.MethodPost || req.URL.Path != "/" && req.URL.Path != "" {
			honest.ServeHTTP(res, req)
			return
		}
		l.pass(res, req, target.String(), now)
	}))
	t.Cleanup(l.Close)
	return l
}

// pass sends one JSON-RPC request on, with the lie on the way there and back.
func (l *liar) pass(res http.ResponseWriter, req *http.Request, target string, now *lie) {
	var ask struct {
		Version string         `json:"jsonrpc"`
		ID      any            `json:"id"`
		Method  string         `json:"method"`
		Params  map[string]any `json:"params"`
	}
	if err := json.NewDecoder(req.Body).Decode(&ask); err != nil {
		http.Error(res, err.Error(), http.StatusBadRequest)
		return
	}
	if now.ask != nil {
		now.ask(ask.Method, ask.Params)
	}
	body, err := json.Marshal(ask)
	if err != nil {
		http.Error(res, err.Error(), http.StatusInternalServerError)
		return
	}
	out, err := http.NewRequestWithContext(req.Context(), http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		http.Error(res, err.Error(), http.StatusInternalServerError)
		return
	}
	out.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(out)
	if err != nil {
		http.Error(res, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		http.Error(res, err.Error(), http.StatusBadGateway)
		return
	}
	var doc map[string]any
	if result, ok := map[string]any(nil), false; now.answer != nil && json.Unmarshal(raw, &doc) == nil {
		if result, ok = doc["result"].(map[string]any); ok {
			now.answer(ask.Method, result)
			if raw, err = json.Marshal(doc); err != nil {
				http.Error(res, err.Error(), http.StatusInternalServerError)
				return
			}
		}
	}
	res.Header().Set("Content-Type", "application/json")
	res.Write(raw)
}

func (l *liar) name(w *world) string {
	return network.Name{ChainID: w.Network.ChainID, URLs: []string{l.URL}}.String()
}

// folder is a new folder with a short name.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weather-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestALedgerNodeWithAnotherGenesisIsRefused(t *testing.T) {
	t.Parallel()
	w := shared(t)
	l := newLiar(t, w)
	l.lie.Store(&lie{answer: func(method string, result map[string]any) {
		if method != "genesis_chunked" {
			return
		}
		doc, err := base64.StdEncoding.DecodeString(result["data"].(string))
		if err != nil {
			t.Error(err)
		}
		// Somebody who wasn't there holds a little: the rest is the network's own.
		doc = bytes.Replace(doc, []byte(`"amount":"1000000000000"`), []byte(`"amount":"1000000000001"`), 1)
		doc = bytes.Replace(doc, []byte(`"genesis_time":"20`), []byte(`"genesis_time":"21`), 1)
		result["data"] = base64.StdEncoding.EncodeToString(doc)
	}})
	dir := filepath.Join(folder(t), "node")
	out, status := hearth(t, dir, "init", "--network", l.name(w))
	if status != 8 || !strings.Contains(out, string(fault.WrongNetwork)) {
		t.Errorf("status %d: %s", status, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "identity")); err == nil {
		t.Error("an identity was made on a network that isn't")
	}
	l.lie.Store(nil)
	if out, status = hearth(t, dir, "init", "--network", l.name(w), "-o", "json"); status != 0 {
		t.Errorf("once it tells the truth: status %d: %s", status, out)
	}
}

// through has the cloud's client see its ledger through a liar, until the test ends.
func (w *world) through(t *testing.T, l *liar) {
	t.Helper()
	set := func(name string) {
		w.Client.Stop(3 * time.Second)
		s, err := node.LoadSettings(w.Client.Dir)
		if err != nil {
			t.Fatal(err)
		}
		s.Network = name
		if err := s.Save(w.Client.Dir); err != nil {
			t.Fatal(err)
		}
		w.run(t, w.Client)
	}
	set(l.name(w))
	t.Cleanup(func() { set(w.Network.String()) })
}

// lying begins to lie, and starts the client again so that it has to ask.
func (l *liar) lying(t *testing.T, w *world, now lie) {
	t.Helper()
	l.lie.Store(&now)
	t.Cleanup(func() { l.lie.Store(nil) })
	w.Client.Stop(3 * time.Second)
	if err := w.Client.Start(); err != nil {
		t.Fatal(err)
	}
	soon(t, patient, "start a client whose ledger lies", func() error {
		_, err := w.api.Node(within(t, 20*time.Second))
		return err
	})
}

// believesNothing checks that a client whose ledger node lies says so, and opens
// no lease and signs nothing on the strength of it.
func (w *world) believesNothing(t *testing.T, codes ...fault.Code) {
	t.Helper()
	ledger := w.ledger(t)
	account := keysOf(t, w.Client.Dir).Account().Address()
	purse, err := ledger.Purse(within(t, patient), account)
	if err != nil {
		t.Fatal(err)
	}
	var wallet, put error
	var wg sync.WaitGroup
	wg.Go(func() { _, wallet = w.api.Wallet(within(t, patient)) })
	wg.Go(func() {
		b := content(41, 12*mib)
		_, put = w.api.Put(within(t, patient), bucket, "lie", bytes.NewReader(b), int64(len(b)), sdk.PutOptions{Class: "1/6"})
	})
	wg.Wait()
	wants(t, "show the wallet", wallet, codes...)
	wants(t, "put a file", put, codes...)
	if w.listed(t, "lie") {
		t.Error("the file is listed")
	}
	if now, err := ledger.Purse(within(t, patient), account); err != nil || now != purse {
		t.Errorf("the purse held %d and holds %d: %v", purse, now, err)
	}
}

func TestAForgedBalanceIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := shared(t)
	b := content(40, 12*mib)
	w.put(t, "true", b)
	l := newLiar(t, w)
	w.through(t, l)
	if _, err := w.api.Wallet(within(t, patient)); err != nil {
		t.Fatalf("through an honest proxy: %v", err)
	}
	l.lying(t, w, lie{answer: func(method string, result map[string]any) {
		r, ok := result["response"].(map[string]any)
		if value, has := r["value"].(string); method == "abci_query" && ok && has && value != "" {
			b, err := base64.StdEncoding.DecodeString(value)
			if err != nil || len(b) == 0 {
				return
			}
			b[len(b)-1] ^= 1 // another digit, another price, another key
			r["value"] = base64.StdEncoding.EncodeToString(b)
		}
	}})
	w.believesNothing(t, fault.LedgerLies)
	l.lie.Store(nil)
	w.mustRead(t, "true", b)
	w.put(t, "truth", b)
}

func TestAnOldStateIsNotTakenForTheNewest(t *testing.T) {
	t.Parallel()
	w := shared(t)
	l := newLiar(t, w)
	w.through(t, l)
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	then, _, err := w.ledger(t).Now(ctx)
	if err != nil {
		t.Fatal(err)
	}
	soon(t, patient, "see a few blocks more", func() error {
		n, err := w.api.Node(ctx)
		if err == nil && n.Ledger.Height < then+3 {
			err = io.ErrNoProgress
		}
		return err
	})
	// Every answer is true, and of a time before what this client has seen.
	l.lie.Store(&lie{ask: func(method string, params map[string]any) {
		switch method {
		case "abci_query":
			params["height"] = jsonInt(then - 1)
		case "commit":
			if params["height"] == nil {
				params["height"] = jsonInt(then)
			}
		}
	}})
	_, err = w.api.Wallet(within(t, patient))
	wants(t, "show the wallet as it was", err, fault.LedgerDown, fault.LedgerLies, fault.Stale)
	l.lie.Store(nil)
	soon(t, patient, "believe the truth again", func() error {
		_, err := w.api.Wallet(within(t, patient))
		return err
	})
}

// jsonInt is a number as the RPC wants it: a string.
func jsonInt(n int64) string {
	b, _ := json.Marshal(n)
	return string(b)
}
