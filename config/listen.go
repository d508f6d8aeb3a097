package config

import (
	"net/netip"
	"time"
)

// Listen says where queries are taken, and how many at a time.
type Listen struct {
	// Addresses are served over UDP and TCP each. An address written as ":53" stands here as two, 0.0.0.0:53 and [::]:53; the second is
	// for IPv6 alone.
	Addresses []netip.AddrPort `key:"addresses"`
	// Workers is the number of UDP sockets to an address; 0 is one to a CPU.
	Workers int `key:"workers"`
	// UDPSize is the EDNS payload size that is announced, and the largest UDP response in octets (RFC 6891 section 6.2.3, RFC 9715).
	UDPSize int `key:"udp_size"`
	// MaxPending is the number of queries that may wait for upstream at a time; what comes beyond is shed.
	MaxPending int `key:"max_pending"`
	// TCP bounds the use of connections (RFC 7766 section 6).
	TCP ListenTCP `key:"tcp"`
}

// ListenTCP bounds the use of TCP connections.
type ListenTCP struct {
	// MaxConnections is the number of connections in all.
	MaxConnections int `key:"max_connections"`
	// MaxConnectionsPerClient is the number of connections from one address.
	MaxConnectionsPerClient int `key:"max_connections_per_client"`
	// IdleTimeout ends a connection on which nothing is asked or outstanding.
	IdleTimeout time.Duration `key:"idle_timeout"`
	// MaxPendingPerConnection is the number of queries that one connection may have outstanding.
	MaxPendingPerConnection int `key:"max_pending_per_connection"`
}

func defaultListen() Listen {
	return Listen{
		Addresses:  []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5300")},
		UDPSize:    1232,
		MaxPending: 4096,
		TCP: ListenTCP{
			MaxConnections:          1024,
			MaxConnectionsPerClient: 64,
			IdleTimeout:             10 * time.Second,
			MaxPendingPerConnection: 64,
		},
	}
}

func (l *Listen) read(m *mapping) {
	var addresses [][]netip.AddrPort
	set(m, "addresses", &addresses, list(1, 64, distinctAddresses()))
	if len(addresses) > 0 {
		l.Addresses = nil
	}
	for _, a := range addresses {
		l.Addresses = append(l.Addresses, a...)
	}
	set(m, "workers", &l.Workers, integer(0, 1024))
	set(m, "udp_size", &l.UDPSize, integer(512, 4096))
	set(m, "max_pending", &l.MaxPending, integer(1, 65536))
	m.section("tcp", l.TCP.read)
}

func (t *ListenTCP) read(m *mapping) {
	set(m, "max_connections", &t.MaxConnections, integer(1, 1<<20))
	set(m, "max_connections_per_client", &t.MaxConnectionsPerClient, integer(1, 1<<20))
	set(m, "idle_timeout", &t.IdleTimeout, duration(100*time.Millisecond, time.Hour))
	set(m, "max_pending_per_connection", &t.MaxPendingPerConnection, integer(1, 65536))
	if t.MaxConnectionsPerClient > t.MaxConnections {
		if !m.has("max_connections_per_client") {
			t.MaxConnectionsPerClient = t.MaxConnections
			return
		}
		m.at("max_connections_per_client").problem("lower it, or raise max_connections",
			"%d is more than max_connections, %d", t.MaxConnectionsPerClient, t.MaxConnections)
	}
}

// distinctAddresses reads addresses to listen on and refuses one that is already among them. Port 0, which leaves the choice to the
// kernel, is a new one every time.
func distinctAddresses() parse[[]netip.AddrPort] {
	lines := map[netip.AddrPort]int{}
	return func(v value) ([]netip.AddrPort, bool) {
		addresses, ok := listenAddress(v)
		for _, a := range addresses {
			if first, dup := lines[a]; dup && a.Port() != 0 {
				v.problem("remove one of them", "%s is listed twice (first on line %d)", a, first)
				return nil, false
			}
			lines[a] = v.line
		}
		return addresses, ok
	}
}
