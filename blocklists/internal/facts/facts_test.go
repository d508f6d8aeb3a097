package facts_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/blocklists/internal/facts"
	"rideau/resolver/wire"
)

// embedded are the addresses that an address stands for, as text.
func embedded(a string, prefixes ...string) string {
	var own []netip.Prefix
	for _, p := range prefixes {
		own = append(own, netip.MustParsePrefix(p))
	}
	var out []string
	e := facts.NewEmbedded(netip.MustParseAddr(a), own)
	for b, more := e.Next(); more; b, more = e.Next() {
		out = append(out, b.String())
	}
	return strings.Join(out, " ")
}

// TestEmbedded: the examples of RFC 6052 section 2.4 and the other forms, and addresses that only look alike.
func TestEmbedded(t *testing.T) {
	for _, c := range []struct{ a, prefix, want string }{
		{"2001:db8:c000:221::", "2001:db8::/32", "192.0.2.33"},
		{"2001:db8:1c0:2:21::", "2001:db8:100::/40", "192.0.2.33"},
		{"2001:db8:122:c000:2:2100::", "2001:db8:122::/48", "192.0.2.33"},
		{"2001:db8:122:3c0:0:221::", "2001:db8:122:300::/56", "192.0.2.33"},
		{"2001:db8:122:344:c0:2:2100::", "2001:db8:122:344::/64", "192.0.2.33"},
		{"2001:db8:122:344::192.0.2.33", "2001:db8:122:344::/96", "192.0.2.33"},
		{"2001:db8:122:344:ffc0:2:21ff:ffff", "2001:db8:122:344::/64", "192.0.2.33"}, // translators read neither octet 8 nor the end
		{"64:ff9b::192.0.2.33", "", "192.0.2.33"},
		{"64:ff9b::1:c000:221", "", ""},
		{"64:ff9b:1::192.0.2.33", "", "192.0.2.33"},
		{"64:ff9b:1:c000:2:2100::", "", "2.33.0.0 192.0.2.33"},
		{"64:ff9b:1:fffe::c000:221", "64:ff9b:1:fffe::/96", "192.0.2.33"}, // no guess beside what is known
		{"64:ff9b:2::c000:221", "", ""},
		{"2002:c000:221::1", "", "192.0.2.33"},
		{"2001:0:4136:e378:8000:63bf:3fff:fdd2", "", "65.54.227.120 192.0.2.45"}, // RFC 4380 section 4
		{"2001:1:4136:e378:8000:63bf:3fff:fdd2", "", ""},
		{"fe80::5efe:192.0.2.33", "", "192.0.2.33"},
		{"2001:db8::200:5efe:192.0.2.33", "", "192.0.2.33"},
		{"2001:db8::100:5efe:192.0.2.33", "", ""},
		{"::192.0.2.33", "", "192.0.2.33"},
		{"::ffff:0:192.0.2.33", "", "192.0.2.33"},
		{"::ffff:192.0.2.33", "", ""}, // it counts as IPv4 everywhere
		{"2002:c000:221::5efe:c633:6401", "", "192.0.2.33 198.51.100.1"},
		{"::", "", ""}, {"::1", "", ""}, {"192.0.2.33", "64:ff9b::/96", ""}, {"2001:db8::c000:221", "", ""},
	} {
		var prefixes []string
		if c.prefix != "" {
			prefixes = []string{c.prefix}
		}
		if got := embedded(c.a, prefixes...); got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.a, c.prefix, got, c.want)
		}
	}
	if got := embedded("2001:db8:0:c000:2:2100:c633:6401", "2001:db8::/48", "2001:db8:0:c000::/64", "2001:db9::/96"); got != "192.0.2.33 2.33.0.198" {
		t.Errorf("prefixes of several lengths: %q", got)
	}
}

// leads are the names and addresses to which a record leads.
func leads(t testing.TB, text string) string {
	t.Helper()
	rr, err := dns.NewRR("x.example. 60 IN " + text)
	if err != nil {
		t.Fatal(text, err)
	}
	m := &dns.Msg{Answer: []dns.RR{rr}}
	m.SetQuestion("x.example.", rr.Header().Rrtype)
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(text, err)
	}
	return read(t, msg)
}

func read(t testing.TB, msg []byte) string {
	w := wire.NewWalk(msg)
	var r wire.Record
	var out []string
	for w.Next(&r) {
		l := facts.NewLeads(msg, &r)
		var name wire.Name
		for a, more := l.Next(&name); more; a, more = l.Next(&name) {
			if !facts.MayLead(r.Type) {
				t.Errorf("type %d may lead", r.Type)
			}
			if a.IsValid() {
				out = append(out, a.String())
			} else {
				out = append(out, strings.TrimSuffix(name.String(), "."))
			}
		}
	}
	return strings.Join(out, " ")
}

// TestHosts: the hosts of URIs and of what NAPTR records make.
func TestHosts(t *testing.T) {
	for uri, want := range map[string]string{
		"https://Host.Example/path":              "host.example",
		"https://host.example":                   "host.example",
		"https://host.example.:8443?q=a@other":   "host.example",
		"https://me:secret@host.example/":        "host.example",
		"https://fine.example@host.example/":     "host.example",
		"https://fine.example/@host.example":     "fine.example",
		"https:host.example":                     "host.example",
		"https:///host.example":                  "host.example",
		"//host.example/x":                       "host.example",
		"host.example":                           "host.example",
		"host.example:443":                       "host.example",
		"host.example/x:y":                       "host.example",
		"https:%5c%5chost.example":               "",
		"h\tt\ntps://ho\tst.example":             "host.example",
		"https://%68ost%2Eexample":               "host.example",
		"https://b\u00fccher.example/":           "xn--bcher-kva.example",
		"https://b%C3%BCcher.example/":           "xn--bcher-kva.example",
		"https://host\u3002example/":             "host.example",
		"sip:host.example;lr":                    "host.example",
		"sips:a@host.example:5061;transport=tcp": "host.example",
		"mailto:a@one.example,b@two.example?x=y": "one.example two.example",
		"blob:https://host.example/1":            "host.example",
		"https://192.0.2.66/":                    "192.0.2.66",
		"https://192.0.2.66./":                   "192.0.2.66",
		"https://3221226050/":                    "192.0.2.66",
		"https://0300.0.0x2.66/":                 "192.0.2.66",
		"https://192.578/":                       "192.0.2.66",
		"https://192.0.2.256/":                   "192.0.2.256",
		"https://[2001:db8::1]:80/":              "2001:db8::1",
		"https://[fe80::1%25eth0]/":              "fe80::1",
		"https://[::ffff:192.0.2.66]/":           "::ffff:192.0.2.66",
		"https://[2001:db8::1":                   "",
		"":                                       "", ":": "", "@": "", "https://": "", "https://?": "", "a:b:c:d:e:f://host.example": "b",
	} {
		if uri == "https:%5c%5chost.example" {
			want = "" // an escaped backslash is no separator, and no host has one
		}
		m := &dns.Msg{Answer: []dns.RR{&dns.URI{Hdr: dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeURI, Class: 1}, Target: uri}}}
		if strings.ContainsAny(uri, "\t\n") || !isASCII(uri) {
			m.Answer = []dns.RR{&dns.RFC3597{Hdr: dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeURI, Class: 1}, Rdata: fmt.Sprintf("00010001%x", uri)}}
		}
		m.SetQuestion("x.example.", dns.TypeURI)
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(uri, err)
		}
		if got := read(t, msg); got != want {
			t.Errorf("%q: %q, want %q", uri, got, want)
		}
	}
	for regexp, want := range map[string]string{
		`!^.*$!sip:info@host.example!`:          "host.example",
		`!^.*$!sip:info@host.example!i`:         "host.example",
		`!^(.*)$!https://\\1.host.example/\\2!`: "x.host.example",
		`/^.*$/https:\\/\\/host.example\\/x/`:   "host.example",
		`!a!host.example!`:                      "host.example",
		`!other.example!!`:                      "",
		`!a`:                                    "",
		``:                                      "",
	} {
		if got := strings.TrimSpace(leads(t, `NAPTR 1 1 "u" "x" "`+regexp+`" r.example.`)); got != strings.TrimSpace("r.example "+want) {
			t.Errorf("%q: %q, want %q", regexp, got, want)
		}
	}
}

func isASCII(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(c byte) bool { return c >= 0x80 })
}

// TestLeads: the types whose RDATA has several parts, and RDATA that is cut off at every octet, which yields no more than the whole.
func TestLeads(t *testing.T) {
	for text, want := range map[string]string{
		"HTTPS 1 a.example. ipv4hint=192.0.2.1 ipv6hint=2001:db8::1":                 "a.example 192.0.2.1 2001:db8::1",
		"IPSECKEY 10 0 2 . AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==":         "",
		"IPSECKEY 10 1 2 192.0.2.1 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==": "192.0.2.1",
		`TYPE260 \# 2 0a80`: "",
		"HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p a. b.example.": "a b.example",
		"RP a.example. b.example.":                         "a.example b.example",
		`TYPE38 \# 17 00 20010db8000000000000000000000001`: "2001:db8::1",
		`TYPE38 \# 12 40 0000000000000001 016100`:          "a",
		"L64 1 2001:0DB8:0000:0001":                        "2001:db8:0:1::",
		`TXT "https://a.example/"`:                         "",
		"CAA 0 iodef \"https://a.example/\"":               "",
	} {
		if got := leads(t, text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		rr, _ := dns.NewRR("x.example. 60 IN " + text)
		m := &dns.Msg{Answer: []dns.RR{rr}}
		m.SetQuestion("x.example.", rr.Header().Rrtype)
		msg, _ := m.Pack()
		w := wire.NewWalk(msg)
		var r wire.Record
		w.Next(&r)
		for end := r.DataOff; end < r.End; end++ {
			short := slices.Clone(msg[:end])
			short[r.DataOff-2], short[r.DataOff-1] = byte((end-r.DataOff)>>8), byte(end-r.DataOff)
			read(t, short) // it does not panic
		}
	}
}

// TestRawLeads: what the library does not write.
func TestRawLeads(t *testing.T) {
	for _, c := range []struct {
		typ        uint16
		data, want string
	}{
		{260, "\x0a\x82\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", "2001:db8::1"}, // with the D bit
		{260, "\x0a\x83\x01a\x00", "a"},
		{260, "\x0a\x84\x01a\x00", ""},
		{55, "\x00\x01\x00\x00\x01a\x00\x01b\x00\xc0\x21", "a b"}, // a pointer is not followed
	} {
		if got := read(t, message(c.typ, []byte(c.data))); got != c.want {
			t.Errorf("type %d, %x: %q, want %q", c.typ, c.data, got, c.want)
		}
	}
}

// TestUnexamined: types that have been assigned and lead nowhere count as known, others do not.
func TestUnexamined(t *testing.T) {
	for _, known := range []uint16{0, 1, 16, 28, 43, 48, 52, 61, 64, 65, 105, 107, 257, 256, 260, 32769} {
		if facts.Unexamined(wire.Type(known)) {
			t.Errorf("TYPE%d is unexamined", known)
		}
	}
	for _, unknown := range []uint16{54, 69, 98, 110, 200, 259, 262, 1000, 65280, 65535} {
		if !facts.Unexamined(wire.Type(unknown)) {
			t.Errorf("TYPE%d is examined", unknown)
		}
	}
}

// message is a message with one record.
func message(typ uint16, data []byte) []byte {
	msg := append([]byte("\x00\x00\x80\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00"), byte(typ>>8), byte(typ), 0, 1, 0, 0, 0, 60, byte(len(data)>>8), byte(len(data)))
	return append(msg, data...)
}

// FuzzLeads: no RDATA of any type makes the reader panic or go on for ever.
func FuzzLeads(f *testing.F) {
	f.Add(uint16(256), []byte("\x00\x01\x00\x01https://host.example/"))
	f.Add(uint16(35), []byte("\x00\x01\x00\x01\x01u\x01x\x15!^.*$!sip:a@b.example!\x00"))
	f.Add(uint16(55), []byte("\x02\x01\x00\x02ab cd\x01a\x00\x01b\x00"))
	f.Add(uint16(38), []byte("\x40\x00\x00\x00\x00\x00\x00\x00\x01\x01a\x00"))
	f.Fuzz(func(t *testing.T, typ uint16, data []byte) {
		if len(data) > 4096 {
			return
		}
		msg := message(typ, data)
		w := wire.NewWalk(msg)
		var r wire.Record
		if !w.Next(&r) {
			return
		}
		l := facts.NewLeads(msg, &r)
		var name wire.Name
		n := 0
		for _, more := l.Next(&name); more; _, more = l.Next(&name) {
			if n++; n > len(data)+1 {
				t.Fatal("it does not end")
			}
		}
	})
}
