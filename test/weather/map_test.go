package weather

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hearth/api"
	"hearth/core/money"
)

// double is a module, put together by hand, that puts out its input twice.
func double() []byte {
	var m bytes.Buffer
	m.WriteString("\x00asm\x01\x00\x00\x00")
	section := func(id byte, parts ...string) {
		body := string([]byte{byte(len(parts))}) + strings.Join(parts, "")
		m.Write([]byte{id, byte(len(body))})
		m.WriteString(body)
	}
	name := func(s string) string { return string([]byte{byte(len(s))}) + s }
	section(1, "\x60\x00\x01\x7e", "\x60\x03\x7f\x7f\x7e\x01\x7f", "\x60\x02\x7f\x7f\x01\x7f", "\x60\x00\x01\x7f")
	section(2, name("hearth")+name("input_size")+"\x00\x00", name("hearth")+name("input_read")+"\x00\x01", name("hearth")+name("output_write")+"\x00\x02")
	section(3, "\x03")
	section(5, "\x01\x01\x01")
	section(7, name("memory")+"\x02\x00", name("hearth_call")+"\x00\x03")
	write := "\x41\x00\x20\x00\x10\x02\x1a"
	section(10, name("\x01\x01\x7f"+"\x10\x00\xa7\x21\x00"+"\x41\x00\x20\x00\x42\x00\x10\x01\x1a"+write+write+"\x41\x00\x0b"))
	return m.Bytes()
}

// falseWitness builds the program of a host that signs wrong outputs: CROOK says whether
// always, the same as another liar, or now and then once it has been right for long.
func falseWitness(t *testing.T) (program string) {
	t.Helper()
	return crooked(t, "compute/host/serve.go",
		edit{"import (\n", "import (\n\t\"math/rand/v2\"\n\t\"os\"\n\t\"sync/atomic\"\n"},
		edit{"// made is what", "var answered atomic.Int64\n\n// made is what"},
		edit{"\to := c.Ended(", `	if how := os.Getenv("CROOK"); how == "agree" || how == "later" && answered.Add(1) > 60 && rand.IntN(3) == 0 {
		for i := range out.Output {
			out.Output[i] ^= 1
		}
	}
` + "\to := c.Ended("})
}

// Ten thousand inputs over eight hosts, of which two sign the same wrong outputs, one
// lies once it is trusted, and one dies: every output is right, the liars are named, and it
// costs no more than was said.
func TestLiarsAreNamedAndTheirWorkIsDoneAnew(t *testing.T) {
	t.Parallel()
	const inputs = 10_000
	w := start(t, 8, twoOfFour)
	program := falseWitness(t)
	var crooks []string
	for i, how := range []string{"agree", "agree", "later"} {
		w.turns(t, i, program, how)
		crooks = append(crooks, w.account(t, i))
	}
	from, to := t.TempDir(), t.TempDir()
	for i := range inputs {
		if err := os.WriteFile(filepath.Join(from, fmt.Sprint(i)), fmt.Appendf(nil, "input %d\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	module := filepath.Join(t.TempDir(), "double.wasm")
	if err := os.WriteFile(module, double(), 0o600); err != nil {
		t.Fatal(err)
	}
	dies := time.AfterFunc(5*time.Second, w.Hosts[7].Kill)
	defer dies.Stop()
	if out, status := hearth(t, w.Client.Dir, "fn", "deploy", module, "--deadline", "1m"); status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	out, status := hearth(t, w.Client.Dir, "run", "--map", from, "--fn", "double", "--to", to, "-o", "json", "--max-price", "50 ember")
	if status != 0 {
		t.Fatalf("exit %d: %s", status, out)
	}
	for i := range inputs {
		got, err := os.ReadFile(filepath.Join(to, fmt.Sprint(i)))
		want := strings.Repeat(fmt.Sprintf("input %d\n", i), 2)
		if err != nil || string(got) != want {
			t.Fatalf("output %d is %q: %v", i, got, err)
		}
	}
	var done api.Mapped
	_, report, _ := strings.Cut(out, "\n") // behind what is said before
	if err := json.Unmarshal([]byte(report), &done); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if done.Done != inputs || len(done.Liars) != len(crooks) {
		t.Errorf("%+v", done)
	}
	t.Logf("%d calls were made anew: some were vouched for by liars alone", done.Redone)
	found, err := w.api.Liars(within(t, patient))
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, l := range found.Liars {
		named = append(named, l.Host)
	}
	slices.Sort(crooks)
	if !slices.Equal(named, crooks) {
		t.Errorf("named are %q, liars are %q", named, crooks)
	}
	all, err := w.api.Functions(within(t, patient))
	if err != nil || len(all.Functions) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	most, err := all.Functions[0].Most.Value()
	if err != nil {
		t.Fatal(err)
	}
	if signed := w.signedForCalls(t); signed > 2*inputs*most {
		t.Errorf("%d uember are signed, a call costs at most %d", signed, most)
	}
}

// signedForCalls is what the client has signed for calls in all.
func (w *world) signedForCalls(t *testing.T) (sum money.Amount) {
	t.Helper()
	for l, err := range w.api.Leases(within(t, patient)) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Kind != "compute" {
			continue
		}
		amount, err := l.Signed.Value()
		if err != nil {
			t.Fatal(err)
		}
		sum += amount
	}
	return sum
}
