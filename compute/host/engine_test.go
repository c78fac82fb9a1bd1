package host

import (
	"bytes"
	"crypto/sha256"
	"os"
	"testing"

	"hearth/compute/wasm"
	"hearth/core/fault"
)

// The test binary is the engine's worker too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		if err := wasm.Work(os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// module is a reactor with the body of hearth_call, () -> i32 with one local. It
// imports input_size, input_read and output_write, as functions 0 to 2.
func module(body ...byte) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, b string) { out = append(append(out, id, byte(len(b))), b...) }
	section(1, "\x04\x60\x00\x01\x7f\x60\x02\x7f\x7f\x01\x7f\x60\x03\x7f\x7f\x7e\x01\x7f\x60\x00\x01\x7e")
	section(2, "\x03\x06hearth\x0ainput_size\x00\x03\x06hearth\x0ainput_read\x00\x02\x06hearth\x0coutput_write\x00\x01")
	section(3, "\x01\x00")
	section(5, "\x01\x00\x01")
	section(7, "\x02\x0bhearth_call\x00\x03\x06memory\x02\x00")
	code := "\x01\x01\x7f" + string(body) + "\x0b"
	section(10, "\x01"+string(byte(len(code)))+code)
	return out
}

func TestTheEngineRunsWhatAClientPuts(t *testing.T) {
	e, err := wasm.Open(wasm.Config{Dir: t.TempDir(), Program: []string{os.Args[0], "worker"}, MaxPages: 64, Workers: 2, Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	h := newHouse(t, Config{Engine: e, MaxPages: 64})
	g := h.guest()
	echo := module(
		0x41, 0, 0x10, 0, 0xa7, 0x42, 0, 0x10, 1, 0x21, 0, // n = input_read(0, input_size(), 0)
		0x41, 0, 0x20, 0, 0x10, 2, 0x1a, // output_write(0, n)
		0x41, 7,
	)
	want(t, "no module", g.put([]byte("a poem")), fault.BadModule)
	g = h.guest()
	w := wish(sha256.Sum256(echo), 6)
	_, err = g.ask(callReq(wish(sha256.Sum256(echo), 0)), nil)
	want(t, "a call before its module", err, fault.NoModule)
	if err := g.put(echo); err != nil {
		t.Fatal(err)
	}
	var sigs [][]byte
	for range 2 {
		d, err := g.run(w, []byte("warmth"))
		if err != nil {
			t.Fatal(err)
		}
		if d.Exit != 7 || d.Fault != "" || d.Gas == 0 {
			t.Errorf("%+v", d)
		}
		if out, _, err := g.fetch(1, d); err != nil || string(out) != "warmth" {
			t.Errorf("%q, %v", out, err)
		}
		sigs = append(sigs, d.Sig)
	}
	if !bytes.Equal(sigs[0], sigs[1]) {
		t.Error("the same call has two outcomes")
	}
	loop := module(0x03, 0x40, 0x0c, 0, 0x0b, 0x41, 0)
	if err := g.put(loop); err != nil {
		t.Fatal(err)
	}
	w = wish(sha256.Sum256(loop), 0)
	before := h.till.counted().ran
	d, err := g.run(w, nil)
	if err != nil || d.Fault != string(fault.OutOfGas) || d.Gas != w.Gas || h.till.counted().ran-before != w.Gas {
		t.Errorf("a loop: %+v, %v", d, err)
	}
	w.Gas, w.Deadline = 1<<40, 50
	before = h.till.counted().ran
	_, err = g.run(w, nil)
	want(t, "a loop with gas enough", err, fault.Deadline)
	if ran := h.till.counted().ran - before; ran != gasSecond/20 {
		t.Errorf("50 ms cost %d gas", ran)
	}
}
