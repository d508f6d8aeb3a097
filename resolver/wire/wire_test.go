package wire_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
	"rideau/resolver/wire/svcb"
)

// encode returns the message in wire form.
func encode(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func question(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	return m
}

func rr(t testing.TB, text string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// full returns a compressed message with every kind of record that policy and
// cache examine.
func full(t testing.TB) *dns.Msg {
	m := question("www.Example.ca.", dns.TypeHTTPS)
	m.Response, m.Compress, m.RecursionAvailable = true, true, true
	for _, s := range []string{
		"www.example.ca. 300 IN CNAME edge.example.net.",
		"edge.example.net. 60 IN HTTPS 1 svc.Example.net. alpn=h2 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1",
		"example.net. 60 IN MX 10 mail.example.net.",
		"_x._tcp.example.net. 60 IN SRV 1 2 443 srv.example.net.",
		"example.net. 60 IN NAPTR 10 20 \"u\" \"sip+E2U\" \"\" naptr.example.net.",
		"example.net. 60 IN DNAME example.org.",
	} {
		m.Answer = append(m.Answer, rr(t, s))
	}
	m.Ns = append(m.Ns, rr(t, "example.net. 3600 IN NS ns1.example.net."))
	m.Extra = append(m.Extra, rr(t, "ns1.example.net. 3600 IN AAAA 2001:db8::53"))
	o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232}}
	o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: 6, ExtraText: "bogus"})
	m.Extra = append(m.Extra, o)
	return m
}

func TestParseQuery(t *testing.T) {
	mod := func(f func(m *dns.Msg)) []byte {
		m := question("Web.WeChat.com.", dns.TypeAAAA)
		f(m)
		return encode(t, m)
	}
	edns := func(f func(o *dns.OPT)) []byte {
		return mod(func(m *dns.Msg) {
			m.SetEdns0(4096, true)
			f(m.IsEdns0())
		})
	}
	raw := func(b []byte, f func(b []byte) []byte) []byte { return f(bytes.Clone(b)) }
	plain := mod(func(*dns.Msg) {})
	for name, c := range map[string]struct {
		msg  []byte
		want wire.Fault
	}{
		"plain":           {plain, wire.FaultNone},
		"empty":           {nil, wire.FaultDrop},
		"short":           {plain[:11], wire.FaultDrop},
		"response":        {mod(func(m *dns.Msg) { m.Response = true }), wire.FaultDrop},
		"header alone":    {raw(plain, func(b []byte) []byte { b[5] = 0; return b[:12] }), wire.FaultFormErr},
		"two questions":   {mod(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), wire.FaultFormErr},
		"cut in name":     {plain[:20], wire.FaultFormErr},
		"cut in type":     {plain[:len(plain)-3], wire.FaultFormErr},
		"answer":          {mod(func(m *dns.Msg) { m.Answer = append(m.Answer, rr(t, "a. 1 IN A 192.0.2.1")) }), wire.FaultFormErr},
		"authority":       {mod(func(m *dns.Msg) { m.Ns = append(m.Ns, rr(t, "a. 1 IN A 192.0.2.1")) }), wire.FaultFormErr},
		"ixfr":            {mod(func(m *dns.Msg) { m.SetIxfr("example.ca.", 1, "a.", "b.") }), wire.FaultNone},
		"notify":          {mod(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), wire.FaultRefused},
		"update":          {mod(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), wire.FaultRefused},
		"status":          {mod(func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }), wire.FaultNotImp},
		"opcode 15":       {mod(func(m *dns.Msg) { m.Opcode = 15 }), wire.FaultNotImp},
		"edns":            {edns(func(*dns.OPT) {}), wire.FaultNone},
		"badvers":         {edns(func(o *dns.OPT) { o.SetVersion(1) }), wire.FaultBadVers},
		"two OPT":         {mod(func(m *dns.Msg) { m.SetEdns0(512, false); m.Extra = append(m.Extra, m.Extra[0]) }), wire.FaultFormErr},
		"answer and OPT":  {mod(func(m *dns.Msg) { m.Answer = append(m.Answer, rr(t, "a. 1 IN A 192.0.2.1")); m.SetEdns0(512, false) }), wire.FaultFormErr},
		"OPT not at root": {edns(func(o *dns.OPT) { o.Hdr.Name = "a." }), wire.FaultFormErr},
		"cut in OPT":      {raw(edns(func(*dns.OPT) {}), func(b []byte) []byte { return b[:len(b)-1] }), wire.FaultFormErr},
		"bad option":      {raw(edns(func(o *dns.OPT) { o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte{1, 2}}) }), func(b []byte) []byte { b[len(b)-3] = 9; return b }), wire.FaultFormErr},
		"unknown option":  {edns(func(o *dns.OPT) { o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte{1}}) }), wire.FaultNone},
		"compressed name": {[]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"), wire.FaultFormErr},
	} {
		var q wire.Query
		if got := q.Parse(c.msg); got != c.want {
			t.Errorf("%s: fault %d, want %d", name, got, c.want)
		}
	}
	var q wire.Query
	if q.Parse(edns(func(o *dns.OPT) { o.Option = append(o.Option, &dns.EDNS0_TCP_KEEPALIVE{Code: 11}) })); !q.EDNS || !q.DO || q.UDPSize != 4096 || !q.Keepalive {
		t.Errorf("EDNS read as %+v", q)
	}
	if got := q.Name.String(); got != "web.wechat.com." {
		t.Errorf("name %q", got)
	}
	if got := string(q.RawName(plain)); got != "\x03Web\x06WeChat\x03com\x00" {
		t.Errorf("raw name %q", got)
	}
	if got := string(q.Name.Suffix(2)); got != "\x06wechat\x03com\x00" {
		t.Errorf("suffix %q", got)
	}
	if !q.Name.IsSubdomain([]byte("\x06wechat\x03com\x00")) || !q.Name.IsSubdomain([]byte{0}) || q.Name.IsSubdomain([]byte("\x05echat\x03com\x00")) {
		t.Error("IsSubdomain is wrong")
	}
}

func TestNameLimits(t *testing.T) {
	long := strings.Repeat("a.", 127) // 255 octets
	w, err := wire.AppendName(nil, []byte(long))
	if err != nil || len(w) != 255 {
		t.Fatalf("%d octets, %v", len(w), err)
	}
	var n wire.Name
	if _, err := n.Parse(append(make([]byte, 12), w...), 12); err != nil || n.Labels() != 127 {
		t.Fatalf("%d labels, %v", n.Labels(), err)
	}
	if err := n.Set(w); err != nil || n.Labels() != 127 {
		t.Fatalf("%d labels, %v", n.Labels(), err)
	}
	for _, bad := range []string{long + "b", strings.Repeat("x", 64), "a..b", ".a", "", `a\`, `a\2`, `a\299`} {
		if w, err := wire.AppendName([]byte("x"), []byte(bad)); err == nil || string(w) != "x" {
			t.Errorf("%q: %q, %v", bad, w, err)
		}
	}
	// A name that pointers make too long.
	msg := append(make([]byte, 12), w...)
	at := len(msg)
	msg = append(msg, 1, 'b', 0xC0, 12)
	if _, err := n.Parse(msg, at); err == nil {
		t.Error("257 octets by pointer accepted")
	}
	for _, loop := range []string{"\xc0\x0c", "\x01a\xc0\x0c", "\xc0\x0e\xc0\x0c", "\x40", "\x80", "\xc0", "\xc0\x00", "\x05ab"} {
		if _, err := n.Parse(append(make([]byte, 12), loop...), 12); err == nil {
			t.Errorf("%q accepted", loop)
		}
	}
}

func TestResponse(t *testing.T) {
	msg := encode(t, full(t))
	var n wire.Name
	var r wire.Response
	if err := r.Parse(msg, &n); err != nil {
		t.Fatal(err)
	}
	if r.EDE != 6 || !r.EDNS || r.MinTTL != 60 || r.Answers != 6 {
		t.Errorf("%+v", r)
	}
	var got dns.Msg
	if err := got.Unpack(msg[:r.End]); err != nil {
		t.Fatal(err)
	}
	if got.IsEdns0() != nil || len(got.Extra) != 1 {
		t.Errorf("OPT is still there: %v", got.Extra)
	}
	var targets, addrs []string
	w := wire.NewWalk(msg[:r.End])
	var rec wire.Record
	for w.Next(&rec) {
		off, ok := wire.TargetOffset(msg, &rec)
		if !ok {
			continue
		}
		next, err := n.Parse(msg, off)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, n.String())
		if rec.Type == wire.TypeHTTPS {
			h := svcb.NewHints(msg, &rec, next)
			for a := h.Next(); a != nil; a = h.Next() {
				addrs = append(addrs, string(rune('0'+len(a)/4)))
			}
		}
	}
	if want := "edge.example.net. svc.example.net. mail.example.net. srv.example.net. naptr.example.net. example.org. ns1.example.net."; strings.Join(targets, " ") != want {
		t.Errorf("targets %v", targets)
	}
	if strings.Join(addrs, "") != "114" {
		t.Errorf("hints %v", addrs)
	}
	cut := response.Trim(bytes.Clone(msg[:r.End]))
	if err := got.Unpack(cut); err != nil || len(got.Answer) != 6 || len(got.Ns)+len(got.Extra) != 0 {
		t.Errorf("cut: %v %v", err, &got)
	}
}

func TestTrimKeepsSOA(t *testing.T) {
	m := question("www.example.ca.", dns.TypeA)
	m.Response, m.Compress, m.Rcode = true, true, dns.RcodeNameError
	m.Answer = append(m.Answer, rr(t, "www.example.ca. 1 IN CNAME a.example.ca."))
	m.Ns = append(m.Ns, rr(t, "example.ca. 60 IN NS ns.banned.example."),
		rr(t, "example.ca. 60 IN SOA ns.example.ca. host.example.ca. 1 2 3 4 5"))
	m.Extra = append(m.Extra, rr(t, "ns.banned.example. 60 IN A 192.0.2.1"))
	var got dns.Msg
	if err := got.Unpack(response.Trim(encode(t, m))); err != nil || len(got.Answer) != 1 || len(got.Extra) != 0 ||
		len(got.Ns) != 1 || got.Ns[0].String() != m.Ns[1].String() {
		t.Errorf("%v %v", err, &got)
	}
}

func TestCapTTLs(t *testing.T) {
	m := question("www.example.ca.", dns.TypeA)
	for _, ttl := range []string{"5", "500", "2147483648", "4294967295"} {
		m.Answer = append(m.Answer, rr(t, "www.example.ca. "+ttl+" IN A 192.0.2.1"))
	}
	msg := encode(t, m)
	wire.CapTTLs(msg, 100)
	var got dns.Msg
	if err := got.Unpack(msg); err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint32{5, 100, 0, 0} {
		if ttl := got.Answer[i].Header().Ttl; ttl != want {
			t.Errorf("record %d: %d, want %d", i, ttl, want)
		}
	}
}

func TestReply(t *testing.T) {
	m := question("WeB.wechat.com.", dns.TypeA)
	m.CheckingDisabled = true
	m.SetEdns0(1232, true)
	query := encode(t, m)
	var q wire.Query
	if q.Parse(query) != wire.FaultNone {
		t.Fatal("fault")
	}
	for _, prefix := range []int{0, 2} { // with prefix 2 as for TCP, which puts the length before the message
		b := wire.Reply(make([]byte, prefix, 512), &q, query, wire.NXDomain)
		b = wire.AppendSOA(b, prefix, wire.Authority, wire.HeaderLen+q.Name.SuffixOffset(2), 30)
		opt := len(b)
		b = wire.AppendOPT(b, prefix, wire.OPT{UDPSize: 1232, DO: true, Rcode: wire.NXDomain, Options: wire.AppendEDE(nil, 15, "ban")})
		b = wire.AppendOption(b, opt, wire.AppendKeepalive(nil, 100))
		var got dns.Msg
		if err := got.Unpack(b[prefix:]); err != nil {
			t.Fatal(err)
		}
		soa, ok := got.Ns[0].(*dns.SOA)
		if !ok || soa.Hdr.Name != "wechat.com." || soa.Minttl != 30 || soa.Hdr.Ttl != 30 || soa.Ns != "rideau.invalid." {
			t.Errorf("SOA %v", got.Ns)
		}
		if got.Question[0].Name != "WeB.wechat.com." || got.Id != m.Id || got.Rcode != dns.RcodeNameError ||
			!got.Response || !got.RecursionAvailable || !got.RecursionDesired || !got.CheckingDisabled || got.Authoritative || got.AuthenticatedData {
			t.Errorf("header %v", &got)
		}
		o := got.IsEdns0()
		if o == nil || !o.Do() || o.UDPSize() != 1232 || len(o.Option) != 2 {
			t.Fatalf("OPT %v", o)
		}
		if e := o.Option[0].(*dns.EDNS0_EDE); e.InfoCode != 15 || e.ExtraText != "ban" {
			t.Errorf("EDE %v", e)
		}
		b = response.Fit(b, prefix, q.QuestionEnd)
		if err := got.Unpack(b[prefix:]); err != nil || !got.Truncated || len(got.Ns)+len(got.Extra) != 0 {
			t.Errorf("truncated: %v %v", err, &got)
		}
	}
}

func TestAppendQueryMatches(t *testing.T) {
	var n wire.Name
	if err := n.SetText("www.example.ca"); err != nil {
		t.Fatal(err)
	}
	query := wire.AppendQuery(nil, 7, &n, wire.TypeA, wire.ClassIN, true, false, true, 1232)
	var m dns.Msg
	if err := m.Unpack(query); err != nil || !m.RecursionDesired || !m.AuthenticatedData || m.IsEdns0() == nil || !m.IsEdns0().Do() {
		t.Fatalf("%v %v", err, &m)
	}
	resp := func(f func(*dns.Msg)) []byte {
		r := new(dns.Msg).SetReply(&m)
		f(r)
		return encode(t, r)
	}
	for name, c := range map[string]struct {
		resp []byte
		want bool
	}{
		"same":           {resp(func(*dns.Msg) {}), true},
		"other case":     {resp(func(r *dns.Msg) { r.Question[0].Name = "WWW.example.CA." }), true},
		"other id":       {resp(func(r *dns.Msg) { r.Id++ }), false},
		"other name":     {resp(func(r *dns.Msg) { r.Question[0].Name = "wwx.example.ca." }), false},
		"other type":     {resp(func(r *dns.Msg) { r.Question[0].Qtype = 28 }), false},
		"query":          {resp(func(r *dns.Msg) { r.Response = false }), false},
		"no question":    {resp(func(r *dns.Msg) { r.Question = nil }), false},
		"other opcode":   {resp(func(r *dns.Msg) { r.Opcode = 5 }), false},
		"header alone":   {query[:12], false},
		"nothing at all": {nil, false},
	} {
		if got := wire.Matches(query, c.resp); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	m := question("a.b.web.wechat.com.", dns.TypeA)
	m.SetEdns0(1232, true)
	query, resp := encode(t, m), encode(t, full(t))
	var q wire.Query
	var n wire.Name
	dst := make([]byte, 0, 4096)
	if got := testing.AllocsPerRun(100, func() {
		q.Parse(query)
		b := wire.Reply(dst, &q, query, wire.NXDomain)
		b = wire.AppendSOA(b, 0, wire.Authority, wire.HeaderLen, 30)
		b = wire.AppendOPT(b, 0, wire.OPT{UDPSize: 1232})
		response.Fit(b, 0, q.QuestionEnd)
		var r wire.Response
		b = append(dst[:0], resp...)
		r.Parse(b, &n)
		response.Trim(b)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// FuzzName compares names with miekg/dns.
func FuzzName(f *testing.F) {
	f.Add([]byte("\x03www\x07Example\x02ca\x00"), 0)
	f.Add([]byte("\x01a\x00\x03www\xc0\x00"), 3)
	f.Fuzz(func(t *testing.T, body []byte, at int) {
		msg := append(make([]byte, wire.HeaderLen), body...)
		off := wire.HeaderLen
		if at > 0 && at < len(body) {
			off += at
		}
		var n wire.Name
		next, err := n.Parse(msg, off)
		text, want, merr := dns.UnpackDomainName(msg, off)
		if err != nil {
			return // miekg/dns accepts pointers forwards and into the header
		}
		if merr != nil || next != want {
			t.Fatalf("%x at %d: next %d, want %d (%v)", msg, off, next, want, merr)
		}
		buf := make([]byte, 300)
		end, err := dns.PackDomainName(strings.ToLower(text), buf, 0, nil, false)
		if err == nil && !bytes.Equal(lowerASCII(buf[:end]), n.Bytes()) {
			t.Fatalf("%q: %x, want %x", text, n.Bytes(), buf[:end])
		}
		again, err := wire.AppendName(nil, []byte(n.String()))
		if err != nil || !bytes.Equal(again, n.Bytes()) {
			t.Fatalf("%q does not read back: %x, %v", n.String(), again, err)
		}
		var set wire.Name
		if err := set.Set(n.Bytes()); err != nil || set.Labels() != n.Labels() {
			t.Fatalf("Set(%x): %v", n.Bytes(), err)
		}
		for k := 0; k <= n.Labels(); k++ {
			if !n.IsSubdomain(n.Suffix(k)) {
				t.Fatalf("%q not below its suffix %d", n.String(), k)
			}
		}
	})
}

func lowerASCII(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 32
		}
	}
	return b
}

// FuzzQuery: miekg/dns reads every accepted query the same way.
func FuzzQuery(f *testing.F) {
	m := question("Web.WeChat.com.", dns.TypeAAAA)
	m.SetEdns0(4096, true)
	f.Add(encode(f, m))
	f.Fuzz(func(t *testing.T, msg []byte) {
		before := bytes.Clone(msg)
		var q wire.Query
		fault := q.Parse(msg)
		if !bytes.Equal(before, msg) {
			t.Fatal("the message was written")
		}
		if fault == wire.FaultDrop {
			return
		}
		b := wire.Reply(nil, &q, msg, wire.FormErr)
		b = wire.AppendOPT(b, 0, wire.OPT{})
		var back dns.Msg
		if err := back.Unpack(b); err != nil {
			t.Fatalf("reply %x: %v", b, err)
		}
		if fault != wire.FaultNone {
			return
		}
		var d dns.Msg
		if err := d.Unpack(msg); err != nil {
			return // miekg/dns reads the RDATA of every type, Parse only that of OPT
		}
		if len(d.Question) != 1 || d.Question[0].Qtype != uint16(q.Type) || d.Question[0].Qclass != uint16(q.Class) || d.Id != q.ID {
			t.Fatalf("%+v against %v", q, d.Question)
		}
		if o := d.IsEdns0(); q.EDNS && o != nil && (o.Do() != q.DO || o.Version() != q.Version || max(o.UDPSize(), 512) != q.UDPSize) {
			t.Fatalf("%+v against %v", q, o)
		}
	})
}

// FuzzResponse: nothing panics, and an accepted response stays readable.
func FuzzResponse(f *testing.F) {
	f.Add(encode(f, full(f)))
	f.Fuzz(func(t *testing.T, msg []byte) {
		var d dns.Msg
		readable := d.Unpack(msg) == nil
		var n wire.Name
		var r wire.Response
		if r.Parse(msg, &n) != nil {
			return
		}
		msg = msg[:r.End]
		w := wire.NewWalk(msg)
		var rec wire.Record
		for w.Next(&rec) {
			if off, ok := wire.TargetOffset(msg, &rec); ok {
				next, err := n.Parse(msg, off)
				if err != nil {
					t.Fatalf("accepted, and then %v", err)
				}
				h := svcb.NewHints(msg, &rec, next)
				for h.Next() != nil {
				}
			}
		}
		if w.Err() != nil {
			t.Fatal(w.Err())
		}
		if readable && r.EDNS != (d.IsEdns0() != nil) {
			t.Fatalf("EDNS %v", r.EDNS)
		}
		if readable {
			if err := d.Unpack(response.Trim(msg)); err != nil {
				t.Fatalf("cut: %v", err)
			}
		}
	})
}

func BenchmarkParseQuery(b *testing.B) {
	m := question("a.b.web.wechat.com.", dns.TypeA)
	m.SetEdns0(1232, true)
	query := encode(b, m)
	var q wire.Query
	b.ReportAllocs()
	for b.Loop() {
		q.Parse(query)
	}
}

func BenchmarkParseResponse(b *testing.B) {
	resp := encode(b, full(b))
	buf := make([]byte, len(resp))
	var n wire.Name
	var r wire.Response
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, resp)
		r.Parse(buf, &n)
	}
}

// TestRandomNames compares AppendName and NameString with miekg/dns.
func TestRandomNames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const alphabet = "abcXYZ019-_.\\\"();@$ \x00\xff*"
	for range 20000 {
		b := make([]byte, 1+r.IntN(30))
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		buf := make([]byte, 300)
		end, merr := dns.PackDomainName(dns.Fqdn(string(b)), buf, 0, nil, false)
		got, err := wire.AppendName(nil, b)
		if err != nil || merr != nil {
			continue
		}
		if want := lowerASCII(buf[:end]); !bytes.Equal(got, want) {
			t.Fatalf("%q: %x, want %x", b, got, want)
		}
	}
}

// Of several OPT records in a response the first counts, and all are removed.
func TestResponseWithTwoOPT(t *testing.T) {
	m := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
	m.Response = true
	m.Answer = []dns.RR{rr(t, "www.example. 60 IN A 192.0.2.1")}
	for _, code := range []uint16{6, 15} {
		m.Extra = append(m.Extra, &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232}, Option: []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: code}}})
	}
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var r wire.Response
	if err := r.Parse(msg, new(wire.Name)); err != nil || r.EDE != 6 || !r.EDNS || r.MinTTL != 60 {
		t.Fatalf("%+v, %v", r, err)
	}
	var got dns.Msg
	if err := got.Unpack(msg[:r.End]); err != nil || len(got.Extra) != 0 || len(got.Answer) != 1 {
		t.Errorf("%v, %v", &got, err)
	}
}
