package client

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/core/call"
	"hearth/core/fault"
)

func TestALogIsBoundedAndItsNewestStays(t *testing.T) {
	l := &logs{dir: t.TempDir()}
	line := strings.Repeat("a line ", 9000) // a call's log at its longest
	for i := range 100 {
		l.add("f", time.Unix(0, 0), Result{Log: fmt.Appendf(nil, "%scall %d", line, i)})
	}
	var b bytes.Buffer
	if err := l.read("f", &b); err != nil {
		t.Fatal(err)
	}
	if b.Len() > keptLog || b.Len() < keptLog/2-len(line) {
		t.Errorf("%d bytes are kept", b.Len())
	}
	kept := strings.Count(b.String(), "--- ")
	at := 0
	for i := 100 - kept; i < 100; i++ { // in order, none left out
		n := strings.Index(b.String()[at:], fmt.Sprintf("call %d\n", i))
		if n < 0 {
			t.Fatalf("call %d isn't there, or not in its place", i)
		}
		at += n
	}
	files, err := os.ReadDir(filepath.Join(l.dir, "logs"))
	if err != nil || len(files) != 2 {
		t.Errorf("%v, %v", files, err)
	}
	if err := l.drop("f"); err != nil {
		t.Error(err)
	}
	b.Reset()
	if err := l.read("f", &b); err != nil || b.Len() != 0 {
		t.Errorf("%d bytes after it was dropped, %v", b.Len(), err)
	}
}

func TestALogSaysHowCallsEnded(t *testing.T) {
	l := &logs{dir: t.TempDir()}
	at := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	l.add("f", at, Result{Host: "hearth1a", Took: 1234567, Outcome: call.Outcome{Exit: 2, Gas: 5}, Log: []byte("no end of line")})
	l.add("f", at, Result{Host: "hearth1a", Outcome: call.Outcome{Fault: fault.Trapped}, Reason: "unreachable"})
	l.add("g", at, Result{Host: "hearth1a"})
	var b strings.Builder
	if err := l.read("f", &b); err != nil {
		t.Fatal(err)
	}
	const want = "--- 2031-05-06T07:08:09Z exit 2, 5 gas, 1.235ms at hearth1a\nno end of line\n" +
		"--- 2031-05-06T07:08:09Z trapped: unreachable, 0 gas, 0s at hearth1a\n"
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
}

func TestALogThatCannotBeWrittenCostsNoResult(t *testing.T) {
	w := newTown(t, 1)
	x := w.client()
	if err := os.WriteFile(filepath.Join(x.c.Dir, "logs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if res, err := x.Invoke(t.Context(), "f", Wish{Input: []byte("a")}); err != nil || string(res.Output) != "A" {
		t.Errorf("%q, %v", res.Output, err)
	}
	want(t, "logs of no function", x.Logs(t.Context(), "g", &bytes.Buffer{}), fault.NotFound)
}

func TestARemovedFunctionLeavesNoLog(t *testing.T) {
	w := newTown(t, 1)
	x := w.client()
	if _, err := x.Invoke(t.Context(), "f", Wish{}); err != nil {
		t.Fatal(err)
	}
	if err := x.Remove(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(x.c.Dir, "logs", "*")); len(left) != 0 {
		t.Errorf("%v", left)
	}
}

func TestCallsAtOnceShareALog(t *testing.T) {
	l := &logs{dir: t.TempDir()}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				l.add("f", time.Unix(0, 0), Result{Log: []byte("whole\n")})
				if err := l.read("f", &bytes.Buffer{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var b strings.Builder
	if err := l.read("f", &b); err != nil || strings.Count(b.String(), "\nwhole\n") != 160 {
		t.Errorf("%v\n%s", err, b.String())
	}
}
