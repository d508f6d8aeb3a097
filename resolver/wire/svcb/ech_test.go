package svcb_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
	"rideau/resolver/wire/svcb"
)

// message returns a response with the records of text, one on each line;
// "answer", "authority" and "additional" begin sections.
func message(t testing.TB, qname string, qtype uint16, text string) *dns.Msg {
	t.Helper()
	m := question(qname, qtype)
	m.Response, m.Compress, m.RecursionAvailable, m.AuthenticatedData = true, true, true, true
	section := &m.Answer
	for line := range strings.Lines(text) {
		switch line = strings.TrimSpace(line); line {
		case "":
		case "answer":
			section = &m.Answer
		case "authority":
			section = &m.Ns
		case "additional":
			section = &m.Extra
		default:
			*section = append(*section, rr(t, line))
		}
	}
	return m
}

const (
	ech     = "AEX+DQBBpQAgACBfJ2PMBDSI2GY1wgrPHRMTvSLLmdbEPBDIXxTkPCFsUAAEAAEAAQASY2xvdWRmbGFyZS1lY2guY29tAAA="
	sigTail = "13 2 300 20270101000000 20261101000000 12345 example.net. c2lnbmF0dXJl"
)

// without does what AppendWithoutECH has to do, on a decoded message: a model
// that is too simple to be wrong.
func without(m *dns.Msg) (*dns.Msg, bool) {
	m = m.Copy()
	type rrset struct {
		owner string
		t     uint16
	}
	lost := map[rrset]bool{}
	sections := []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra}
	isECH := func(v dns.SVCBKeyValue) bool { return v.Key() == dns.SVCB_ECHCONFIG }
	for _, s := range sections {
		for _, r := range *s {
			var b *dns.SVCB
			switch r := r.(type) {
			case *dns.SVCB:
				b = r
			case *dns.HTTPS:
				b = &r.SVCB
			}
			if b == nil || !slices.ContainsFunc(b.Value, isECH) {
				continue
			}
			lost[rrset{strings.ToLower(r.Header().Name), r.Header().Rrtype}] = true
			b.Value = slices.DeleteFunc(b.Value, isECH)
			for _, v := range b.Value {
				if mandatory, ok := v.(*dns.SVCBMandatory); ok {
					mandatory.Code = slices.DeleteFunc(mandatory.Code, func(k dns.SVCBKey) bool { return k == dns.SVCB_ECHCONFIG })
				}
			}
			b.Value = slices.DeleteFunc(b.Value, func(v dns.SVCBKeyValue) bool {
				mandatory, ok := v.(*dns.SVCBMandatory)
				return ok && len(mandatory.Code) == 0
			})
		}
	}
	if len(lost) == 0 {
		return m, false
	}
	for _, s := range sections {
		*s = slices.DeleteFunc(*s, func(r dns.RR) bool {
			sig, ok := r.(*dns.RRSIG)
			return ok && lost[rrset{strings.ToLower(sig.Hdr.Name), sig.TypeCovered}]
		})
	}
	m.AuthenticatedData = false
	return m, true
}

// text returns the content of a message, for comparison.
func text(m *dns.Msg) string {
	m = m.Copy()
	for _, s := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, r := range s {
			r.Header().Rdlength = 0
		}
	}
	return strings.ToLower(m.String())
}

// stripped returns the message without ECH: in wire form, decoded, and as the
// model has it.
func stripped(t testing.TB, m *dns.Msg) (out []byte, got, want string, changed bool) {
	t.Helper()
	msg := encode(t, m)
	before := bytes.Clone(msg)
	var n wire.Name
	const ahead = "in front"
	dst, changed, err := svcb.AppendWithoutECH([]byte(ahead), msg, &n)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(msg, before) {
		t.Fatal("the message was written to")
	}
	out = bytes.TrimPrefix(dst, []byte(ahead))
	if !changed {
		if string(dst) != ahead {
			t.Fatalf("not changed, but appended %x", dst)
		}
		out = msg
	}
	model, wantChanged := without(m)
	if changed != wantChanged {
		t.Fatalf("changed is %v, want %v", changed, wantChanged)
	}
	var unpacked dns.Msg
	if err := unpacked.Unpack(out); err != nil {
		t.Fatalf("%v: %x", err, out)
	}
	return out, text(&unpacked), text(model), changed
}

func TestWithoutECH(t *testing.T) {
	https := func(rest string) string { return "www.example.net. 300 IN HTTPS 1 . " + rest + "\n" }
	for name, c := range map[string]struct {
		records string
		changed bool
	}{
		"nothing":            {"", false},
		"no ech":             {https("alpn=h2,h3 ipv4hint=192.0.2.1"), false},
		"alone":              {https("ech=" + ech), true},
		"between":            {https("alpn=h2 ipv4hint=192.0.2.1 ech=" + ech + " ipv6hint=2001:db8::1 key65280=\"x\""), true},
		"mandatory, alone":   {https("mandatory=ech ech=" + ech), true},
		"mandatory, more":    {https("mandatory=alpn,ech,ipv4hint alpn=h2 ipv4hint=192.0.2.1 ech=" + ech), true},
		"mandatory, not ech": {https("mandatory=alpn alpn=h2 ech=" + ech), true},
		"alias and service": {"www.example.net. 60 IN CNAME Edge.CDN.example.org.\n" +
			"edge.cdn.example.org. 60 IN HTTPS 1 svc.cdn.example.org. ech=" + ech + "\n" +
			"edge.cdn.example.org. 60 IN HTTPS 2 other.example.com. alpn=h3 ech=" + ech, true},
		"one of two, signed": {https("alpn=h2") + https("port=8443 ech="+ech) + "www.example.net. 300 IN RRSIG HTTPS " + sigTail, true},
		"another's signature": {https("ech="+ech) + "www.example.net. 300 IN RRSIG HTTPS " + sigTail + "\n" +
			"www.example.net. 300 IN RRSIG A " + sigTail + "\n" + "www.example.net. 300 IN RRSIG SVCB " + sigTail + "\n" +
			"other.example.net. 300 IN RRSIG HTTPS " + sigTail, true},
		"signature first": {"WWW.example.net. 300 IN RRSIG HTTPS " + sigTail + "\n" + https("ech="+ech) +
			"authority\nexample.net. 60 IN NS ns.example.net.\nadditional\nns.example.net. 60 IN A 192.0.2.53", true},
		"svcb": {"_dns.www.example.net. 60 IN SVCB 1 dns.example.net. alpn=dot ech=" + ech + "\n" +
			"_dns.www.example.net. 60 IN RRSIG SVCB " + sigTail, true},
		"in the additional section": {"www.example.net. 60 IN HTTPS 0 svc.example.org.\nadditional\n" +
			"svc.example.org. 60 IN HTTPS 1 . ech=" + ech + "\nsvc.example.org. 60 IN A 192.0.2.1\n" +
			"svc.example.org. 60 IN RRSIG HTTPS " + sigTail, true},
		"all that has names": {https("ech="+ech) + `
			authority
			example.net. 60 IN SOA ns.example.net. host.example.net. 1 2 3 4 5
			example.net. 60 IN NS ns.example.net.
			example.net. 60 IN MX 10 mail.example.net.
			example.net. 60 IN NAPTR 10 20 "u" "sip+E2U" "" naptr.example.net.
			example.net. 60 IN DNAME example.org.
			example.net. 60 IN RP mbox.example.net. txt.example.net.
			example.net. 60 IN AFSDB 1 afs.example.net.
			example.net. 60 IN KX 1 kx.example.net.
			example.net. 60 IN PX 1 a.example.net. b.example.net.
			example.net. 60 IN MINFO a.example.net. b.example.net.
			example.net. 60 IN NSEC Next.example.net. A NS
			_x._tcp.example.net. 60 IN SRV 1 2 443 srv.example.net.
			1.2.0.192.in-addr.arpa. 60 IN PTR www.example.net.
			additional
			mail.example.net. 60 IN TXT "not a name"
			naptr.example.net. 60 IN TYPE65000 \# 4 C00CC00C
			srv.example.net. 60 IN AAAA 2001:db8::1`, true},
		"more owners than are remembered": {strings.Join(manyOwners(40), "\n"), true},
	} {
		t.Run(name, func(t *testing.T) {
			out, got, want, changed := stripped(t, message(t, "www.example.net.", dns.TypeHTTPS, c.records))
			if changed != c.changed || got != want {
				t.Errorf("changed %v; got\n%s\nwant\n%s", changed, got, want)
			}
			var r wire.Response
			if err := r.Parse(bytes.Clone(out), new(wire.Name)); err != nil {
				t.Errorf("the result: %v", err)
			}
		})
	}
}

func manyOwners(n int) (lines []string) {
	for i := range n {
		owner := strings.Repeat("x", i+1) + ".example.net. 60 IN "
		lines = append(lines, owner+"HTTPS 1 . ech="+ech, owner+"RRSIG HTTPS "+sigTail)
	}
	return lines
}

// Some offsets are beyond the reach of a pointer, and there are more names than
// the copy remembers.
func TestWithoutECHLong(t *testing.T) {
	var lines []string
	for i := range 300 {
		lines = append(lines, "www.example.net. 60 IN TXT "+strings.Repeat("y", 1+i%200),
			strings.Repeat("z", 1+i%60)+".example.net. 60 IN HTTPS 1 svc.example.net. ech="+ech)
	}
	_, got, want, changed := stripped(t, message(t, "www.example.net.", dns.TypeHTTPS, strings.Join(lines, "\n")))
	if !changed || got != want {
		t.Error("a long message came out as another")
	}
}

// A message that is within bounds only because of its compression is refused.
func TestWithoutECHTooLong(t *testing.T) {
	var n wire.Name
	w, err := wire.AppendName(nil, []byte(strings.Repeat("abcdefg.", 31)))
	if err != nil {
		t.Fatal(err)
	}
	msg := []byte{0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	msg = append(msg, w...)
	msg = append(msg, 0, 65, 0, 1)
	record := func(owner, t byte, data string) {
		msg = append(msg, 0xC0, owner, 0, t, 0, 1, 0, 0, 0, 60, 0, byte(len(data)))
		msg = append(msg, data...)
		wire.AddCount(msg, 0, wire.Answer, 1)
	}
	record(12, 65, "\x00\x01\x00"+"\x00\x05\x00\x01x")
	for i := range 2000 { // with more owners than the copy remembers
		record(12+8*byte(1+i%20), 1, "\xC0\x00\x02\x01")
	}
	if err := new(wire.Response).Parse(bytes.Clone(msg), &n); err != nil {
		t.Fatal(err)
	}
	out, changed, err := svcb.AppendWithoutECH([]byte("x"), msg, &n)
	if err == nil || changed || string(out) != "x" {
		t.Errorf("%d octets, changed %v, error %v", len(out), changed, err)
	}
}

// Malformed parameters stay as they are.
func TestWithoutECHMalformed(t *testing.T) {
	for name, c := range map[string]struct{ params, want string }{
		"cut head":              {"\x00\x05\x00", ""},
		"cut value":             {"\x00\x05\x00\x02x", ""},
		"cut after ech":         {"\x00\x05\x00\x01x\x00\x06\x00", "\x00\x06\x00"},
		"twice":                 {"\x00\x05\x00\x01x\x00\x05\x00\x00", ""},
		"mandatory of odd size": {"\x00\x00\x00\x03\x00\x05\x00\x00\x05\x00\x01x", "\x00\x00\x00\x03\x00\x05\x00"},
		"mandatory in vain":     {"\x00\x00\x00\x02\x00\x05", ""},
		"mandatory, empty":      {"\x00\x00\x00\x00\x00\x05\x00\x00", "\x00\x00\x00\x00"},
	} {
		msg := []byte("\x00\x01\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x00\x00\x41\x00\x01" + "\xC0\x0C\x00\x41\x00\x01\x00\x00\x00\x3C")
		data := "\x00\x01\x00" + c.params
		msg = append(append(msg, 0, byte(len(data))), data...)
		out, changed, err := svcb.AppendWithoutECH(nil, msg, new(wire.Name))
		want := ""
		if changed {
			want = "\x00\x01\x00" + c.want
			want = string(msg[:29]) + "\x00" + string(rune(len(want))) + want
		}
		if unread := strings.HasPrefix(name, "cut ") && c.want == "" || name == "mandatory in vain"; err != nil || unread == changed || string(out) != want {
			t.Errorf("%s: changed %v, error %v\n got %x\nwant %x", name, changed, err, out, want)
		}
	}
}

func TestWithoutECHNoAllocations(t *testing.T) {
	var n wire.Name
	msg := encode(t, message(t, "www.example.net.", dns.TypeHTTPS, "www.example.net. 60 IN CNAME edge.example.org.\n"+
		"edge.example.org. 60 IN HTTPS 1 . mandatory=ech alpn=h2 ech="+ech+"\nedge.example.org. 60 IN RRSIG HTTPS "+sigTail))
	dst := make([]byte, 0, 1024)
	if got := testing.AllocsPerRun(100, func() {
		if _, changed, err := svcb.AppendWithoutECH(dst, msg, &n); !changed || err != nil {
			t.Fatal(changed, err)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func FuzzWithoutECH(f *testing.F) {
	f.Add(encode(f, full(f)))
	for _, records := range []string{
		"a.example. 60 IN HTTPS 1 . mandatory=alpn,ech alpn=h2 ech=" + ech,
		"a.example. 60 IN CNAME b.example.\nb.example. 60 IN HTTPS 1 c.b.example. ech=" + ech + "\nb.example. 60 IN RRSIG HTTPS " + sigTail,
		"additional\n_dns.a.example. 60 IN SVCB 1 a.example. ech=" + ech + "\na.example. 60 IN MX 1 b.a.example.",
	} {
		f.Add(encode(f, message(f, "a.example.", dns.TypeHTTPS, records)))
	}
	echValue, err := base64.StdEncoding.DecodeString(ech)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(echValue)
	f.Fuzz(func(t *testing.T, data []byte) {
		var n wire.Name
		var r wire.Response
		if r.Parse(data, &n) != nil {
			return
		}
		msg := data[:r.End]
		before := bytes.Clone(msg)
		out, changed, err := svcb.AppendWithoutECH(nil, msg, &n)
		if !bytes.Equal(before, msg) {
			t.Fatal("the message was written to")
		}
		if err != nil || !changed {
			if len(out) != 0 {
				t.Fatalf("%d octets with %v", len(out), err)
			}
			return
		}
		var again wire.Response
		if err := again.Parse(bytes.Clone(out), &n); err != nil {
			t.Fatalf("the result cannot be read: %v", err)
		}
		if again.End != len(out) {
			t.Fatalf("%d octets, of which %d are read", len(out), again.End)
		}
		if rest, changed, err := svcb.AppendWithoutECH(nil, out, &n); changed || err != nil {
			t.Fatalf("once more: %x, %v", rest, err)
		}
		var m, unpacked dns.Msg
		if m.Unpack(msg) != nil || !plainNames(&m) {
			return
		}
		if err := unpacked.Unpack(out); err != nil {
			t.Fatalf("%v: %x", err, out)
		}
		model, _ := without(&m)
		if got, want := text(&unpacked), text(model); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// plainNames reports whether all names of a message are in records whose names
// Parse checks: miekg/dns also accepts pointers forwards.
func plainNames(m *dns.Msg) bool {
	for _, s := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, r := range s {
			switch r.(type) {
			case *dns.A, *dns.AAAA, *dns.CNAME, *dns.DNAME, *dns.NS, *dns.PTR, *dns.MX, *dns.SRV, *dns.NAPTR, *dns.SVCB, *dns.HTTPS, *dns.TXT:
			default:
				return false
			}
		}
	}
	return true
}

// A sender may have compressed names where it should not (RFC 3597 section 4).
// Parse accepts them, and no copy contains the pointers.
func TestCopiesCarryNoPointers(t *testing.T) {
	// Question a.example. SVCB; the answer's target is a pointer to it.
	msg := []byte("\x00\x01\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x07example\x00\x00\x40\x00\x01" +
		"\xC0\x0C\x00\x40\x00\x01\x00\x00\x00\x3C\x00\x09\x00\x01\xC0\x0C\x00\x05\x00\x01x")
	if err := new(wire.Response).Parse(bytes.Clone(msg), new(wire.Name)); err != nil {
		t.Fatal(err)
	}
	other := encode(t, question("other.example.org.", dns.TypeSVCB))
	stripped, _, err := svcb.AppendWithoutECH(nil, msg, new(wire.Name))
	if err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string][]byte{"another message": response.AppendAnswer(other, 0, msg, wire.MaxMessage), "without ech": stripped} {
		var m dns.Msg
		if err := m.Unpack(out); err != nil || len(m.Answer) != 1 || m.Answer[0].(*dns.SVCB).Target != "a.example." {
			t.Errorf("%s: %v: %v", name, err, m.Answer)
		}
	}
}
