// Command counter counts its calls in its store, over HTTP or not.
package main

import (
	"fmt"
	"os"
	"strconv"
	"unsafe"
)

//go:wasmimport hearth kv_get
func kvGet(key string, value unsafe.Pointer, room uint32) int64

//go:wasmimport hearth kv_set
func kvSet(key, value string) uint32

func main() {
	var b [20]byte
	size := max(0, kvGet("visits", unsafe.Pointer(&b[0]), uint32(len(b))))
	visits, _ := strconv.Atoi(string(b[:min(int(size), len(b))]))
	visits++
	if status := kvSet("visits", strconv.Itoa(visits)); status != 0 {
		fmt.Fprintln(os.Stderr, "kv_set:", status)
		os.Exit(1)
	}
	if os.Getenv("REQUEST_METHOD") != "" {
		fmt.Print("Content-Type: text/plain\n\n")
	}
	fmt.Println(visits)
	if len(os.Args) > 1 && os.Args[1] == "fail" {
		os.Exit(1) // what was set counts for nothing
	}
}
