//go:build !linux || !(amd64 || arm64)

package main

import (
	"fmt"
	"os"
)

func isolate() bool { return false }

func keep(string) int {
	fmt.Fprintln(os.Stderr, "hearth-sandbox: containers need Linux on amd64 or arm64")
	return 1
}
