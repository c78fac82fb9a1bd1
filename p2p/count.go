package p2p

// Peers is how many peers this node is connected to over libp2p.
func (n *Node) Peers() int { return len(n.host.Network().Peers()) }
