package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"hearth/api"
	"hearth/api/apitest"
	"hearth/api/server"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/sdk"
)

// start serves a node in memory on a unix socket and returns a client of it.
func start(t *testing.T, node *apitest.Node) *sdk.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Roles: node.Roles()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l, nil) }()
	c, err := sdk.New(sdk.Config{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := errors.Join(<-served, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestWhatIsPutComesBack(t *testing.T) {
	c := start(t, apitest.New(0))
	ctx := t.Context()
	if _, err := c.MakeBucket(ctx, "photos"); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	for _, f := range []struct {
		key     string
		content []byte
		size    int64
	}{
		{"a", []byte("hello"), 5},
		{"empty", nil, 0},
		{"length/not known", []byte("from a pipe"), -1},
		{"big", big, int64(len(big))},
		{"a//b", []byte("1"), 1},
		{"../x", []byte("2"), 1},
		{".", []byte("3"), 1},
		{"..", []byte("4"), 1},
		{"ü €.txt", []byte("5"), 1},
		{"%2F", []byte("6"), 1},
		{"a?b#c&d=e", []byte("7"), 1},
		{"/lead", []byte("8"), 1},
		{"trail/", []byte("9"), 1},
		{"a/./b", []byte("10"), 2},
		{"plus+ and space", []byte("11"), 2},
	} {
		o, err := c.Put(ctx, "photos", f.key, bytes.NewReader(f.content), f.size, sdk.PutOptions{Type: "text/plain"})
		if err != nil {
			t.Fatalf("put %q: %v", f.key, err)
		}
		if o.Key != f.key || o.Size != int64(len(f.content)) {
			t.Errorf("put %q: %+v", f.key, o)
		}
		d, err := c.Get(ctx, "photos", f.key, sdk.GetOptions{})
		if err != nil {
			t.Fatalf("get %q: %v", f.key, err)
		}
		got, err := io.ReadAll(d)
		if err != nil || !bytes.Equal(got, f.content) {
			t.Errorf("get %q: %d bytes, %v", f.key, len(got), err)
		}
		if d.Object != o {
			t.Errorf("get %q describes %+v, put %+v", f.key, d.Object, o)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if stat, err := c.Stat(ctx, "photos", f.key); err != nil || stat != o {
			t.Errorf("stat %q: %+v, %v", f.key, stat, err)
		}
		if err := c.Remove(ctx, "photos", f.key); err != nil {
			t.Errorf("remove %q: %v", f.key, err)
		}
		if _, err := c.Stat(ctx, "photos", f.key); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("removed %q: %v", f.key, err)
		}
	}
}

func TestAPartCanBeRead(t *testing.T) {
	c := start(t, apitest.New(0))
	put(t, c, "a", "0123456789")
	for _, r := range []struct {
		span api.Range
		want string
	}{
		{api.Range{Offset: 2, Length: 3}, "234"},
		{api.Range{Offset: 7, Length: -1}, "789"},
		{api.Range{Offset: -3}, "789"},
	} {
		d, err := c.Get(t.Context(), "photos", "a", sdk.GetOptions{Range: &r.span})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(d)
		if err != nil || string(got) != r.want || d.Object.Size != 10 || d.Length != int64(len(r.want)) {
			t.Errorf("%+v: %q of %d, %v", r.span, got, d.Object.Size, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func put(t *testing.T, c *sdk.Client, key, content string) {
	t.Helper()
	if _, err := c.MakeBucket(t.Context(), "photos"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), "photos", key, strings.NewReader(content), int64(len(content)), sdk.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestABrokenDownloadSaysWhy(t *testing.T) {
	node := apitest.New(0)
	c := start(t, node)
	put(t, c, "a", strings.Repeat("x", 1<<20))
	put(t, c, "small", "hello") // cut before its headers are out
	node.Break(fault.New(fault.NotEnoughShards, "get slab 1: 9 of 10 shards"))
	for _, key := range []string{"a", "small"} {
		d, err := c.Get(t.Context(), "photos", key, sdk.GetOptions{})
		if err == nil {
			_, err = io.Copy(io.Discard, d)
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		if fault.CodeOf(err) != fault.NotEnoughShards {
			t.Errorf("%s: %v", key, err)
		}
	}
}

type failing struct{ left int }

func (f *failing) Read(b []byte) (int, error) {
	if f.left == 0 {
		return 0, errors.New("the disk is on fire")
	}
	n := min(len(b), f.left)
	f.left -= n
	return n, nil
}

func TestABrokenUploadListsNothing(t *testing.T) {
	c := start(t, apitest.New(0))
	put(t, c, "other", "x")
	for _, size := range []int64{1 << 20, -1} {
		if _, err := c.Put(t.Context(), "photos", "a", &failing{1 << 18}, size, sdk.PutOptions{}); err == nil {
			t.Error("stored a part")
		}
		if _, err := c.Stat(t.Context(), "photos", "a"); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("listed: %v", err)
		}
	}
}

func TestARefusalComesBeforeTheContent(t *testing.T) {
	c := start(t, apitest.New(0))
	put(t, c, "a", "x")
	unread := &failing{1 << 30}
	_, err := c.Put(t.Context(), "photos", "a", unread, 1<<30, sdk.PutOptions{IfAbsent: true})
	if fault.CodeOf(err) != fault.Exists {
		t.Fatal(err)
	}
	if unread.left != 1<<30 {
		t.Errorf("%d bytes were read of an upload that was refused", 1<<30-unread.left)
	}
}

func TestUploadsTellTheirProgress(t *testing.T) {
	c := start(t, apitest.New(0))
	put(t, c, "other", "x")
	var last api.Transfer
	_, err := c.Put(t.Context(), "photos", "a", strings.NewReader("hello"), 5, sdk.PutOptions{
		Progress: func(p api.Transfer) { last = p },
	})
	if err != nil || !last.Done || last.Progress.Bytes != 5 || last.Progress.Total != 5 {
		t.Errorf("%+v, %v", last, err)
	}
}

func TestFaultsKeepTheirCode(t *testing.T) {
	c := start(t, apitest.New(money.Ember))
	ctx := t.Context()
	if _, err := c.Send(ctx, "", "hearth1friend", 2*money.Ember); fault.CodeOf(err) != fault.NoFunds {
		t.Errorf("send: %v", err)
	}
	if _, err := c.Lease(ctx, 5); fault.CodeOf(err) != fault.NoLease {
		t.Errorf("lease: %v", err)
	}
	if _, err := c.Get(ctx, "photos", "a", sdk.GetOptions{}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("get: %v", err)
	}
	cut, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Node(cut); fault.CodeOf(err) != fault.Interrupted {
		t.Errorf("cancelled: %v", err)
	}
}

func TestNoNodeIsToldFromABrokenOne(t *testing.T) {
	c, err := sdk.New(sdk.Config{Socket: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Node(t.Context()); fault.CodeOf(err) != fault.NotRunning {
		t.Error(err)
	}
}

// The first answer is lost on its way: the connection is cut behind the node's back.
func TestALostAnswerIsAskedForAgainAndPaidOnce(t *testing.T) {
	node := apitest.New(5 * money.Ember)
	s, err := server.New(server.Config{Roles: node.Roles()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	handler := s.Handler(true)
	var cut atomic.Bool // the next request comes over another connection
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !cut.Swap(true) {
			handler.ServeHTTP(discard{}, r)
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	})}
	go web.Serve(l)
	defer web.Close()
	c, err := sdk.New(sdk.Config{URL: "http://" + l.Addr().String(), Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Send(t.Context(), "", "hearth1friend", money.Ember); err != nil {
		t.Fatal(err)
	}
	w, err := c.Wallet(t.Context())
	if err != nil || w.Balance.Account.Amount != "4" {
		t.Errorf("balance %s, %v", w.Balance.Account, err)
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func TestPagesAreWalkedToTheEnd(t *testing.T) {
	node := apitest.New(0)
	node.AddLeases(250)
	c := start(t, node)
	seen := uint64(0)
	for l, err := range c.Leases(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; l.ID != seen {
			t.Fatalf("lease %d came as number %d", l.ID, seen)
		}
	}
	if seen != 250 {
		t.Errorf("%d leases", seen)
	}
	for _, key := range []string{"a/1", "a/2", "b"} {
		put(t, c, key, "x")
	}
	count := 0
	for _, err := range c.Walk(t.Context(), "photos", "a/") {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	page, err := c.List(t.Context(), "photos", api.ListQuery{Delimiter: "/"})
	if err != nil || count != 2 || len(page.Prefixes) != 1 || len(page.Objects) != 1 {
		t.Errorf("%d walked, page %+v, %v", count, page, err)
	}
}

func TestEventsArriveUntilTheListenerLeaves(t *testing.T) {
	c := start(t, apitest.New(0))
	enough := errors.New("enough")
	err := c.Events(t.Context(), func(e api.Event) error {
		if e.Code != "started" {
			t.Errorf("%+v", e)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Error(err)
	}
}
