package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// service is a program that answers whatever it gets, as those of RFC 862 to 868 and
// TFTP do.
type service struct {
	*net.UDPConn
	says string // with each answer
}

// newService binds a service to an address, or skips the test.
func newService(t *testing.T, addr, says string) service {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if errors.Is(err, syscall.EACCES) {
		t.Skip("a port below 1024 takes root")
	}
	if err != nil {
		t.Skipf("%s: %v", addr, err)
	}
	t.Cleanup(func() { c.Close() })
	return service{c, says}
}

// answer sends one datagram to a server, as if somebody had forged it, then answers
// what comes. It returns how many datagrams have come, once none comes for a while,
// or after most.
func (s service) answer(t *testing.T, server string, quiet time.Duration, most int) (got int) {
	t.Helper()
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(server))
	buf := make([]byte, 4096)
	for got < most {
		if _, err := s.WriteToUDP([]byte(s.says), to); err != nil {
			t.Fatal(err)
		}
		s.SetReadDeadline(time.Now().Add(quiet))
		_, _, err := s.ReadFromUDP(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	return got
}

// What services say, which are errors of several kinds to a DNS server.
const (
	chargen = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n"
	daytime = "Monday, November 30, 2026 10:10:10-UTC\r\n"
	quote   = "\"Don't Panic\" -- The Hitchhiker's Guide\r\n"
	tftp    = "\x00\x05\x00\x04Illegal TFTP operation\x00"
	users   = "root    console\r\nnobody  pts/1\r\n"
)

// A service that gets nothing for loopQuiet gets nothing more. One that gets loopMost
// would get them for ever.
const (
	loopQuiet = 200 * time.Millisecond
	loopMost  = 1000
)

// TestLoops: two programs that answer each other's errors do not do so for ever. A
// port from which no resolver asks gets nothing.
func TestLoops(t *testing.T) {
	w := newWorld(t)
	w.config(func(s *settings) { s.listen = []string{"127.0.0.1:0", "[::1]:0"} })
	p := start(t, w.dir)
	query, err := new(dns.Msg).SetQuestion("plain.example.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		port int
		says string
	}{{7, chargen}, {11, users}, {13, daytime}, {17, quote}, {19, chargen}, {37, daytime}, {69, tftp}, {123, tftp}, {161, chargen}, {1023, quote}, {69, string(query)}} {
		s := newService(t, fmt.Sprintf("127.0.0.%d:%d", 10+i, c.port), c.says)
		if n := s.answer(t, p.dns[0], loopQuiet, loopMost); n != 0 {
			t.Errorf("a service at port %d got %d datagrams", c.port, n)
		}
	}
	for i, says := range []string{chargen, daytime, quote, tftp, users, chargen[:12], "\x00\x00\x28" + chargen} {
		s := newService(t, fmt.Sprintf("127.0.0.%d:0", 30+i), says)
		if n := s.answer(t, p.dns[0], loopQuiet, loopMost); n == 0 || n > 25 {
			t.Errorf("a service that says %.12q got %d datagrams", says, n)
		}
	}
	if n := newService(t, "[::1]:0", chargen).answer(t, p.dns[1], loopQuiet, loopMost); n == 0 || n > 25 {
		t.Errorf("a service over IPv6 got %d datagrams", n)
	}
	// A server that forwards to this one may ask from port 53, and others from any
	// port above 1023. Where there was a loop, queries are answered as before.
	for _, from := range []string{"127.0.0.53:53", "127.0.0.54:1024", "127.0.0.30:0"} {
		s := newService(t, from, string(query))
		if n := s.answer(t, p.dns[0], 5*time.Second, 100); n != 100 {
			t.Errorf("of a hundred queries from %s %d were answered", from, n)
		}
	}
	if n := p.metric(`rideau_turned_away_total{reason="error"}`); n < 6 {
		t.Errorf("%v errors were not sent", n)
	}
}
