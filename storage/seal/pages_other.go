//go:build !linux

package seal

// pages maps nothing here: the garbage collector's memory will do.
func pages(int64) []byte { return nil }

func unmap([]byte) {}

func vacate([]byte) {}
