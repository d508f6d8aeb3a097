package resolvertest

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/listener"
)

// serveReply serves a fixed response on one port of 127.0.0.1. By UDP it is
// truncated.
func serveReply(t *testing.T, reply *dns.Msg) netip.AddrPort {
	t.Helper()
	pc, l := listen(t)
	for network, s := range map[string]*dns.Server{"udp": {PacketConn: pc}, "tcp": {Listener: l}} {
		s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := reply.Copy()
			m.SetReply(q)
			m.Compress, m.RecursionAvailable, m.Answer = true, true, reply.Answer
			if network == "udp" {
				m.Answer, m.Truncated = nil, true
			}
			_ = w.WriteMsg(m)
		})
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// A large answer that has to be put in order goes to clients whole, the first time and
// out of the cache: its names are compressed as they were.
func TestLargeInAnotherOrder(t *testing.T) {
	end := strings.Repeat("a-long-label-of-a-content-network.", 5) + "example.net."
	for what, data := range map[string]string{"A": "A 192.0.%d.%d", "AAAA": "AAAA 2001:db8::%x:%x", "NS": "NS h%d-%d." + end, "TXT": "TXT %d-%d"} {
		t.Run(what, func(t *testing.T) {
			m := new(dns.Msg)
			for i := range 1500 {
				m.Answer = append(m.Answer, record(end+" 300 IN "+data, i/250, i%250))
			}
			m.Answer = append(m.Answer, record("www.example.org. 300 IN CNAME %s", end))
			l := serveListener(t, serveReply(t, m), listener.Options{Addrs: []string{"127.0.0.1:0"}})
			for _, when := range []string{"first", "cached"} {
				q := new(dns.Msg).SetQuestion("www.example.org.", dns.StringToType[what])
				c := dns.Client{Net: "tcp", Timeout: 20 * time.Second}
				got, _, err := c.Exchange(q, l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				if got.Rcode != dns.RcodeSuccess || got.Truncated || len(got.Answer) != 1501 {
					t.Fatalf("%s: code %d, truncated %v, %d records", when, got.Rcode, got.Truncated, len(got.Answer))
				}
				for i, rr := range got.Answer {
					want := m.Answer[(i+1500)%1501]
					if fmt.Sprint(viewRecord(rr)) != fmt.Sprint(viewRecord(want)) {
						t.Fatalf("%s: record %d is %v, want %v", when, i, rr, want)
					}
				}
			}
		})
	}
}
