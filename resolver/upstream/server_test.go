package upstream_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/wire"
)

// patience is how long a test waits for an event that must come.
const patience = 10 * time.Second

// server is a fake resolver on 127.0.0.1.
type server struct {
	t    testing.TB
	addr netip.AddrPort
	udp  *net.UDPConn
	tcp  *net.TCPListener

	datagrams, connections atomic.Int64

	mu       sync.Mutex
	open     map[net.Conn]bool
	running  sync.WaitGroup
	datagram func(from netip.AddrPort, query []byte)
	stream   func(conn net.Conn)
}

// serve starts a server; either function may be nil. They own what they are given.
func serve(t testing.TB, datagram func(s *server, from netip.AddrPort, query []byte), stream func(s *server, conn net.Conn)) *server {
	t.Helper()
	s := &server{t: t, open: make(map[net.Conn]bool)}
	s.listen(resolvertest.FreeAddress(t)) // it may be stopped, and start again
	if datagram != nil {
		s.datagram = func(from netip.AddrPort, query []byte) { datagram(s, from, query) }
	}
	if stream != nil {
		s.stream = func(conn net.Conn) { stream(s, conn) }
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// listen binds a port that is free for both transports.
func (s *server) listen(addr netip.AddrPort) {
	s.t.Helper()
	var err error
	for range 50 {
		s.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err != nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		s.addr = s.udp.LocalAddr().(*net.UDPAddr).AddrPort()
		s.tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(s.addr))
		if err == nil {
			return
		}
		s.udp.Close()
	}
	s.t.Fatal(err)
}

func (s *server) start() {
	udp, tcp := s.udp, s.tcp
	s.running.Go(func() {
		for {
			buf := make([]byte, 65535)
			n, from, err := udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			s.datagrams.Add(1)
			if s.datagram != nil {
				s.running.Go(func() { s.datagram(from, buf[:n]) })
			}
		}
	})
	s.running.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			s.mu.Lock()
			s.open[conn] = true
			s.mu.Unlock()
			s.running.Go(func() {
				defer conn.Close()
				if s.stream != nil {
					s.stream(conn)
				}
			})
		}
	})
}

// stop closes the sockets and waits until its goroutines have ended.
func (s *server) stop() {
	s.udp.Close()
	s.tcp.Close()
	s.hangUp()
	s.running.Wait()
}

// hangUp closes the connections.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
		delete(s.open, c)
	}
}

// restart listens again at the same address.
func (s *server) restart() {
	s.t.Helper()
	s.listen(s.addr)
	s.start()
}

func (s *server) send(to netip.AddrPort, msg []byte) { s.udp.WriteToUDPAddrPort(msg, to) }

// reply is a response to query with one TXT record, text.
func reply(t testing.TB, query []byte, text string, edit ...func(*dns.Msg)) []byte {
	var q dns.Msg
	if err := q.Unpack(query); err != nil {
		t.Errorf("the server cannot read the query: %v", err)
		return nil
	}
	m := new(dns.Msg).SetReply(&q)
	m.RecursionAvailable = true
	if text != "" {
		m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT,
			Class: dns.ClassINET, Ttl: 60}, Txt: []string{text}})
	}
	for _, e := range edit {
		e(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Errorf("the server cannot write the response: %v", err)
	}
	return b
}

func rcode(code int) func(*dns.Msg) { return func(m *dns.Msg) { m.Rcode = code } }

// saying answers every datagram with text.
func saying(text string, edit ...func(*dns.Msg)) func(*server, netip.AddrPort, []byte) {
	return func(s *server, from netip.AddrPort, q []byte) { s.send(from, reply(s.t, q, text, edit...)) }
}

// readFrame reads a message from a stream; nil at its end.
func readFrame(conn net.Conn) []byte {
	var n [2]byte
	if _, err := io.ReadFull(conn, n[:]); err != nil {
		return nil
	}
	m := make([]byte, binary.BigEndian.Uint16(n[:]))
	if _, err := io.ReadFull(conn, m); err != nil {
		return nil
	}
	return m
}

func frame(m []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
}

// query is a query of our own for a TXT record, with id 0x1234.
func query(t testing.TB, name string) []byte {
	t.Helper()
	var n wire.Name
	if err := n.SetText(name); err != nil {
		t.Fatal(err)
	}
	return wire.AppendQuery(nil, 0x1234, &n, 16, wire.ClassIN, true, false, true, 1232)
}

// texts are the TXT records of a response, which must be one to q with its id.
func texts(t testing.TB, q, msg []byte) string {
	t.Helper()
	if !wire.Matches(q, msg) {
		t.Fatalf("%x is no response to %x", msg, q)
	}
	var m dns.Msg
	if err := m.Unpack(msg); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rr := range m.Answer {
		all = append(all, strings.Join(rr.(*dns.TXT).Txt, ""))
	}
	return strings.Join(all, ",")
}

// exchanger is what do53.Server and Group have in common.
type exchanger interface {
	Exchange(ctx context.Context, dst, query []byte) ([]byte, error)
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// expect asks for name, and fails the test unless the response is text.
func expect(t testing.TB, u exchanger, name, text string) {
	t.Helper()
	q := query(t, name)
	before := string(q)
	msg, err := u.Exchange(within(t, patience), nil, q)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if string(q) != before {
		t.Fatalf("%s: the query was written to", name)
	}
	if got := texts(t, q, msg); got != text {
		t.Fatalf("%s: got %q, want %q", name, got, text)
	}
}

func plainServer(s *server) *do53.Server { return do53.New(s.addr, do53.Options{}) }

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// noLeak fails the test if more goroutines are left at its end than there are
// now. It must be called before the servers start.
func noLeak(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			n := runtime.NumGoroutine()
			if n <= before {
				return
			}
			if time.Now().After(end) {
				buf := make([]byte, 1<<20)
				t.Errorf("%d goroutines before, %d after:\n%s", before, n, buf[:runtime.Stack(buf, true)])
				return
			}
		}
	})
}
