package resolvertest

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver"
)

// fuzzScenario has a bit of everything that Answer decides about.
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

// FuzzAnswer gives Answer octets that may be no query. It does not panic, what
// it answers can be read and keeps to the rules for all answers, nothing goes
// upstream, and on what it stops it agrees with the naive model.
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

// checkPending is about a query that Answer left pending: no ban is for it,
// and there is an answer if nobody has room for it.
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
