// Package transport names the transports that queries come over, and says what
// each means for a response.
package transport

// Transport is the transport that a query came over.
type Transport uint8

// Transports.
const (
	UDP   Transport = iota
	TCP             // RFC 7766
	DoT             // DNS over TLS, RFC 7858
	DoH             // DNS over HTTPS by HTTP/2 or HTTP/1.1, RFC 8484
	DoH3            // DNS over HTTPS by HTTP/3
	DoQ             // DNS over QUIC, RFC 9250
	Count           // how many there are
)

// String is the transport's name in metrics and records.
func (t Transport) String() string {
	return [...]string{"udp", "tcp", "dot", "doh", "doh3", "doq"}[t]
}

// LargeAnswers reports whether a response may have up to 65,535 octets
// (RFC 1035 section 4.2.2), and not only what the client can receive in one
// datagram. The policy action tcp-only lets such queries through.
func (t Transport) LargeAnswers() bool { return t != UDP }

// AddressVerified reports whether the client has shown, by a handshake, that it
// receives what is sent to its address.
func (t Transport) AddressVerified() bool { return t != UDP }

// Encrypted reports whether nobody on the way can read the query. Responses to
// clients that ask for it are padded then (RFC 7830 section 6).
func (t Transport) Encrypted() bool { return t >= DoT }

// Keepalive reports whether the client can be told how long its connection may
// be idle: HTTP and QUIC have means of their own (RFC 7828 section 3, RFC 9250
// section 5.5.2).
func (t Transport) Keepalive() bool { return t == TCP || t == DoT }

// OverTCP reports whether the octets came over TCP, and not over UDP.
func (t Transport) OverTCP() bool { return t == TCP || t == DoT || t == DoH }

// Carrier is what the octets came over: tcp or udp.
func (t Transport) Carrier() string {
	if t.OverTCP() {
		return "tcp"
	}
	return "udp"
}
