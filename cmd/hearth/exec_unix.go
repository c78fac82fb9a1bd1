//go:build unix

package main

import "syscall"

// windowChanged says that the terminal has another size.
const windowChanged = syscall.SIGWINCH
