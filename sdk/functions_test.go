package sdk_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"hearth/api"
	"hearth/api/apitest"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/sdk"
)

var someModule = []byte("\x00asm\x01\x00\x00\x00")

func TestAFunctionIsKeptCalledAndRemoved(t *testing.T) {
	node := apitest.New(0)
	c := start(t, node)
	ctx := t.Context()
	wish := api.FunctionWish{Name: "work", Gas: 5e9, Memory: 64 << 20, Deadline: 1500, Env: []string{"A=b c&d", "E=ü"}}
	f, err := c.Deploy(ctx, wish, someModule)
	if err != nil || f.Name != "work" || f.Gas != 5e9 || f.Memory != 64<<20 || f.Deadline != 1500 || !slices.Equal(f.Env, wish.Env) || f.Size != 8 {
		t.Fatalf("%+v, %v", f, err)
	}
	if all, err := c.Functions(ctx); err != nil || len(all.Functions) != 1 || all.Functions[0].Module != f.Module {
		t.Errorf("%+v, %v", all, err)
	}
	args := []string{"plain", "a b", "c=d&e", "ü%20", ""}
	done, err := c.Call(ctx, "work", api.CallWish{Args: args, Input: []byte("in\n")})
	if err != nil || string(done.Output) != "in\n" || string(done.Log) != "work plain a b c=d&e ü%20 \n" || done.Gas != 1000 || done.Cost != api.MoneyOf(7) ||
		done.Host != "hearth1host1" || !slices.Equal(done.Witnesses, []string{"hearth1host1"}) || done.Took != 5_000_000 || done.Here {
		t.Errorf("%+v %q %q, %v", done, done.Output, done.Log, err)
	}
	var kept bytes.Buffer
	if err := c.FunctionLog(ctx, "work", &kept); err != nil || kept.String() != string(done.Log) {
		t.Errorf("%q, %v", kept.String(), err)
	}
	if liars, err := c.Liars(ctx); err != nil || len(liars.Liars) != 1 || liars.Liars[0].Host != "hearth1liar" {
		t.Errorf("%+v, %v", liars, err)
	}
	if err := c.RemoveFunction(ctx, "work"); err != nil {
		t.Error(err)
	}
	if _, err := c.Call(ctx, "work", api.CallWish{}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("after its removal: %v", err)
	}
}

// What a function puts out and what it logs come in one body, and are told apart
// whatever is in them.
func TestOutputAndLogAreToldApart(t *testing.T) {
	node := apitest.New(0)
	c := start(t, node)
	if _, err := c.Deploy(t.Context(), api.FunctionWish{Name: "work"}, someModule); err != nil {
		t.Fatal(err)
	}
	most := bytes.Repeat([]byte{0}, call.MaxOutput)
	for _, tt := range [][2][]byte{
		{nil, nil},
		{[]byte("out"), nil},
		{nil, []byte("log")},
		{[]byte("out\n"), []byte("log\n")},
		{[]byte("\r\n\r\n"), []byte{0}},
		{most, bytes.Repeat([]byte("l"), 64<<10)},
	} {
		node.Runs(func(string, api.CallWish) (api.Called, error) { return api.Called{Output: tt[0], Log: tt[1]}, nil })
		done, err := c.Call(t.Context(), "work", api.CallWish{})
		if err != nil || !bytes.Equal(done.Output, tt[0]) || !bytes.Equal(done.Log, tt[1]) {
			t.Errorf("%d and %d bytes came as %d and %d, %v", len(tt[0]), len(tt[1]), len(done.Output), len(done.Log), err)
		}
	}
}

func TestAFunctionThatFailsIsAnAnswer(t *testing.T) {
	node := apitest.New(0)
	c := start(t, node)
	if _, err := c.Deploy(t.Context(), api.FunctionWish{Name: "work"}, someModule); err != nil {
		t.Fatal(err)
	}
	want := api.Called{Exit: 1<<32 - 1, Fault: string(fault.Trapped), Reason: "at \"ü\"\nline two", Gas: 1<<64 - 1, Here: true}
	node.Runs(func(string, api.CallWish) (api.Called, error) { return want, nil })
	done, err := c.Call(t.Context(), "work", api.CallWish{})
	if err != nil || done.Exit != want.Exit || done.Fault != want.Fault || done.Reason != want.Reason || done.Gas != want.Gas || !done.Here || len(done.Witnesses) != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	for _, code := range []fault.Code{fault.NoHosts, fault.Deadline, fault.NotVerified, fault.CapReached} {
		node.Runs(func(string, api.CallWish) (api.Called, error) {
			return api.Called{}, fault.New(code, "call work: unlucky")
		})
		if _, err := c.Call(t.Context(), "work", api.CallWish{}); fault.CodeOf(err) != code || !strings.Contains(err.Error(), "unlucky") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestAWishThatNoNodeTakesComesBackAsItsFault(t *testing.T) {
	c := start(t, apitest.New(0))
	if _, err := c.Deploy(t.Context(), api.FunctionWish{Name: "work"}, someModule); err != nil {
		t.Fatal(err)
	}
	deploy := func(w api.FunctionWish, module []byte) error { _, err := c.Deploy(t.Context(), w, module); return err }
	calls := func(name string, w api.CallWish) error { _, err := c.Call(t.Context(), name, w); return err }
	for name, tt := range map[string]struct {
		err  error
		want fault.Code
	}{
		"a name in capitals":    {deploy(api.FunctionWish{Name: "Work"}, someModule), fault.BadName},
		"a name like a path":    {deploy(api.FunctionWish{Name: "../liars"}, someModule), fault.BadName},
		"text":                  {deploy(api.FunctionWish{Name: "work"}, []byte("a poem")), fault.BadModule},
		"too long a deadline":   {deploy(api.FunctionWish{Name: "work", Deadline: 60_001}, someModule), fault.BadRequest},
		"memory below 0":        {deploy(api.FunctionWish{Name: "work", Memory: -1}, someModule), fault.BadRequest},
		"too many checks":       {calls("work", api.CallWish{Verify: 9}), fault.BadRequest},
		"too large an input":    {calls("work", api.CallWish{Input: make([]byte, call.MaxInput+1)}), fault.TooLarge},
		"an unknown function":   {calls("nobody", api.CallWish{}), fault.NotFound},
		"a function like a way": {calls("a/b", api.CallWish{}), fault.NotFound},
	} {
		if fault.CodeOf(tt.err) != tt.want {
			t.Errorf("%s: %v", name, tt.err)
		}
	}
}

// An answer of a call that doesn't hold together isn't taken for a result.
func TestAnAnswerThatIsNoneIsRefused(t *testing.T) {
	whole := map[string]string{api.HeaderExit: "0", api.HeaderGas: "1", api.HeaderTook: "1", api.HeaderLogBytes: "2"}
	for name, change := range map[string]map[string]string{
		"as it should be":              nil,
		"no status":                    {api.HeaderExit: ""},
		"a status below 0":             {api.HeaderExit: "-1"},
		"gas in words":                 {api.HeaderGas: "much"},
		"no length of the log":         {api.HeaderLogBytes: ""},
		"a log longer than the answer": {api.HeaderLogBytes: "6"},
		"a log longer than a number":   {api.HeaderLogBytes: "18446744073709551616"},
		"no time":                      {api.HeaderTook: ""},
	} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for header, value := range whole {
				w.Header().Set(header, value)
			}
			for header, value := range change {
				w.Header().Set(header, value)
			}
			_, _ = w.Write([]byte("outlo")) // as in a node
		}))
		c, err := sdk.New(sdk.Config{URL: web.URL, Token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		done, err := c.Call(t.Context(), "work", api.CallWish{})
		switch {
		case change == nil && (err != nil || string(done.Output) != "out" || string(done.Log) != "lo"):
			t.Errorf("%s: %+v, %v", name, done, err)
		case change != nil && fault.CodeOf(err) != fault.BadFrame:
			t.Errorf("%s: %+v, %v", name, done, err)
		}
		c.Close()
		web.Close()
	}
}

func TestTheDoorOfFunctionsIsOpenedAndClosed(t *testing.T) {
	c := start(t, apitest.New(0))
	at := api.FunctionListen{Listen: "127.0.0.1:9479"}
	if d, err := c.OpenFunctionDoor(t.Context(), at); err != nil || !d.Open || d.Endpoint != "http://127.0.0.1:9479" {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := c.OpenFunctionDoor(t.Context(), at); fault.CodeOf(err) != fault.Exists {
		t.Errorf("again: %v", err)
	}
	if err := c.CloseFunctionDoor(t.Context()); err != nil {
		t.Error(err)
	}
	if d, err := c.FunctionDoor(t.Context()); err != nil || d.Open {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestWhatAFunctionKeepsIsSeenAndChanged(t *testing.T) {
	c := start(t, apitest.New(0))
	ctx := t.Context()
	if _, err := c.Deploy(ctx, api.FunctionWish{Name: "work", Store: 1 << 20}, someModule); err != nil {
		t.Fatal(err)
	}
	if f, err := c.Deploy(ctx, api.FunctionWish{Name: "work"}, someModule); err != nil || f.Store != 1<<20 {
		t.Errorf("deployed again its store is %d, %v", f.Store, err)
	}
	keys := []string{"a", "a b&c=d", "b/ü", "ü"}
	for _, k := range keys {
		if err := c.SetFunctionValue(ctx, "work", k, []byte("of "+k)); err != nil {
			t.Error(err)
		}
	}
	for _, k := range keys {
		if b, err := c.FunctionValue(ctx, "work", k); err != nil || string(b) != "of "+k {
			t.Errorf("%q: %q, %v", k, b, err)
		}
	}
	s, err := c.FunctionStore(ctx, "work", "a", "a")
	if err != nil || s.Most != 1<<20 || len(s.Keys) != 1 || s.Keys[0] != (api.FunctionKey{Key: "a b&c=d", Size: 10}) || s.Next != "" {
		t.Errorf("%+v, %v", s, err)
	}
	if err := c.RemoveFunctionValue(ctx, "work", "ü"); err != nil {
		t.Error(err)
	}
	_, err = c.FunctionValue(ctx, "work", "ü")
	for name, err := range map[string]error{"a key that is gone": err, "its removal": c.RemoveFunctionValue(ctx, "work", "ü"), "a value of nobody": c.SetFunctionValue(ctx, "nobody", "a", nil)} {
		if fault.CodeOf(err) != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.SetFunctionValue(ctx, "work", "large", make([]byte, 64<<10+1)); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("too large a value: %v", err)
	}
	for n := range api.FunctionStorePage {
		if err := c.SetFunctionValue(ctx, "work", fmt.Sprintf("n%04d", n), nil); err != nil {
			t.Fatal(err)
		}
	}
	first, err := c.FunctionStore(ctx, "work", "", "")
	if err != nil || len(first.Keys) != api.FunctionStorePage || first.Next == "" {
		t.Fatalf("%d keys, next %q, %v", len(first.Keys), first.Next, err)
	}
	if second, err := c.FunctionStore(ctx, "work", "", first.Next); err != nil || len(second.Keys) != 3 || second.Next != "" {
		t.Errorf("%d more, next %q, %v", len(second.Keys), second.Next, err)
	}
}
