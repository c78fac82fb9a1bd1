package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"hearth/api"
	"hearth/api/apitest"
	"hearth/core/fault"
	"hearth/sdk"
)

func instance(t *testing.T) (*apitest.Node, *sdk.Client) {
	t.Helper()
	node := apitest.New(0)
	c := start(t, node)
	_, err := c.CreateInstance(t.Context(), api.InstanceWish{
		Name: "web", Image: "app:1", Machine: api.Machine{CPU: 500, Memory: 64 << 20, Disk: 1 << 20}, Host: "hearth1host1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return node, c
}

func refusedAs(t *testing.T, what string, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func TestAnInstanceIsMadeShownAndRemoved(t *testing.T) {
	_, c := instance(t)
	ctx := t.Context()
	bids, err := c.Bids(ctx, api.Machine{CPU: 500, Memory: 64 << 20, Disk: 1 << 20})
	if err != nil || len(bids.Bids) != 2 || bids.Bids[0].Why != "" || bids.Bids[1].Why == "" {
		t.Errorf("%+v, %v", bids, err)
	}
	_, err = c.CreateInstance(ctx, api.InstanceWish{Name: "web", Image: "app:1", Machine: api.Machine{CPU: 1}})
	refusedAs(t, "a second of the name", err, fault.Exists)
	little := api.MoneyOf(1_000_000)
	_, err = c.CreateInstance(ctx, api.InstanceWish{Name: "dear", Image: "app:1", Machine: api.Machine{CPU: 1}, Most: &little})
	refusedAs(t, "one that costs more than is allowed", err, fault.PriceTooHigh)
	if s := bids.Spending; s.Now != api.MoneyOf(1_500_000) || s.Cap == (api.Money{}) || s.Left == (api.Money{}) || s.Agreed == (api.Money{}) {
		t.Errorf("what is spent and may be: %+v", s)
	}
	_, err = c.CreateInstance(ctx, api.InstanceWish{Name: "none", Image: "app:1", Machine: api.Machine{CPU: 1}, Egress: "all"})
	refusedAs(t, "an egress that isn't known", err, fault.BadRequest)
	for _, step := range []struct {
		do    func() error
		state string
	}{
		{func() error { return c.StopInstance(ctx, "web", time.Second) }, "exited"},
		{func() error { return c.StartInstance(ctx, "web") }, "running"},
		{func() error { return c.SuspendInstance(ctx, "web") }, "suspended"},
		{func() error { return c.StartInstance(ctx, "web") }, "running"},
	} {
		err := step.do()
		all, lerr := c.Instances(ctx)
		if err = errors.Join(err, lerr); err != nil || len(all.Instances) != 1 || all.Instances[0].State != step.state {
			t.Errorf("%+v, %v; want %s", all, err, step.state)
		}
	}
	if err := c.RemoveInstance(ctx, "web", 0); err != nil {
		t.Error(err)
	}
	refusedAs(t, "remove it again", c.RemoveInstance(ctx, "web", 0), fault.NoInstance)
}

func TestAProgramInsideIsSpokenToBothWays(t *testing.T) {
	_, c := instance(t)
	ctx := t.Context()
	big := strings.Repeat("all of it comes back. ", 20_000)
	var out, errs bytes.Buffer
	if status, err := c.Exec(ctx, "web", api.Program{Args: []string{"cat"}}, strings.NewReader(big), &out, &errs, nil); err != nil || status != 0 || out.String() != big {
		t.Errorf("%d bytes, status %d, %v", out.Len(), status, err)
	}
	out.Reset()
	p := api.Program{Args: []string{"words", "a b", "ü&%"}, Env: []string{"A=b c"}, Dir: "/srv", User: "app", TTY: true, Size: api.Size{Rows: 3, Cols: 4}}
	if status, err := c.Exec(ctx, "web", p, nil, &out, &errs, nil); err != nil || status != 3 || errs.String() != `["a b" "ü&%"] ["A=b c"] "/srv" "app" true {3 4}` {
		t.Errorf("%s, status %d, %v", errs.String(), status, err)
	}
	sizes := make(chan api.Size, 1)
	sizes <- api.Size{Rows: 22, Cols: 77}
	if _, err := c.Exec(ctx, "web", api.Program{Args: []string{"size"}}, nil, &out, &errs, sizes); err != nil || out.String() != "{22 77}" {
		t.Errorf("%s, %v", out.String(), err)
	}
	_, err := c.Exec(ctx, "web", api.Program{Args: []string{"nothing"}}, nil, io.Discard, io.Discard, nil)
	refusedAs(t, "a program that isn't there", err, fault.BadRequest)
	_, err = c.Exec(ctx, "db", api.Program{Args: []string{"cat"}}, nil, io.Discard, io.Discard, nil)
	refusedAs(t, "an instance that isn't there", err, fault.NoInstance)
	out.Reset()
	if err := c.Forward(ctx, "web", 80, strings.NewReader("hello"), &out); err != nil || out.String() != "port 80: hello" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// A program never takes a part of its input for all of it.
func TestInputThatBreaksOffEndsTheProgram(t *testing.T) {
	_, c := instance(t)
	torn := errors.New("the disk is torn")
	status, err := c.Exec(t.Context(), "web", api.Program{Args: []string{"cat"}}, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(torn)), io.Discard, io.Discard, nil)
	if !errors.Is(err, torn) {
		t.Errorf("status %d, %v", status, err)
	}
}

// As many bytes as are allowed go with the wish, as they are.
func TestSecretsGoWithTheWish(t *testing.T) {
	_, c := instance(t)
	var all []api.Secret
	for n := range 16 {
		all = append(all, api.Secret{Name: "s" + string(rune('a'+n)), Value: bytes.Repeat([]byte{byte(n), 0, '\n', 255}, 16<<10)})
	}
	wish := api.InstanceWish{Name: "app", Image: "app:1", Machine: api.Machine{CPU: 1}, Secrets: all}
	if _, err := c.CreateInstance(t.Context(), wish); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if status, err := c.Exec(t.Context(), "app", api.Program{Args: []string{"secret", "sp"}}, nil, &out, io.Discard, nil); err != nil || status != 0 || !bytes.Equal(out.Bytes(), all[15].Value) {
		t.Errorf("%d bytes, status %d, %v", out.Len(), status, err)
	}
	if s := fmt.Sprintf("%v %+v %#v", wish, wish, wish); strings.Contains(s, "255") || strings.Contains(s, "0xff") {
		t.Error("a wish that is printed shows its secrets")
	}
	wish.Name, wish.Secrets = "more", append(all, make([]api.Secret, 17)...)
	_, err := c.CreateInstance(t.Context(), wish)
	refusedAs(t, "more secrets than are allowed", err, fault.BadRequest)
}

func TestALogIsReadAsItComes(t *testing.T) {
	_, c := instance(t)
	for tail, want := range map[int]string{0: "one\ntwo\n", 1: "two\n"} {
		var out bytes.Buffer
		if err := c.InstanceLogs(t.Context(), "web", tail, false, &out); err != nil || out.String() != want {
			t.Errorf("%q, %v", out.String(), err)
		}
	}
	refusedAs(t, "of none", c.InstanceLogs(t.Context(), "db", 0, false, io.Discard), fault.NoInstance)
	ctx, cancel := context.WithCancel(t.Context())
	come := make(chan string, 4)
	ended := make(chan error, 1)
	go func() { ended <- c.InstanceLogs(ctx, "web", 1, true, lines(come)) }()
	if got := <-come; got != "two\n" {
		t.Error(got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("who follows and goes has seen no error: %v", err)
	}
}

// lines are handed on as they come.
type lines chan string

func (l lines) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }

func TestACallersGoingReachesTheProgram(t *testing.T) {
	node, c := instance(t)
	ctx, cancel := context.WithCancel(t.Context())
	come := make(chan string, 4)
	ended := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, "web", api.Program{Args: []string{"wait"}}, nil, lines(come), io.Discard, nil)
		ended <- err
	}()
	<-come
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
	select {
	case <-node.Gone():
	case <-time.After(20 * time.Second):
		t.Error("the program waits on")
	}
}

// endless is input without an end; flows is closed when some of it has gone.
type endless struct {
	n     int
	flows chan struct{}
}

func (e *endless) Read(b []byte) (int, error) {
	if e.n++; e.n == 3 {
		close(e.flows)
	}
	return len(b), nil
}

// Also one that takes no input, behind which nobody sees the caller go.
func TestACallersGoingReachesAProgramThatDoesNotListen(t *testing.T) {
	node, c := instance(t)
	ctx, cancel := context.WithCancel(t.Context())
	come := make(chan string, 4)
	ended := make(chan error, 1)
	in := &endless{flows: make(chan struct{})}
	go func() {
		_, err := c.Exec(ctx, "web", api.Program{Args: []string{"wait"}}, in, lines(come), io.Discard, nil)
		ended <- err
	}()
	<-come
	<-in.flows
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
	select {
	case <-node.Gone():
	case <-time.After(20 * time.Second):
		t.Error("the program waits on")
	}
}

func TestAFrameThatIsTooLongIsRefused(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	go func() { _ = api.WriteFrame(b, api.FrameOut, make([]byte, api.MaxFrame+1)) }() // a is closed under it
	if _, _, err := api.ReadFrame(a); fault.CodeOf(err) != fault.BadFrame {
		t.Errorf("%v", err)
	}
}
