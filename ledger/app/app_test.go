package app_test

import (
	"testing"
)

// A ledger starts from its genesis and makes blocks.
func TestFirstBlocks(t *testing.T) {
	l := newLedger(t)
	for range 3 {
		l.block()
	}
	if h := l.LastBlockHeight(); h != 4 {
		t.Errorf("height %d", h)
	}
}
