// Command probe does what its first argument says, with what a program can reach.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

var kept int

func main() {
	switch os.Args[1] {
	case "echo":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			panic(err)
		}
	case "context":
		fmt.Println(strings.Join(os.Args[1:], " "), os.Getenv("PLACE"))
	case "exit":
		fmt.Fprintln(os.Stderr, "leaving")
		os.Exit(7)
	case "keep":
		keep(os.Args[2:])
	case "forget":
		keep(os.Args[2:])
		os.Exit(1)
	case "keep-and-panic":
		keep(os.Args[2:])
		panic("as it was told")
	case "count":
		kept++
		fmt.Println(kept)
	case "clock":
		start := time.Now()
		time.Sleep(time.Hour)
		fmt.Println(start.UTC().Format(time.RFC3339), time.Since(start).Truncate(time.Minute))
	case "random":
		b := make([]byte, 8)
		rand.Read(b)
		fmt.Printf("%x\n", b)
	case "reach":
		_, err := os.ReadDir("/")
		fmt.Println("folder:", err != nil)
		_, err = os.Create("/tmp/x")
		fmt.Println("file:", err != nil)
		_, err = net.Dial("tcp", "127.0.0.1:1")
		fmt.Println("network:", err != nil)
	case "noise":
		for i := range 20000 {
			fmt.Fprintf(os.Stderr, "line %d\n", i)
		}
	case "spin":
		for {
		}
	case "panic":
		panic("as it was told")
	}
}
