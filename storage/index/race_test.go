//go:build race

package index

// Under the race detector SQLite, which is Go here, is some ten times slower: of
// many random cases a part must do.
const raced = true
