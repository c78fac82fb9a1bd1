//go:build race

package client

// Under the race detector a byte costs ten times as much, and finds no more
// races: what is big only to be big is smaller there.
const raceEnabled = true
