package main

import (
	"fmt"
	"strings"
	"unsafe"
)

//go:wasmimport hearth kv_get
func kvGet(key unsafe.Pointer, n uint32, value unsafe.Pointer, room uint32) int64

//go:wasmimport hearth kv_set
func kvSet(key unsafe.Pointer, n uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport hearth kv_delete
func kvDelete(key unsafe.Pointer, n uint32) uint32

//go:wasmimport hearth kv_next
func kvNext(prefix unsafe.Pointer, n uint32, after unsafe.Pointer, m uint32, key unsafe.Pointer, room uint32) int32

func at[T string | []byte](s T) (unsafe.Pointer, uint32) {
	b := append([]byte(s), 0)
	return unsafe.Pointer(&b[0]), uint32(len(s))
}

// keep does one thing after another to the store: get:KEY, set:KEY:VALUE, large:KEY,
// delete:KEY, list:PREFIX.
func keep(things []string) {
	for _, thing := range things {
		do, rest, _ := strings.Cut(thing, ":")
		name, value, _ := strings.Cut(rest, ":")
		key, n := at(name)
		switch do {
		case "get":
			b := make([]byte, 4)
			size := kvGet(key, n, unsafe.Pointer(&b[0]), 4)
			fmt.Printf("%s %d %q\n", name, size, b[:max(0, min(4, size))])
		case "set":
			v, m := at(value)
			fmt.Printf("%s %d\n", name, kvSet(key, n, v, m))
		case "large":
			v, m := at(make([]byte, 64<<10+1))
			fmt.Printf("%s %d\n", name, kvSet(key, n, v, m))
		case "delete":
			fmt.Printf("%s %d\n", name, kvDelete(key, n))
		case "list":
			b := make([]byte, 256)
			for after := ""; ; {
				a, m := at(after)
				size := kvNext(key, n, a, m, unsafe.Pointer(&b[0]), 256)
				if size < 0 {
					break
				}
				after = string(b[:size])
				fmt.Println(after)
			}
		}
	}
}
