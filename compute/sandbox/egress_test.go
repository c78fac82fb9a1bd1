//go:build linux

package sandbox_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hearth/compute/sandbox"
)

// The addresses of a small Internet: the host's, and somebody's far away.
const (
	hostAddr = "45.67.89.1"
	farAddr  = "45.67.89.2"
)

// internet puts this goroutine into a network namespace of its own, in which
// the far side of a wire answers as if it were anywhere. It counts packets that come over UDP. It needs root.
func internet(t *testing.T) *atomic.Int64 {
	t.Helper()
	runtime.LockOSThread() // and never unlock: the thread is thrown away with its namespace
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	asked := new(atomic.Int64)
	far := make(chan int)
	listening := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		ns, oerr := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil || oerr != nil {
			ns = -1
		}
		far <- ns
		<-far // the wire is there
		listening <- serveFar(t, asked)
	}()
	ns := <-far
	if ns < 0 {
		t.Fatal("no namespace for the far side")
	}
	defer unix.Close(ns)
	must(unix.Unshare(unix.CLONE_NEWNET))
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "here"
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far", PeerNamespace: netlink.NsFd(ns)}))
	must(raise("here", hostAddr))
	far <- 0
	must(<-listening)
	return asked
}

func raise(name, addr string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr + "/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// serveFar answers at the far side, over TCP also at a port of mail, and over UDP.
func serveFar(t *testing.T, asked *atomic.Int64) error {
	if err := raise("far", farAddr); err != nil {
		return err
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			io.CopyN(w, zeros{}, 3<<20)
			return
		}
		fmt.Fprint(w, "from far away")
	})
	for _, port := range []string{"80", "25"} {
		l, err := net.Listen("tcp", farAddr+":"+port)
		if err != nil {
			return err
		}
		s := &http.Server{Handler: h}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
	}
	names, err := net.ListenPacket("udp", farAddr+":53")
	if err != nil {
		return err
	}
	t.Cleanup(func() { names.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := names.ReadFrom(b)
			if err != nil {
				return
			}
			asked.Add(1)
			b[2] |= 0x80 // an answer, and none
			names.WriteTo(b[:n], from)
		}
	}()
	return nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestEgress(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("the test needs root to make an Internet; who runs instances doesn't")
		return
	}
	asked := internet(t)
	w := newWorld(t)
	get := func(id, url string) (string, bool) {
		out, exit := w.exec(id, "wget", "-q", "-O", "-", "http://"+url)
		return out, exit == 0
	}
	for id, c := range map[string]struct {
		egress sandbox.Egress
		allow  []string
		open   bool
	}{
		"none":    {sandbox.EgressNone, nil, false},
		"open":    {sandbox.EgressOpen, nil, true},
		"listed":  {sandbox.EgressAllow, []string{"45.67.89.0/24"}, true},
		"another": {sandbox.EgressAllow, []string{"1.1.1.1", "example.org"}, false},
	} {
		s := sh("sleep 600")
		s.Egress, s.Allow = c.egress, c.allow
		w.start(id, s)
		if out, ok := get(id, farAddr+"/"); ok != c.open || c.open && out != "from far away" {
			t.Errorf("%s: reached is %t: %q", id, ok, out)
		}
		if out, ok := get(id, farAddr+":25/"); ok {
			t.Errorf("%s: mail is open: %q", id, out)
		}
		if out, ok := get(id, hostAddr+"/"); ok {
			t.Errorf("%s: the host's own address is open: %q", id, out)
		}
		before := asked.Load()
		out, _ := w.exec(id, "nslookup", "-type=a", "example.org.", farAddr)
		if c.open != (asked.Load() > before) {
			t.Errorf("%s: over UDP: %q", id, out)
		}
	}
}

func TestTheRateIsKeptAndCounted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("the test needs root to make an Internet; who runs instances doesn't")
		return
	}
	internet(t)
	w := newWorld(t)
	s := sh("sleep 600")
	s.Egress, s.Rate = sandbox.EgressOpen, 1<<20
	w.start("slow", s)
	begin := time.Now()
	if out, exit := w.exec("slow", "sh", "-c", "wget -q -O - http://"+farAddr+"/big | wc -c"); exit != 0 || strings.TrimSpace(out) != "3145728" {
		t.Fatalf("%d %q", exit, out)
	}
	if took := time.Since(begin); took < 2500*time.Millisecond {
		t.Errorf("3 MiB at 1 MiB/s in %v", took)
	}
	u, err := w.e.Stats(w.ctx, "slow")
	if err != nil || u.NetIn < 3<<20 || u.NetIn > 4<<20 || u.NetOut == 0 || u.NetOut > 1<<20 {
		t.Errorf("%+v %v", u, err)
	}
}
