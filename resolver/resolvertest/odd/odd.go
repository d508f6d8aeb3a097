// Package odd has name servers, for tests, that behave as some on real networks do:
// behind a firewall that drops what it does not know, on a router that closes each
// connection, in front of backends that differ. A server is right in all but what
// its Does changes, so most odd servers are a few lines:
//
//	s := &odd.Server{Does: func(q *odd.Query, r *odd.Reply) {
//		r.Drop = q.Msg.IsEdns0() != nil // a firewall that drops EDNS
//	}}
//	s.Start(t)
//
// It listens on 127.0.0.1 for one kind of client: UDP with TCP at the same port, or
// TLS, HTTPS, QUIC or HTTP/3.
package odd

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
)

// Transport is how a query arrived.
type Transport string

// The transports.
const (
	UDP   Transport = "UDP"
	TCP   Transport = "TCP"
	TLS   Transport = "TLS"   // RFC 7858
	HTTPS Transport = "HTTPS" // RFC 8484, by HTTP/2
	QUIC  Transport = "QUIC"  // RFC 9250
	HTTP3 Transport = "HTTP3" // RFC 8484, by HTTP/3
)

// Query is one query as a server received it.
type Query struct {
	Msg          *dns.Msg
	Transport    Transport
	From         netip.AddrPort
	Number       int // of the queries that this server received by any transport, from 1
	Connection   int // number of its connection, from 1; 0 over UDP
	OnConnection int // number of the query on its connection, from 1; 0 over UDP
}

// Name is the name that is asked for, with its last dot, in the letter case in which it came.
func (q *Query) Name() string { return q.Msg.Question[0].Name }

// Datagram reports whether the query came over UDP.
func (q *Query) Datagram() bool { return q.Transport == UDP }

// Option returns an EDNS option of the query by its code; nil if it has none.
func (q *Query) Option(code uint16) dns.EDNS0 {
	if o := q.Msg.IsEdns0(); o != nil {
		for _, x := range o.Option {
			if x.Option() == code {
				return x
			}
		}
	}
	return nil
}

// Reply is what a server does with a query. It begins as the right answer.
type Reply struct {
	Msg       *dns.Msg      // the response
	Raw       []byte        // octets to send instead of Msg
	Before    []*dns.Msg    // other messages, sent before
	Drop      bool          // nothing is sent
	Delay     time.Duration // before it is sent; other queries do not wait
	Copies    int           // how often it is sent in addition
	Whole     bool          // over UDP, it is not truncated to the size that the client has room for
	Elsewhere bool          // over UDP, it comes from 127.0.0.2 and another port
	Close     bool          // the connection is closed after it, or instead of it; over QUIC always instead
	Pieces    bool          // over TCP and TLS, each octet is written by itself
	Status    int           // over HTTPS, the status; 0: 200
}

// Server is a name server. Set its fields before Start. It ends with the test.
type Server struct {
	// Over is how clients reach it. The empty string is UDP, with
	// TCP at the same port. TCP is TCP alone.
	Over Transport
	// Does changes the right answer; nil changes nothing. Calls do not overlap.
	Does func(q *Query, r *Reply)
	// Zone returns the right answer to a question; nil is [Plain].
	Zone func(q *dns.Msg) *dns.Msg
	// NoTCP makes the system refuse connections to the port, NoUDP datagrams.
	NoTCP, NoUDP bool
	// Accepts, if not nil, reports whether a connection is served, or closed at once.
	Accepts func(number int) bool

	addr    netip.AddrPort
	udp     *net.UDPConn
	other   *net.UDPConn // for what comes from elsewhere
	cert    *tls.Certificate
	web     *http.Server
	router  *forgetful // over QUIC and HTTP/3
	endQUIC func()
	running sync.WaitGroup

	doing sync.Mutex // held while Does runs

	mu          sync.Mutex // guards what follows
	queries     int
	connections int
	ended       bool
	open        map[*conn]bool
	quics       []*quic.Conn
}

// Addr is where a started server listens.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Becomes replaces what Does is set to.
func (s *Server) Becomes(does func(q *Query, r *Reply)) {
	s.doing.Lock()
	defer s.doing.Unlock()
	s.Does = does
}

// Queries is how many queries it received.
func (s *Server) Queries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries
}

// Connections is how many connections it accepted.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// Start binds the server's sockets and serves until the test ends.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if s.Over == "" {
		s.Over = UDP
	}
	if s.Zone == nil {
		s.Zone = Plain
	}
	s.open = map[*conn]bool{}
	if s.Over == QUIC || s.Over == HTTP3 {
		s.startQUIC(t)
		t.Cleanup(func() { s.stop(nil) })
		return
	}
	l := s.bind(t)
	switch s.Over {
	case UDP:
		s.running.Go(s.readDatagrams)
		if l != nil {
			s.running.Go(func() { s.accept(&listener{Listener: l, s: s}) })
		}
	case TCP:
		s.running.Go(func() { s.accept(&listener{Listener: l, s: s}) })
	case TLS:
		s.cert = certificate(t)
		s.running.Go(func() {
			s.accept(tls.NewListener(&listener{Listener: l, s: s}, &tls.Config{Certificates: []tls.Certificate{*s.cert}}))
		})
	case HTTPS:
		s.cert = certificate(t)
		s.running.Go(func() { s.serveHTTPS(&listener{Listener: l, s: s}) })
	default:
		t.Fatalf("no transport %q", s.Over)
	}
	t.Cleanup(func() { s.stop(l) })
}

func (s *Server) stop(l net.Listener) {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	if l != nil {
		l.Close()
	}
	if s.web != nil {
		s.web.Close()
	}
	if s.endQUIC != nil {
		s.endQUIC()
	}
	if s.udp != nil {
		s.udp.Close()
		s.other.Close()
	}
	s.HangUp()
	s.running.Wait()
}

// bind finds a port that is free for what the server listens to.
func (s *Server) bind(t testing.TB) net.Listener {
	t.Helper()
	var err error
	for range 50 {
		var l net.Listener
		if l, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			continue
		}
		s.addr = l.Addr().(*net.TCPAddr).AddrPort()
		if s.Over != UDP {
			return l
		}
		if s.udp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(s.addr)); err != nil {
			l.Close()
			continue
		}
		if s.other, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}); err != nil {
			// Not all systems have all of 127.0.0.0/8.
			s.other, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		}
		if err != nil {
			t.Fatal(err)
		}
		s.udp.SetReadBuffer(1 << 20)
		if s.NoUDP {
			s.udp.Close()
		}
		if s.NoTCP {
			l.Close()
			return nil
		}
		return l
	}
	t.Fatalf("odd server: no port: %v", err)
	return nil
}

// reply is what the server does with a query; nil if it cannot be read.
func (s *Server) reply(raw []byte, q *Query) *Reply {
	q.Msg = new(dns.Msg)
	if q.Msg.Unpack(raw) != nil || q.Msg.Response || len(q.Msg.Question) != 1 {
		return nil
	}
	r := &Reply{Msg: s.Zone(q.Msg)}
	s.doing.Lock()
	defer s.doing.Unlock()
	s.mu.Lock()
	s.queries++
	q.Number = s.queries
	s.mu.Unlock()
	if s.Does != nil {
		s.Does(q, r)
	}
	return r
}

// pack returns the octets of a response.
func (r *Reply) pack(q *Query) []byte {
	if r.Raw != nil || r.Msg == nil {
		return r.Raw
	}
	r.Msg.Compress = true
	if q.Datagram() && !r.Whole {
		size := dns.MinMsgSize
		if o := q.Msg.IsEdns0(); o != nil {
			size = max(size, int(o.UDPSize()))
		}
		r.Msg.Truncate(size)
		r.Msg.Compress = true // which Truncate undoes
	}
	b, err := r.Msg.Pack()
	if err != nil {
		panic(fmt.Sprintf("the test made a message that cannot be packed: %v: %v", err, r.Msg))
	}
	return b
}

func (s *Server) readDatagrams() {
	buf := make([]byte, 65535)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if s.over() || s.NoUDP {
				return
			}
			continue // a client's port was closed
		}
		q := &Query{Transport: UDP, From: from}
		r := s.reply(buf[:n], q)
		if r == nil || r.Drop {
			continue
		}
		out := r.pack(q)
		send := func() {
			socket := s.udp
			if r.Elsewhere {
				socket = s.other
			}
			for _, m := range r.Before {
				if b, err := m.Pack(); err == nil {
					s.udp.WriteToUDPAddrPort(b, from)
				}
			}
			for range 1 + r.Copies {
				socket.WriteToUDPAddrPort(out, from)
			}
		}
		if r.Delay > 0 {
			time.AfterFunc(r.Delay, send)
			continue
		}
		send()
	}
}

func (s *Server) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// Plain is the right answer of a resolver to a client: an address for every name, A
// and AAAA, and no data of other types. What is asked with EDNS is answered with it.
func Plain(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	m.CheckingDisabled = q.CheckingDisabled
	name := q.Question[0].Name
	h := dns.RR_Header{Name: name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 300}
	switch q.Question[0].Qtype {
	case dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: h, A: net.IPv4(192, 0, 2, 1)}}
	case dns.TypeAAAA:
		m.Answer = []dns.RR{&dns.AAAA{Hdr: h, AAAA: net.ParseIP("2001:db8::1")}}
	default:
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 300},
			Ns: "ns.invalid.", Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 300}}
	}
	if o := q.IsEdns0(); o != nil {
		m.SetEdns0(1232, o.Do())
	}
	return m
}
