package config

import (
	"net/netip"
	"time"

	"rideau/config/encrypted"
	"rideau/config/node"
	"rideau/config/value"
)

// Listen says on which addresses queries are received, and how many may be pending.
type Listen struct {
	// Addresses are served over UDP and TCP. An address written as ":53" becomes two, 0.0.0.0:53 and [::]:53; the second is for IPv6 only.
	Addresses []netip.AddrPort `key:"addresses" applies:"live"`
	// Workers is the number of UDP sockets for each address; 0 is one for each CPU.
	Workers int `key:"workers" applies:"restart"`
	// UDPSize is the EDNS payload size that is announced, and the largest UDP response in octets (RFC 6891 section 6.2.3, RFC 9715).
	UDPSize int `key:"udp_size" applies:"live"`
	// NSID is the answer to clients that ask which server this is (RFC 5001), at most 64 octets; empty for none.
	NSID string `key:"nsid" applies:"live"`
	// Cookies let clients show that an address is theirs.
	Cookies Cookies `key:"cookies"`
	// MaxPending is the number of queries that may wait for upstream. Further ones are rejected.
	MaxPending int `key:"max_pending" applies:"restart"`
	// TCP limits the use of connections (RFC 7766 section 6).
	TCP ListenTCP `key:"tcp"`
	// Proxies are those that make connections or send queries for clients, and say for which. No address is in two.
	Proxies []Proxy `key:"proxies" applies:"restart"`
	// Encrypted says where clients can ask by TLS, HTTPS and QUIC.
	Encrypted []encrypted.Listener `key:"encrypted" applies:"live"`
}

// Proxy is a proxy or a load balancer in front of Rideau.
type Proxy struct {
	// Addresses are those that it connects from.
	Addresses []netip.Prefix `key:"addresses"`
	// Header is how it says for which client it speaks.
	Header ProxyHeader `key:"header"`
}

// ProxyHeader is how a proxy says for which client it speaks.
type ProxyHeader string

// Ways to say it.
const (
	ProxyV2       ProxyHeader = "proxy-v2"        // the PROXY protocol
	Forwarded     ProxyHeader = "forwarded"       // the header Forwarded of HTTP (RFC 7239)
	XForwardedFor ProxyHeader = "x-forwarded-for" // the header X-Forwarded-For
)

// proxyReader returns a parser of the proxies of one file.
func proxyReader() node.Parse[Proxy] {
	owner := map[netip.Prefix]string{}
	return func(v node.Value) (Proxy, bool) {
		m := v.Mapping()
		p := Proxy{Header: ProxyV2}
		node.Set(m, "addresses", &p.Addresses, node.List(1, 256, func(v node.Value) (netip.Prefix, bool) {
			b, ok := value.Block(v)
			if ok && b.Bits() == 0 {
				v.Problem("list the proxies' own addresses", "everybody could say to be any client")
				return b, false
			}
			if _, taken := owner[b]; ok && taken {
				v.Problem("keep it in one of them", "%s is listed twice", b)
				return b, false
			}
			owner[b] = ""
			return b, ok
		}))
		node.Set(m, "header", &p.Header, node.Word("a header", ProxyV2, Forwarded, XForwardedFor))
		m.Done()
		m.Require("addresses", "list the addresses that the proxy connects from")
		return p, m.Sound()
	}
}

// Cookies are DNS cookies (RFC 7873, RFC 9018).
type Cookies struct {
	// Enabled says whether cookies are used.
	Enabled bool `key:"enabled" applies:"live"`
	// SecretsFile is the path of a file with the secrets, relative as List.File is; empty for a secret that only this process has.
	SecretsFile string `key:"secrets_file" applies:"live"`
}

// ListenTCP limits the use of TCP connections.
type ListenTCP struct {
	// MaxConnections is the number of connections.
	MaxConnections int `key:"max_connections" applies:"restart"`
	// MaxConnectionsPerClient is the number of connections from one address.
	MaxConnectionsPerClient int `key:"max_connections_per_client" applies:"restart"`
	// IdleTimeout is how long a connection without pending queries stays open.
	IdleTimeout time.Duration `key:"idle_timeout" applies:"restart"`
	// MaxPendingPerConnection is the number of pending queries on one connection.
	MaxPendingPerConnection int `key:"max_pending_per_connection" applies:"restart"`
	// MaxHandshakes is the number of encrypted connections on which nothing was asked yet.
	MaxHandshakes int `key:"max_handshakes" applies:"restart"`
}

func defaultListen() Listen {
	return Listen{
		Addresses:  []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5300")},
		UDPSize:    1232,
		Cookies:    Cookies{Enabled: true},
		MaxPending: 4096,
		TCP: ListenTCP{
			MaxConnections:          1024,
			MaxConnectionsPerClient: 64,
			IdleTimeout:             10 * time.Second,
			MaxPendingPerConnection: 64,
			MaxHandshakes:           256,
		},
	}
}

func (l *Listen) read(m *node.Mapping) {
	var addresses [][]netip.AddrPort
	node.Set(m, "addresses", &addresses, node.List(1, 64, distinctAddresses()))
	if len(addresses) > 0 {
		l.Addresses = nil
	}
	for _, a := range addresses {
		l.Addresses = append(l.Addresses, a...)
	}
	node.Set(m, "workers", &l.Workers, node.Integer(0, 1024))
	node.Set(m, "udp_size", &l.UDPSize, node.Integer(512, 4096))
	node.Set(m, "max_pending", &l.MaxPending, node.Integer(1, 65536))
	node.Set(m, "nsid", &l.NSID, func(v node.Value) (string, bool) {
		if s, ok := v.Scalar(); ok && s == "" {
			return "", true
		}
		return node.Text(64)(v)
	})
	m.Section("cookies", l.Cookies.read)
	node.Set(m, "proxies", &l.Proxies, node.List(0, 64, proxyReader()))
	m.Section("tcp", l.TCP.read)
	line := 0
	if m.Has("addresses") {
		line = m.At("addresses").Line()
	}
	node.Set(m, "encrypted", &l.Encrypted, encrypted.Read(encrypted.NewPorts(l.Addresses, line)))
}

func (c *Cookies) read(m *node.Mapping) {
	node.Set(m, "enabled", &c.Enabled, node.Boolean)
	node.Set(m, "secrets_file", &c.SecretsFile, value.FileOrNone)
	if c.SecretsFile != "" && !c.Enabled {
		m.At("secrets_file").Warn("set enabled: true, or take the key out", "the secrets are not used while cookies are off")
	}
}

func (t *ListenTCP) read(m *node.Mapping) {
	node.Set(m, "max_connections", &t.MaxConnections, node.Integer(1, 1<<20))
	node.Set(m, "max_connections_per_client", &t.MaxConnectionsPerClient, node.Integer(1, 1<<20))
	node.Set(m, "idle_timeout", &t.IdleTimeout, node.Duration(100*time.Millisecond, time.Hour))
	node.Set(m, "max_pending_per_connection", &t.MaxPendingPerConnection, node.Integer(1, 65536))
	node.Set(m, "max_handshakes", &t.MaxHandshakes, node.Integer(1, 65536))
	if t.MaxConnectionsPerClient > t.MaxConnections {
		if !m.Has("max_connections_per_client") {
			t.MaxConnectionsPerClient = t.MaxConnections
			return
		}
		m.At("max_connections_per_client").Problem("lower it, or raise max_connections",
			"%d is more than max_connections, %d", t.MaxConnectionsPerClient, t.MaxConnections)
	}
}

// distinctAddresses returns a parser of addresses to listen on, which refuses an address that was there before. With port 0 the kernel
// chooses a port, so such an address may be there several times.
func distinctAddresses() node.Parse[[]netip.AddrPort] {
	lines := map[netip.AddrPort]int{}
	return func(v node.Value) ([]netip.AddrPort, bool) {
		addresses, ok := value.ListenAddress(v)
		for _, a := range addresses {
			if first, dup := lines[a]; dup && a.Port() != 0 {
				v.Problem("remove one of them", "%s is listed twice (first on line %d)", a, first)
				return nil, false
			}
			lines[a] = v.Line()
		}
		return addresses, ok
	}
}
