package upstream_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
)

// Servers that share an address, each with a secret of its own, never accept the
// cookie that another has given. They are asked over TCP in the end (RFC 7873
// section 5.3).
func TestCookieNeverGood(t *testing.T) {
	var turn atomic.Uint32
	answer := func(q []byte, bad bool) []byte {
		var m dns.Msg
		if err := m.Unpack(q); err != nil {
			t.Error(err)
			return nil
		}
		got := cookieOf(&m)
		return reply(t, q, "right", func(r *dns.Msg) {
			if got == "" {
				return
			}
			r.SetEdns0(1232, false)
			r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: got[:16] + fmt.Sprintf("%032x", turn.Add(1))}}
			if bad {
				r.Answer, r.Rcode = nil, dns.RcodeBadCookie
			}
		})
	}
	s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		s.send(from, answer(q, true))
	}, func(_ *server, conn net.Conn) {
		for q := readFrame(conn); q != nil; q = readFrame(conn) {
			conn.Write(frame(answer(q, false)))
		}
	})
	u := do53.New(s.addr, do53.Options{Cookies: true})
	g := upstream.NewGroup("test", upstream.Options{NoHedge: true}, u)
	for range 3 {
		q := query(t, "n.example")
		out, err := u.Exchange(within(t, patience), nil, q)
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(t, q, out); got != "right" {
			t.Errorf("exchange: %q", got)
		}
		if out, err = byMux(t, g, "n.example"); err != nil {
			t.Fatal(err)
		}
		if got := texts(t, query(t, "n.example"), out); got != "right" {
			t.Errorf("group: %q", got)
		}
	}
}
