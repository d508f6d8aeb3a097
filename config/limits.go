package config

import "rideau/config/node"

// Limits limit what one client, or somebody who forges addresses, may use of what all clients share.
type Limits struct {
	// QueriesPerSecond is the number of queries from one client, an IPv4 address or an IPv6 block of /64; 0 is no limit.
	QueriesPerSecond int `key:"queries_per_second" applies:"live"`
	// Burst is the number of them that may come at once; 0 for QueriesPerSecond.
	Burst int `key:"burst" applies:"live"`
	// Flood says whether queries of the networks that ask most are rejected while more queries come than can be read.
	Flood bool `key:"flood" applies:"live"`
	// Amplification is how many times as long as the query a UDP response may be, unless a cookie shows that the client's address is its
	// own; 0 is no limit.
	Amplification int `key:"amplification" applies:"live"`
	// UnverifiedBytesPerSecond is the number of octets in UDP responses to one client, an IPv4 address or an IPv6 block of /64, beyond the
	// first 256 of each response, unless a cookie shows that the client's address is its own; 0 is no limit.
	UnverifiedBytesPerSecond int `key:"unverified_bytes_per_second" applies:"live"`
}

func defaultLimits() Limits {
	return Limits{Flood: true, Amplification: 40, UnverifiedBytesPerSecond: 250_000}
}

func (l *Limits) read(m *node.Mapping) {
	node.Set(m, "queries_per_second", &l.QueriesPerSecond, node.Integer(0, 10_000_000))
	node.Set(m, "burst", &l.Burst, node.Integer(0, 10_000_000))
	node.Set(m, "flood", &l.Flood, node.Boolean)
	if l.Burst > 0 && l.QueriesPerSecond == 0 {
		m.At("burst").Warn("set queries_per_second too, or take burst out", "queries_per_second is not set, so burst has no effect")
	}
	node.Set(m, "amplification", &l.Amplification, node.Integer(0, 4096))
	node.Set(m, "unverified_bytes_per_second", &l.UnverifiedBytesPerSecond, node.Integer(0, 1_000_000_000))
}
