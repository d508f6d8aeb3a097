package resolvertest

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// fuzzScenario has an example of everything that Answer decides about.
const fuzzScenario = `
-- policy --
group lab 10.9.0.0/16
clients 10.0.0.0/8 127.0.0.0/8
list names lists/names.txt
list allowed lists/allowed.txt
ban ca-nxdomain lists=names title="A ban"
exception ok lists=allowed
ban ca-drop lists=names groups=lab action=drop
-- lists/names.txt --
wechat.com
=exact.example
*.below.example
-- lists/allowed.txt --
ok.wechat.com
-- upstream --
-- script --
`

// FuzzAnswer passes arbitrary octets to Answer. It must not panic or send
// anything upstream; its responses must be readable and keep the rules for all
// answers, and it must block what the naive model blocks.
func FuzzAnswer(f *testing.F) {
	seeds := uint8(0)
	seed := func(name string, qtype uint16, edit func(*dns.Msg)) {
		m := new(dns.Msg).SetQuestion(name, qtype)
		m.Id = 1
		m.SetEdns0(1232, false)
		if edit != nil {
			edit(m)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, seeds)
		seeds++
	}
	for _, name := range []string{"wechat.com.", "wEb.weChat.com.", "ok.wechat.com.", "exact.example.", "a.below.example.", "below.example.", "localhost.", "1.0.0.127.in-addr.arpa.", "."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypePTR, dns.TypeDS, dns.TypeANY, dns.TypeAXFR} {
			seed(name, qtype, nil)
		}
	}
	seed("example.org.", dns.TypeA, func(m *dns.Msg) { m.IsEdns0().SetVersion(1) })
	seed("example.org.", dns.TypeA, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate })
	seed("example.org.", dns.TypeA, func(m *dns.Msg) { m.Response = true })
	seed("example.org.", dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
	seed("version.bind.", dns.TypeTXT, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })
	seed("wechat.com.", dns.TypeA, func(m *dns.Msg) { m.Extra = append(m.Extra, m.Extra[0]) })
	f.Add([]byte{}, uint8(0))

	r := newRun(f, "fuzz", []byte(fuzzScenario))
	clients := []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("192.0.2.1")}
	f.Fuzz(func(t *testing.T, data []byte, from uint8) {
		r.t = t
		x := &exchange{sent: data, client: clients[from%3], transport: resolver.Transport(from >> 2 & 1)}
		if m := new(dns.Msg); m.Unpack(data) == nil {
			x.query = m
		}
		if r.answer(x) != nil {
			r.checkPending(x)
			return
		}
		if x.outcome.Kind == resolver.Blocked && !r.model.name(x.msg.Question[0].Name, x.client, epoch).banned {
			t.Errorf("stopped, though no list names it: %v", x)
		}
	})
}

// checkPending checks a query that Answer left pending: no ban applies to it,
// and it gets a response if it may not wait.
func (r *run) checkPending(x *exchange) {
	q := &resolver.Query{Msg: x.sent, Client: x.client, Transport: x.transport, Received: epoch}
	if _, o := r.resolver.Answer(nil, q); o.Kind != resolver.Pending {
		r.t.Errorf("pending, and the second time %v", o.Kind)
	}
	x.out, x.outcome = r.resolver.Shed(nil, q)
	r.settle(x)
	if x.msg == nil || x.msg.Rcode != dns.RcodeServerFailure {
		r.t.Errorf("shed: %v", x)
	}
}

func (c *canned) Begin(*upstream.Attempt, time.Time) bool { return false }

func (c *canned) Resume(ctx context.Context, dst, query []byte, _ *upstream.Started) ([]byte, error) {
	return c.Exchange(ctx, dst, query)
}

func (c *canned) Identity() *upstream.Identity { return nil }

// canned is an upstream that answers each question with the same records.
type canned struct{ counts, records []byte }

// Exchange implements upstream.Upstream.
func (c *canned) Exchange(_ context.Context, dst, query []byte) ([]byte, error) {
	end := wire.HeaderLen
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	dst = append(dst, query[:end+5]...)
	wire.SetFlags(dst, wire.FlagQR|wire.FlagRA|uint16(c.counts[0])&0xF)
	for s := wire.Answer; s <= wire.Additional; s++ {
		wire.SetCount(dst, s, int(c.counts[s]%8))
	}
	return append(dst, c.records...), nil
}

// FuzzResolve lets upstream answer with arbitrary octets. What the client gets
// keeps the rules for all answers, the first time and from the cache: above all,
// it has no banned name and no banned address.
func FuzzResolve(f *testing.F) {
	fuzzResponses(f, strings.Replace(fuzzScenario, "wechat.com\n", "wechat.com\n192.0.2.66\n2001:db8::/64\n", 1))
}

// FuzzPolicyZones is FuzzResolve with policy zones beside the ban.
func FuzzPolicyZones(f *testing.F) { fuzzResponses(f, zoneScenario()) }

// zoneScenario is fuzzScenario with policy zones.
func zoneScenario() string {
	s := strings.Replace(fuzzScenario, "wechat.com\n", "wechat.com\n192.0.2.66\n", 1)
	return strings.Replace(s, "-- lists/names.txt --", `list early lists/early.zone format=rpz allow-tld
list late lists/late.zone format=rpz
ban ca-zones lists=early,late action=given
-- lists/early.zone --
@ 300 SOA . . 1 2 3 4 5
32.1.2.0.192.rpz-ip 60 CNAME *.
64.zz.db8.2001.rpz-ip 60 A 192.0.2.9
24.0.100.51.198.rpz-nsip 60 CNAME rpz-drop.
*.example.rpz-nsdname 60 CNAME rpz-passthru.
-- lists/late.zone --
@ 300 SOA . . 1 2 3 4 5
a.example 60 CNAME *.garden.example.
*.b.example 60 CNAME rpz-tcp-only.
c.example 60 TXT "no"
d.example 60 CNAME a.wechat.com.
www.example.org 60 CNAME .
-- lists/names.txt --`, 1)
}

// tooLong is what no response takes, also on a machine under load. TestWork
// counts the steps.
const tooLong = 10 * time.Second

func fuzzResponses(f *testing.F, scenario string) {
	for _, records := range [][]string{
		{"www.example.org. 300 IN CNAME a.wechat.com.", "a.wechat.com. 300 IN A 192.0.2.1"},
		{"www.example.org. 300 IN HTTPS 1 a.wechat.com. alpn=h2 ipv4hint=192.0.2.1"},
		{"www.example.org. 300 IN HTTPS 1 . ipv6hint=2001:db8::1", "www.example.org. 300 IN A 192.0.2.66"},
		{"www.example.org. 300 IN SRV 0 0 1 a.wechat.com.", "www.example.org. 300 IN MX 1 ok.wechat.com."},
		{`www.example.org. 300 IN NAPTR 1 1 "" "" "" exact.example.`, "example.org. 300 IN DNAME below.example."},
		{"example.org. 300 IN SOA a.example. b.example. 1 2 3 4 5", "www.example.org. 4294967295 IN NS c.below.example."},
		{`www.example.org. 300 IN TXT "x"`, "www.example.org. 300 IN AAAA ::ffff:192.0.2.66"},
		{"www.example.org. 300 IN CNAME a.example.", "a.example. 300 IN CNAME x.b.example.", "x.b.example. 300 IN A 192.0.2.1"},
		{"www.example.org. 300 IN CNAME d.example.", "example.org. 300 IN NS ns.example.", "ns.example. 300 IN A 198.51.100.1"},
	} {
		m := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
		m.Compress = true
		for _, s := range records {
			rr, err := parseRecord(s)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		for in := range uint8(3) { // answer, authority, additional
			counts := make([]byte, 4)
			counts[1+in] = uint8(len(records))
			f.Add(counts, b[wire.HeaderLen+len("www.example.org.")+1+4:], in)
		}
	}
	r := newRun(f, "fuzz", []byte(scenario))
	snapshot := r.snapshot
	f.Fuzz(func(t *testing.T, counts, records []byte, qtype uint8) {
		if len(counts) < 4 || len(records) > 60_000 {
			return
		}
		r.t = t
		st, err := resolver.NewState(resolver.StateOptions{Policy: snapshot, Clients: r.policy.clients, UDPSize: r.policy.udpSize, Upstream: &canned{counts, records}})
		if err != nil {
			t.Fatal(err)
		}
		r.resolver.SetState(st)
		r.cache.Flush()
		m := new(dns.Msg).SetQuestion("wWw.example.org.", uint16(qtype)+1)
		m.SetEdns0(4096, qtype&1 != 0)
		sent, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			x := &exchange{sent: sent, query: m, client: netip.MustParseAddr("10.1.0.1"), transport: resolver.TCP}
			wait := r.answer(x)
			if wait == nil {
				continue
			}
			began := time.Now()
			wait()
			if took := time.Since(began); took > tooLong {
				t.Errorf("%d octets took %v", len(records), took)
			}
			r.settle(x)
		}
	})
}
