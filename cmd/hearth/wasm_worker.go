package main

import (
	"fmt"
	"os"

	"hearth/compute/wasm"
)

// wasmWorker is the argument with which a node starts this program to run one
// stranger's functions. People have no use for it, and no help shows it.
const wasmWorker = "wasm-worker"

func workWasm() (status int) {
	if err := wasm.Work(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
