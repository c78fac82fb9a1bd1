// Package test runs scripts on the real programs: what a person types, what
// comes back, and with which exit status. The scripts are in testdata/script, and
// in testdata/network those on a real ledger, which they share.
package test
