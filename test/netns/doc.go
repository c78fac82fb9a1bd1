// Package netns tests the programs on machines of their own: each runs in a
// network namespace with its own addresses, all joined by one bridge, so that
// what depends on addresses is real. It refuses to touch the machine it runs on:
// the test starts itself again in new network, mount and process namespaces, and
// whatever it makes ends with that process, however it ends.
package netns
