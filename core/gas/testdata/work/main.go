// A program that computes: hashes, sorts, floats, maps. Its argument picks one.
package main

import (
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"sort"
)

func main() {
	switch os.Args[1] {
	case "hash":
		b := make([]byte, 1<<20)
		sum := [32]byte{}
		for range 8 {
			copy(b, sum[:])
			sum = sha256.Sum256(b)
		}
		fmt.Printf("%x\n", sum)
	case "sort":
		v := make([]uint32, 500_000)
		x := uint32(1)
		for i := range v {
			x = x*1664525 + 1013904223
			v[i] = x
		}
		sort.Slice(v, func(i, j int) bool { return v[i] < v[j] })
		fmt.Println(v[0], v[len(v)/2], v[len(v)-1])
	case "matrix":
		const n = 160
		var a, b, c [n][n]float64
		for i := range n {
			for j := range n {
				a[i][j], b[i][j] = math.Sqrt(float64(i+j)), 1/float64(i+j+1)
			}
		}
		for i := range n {
			for j := range n {
				for k := range n {
					c[i][j] += a[i][k] * b[k][j]
				}
			}
		}
		fmt.Println(c[n-1][n-1], math.Float64bits(c[3][5]))
	case "sieve":
		const n = 5_000_000
		sieve := make([]bool, n)
		count := 0
		for i := 2; i < n; i++ {
			if !sieve[i] {
				count++
				for j := 2 * i; j < n; j += i {
					sieve[j] = true
				}
			}
		}
		fmt.Println(count)
	case "map":
		m := map[int]int{}
		for i := range 300_000 {
			m[i*7919%100_003] += i
		}
		fmt.Println(len(m), m[5])
	}
}
