package config

import "rideau/config/node"

// Limits bound what clients may take, so that no one of them, nor anyone who forges their addresses, has what is there for all.
type Limits struct {
	// Amplification is how many times as long as a query its response by UDP may be, unless a cookie shows that the client's address is
	// its own; 0 for any size.
	Amplification int `key:"amplification"`
}

func defaultLimits() Limits { return Limits{Amplification: 40} }

func (l *Limits) read(m *node.Mapping) {
	node.Set(m, "amplification", &l.Amplification, node.Integer(0, 4096))
}
