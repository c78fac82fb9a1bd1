package p2p

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The benchmarks measure each side by itself: the host is this test binary again,
// as a process of its own, told by its environment what to be.
const hostEnv = "HEARTH_P2P_BENCH_HOST"

func TestMain(m *testing.M) {
	if os.Getenv(hostEnv) != "" {
		benchHost()
		return
	}
	os.Exit(m.Run())
}

// benchHost serves until its input ends. It prints who it is, and for each line
// it reads the CPU seconds and memory it has used.
func benchHost() {
	seed, _ := hex.DecodeString(os.Getenv(hostEnv))
	c := Config{Key: ed25519.NewKeyFromSeed(seed), Network: "hearth-bench"}
	both(&c)
	c.Limits.ConnsPerPeer, c.Limits.BulkConnsPerPeer, c.Limits.BulkConnsPerIP = 2000, 2000, 2000
	c.Limits.Conns, c.Limits.BulkConns = 4000, 4000
	n, err := New(c)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	n.Handle("/bench/sink/1", func(_ context.Context, s Stream) { sink(s, s) })
	n.Handle("/bench/source/1", func(_ context.Context, s Stream) {
		var b [1]byte
		if _, err := s.Read(b[:]); err == nil {
			source(s)
		}
	})
	n.Handle("/bench/echo/1", echo)
	fmt.Println(strings.Join(n.Addrs(), " "))
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		cpu := cpuSeconds()
		runtime.GC()
		debug.FreeOSMemory()
		fmt.Println(cpu, resident())
	}
	n.Close()
}

const (
	benchBytes = 256 << 20 // a round
	benchPiece = 256 << 10
)

// sink reads a round and confirms it.
func sink(r io.Reader, w io.Writer) error {
	b := make([]byte, benchPiece)
	for left := benchBytes; left > 0; {
		n, err := r.Read(b[:min(len(b), left)])
		left -= n
		if err != nil {
			return err
		}
	}
	_, err := w.Write([]byte{1})
	return err
}

func source(w io.Writer) error {
	b := make([]byte, benchPiece)
	for range benchBytes / benchPiece {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func cpuSeconds() float64 {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	of := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return of(r.Utime) + of(r.Stime)
}

// resident is the resident memory in KiB.
func resident() int {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d", &kib); err == nil {
			return kib
		}
	}
	return 0
}

// otherHost is a host in a process of its own.
type otherHost struct {
	Peer
	in  io.Writer
	out *bufio.Scanner
}

func newOtherHost(b *testing.B) *otherHost {
	b.Helper()
	key := newKey(b)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), hostEnv+"="+hex.EncodeToString(key.Seed()))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	h := &otherHost{in: in, out: bufio.NewScanner(out)}
	if !h.out.Scan() {
		b.Fatal("the host did not start")
	}
	h.Peer = Peer{Key: publicOf(key), Addrs: strings.Fields(h.out.Text())}
	return h
}

// usage asks the host for its CPU seconds and resident KiB.
func (h *otherHost) usage(b *testing.B) (cpu float64, kib int) {
	b.Helper()
	fmt.Fprintln(h.in, "?")
	if !h.out.Scan() {
		b.Fatal("the host is gone")
	}
	fmt.Sscan(h.out.Text(), &cpu, &kib)
	return cpu, kib
}

var paths = []struct {
	name string
	open opener
}{{"bulk", (*Node).OpenBulk}, {"control", (*Node).Open}}

// BenchmarkStream sends and fetches 256 MiB a round. The yardstick is 1 CPU-s/GB
// a side.
func BenchmarkStream(b *testing.B) {
	for _, path := range paths {
		for _, way := range []string{"put", "get"} {
			b.Run(path.name+"/"+way, func(b *testing.B) {
				host, client := newOtherHost(b), node(b, nil)
				b.SetBytes(benchBytes)
				hostCPU, _ := host.usage(b)
				own := cpuSeconds()
				for b.Loop() {
					round(b, client, host.Peer, path.open, way)
				}
				own = cpuSeconds() - own
				after, _ := host.usage(b)
				gb := float64(b.N) * benchBytes / 1e9
				b.ReportMetric(own/gb, "client-CPU-s/GB")
				b.ReportMetric((after-hostCPU)/gb, "host-CPU-s/GB")
			})
		}
	}
}

func round(b *testing.B, client *Node, host Peer, open opener, way string) {
	protocol := map[string]string{"put": "/bench/sink/1", "get": "/bench/source/1"}[way]
	s, err := open(client, context.Background(), host, protocol)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(time.Minute))
	if way == "put" {
		if err := source(s); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		return
	}
	s.Write([]byte{1})
	if err := sink(s, io.Discard); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpen opens a stream, sends 64 bytes there and back, and closes it.
func BenchmarkOpen(b *testing.B) {
	for _, path := range paths {
		b.Run(path.name, func(b *testing.B) {
			host, client := newOtherHost(b), node(b, nil)
			buf := make([]byte, 64)
			for b.Loop() {
				s, err := path.open(client, context.Background(), host.Peer, "/bench/echo/1")
				if err != nil {
					b.Fatal(err)
				}
				s.SetDeadline(time.Now().Add(time.Minute))
				s.Write(buf)
				if _, err := io.ReadFull(s, buf); err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}

// BenchmarkIdleConnection measures what a connection without traffic costs the
// host. The yardstick is 80 KiB.
func BenchmarkIdleConnection(b *testing.B) {
	const conns = 300
	for _, path := range paths {
		b.Run(path.name, func(b *testing.B) {
			host := newOtherHost(b)
			var alone, perConn float64
			for b.Loop() {
				_, before := host.usage(b)
				var clients []*Node
				for range conns {
					n, err := New(Config{Key: newKey(b), Network: "hearth-bench"})
					if err != nil {
						b.Fatal(err)
					}
					clients = append(clients, n)
					s, err := path.open(n, context.Background(), host.Peer, "/bench/echo/1")
					if err != nil {
						b.Fatal(err)
					}
					ping(b, s)
					s.Close()
				}
				time.Sleep(200 * time.Millisecond)
				_, after := host.usage(b)
				alone, perConn = float64(before)/1024, float64(after-before)/conns
				for _, n := range clients {
					n.Close()
				}
			}
			b.ReportMetric(perConn, "host-KiB/conn")
			b.ReportMetric(alone, "host-MiB-alone")
		})
	}
}
