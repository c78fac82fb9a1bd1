package host

import (
	"bytes"
	"io"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkReceive receives, verifies and writes shards of 4 MiB, with the group
// sync. Yardstick: 1.8 CPU-s/GB, network and TLS included; here is the rest of it.
func BenchmarkReceive(b *testing.B) {
	const size = proof.MaxShard
	h := open(b, Config{FS: vfs.Default, Dir: filepath.Join(b.TempDir(), "host"), Capacity: 64 << 30, VolumeSize: 1 << 30, MaxPending: 1 << 40})
	data, _ := shard(1, size)
	b.SetBytes(size)
	var used time.Duration
	for i := range b.N {
		data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
		root := proof.Sum(data)
		start := cpu(b)
		if err := h.Put(1, root, size, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
		used += cpu(b) - start
		if i%64 == 63 { // the disk of a small machine holds not all of them
			b.StopTimer()
			if err := h.Drop(1); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
	b.ReportMetric(used.Seconds()*1e9/float64(b.N*size), "CPU-s/GB")
}

// BenchmarkReceiveOverTLS is the same through the door, on a direct connection
// over loopback. Both ends are in this process: the client's TLS is counted too.
func BenchmarkReceiveOverTLS(b *testing.B) {
	const size = proof.MaxShard
	d := newDoor(b, Config{FS: vfs.Default, Dir: filepath.Join(b.TempDir(), "host"), Capacity: 64 << 30, VolumeSize: 1 << 30, MaxPending: 1 << 40}, ServerConfig{})
	d.till.pay(1 << 60)
	s := d.stream()
	s.SetDeadline(time.Now().Add(time.Hour))
	data, _ := shard(1, size)
	b.SetBytes(size)
	var used time.Duration
	for i := range b.N {
		data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
		root := proof.Sum(data)
		start := cpu(b)
		if err := send(s, root, data); err != nil {
			b.Fatal(err)
		}
		used += cpu(b) - start
		if i%64 == 63 {
			b.StopTimer()
			if err := d.host.Drop(1); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
	b.ReportMetric(used.Seconds()*1e9/float64(b.N*size), "CPU-s/GB")
}

// BenchmarkRange reads 64 KiB with proof from one host over loopback.
// Yardstick: half of them in under 1 ms.
func BenchmarkRange(b *testing.B) {
	d := newDoor(b, Config{FS: vfs.Default, Dir: filepath.Join(b.TempDir(), "host"), Capacity: 1 << 30}, ServerConfig{})
	d.till.pay(1 << 60)
	s := d.stream()
	data, root := shard(1, proof.MaxShard)
	if err := send(s, root, data); err != nil {
		b.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(time.Hour))
	part := make([]byte, 64<<10)
	times := make([]time.Duration, 0, b.N)
	for i := range b.N {
		off := int64(i*7919*1024) % proof.MaxShard
		start := time.Now()
		r, err := ask(s, rangeReq(root, uint64(off), 64<<10))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, part); err != nil {
			b.Fatal(err)
		}
		path, err := proof.Unpack(r.GetRanged().GetPath(), 20)
		if err != nil {
			b.Fatal(err)
		}
		if err := proof.Verify(root, proof.MaxShard, off, 64<<10, part, path); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
}
