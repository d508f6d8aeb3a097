package acceptance_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

func endpoint(mixCase, cookies bool) *acceptance.Endpoint {
	return acceptance.NewEndpoint(netip.MustParseAddrPort("192.0.2.53:53"), mixCase, cookies)
}

func query(t testing.TB) []byte {
	t.Helper()
	var name wire.Name
	if err := name.SetText("www.example.com"); err != nil {
		t.Fatal(err)
	}
	return wire.AppendQuery(nil, 0x1234, &name, wire.TypeA, wire.ClassIN, false, false, true, 1232)
}

// reply is a response to q with one record, edited.
func reply(t testing.TB, q []byte, edit ...func(*dns.Msg)) []byte {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(q); err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg).SetReply(&m)
	r.RecursionAvailable = true
	r.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: []byte{192, 0, 2, 1}}}
	for _, e := range edit {
		e(r)
	}
	b, err := r.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rcode(code int) func(*dns.Msg) {
	return func(m *dns.Msg) { m.Answer, m.Rcode = nil, code }
}

func extended(code int) func(*dns.Msg) {
	return func(m *dns.Msg) { m.Answer = nil; m.SetEdns0(1232, false); m.Rcode = code }
}

func bare(m *dns.Msg) { m.Question, m.Answer = nil, nil }

func truncated(m *dns.Msg) { m.Truncated = true }

// cut is a message that ends within its records.
func cut(b []byte) []byte { return b[:len(b)-3] }

const (
	datagram  = acceptance.Datagram
	long      = acceptance.CutDatagram
	stream    = acceptance.Stream
	encrypted = acceptance.Encrypted
)

// TestAccept: what each kind of message is, by each path.
func TestAccept(t *testing.T) {
	q := query(t)
	type results [4]acceptance.Result // datagram, long, stream, encrypted
	all := func(r acceptance.Result) results { return results{r, acceptance.Truncated, r, r} }
	none := results{}
	open := func(r acceptance.Result) results { // without a question
		return results{acceptance.Doubtful, acceptance.Doubtful, r, r}
	}
	useless := results{acceptance.Mismatch, acceptance.Mismatch, acceptance.Failure, acceptance.Failure}
	refuses := results{acceptance.Doubtful, acceptance.Truncated, acceptance.RefusesEDNS, acceptance.RefusesEDNS}
	for name, c := range map[string]struct {
		msg  []byte
		want results
	}{
		"answer":                {reply(t, q), all(acceptance.Answer)},
		"other case":            {reply(t, q, func(m *dns.Msg) { m.Question[0].Name = "WWW.Example.com." }), all(acceptance.Answer)},
		"NXDOMAIN":              {reply(t, q, rcode(dns.RcodeNameError)), all(acceptance.Answer)},
		"YXDOMAIN":              {reply(t, q, rcode(dns.RcodeYXDomain)), all(acceptance.Answer)},
		"SERVFAIL":              {reply(t, q, rcode(dns.RcodeServerFailure)), all(acceptance.Failure)},
		"REFUSED":               {reply(t, q, rcode(dns.RcodeRefused)), all(acceptance.Failure)},
		"NOTAUTH":               {reply(t, q, rcode(dns.RcodeNotAuth)), all(acceptance.Failure)},
		"YXRRSET":               {reply(t, q, rcode(dns.RcodeYXRrset)), all(acceptance.Failure)},
		"FORMERR":               {reply(t, q, rcode(dns.RcodeFormatError)), refuses},
		"NOTIMP":                {reply(t, q, rcode(dns.RcodeNotImplemented)), refuses},
		"FORMERR, unreadable":   {cut(reply(t, q, rcode(dns.RcodeFormatError), func(m *dns.Msg) { m.SetEdns0(512, false) })), refuses},
		"BADVERS":               {reply(t, q, extended(dns.RcodeBadVers)), refuses},
		"BADCOOKIE":             {reply(t, q, extended(dns.RcodeBadCookie)), all(acceptance.RefusesCookie)},
		"unreadable":            {cut(reply(t, q)), all(acceptance.Malformed)},
		"SERVFAIL, unreadable":  {cut(reply(t, q, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })), all(acceptance.Malformed)},
		"TC":                    {reply(t, q, truncated), results{acceptance.Truncated, acceptance.Truncated, acceptance.Answer, acceptance.Answer}},
		"another id":            {reply(t, q, func(m *dns.Msg) { m.Id++ }), none},
		"another name":          {reply(t, q, func(m *dns.Msg) { m.Question[0].Name = "www.example.net." }), none},
		"another type":          {reply(t, q, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }), none},
		"another class":         {reply(t, q, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), none},
		"another opcode":        {reply(t, q, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), none},
		"two questions":         {reply(t, q, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), none},
		"a query":               {q, none},
		"nothing":               {nil, none},
		"half a header":         {reply(t, q)[:7], none},
		"bare FORMERR":          {reply(t, q, rcode(dns.RcodeFormatError), bare), open(acceptance.RefusesEDNS)},
		"bare NOTIMP":           {reply(t, q, rcode(dns.RcodeNotImplemented), bare), open(acceptance.RefusesEDNS)},
		"bare SERVFAIL":         {reply(t, q, rcode(dns.RcodeServerFailure), bare), open(acceptance.Failure)},
		"bare REFUSED":          {reply(t, q, rcode(dns.RcodeRefused), bare), open(acceptance.Failure)},
		"bare NOERROR":          {reply(t, q, bare), useless},
		"bare NXDOMAIN":         {reply(t, q, rcode(dns.RcodeNameError), bare), useless},
		"bare TC":               {reply(t, q, bare, truncated), open(acceptance.Mismatch)},
		"bare TC, SERVFAIL":     {reply(t, q, rcode(dns.RcodeServerFailure), bare, truncated), open(acceptance.Mismatch)},
		"bare SERVFAIL, id":     {reply(t, q, rcode(dns.RcodeServerFailure), bare, func(m *dns.Msg) { m.Id++ }), none},
		"bare SERVFAIL, opcode": {reply(t, q, rcode(dns.RcodeServerFailure), bare, func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }), none},
	} {
		for path, want := range c.want {
			got, msg := acceptance.Accept(acceptance.Path(path), endpoint(false, false), q, slices.Clone(c.msg))
			if got != want {
				t.Errorf("%s, path %d: %v, want %v", name, path, got, want)
			}
			if has := got != acceptance.Mismatch && (got != acceptance.Truncated || acceptance.Path(path) != acceptance.CutDatagram); has != (msg != nil) {
				t.Errorf("%s, path %d: %v with the message %x", name, path, got, msg)
			}
			if got == acceptance.Doubtful || got == acceptance.Truncated {
				continue // it is as it came
			}
			if msg != nil && (!wire.Matches(q, msg) || acceptance.Judge(msg) != got) {
				t.Errorf("%s, path %d: %x is no response, or %v by itself", name, path, msg, acceptance.Judge(msg))
			}
		}
	}
}

// TestAcceptProtected: by UDP a response without the case and the cookie of the
// query is not believed, once the server has shown that it repeats them; by TCP
// it is, and shows whether the server does.
func TestAcceptProtected(t *testing.T) {
	const server = "0123456789abcdef"
	protect := func(e *acceptance.Endpoint) []byte {
		var bits *[32]byte
		if e.MixesCase() {
			bits = new([32]byte)
			for i := range bits {
				bits[i] = 0xA5
			}
		}
		out, _ := e.Protect(query(t), bits, true)
		return out
	}
	// cookie is that of a message in hexadecimal, empty if it has none.
	cookie := func(msg []byte) string {
		var m dns.Msg
		if err := m.Unpack(msg); err != nil {
			t.Fatal(err)
		}
		for _, o := range m.IsEdns0().Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
		return ""
	}
	lower := func(m *dns.Msg) { m.Question[0].Name = strings.ToLower(m.Question[0].Name) }
	with := func(c string) func(*dns.Msg) {
		return func(m *dns.Msg) {
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: c}}
		}
	}
	want := func(what string, path acceptance.Path, e *acceptance.Endpoint, q, msg []byte, want acceptance.Result) {
		t.Helper()
		if got, _ := acceptance.Accept(path, e, q, msg); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}

	e := endpoint(true, false)
	q := protect(e)
	if slices.Equal(q, query(t)) {
		t.Fatal("no letter has another case")
	}
	want("the same case", datagram, e, q, reply(t, q), acceptance.Answer)
	want("another case", datagram, e, q, reply(t, q, lower), acceptance.Doubtful)
	want("another case, encrypted", encrypted, nil, q, reply(t, q, lower), acceptance.Answer)
	want("another case by TCP", stream, e, q, reply(t, q, lower), acceptance.Answer)
	if e.MixesCase() {
		t.Error("a server that does not keep the case is still expected to")
	}
	want("another case, known", datagram, e, q, reply(t, q, lower), acceptance.Answer)

	e = endpoint(false, true)
	q = protect(e)
	client := cookie(q)
	if len(client) != 16 {
		t.Fatalf("cookie %q", client)
	}
	want("a wrong cookie", datagram, e, q, reply(t, q, with("00"+client[2:]+server)), acceptance.Doubtful)
	want("a cookie", datagram, e, q, reply(t, q, with(client+server)), acceptance.Answer)
	if c := acceptance.OwnCookie(q, reply(t, q, with(client+server))); c == nil {
		t.Error("the server's cookie is not found")
	} else {
		e.CookieTried(c, false)
	}
	q = protect(e)
	if got := cookie(q); got != client+server {
		t.Errorf("cookie %q, want %q", got, client+server)
	}
	want("no cookie any more", datagram, e, q, reply(t, q), acceptance.Doubtful)
	want("FORMERR without the cookie", datagram, e, q, reply(t, q, rcode(dns.RcodeFormatError)), acceptance.Doubtful)
	want("FORMERR with it", datagram, e, q, reply(t, q, with(client+server), rcode(dns.RcodeFormatError)), acceptance.RefusesEDNS)
	want("a new one, refused", datagram, e, q, reply(t, q, with(client+"fedcba9876543210"), func(m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeBadCookie }), acceptance.RefusesCookie)
	if got := cookie(protect(e)); got != client+"fedcba9876543210" {
		t.Errorf("cookie %q after the server has given another", got)
	}
	want("none by TCP either", stream, e, q, reply(t, q), acceptance.Answer)
	if q, cookie := e.Protect(query(t), nil, false); cookie {
		t.Errorf("a cookie for a server that gives none: %x", q)
	}
}

// TestAcceptAgainstModel: random damage to messages is judged as by miekg/dns.
func TestAcceptAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 14))
	q := query(t)
	seeds := [][]byte{reply(t, q), reply(t, q, extended(dns.RcodeBadVers)), reply(t, q, extended(dns.RcodeBadCookie)), reply(t, q, rcode(dns.RcodeRefused), bare), q}
	seen := map[acceptance.Result]int{}
	for range 200_000 {
		msg := slices.Clone(seeds[rng.IntN(len(seeds))])
		for range rng.IntN(3) {
			at := rng.IntN(12)
			if rng.IntN(3) == 0 {
				at = rng.IntN(len(msg))
			}
			msg[at] ^= 1 << rng.IntN(8)
		}
		for _, path := range []acceptance.Path{datagram, long, stream, encrypted} {
			got, _ := acceptance.Accept(path, endpoint(false, false), q, slices.Clone(msg))
			seen[got]++
			if want := model(t, path, q, msg); got != want {
				t.Fatalf("%x, path %d: %v, want %v", msg, path, got, want)
			}
		}
	}
	for r := acceptance.Mismatch; r <= acceptance.RefusesCookie; r++ {
		if seen[r] == 0 {
			t.Errorf("no message was judged %v", r)
		}
	}
}

// model judges as Accept does, but for which records can be read.
func model(t *testing.T, path acceptance.Path, query, msg []byte) acceptance.Result {
	t.Helper()
	var asked, got dns.Msg
	if err := asked.Unpack(query); err != nil {
		t.Fatal(err)
	}
	questions := int(msg[4])<<8 | int(msg[5])
	head := append([]byte(nil), msg...)
	clear(head[6:12])
	if err := got.Unpack(head); err != nil && !strings.Contains(err.Error(), "trailing") || questions > 1 || len(got.Question) != questions {
		return acceptance.Mismatch
	}
	if got.Id != asked.Id || !got.Response || got.Opcode != asked.Opcode {
		return acceptance.Mismatch
	}
	udp := path == datagram || path == long
	code := got.Rcode
	if questions == 0 {
		refuses := code == dns.RcodeFormatError || code == dns.RcodeNotImplemented
		switch {
		case udp && (got.Truncated || refuses || code == dns.RcodeServerFailure || code == dns.RcodeRefused):
			return acceptance.Doubtful
		case udp, got.Truncated:
			return acceptance.Mismatch
		case refuses:
			return acceptance.RefusesEDNS
		}
		return acceptance.Failure
	}
	if a, b := asked.Question[0], got.Question[0]; !strings.EqualFold(a.Name, b.Name) || a.Qtype != b.Qtype || a.Qclass != b.Qclass || msg[wire.HeaderLen]&0xC0 != 0 {
		return acceptance.Mismatch
	}
	if path == long || udp && got.Truncated {
		return acceptance.Truncated
	}
	refuses := acceptance.RefusesEDNS
	if udp {
		refuses = acceptance.Doubtful
	}
	if code == dns.RcodeFormatError || code == dns.RcodeNotImplemented {
		return refuses
	}
	off, end := acceptance.FindOPT(msg)
	upper := -1
	if end > 0 {
		upper = int(msg[off+5])
	}
	switch {
	case code == 0 && msg[6]|msg[7] == 0 && upper == 1 && msg[off] == 0:
		return refuses
	case code == 7 && upper == 1:
		return acceptance.RefusesCookie
	case !acceptance.Readable(msg):
		return acceptance.Malformed
	case code == dns.RcodeSuccess, code == dns.RcodeNameError, code == dns.RcodeYXDomain:
		return acceptance.Answer
	}
	return acceptance.Failure
}

// TestAcceptAllocates: nothing but what is made for a response without question.
func TestAcceptAllocates(t *testing.T) {
	e := endpoint(true, true)
	bits := new([32]byte)
	q, _ := e.Protect(query(t), bits, false)
	msg := reply(t, q)
	if n := testing.AllocsPerRun(100, func() {
		if r, _ := acceptance.Accept(datagram, e, q, msg); r != acceptance.Answer {
			t.Fatal(r)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzAccept holds the acceptance of responses against what miekg/dns reads in
// them.
func FuzzAccept(f *testing.F) {
	q := query(f)
	f.Add(reply(f, q))
	f.Add(reply(f, q, rcode(dns.RcodeServerFailure)))
	f.Add(reply(f, q, rcode(dns.RcodeFormatError), bare))
	f.Add(reply(f, q, rcode(dns.RcodeRefused), bare))
	f.Add(reply(f, q, bare))
	f.Add(reply(f, q, func(m *dns.Msg) { m.Question[0].Name = "WWW.example.com." }))
	f.Add(q)
	f.Add(q[:20])
	f.Fuzz(func(t *testing.T, resp []byte) {
		result, _ := acceptance.Accept(stream, endpoint(false, false), q, resp)
		if result == acceptance.Mismatch {
			return
		}
		without := wire.Count(resp, wire.Question) == 0
		var asked, got dns.Msg
		if err := asked.Unpack(q); err != nil {
			t.Fatal(err)
		}
		// Records may be broken; header and question may not.
		head := append([]byte(nil), resp...)
		clear(head[6:12])
		if err := got.Unpack(head); err != nil && !strings.Contains(err.Error(), "trailing") {
			t.Fatalf("accepted %x, which cannot be read: %v", resp, err)
		}
		if got.Id != asked.Id || !got.Response || got.Opcode != asked.Opcode {
			t.Errorf("accepted %v", got.MsgHdr)
		}
		if without {
			// Whatever its code, it is no answer.
			if len(got.Question) != 0 || result != acceptance.Failure && result != acceptance.RefusesEDNS {
				t.Errorf("accepted without question as %v: %v", result, &got)
			}
			return
		}
		if len(got.Question) != 1 || !strings.EqualFold(got.Question[0].Name, asked.Question[0].Name) ||
			got.Question[0].Qtype != asked.Question[0].Qtype || got.Question[0].Qclass != asked.Question[0].Qclass {
			t.Errorf("accepted as answer to %v: %v", asked.Question, got.Question)
		}
	})
}
