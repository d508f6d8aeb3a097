package config

import (
	"net/netip"

	"rideau/config/node"
	"rideau/config/value"
)

// OnNetwork is a name that clients ask for to find out whether they ask this Rideau.
type OnNetwork struct {
	// Name is the name, in lower case and without final dot; empty for none.
	Name string `key:"name" applies:"live"`
	// Text, IPv4 and IPv6 are its records; empty or invalid for none.
	Text string     `key:"text" applies:"live"`
	IPv4 netip.Addr `key:"ipv4" applies:"live"`
	IPv6 netip.Addr `key:"ipv6" applies:"live"`
}

func (o *OnNetwork) read(m *node.Mapping) {
	node.Set(m, "name", &o.Name, func(v node.Value) (string, bool) {
		if s, ok := v.Scalar(); ok && s == "" {
			return "", true
		}
		return value.Domain(v)
	})
	node.Set(m, "text", &o.Text, func(v node.Value) (string, bool) {
		if s, ok := v.Scalar(); ok && s == "" {
			return "", true
		}
		return node.Text(255)(v)
	})
	node.Set(m, "ipv4", &o.IPv4, value.Sinkhole4)
	node.Set(m, "ipv6", &o.IPv6, value.Sinkhole6)
	if o.Name != "" && o.Text == "" && !o.IPv4.IsValid() && !o.IPv6.IsValid() {
		m.At("name").Problem("write text, ipv4 or ipv6", "the name %s has no record by which clients could tell it from one that does not exist", o.Name)
	}
}
