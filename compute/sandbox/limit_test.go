//go:build linux

package sandbox_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hearth/compute/sandbox"
	"hearth/core/fault"
)

func TestWhoTakesTooMuchMemoryIsEnded(t *testing.T) {
	w := newWorld(t)
	s := sh("echo up; tail /dev/zero; echo survived; sleep 600")
	_, state := w.run("hog", s)
	if state.Reason != sandbox.OutOfMemory {
		t.Fatalf("%+v\n%s", state, w.log("hog"))
	}
}

func TestMemoryInFilesCountsToo(t *testing.T) {
	w := newWorld(t)
	s := sh("mkdir /tmp/x && cd /tmp && for i in $(seq 1 40); do dd if=/dev/zero of=/dev/shm/$i bs=1M count=16 2>/dev/null || break; done; ls /dev/shm | wc -l; sleep 1")
	s.Memory = 1 << 30
	out, state := w.run("shm", s)
	if n, _ := strconv.Atoi(strings.TrimSpace(out)); n > 5 || n == 0 || state.Reason != sandbox.Exited {
		t.Fatalf("%q %+v", out, state)
	}
}

func TestAForkBombIsBounded(t *testing.T) {
	w := newWorld(t)
	s := sh("i=0; while [ $i -lt 200 ]; do sleep 600 & i=$((i+1)); done; echo all 200")
	s.Pids = 20
	w.start("bomb", s)
	state := w.ended("bomb")
	if strings.Contains(w.log("bomb"), "all 200") || state.Phase != sandbox.Ended {
		t.Fatalf("%q %+v", w.log("bomb"), state)
	}
}

func TestWhatIsFullOrHasEndedSaysSo(t *testing.T) {
	w := newWorld(t)
	s := sh("for i in 1 2 3 4 5 6 7; do sleep 600 & done; echo full; exec sleep 600")
	s.Pids = 8
	w.start("full", s)
	until(t, "it has as many processes as it may", func() bool { return w.log("full") == "full\n" })
	_, err := w.e.Exec(w.ctx, "full", sandbox.Exec{Args: []string{"true"}}, sandbox.Streams{})
	if fault.CodeOf(err) != fault.AtLimit || !strings.Contains(err.Error(), "8") {
		t.Error(err)
	}
	w.run("over", sh("true"))
	_, err = w.e.Exec(w.ctx, "over", sandbox.Exec{Args: []string{"true"}}, sandbox.Streams{})
	if fault.CodeOf(err) != fault.InstanceEnded || !strings.HasSuffix(err.Error(), sandbox.Exited) {
		t.Error(err)
	}
	if _, err := w.e.Dial(w.ctx, "over", 80); fault.CodeOf(err) != fault.InstanceEnded {
		t.Error(err)
	}
}

func TestTheDiskIsBounded(t *testing.T) {
	w := newWorld(t)
	s := sh("dd if=/dev/zero of=/home/fill bs=1M count=100 2>&1; stat -c %s /home/fill; rm /home/fill; dd if=/dev/zero of=/home/fill bs=1M count=4 2>/dev/null && echo room again")
	s.Disk = 8 << 20
	out, _ := w.run("disk", s)
	if !strings.Contains(out, "No space left") || !strings.Contains(out, "room again") {
		t.Fatalf("%q", out)
	}
	if strings.Contains(out, strconv.Itoa(100<<20)) {
		t.Fatalf("it wrote everything: %q", out)
	}
}

func TestTheCPUIsBounded(t *testing.T) {
	w := newWorld(t)
	if w.e.Caps().Cgroup == "" {
		return // whole CPUs are all that can be had: TestPin
	}
	s := sh("while :; do :; done")
	s.CPU = 200
	w.start("busy", s)
	begin := time.Now()
	first, err := w.e.Stats(w.ctx, "busy")
	if err != nil {
		t.Fatal(err)
	}
	var last sandbox.Usage
	until(t, "it has computed for a while", func() bool {
		last, err = w.e.Stats(w.ctx, "busy")
		if err != nil {
			t.Fatal(err)
		}
		return last.CPU-first.CPU > 400*time.Millisecond
	})
	if took := time.Since(begin); float64(last.CPU-first.CPU) > 0.35*float64(took) {
		t.Fatalf("%v of CPU in %v, allowed are 20 %%", last.CPU-first.CPU, took)
	}
}

func TestStats(t *testing.T) {
	w := newWorld(t)
	w.start("stats", sh("head -c 20000000 /dev/zero > /dev/shm/x; echo up; sleep 600"))
	until(t, "it is up", func() bool { return w.log("stats") == "up\n" })
	u, err := w.e.Stats(w.ctx, "stats")
	if err != nil || u.CPU <= 0 || u.Memory < 20_000_000 || u.Memory > 256<<20 || u.Pids < 1 || u.Pids > 10 {
		t.Fatalf("%+v %v", u, err)
	}
}

func TestALogIsFollowedToItsEnd(t *testing.T) {
	w := newWorld(t)
	w.start("follow", sh("for i in 1 2 3 4 5; do echo $i; sleep 0.1; done"))
	r, err := w.e.Logs(w.ctx, "follow", sandbox.LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil || string(all) != "1\n2\n3\n4\n5\n" || r.Offset() != 10 {
		t.Fatalf("%q %d %v", all, r.Offset(), err)
	}
	last, err := w.e.Logs(w.ctx, "follow", sandbox.LogOptions{Tail: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if all, err := io.ReadAll(last); err != nil || string(all) != "4\n5\n" {
		t.Fatalf("%q %v", all, err)
	}
}

func TestALogIsBoundedAndHoldsNobodyUp(t *testing.T) {
	w := newWorld(t)
	_, s := w.run("chatter", sh("seq 1 4000000; echo the end"))
	if s.Exit != 0 {
		t.Fatalf("%+v", s)
	}
	var size int64
	files, err := filepath.Glob(filepath.Join(w.folder, "chatter/log/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 16<<20 || size < 8<<20 {
		t.Errorf("%d bytes are kept", size)
	}
	r, err := w.e.Logs(w.ctx, "chatter", sandbox.LogOptions{Tail: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if all, err := io.ReadAll(r); err != nil || string(all) != "3999999\n4000000\nthe end\n" {
		t.Fatalf("%q %v", all, err)
	}
	whole := bufio.NewScanner(strings.NewReader(w.log("chatter")))
	whole.Scan() // the first line may be half one
	n := 0
	for whole.Scan() {
		x, err := strconv.Atoi(whole.Text())
		if err != nil {
			break
		}
		if n != 0 && x != n+1 {
			t.Fatal(fmt.Sprint("a gap after ", n, ": ", x))
		}
		n = x
	}
	if n != 4000000 {
		t.Fatalf("the last number is %d", n)
	}
}
