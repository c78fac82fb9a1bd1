// Package bargain holds no code, only the laws of the whole bargain, as tests: a
// model world of purses, mandates, hosts and leases, in which clients with
// several devices and their hosts keep to the rules or break them, crash, lose
// messages and let time go by. After every step the laws must hold. What the
// ledger and the market's nodes do with core's rules is written down here once,
// in small.
package bargain
