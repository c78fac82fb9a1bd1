// Command escape is a tenant who means harm, and his neighbour. Its first argument says
// which attack it makes; what it is refused, and what it gains, stands in its output.
// The laws believe nothing of that but what hurts: they look from outside.
package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		os.Args = append(os.Args, "wait")
	}
	var err error
	switch rest := os.Args[2:]; os.Args[1] {
	case "count":
		count()
	case "wait", "sit":
		wait()
	case "fork":
		err = fork(false)
	case "crowd":
		err = fork(true)
	case "memory":
		memory()
	case "disk":
		disk()
	case "cpu":
		burn()
	case "sum":
		began := time.Now()
		compute(1_000_000)
		fmt.Println(time.Since(began).Milliseconds())
	case "scan":
		err = scan(rest)
	case "rights":
		err = rights(rest)
	case "who":
		fmt.Println("uid", os.Getuid(), "euid", os.Geteuid(), "gid", os.Getgid(), "egid", os.Getegid())
	case "shout":
		err = shout()
	default:
		err = fmt.Errorf("%s isn't an attack", os.Args[1])
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// wait ends when somebody ends it.
func wait() {
	for {
		time.Sleep(time.Hour)
	}
}

// count is the neighbour: each fifth of a second it computes a little and says how long
// that took and how late it is.
func count() {
	const every = 200 * time.Millisecond
	began := time.Now()
	for n := 0; ; n++ {
		at := began.Add(time.Duration(n) * every)
		time.Sleep(time.Until(at))
		late, work := time.Since(at), time.Now()
		compute(20_000)
		fmt.Println("line", n, late.Milliseconds(), time.Since(work).Milliseconds())
	}
}

func compute(rounds int) {
	sum := sha256.Sum256(nil)
	for range rounds {
		sum = sha256.Sum256(sum[:])
	}
}

// fork has itself run again and again, and each of these does the same; in a crowd each
// as another user, so that no limit of one user's holds it.
func fork(crowd bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	told := false
	for n := uint32(1); ; n++ {
		c := exec.Command(self, os.Args[1])
		c.Stdout = os.Stdout
		if crowd {
			c.Args[1] = "sit"
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000 + n, Gid: 1000}}
		}
		if err := c.Start(); err != nil && !told {
			told = true
			fmt.Println("no more:", err)
		}
		if told || crowd {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// memory takes all there is, and uses it.
func memory() {
	var all [][]byte
	for n := 0; ; n++ {
		b := make([]byte, 8<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		if all = append(all, b); n%8 == 0 {
			fmt.Println("memory", n*8, "MiB")
		}
	}
}

// disk writes wherever it may, until nothing more goes.
func disk() {
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(i)
	}
	for _, dir := range []string{"/tmp", "/dev/shm", "/srv"} {
		total := 0
		var why error
		for n := 0; n < 64 && why == nil; n++ {
			f, err := os.Create(filepath.Join(dir, "fill"+strconv.Itoa(n)))
			for why = err; why == nil && total < 16<<30; {
				var n int
				n, why = f.Write(b)
				total += n
			}
			if f != nil {
				f.Close()
			}
		}
		fmt.Println("disk", dir, total, why)
		if dir != "/srv" {
			all, _ := filepath.Glob(filepath.Join(dir, "fill*"))
			for _, name := range all {
				os.Remove(name)
			}
		}
	}
}

// burn computes on as many threads as it gets.
func burn() {
	for range 4 * runtime.NumCPU() {
		go func() {
			runtime.LockOSThread()
			for {
				compute(1_000_000)
			}
		}()
	}
	fmt.Println("burn")
	wait()
}

// scan tries to reach addresses, a host and port each, over TCP and UDP.
func scan(addresses []string) error {
	b := make([]byte, 1)
	var all sync.WaitGroup
	places := make(chan struct{}, 32)
	for _, to := range addresses {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			if c, err := net.DialTimeout("tcp", to, 3*time.Second); err == nil {
				fmt.Println("GAINED tcp", to)
				c.Close()
			} else if errors.Is(err, os.ErrDeadlineExceeded) {
				fmt.Println("silent tcp", to)
			}
			c, err := net.DialTimeout("udp", to, 3*time.Second)
			if err != nil {
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Second))
			if _, err := io.WriteString(c, "anybody there?"); err != nil {
				return
			}
			if n, err := c.Read(b); n > 0 || err == nil {
				fmt.Println("GAINED udp", to)
			}
		})
	}
	all.Wait()
	fmt.Println("scanned", len(addresses))
	return nil
}

// shout writes as much as is taken, for ever.
func shout() error {
	line := []byte(strings.Repeat("all work and no play makes Jack a dull boy ", 20) + "\n")
	many := []byte(strings.Repeat(string(line), 64))
	for {
		if _, err := os.Stdout.Write(many); err != nil {
			return err
		}
	}
}
