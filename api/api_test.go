package api_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
)

func TestMoneyLosesNoDigit(t *testing.T) {
	for amount, want := range map[money.Amount]string{
		0: "0", 1: "0.000001", money.Ember: "1", 1_250_000: "1.25", money.Max: "18446744073709.551615",
	} {
		if got := api.MoneyOf(amount).Amount; got != want {
			t.Errorf("%d: %s, want %s", uint64(amount), got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := money.Amount(rapid.Uint64().Draw(t, "amount"))
		got, err := api.MoneyOf(want).Value()
		if err != nil || got != want {
			t.Fatalf("%d came back as %d, %v", uint64(want), uint64(got), err)
		}
	})
	if _, err := (api.Money{Amount: "1", Currency: "eur"}).Value(); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("another currency: %v", err)
	}
}

// The server takes whatever follows the bucket, unescaped once.
func TestKeysArriveAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringN(1, 40, 200).Draw(t, "key")
		u, err := url.Parse(api.ObjectPath("objects", "photos", key))
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := strings.CutPrefix(u.EscapedPath(), "/v1/objects/photos/")
		if !ok || strings.Contains(rest, "/") || rest == "." || rest == ".." {
			t.Fatalf("%q became the path %q", key, u.EscapedPath())
		}
		if got, err := url.PathUnescape(rest); err != nil || got != key {
			t.Fatalf("%q came back as %q, %v", key, got, err)
		}
	})
}

func TestRangesStayInsideTheObject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 1<<62).Draw(t, "size")
		r := api.Range{
			Offset: rapid.Int64Range(-1<<62, 1<<62).Draw(t, "offset"),
			Length: rapid.Int64Range(-1, 1<<62).Draw(t, "length"),
		}
		off, n, err := r.Within(size)
		if err == nil && (off < 0 || n < 0 || n > size-off) {
			t.Fatalf("%+v of %d: %d from %d", r, size, n, off)
		}
		if err != nil && r.Offset < size {
			t.Fatalf("%+v of %d: %v", r, size, err)
		}
	})
}

func TestProblemsKeepTheirCodeBothWays(t *testing.T) {
	for _, e := range fault.All() {
		p := api.ProblemOf(fault.New(e.Code, "do it: %w", errors.New("no")))
		if p.Status != e.HTTP || p.Exit != e.Exit || p.Detail != "do it: no" {
			t.Errorf("%s: %+v", e.Code, p)
		}
		if back := p.Fault(); fault.CodeOf(back) != e.Code || back.Error() != "do it: no" {
			t.Errorf("%s came back as %s: %v", e.Code, fault.CodeOf(back), back)
		}
	}
	if p := api.ProblemOf(nil); p != nil {
		t.Errorf("no error became %+v", p)
	}
}

func TestAnAnswerThatIsNoProblemIsInternal(t *testing.T) {
	u := &url.URL{Path: "/v1/node"}
	for _, body := range []string{"", "<html>", `{"code":""}`, `{"code":"from_a_newer_node","detail":"x"}`} {
		err := api.ReadProblem(&http.Response{
			Status: "502 Bad Gateway", Body: io.NopCloser(strings.NewReader(body)), Request: &http.Request{Method: "GET", URL: u},
		})
		if fault.CodeOf(err) != fault.Internal || err.Error() == "" {
			t.Errorf("%q: %v", body, err)
		}
	}
}
