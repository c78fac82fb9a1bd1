// Command function is what the laws about functions run on hosts: its first
// argument says what it does.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "%s began with %d bytes\n", strings.Join(os.Args, " "), len(in))
	switch what := os.Args[1]; what {
	case "upper":
		_, err = os.Stdout.Write(bytes.ToUpper(in))
	case "say":
		fmt.Print(os.Getenv("WORD"), " ", strings.Join(os.Args[2:], " "))
	case "fail":
		os.Exit(3)
	case "spin":
		sum := sha256.Sum256(in)
		for {
			sum = sha256.Sum256(sum[:])
		}
	case "open":
		_, err = os.ReadFile("/etc/hostname")
	case "crash":
		var none []int
		fmt.Print(none[len(os.Args)])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
