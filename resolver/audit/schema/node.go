package schema

import "net/netip"

// AppendQueryID appends the id of a query's event, by the number of its record.
func (n *Node) AppendQueryID(dst []byte, number uint64) []byte {
	return n.appendID(dst, queryLetter, number)
}

// AppendActID appends the id of an act's event.
func (n *Node) AppendActID(dst []byte, number uint64) []byte {
	return n.appendID(dst, actLetter, number)
}

// AppendClient appends what may be told of a client's address, which may be
// nothing.
func (n *Node) AppendClient(dst []byte, a netip.Addr) []byte { return n.appendClient(dst, a) }
