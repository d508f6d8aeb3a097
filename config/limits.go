package config

import "rideau/config/node"

// Limits bound what clients may take, so that no one of them, nor anyone who forges their addresses, has what is there for all.
type Limits struct {
	// QueriesPerSecond is how many queries a client may ask, an IPv4 address or an IPv6 block of /64; 0 for any number.
	QueriesPerSecond int `key:"queries_per_second" applies:"live"`
	// Burst is how many of them may come at once; 0 for QueriesPerSecond.
	Burst int `key:"burst" applies:"live"`
	// Flood turns away queries of the networks that ask most while more comes than can be read.
	Flood bool `key:"flood" applies:"live"`
	// Amplification is how many times as long as a query its response by UDP may be, unless a cookie shows that the client's address is
	// its own; 0 for any size.
	Amplification int `key:"amplification" applies:"live"`
}

func defaultLimits() Limits { return Limits{Flood: true, Amplification: 40} }

func (l *Limits) read(m *node.Mapping) {
	node.Set(m, "queries_per_second", &l.QueriesPerSecond, node.Integer(0, 10_000_000))
	node.Set(m, "burst", &l.Burst, node.Integer(0, 10_000_000))
	node.Set(m, "flood", &l.Flood, node.Boolean)
	if l.Burst > 0 && l.QueriesPerSecond == 0 {
		m.At("burst").Warn("set queries_per_second too, or take burst out", "there is no bound on queries a second, so that burst means nothing")
	}
	node.Set(m, "amplification", &l.Amplification, node.Integer(0, 4096))
}
