package proxied_test

import (
	"bytes"
	"net/netip"
	"testing"

	"rideau/resolver/listener/proxied"
)

const sig = "\r\n\r\n\x00\r\nQUIT\n"

// TestHeader: a header is read to its last octet and no further, from a connection and from a datagram alike.
func TestHeader(t *testing.T) {
	via := netip.MustParseAddr("192.0.2.9")
	v4 := sig + "\x21\x11\x00\x0c\x0a\x01\x02\x03\x7f\x00\x00\x01\x10\x00\x00\x35"
	for what, c := range map[string]struct{ in, want string }{
		"IPv4":             {v4, "10.1.2.3"},
		"IPv4 by UDP":      {sig + "\x21\x12\x00\x0c" + v4[16:], "10.1.2.3"},
		"values":           {sig + "\x21\x11\x00\x10" + v4[16:] + "\x01\x00\x01x", "10.1.2.3"},
		"IPv4 in IPv6":     {sig + "\x21\x21\x00\x24" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x01\x02\x03" + string(make([]byte, 20)), "10.1.2.3"},
		"LOCAL":            {sig + "\x20\x00\x00\x00", "192.0.2.9"},
		"LOCAL with more":  {sig + "\x20\x11\x00\x02xx", "192.0.2.9"},
		"no family":        {sig + "\x21\x00\x00\x0c" + v4[16:], ""},
		"a path":           {sig + "\x21\x31\x00\xd8" + string(make([]byte, 216)), ""},
		"too short for it": {sig + "\x21\x11\x00\x04" + v4[16:20], ""},
		"another command":  {sig + "\x22\x11\x00\x0c" + v4[16:], ""},
		"another version":  {sig + "\x31\x11\x00\x0c" + v4[16:], ""},
		"version 1":        {"PROXY TCP4 10.1.2.3 127.0.0.1 4096 53\r\n", ""},
		"too long":         {sig + "\x21\x11\x04\x01" + string(make([]byte, 1025)), ""},
		"its end missing":  {v4[:20], ""},
		"nothing":          {"", ""},
		"less than all":    {sig, ""},
	} {
		want, _ := netip.ParseAddr(c.want)
		rest := "rest"
		if want.IsValid() {
			r := bytes.NewReader([]byte(c.in + rest))
			if a, err := proxied.Read(r, via); a != want || err != nil || r.Len() != len(rest) {
				t.Errorf("%s: %v %v, %d octets are left", what, a, err, r.Len())
			}
			if a, b, err := proxied.Datagram([]byte(c.in+rest), via); a != want || err != nil || string(b) != rest {
				t.Errorf("%s: %v %v, %q is left", what, a, err, b)
			}
			continue
		}
		if a, err := proxied.Read(bytes.NewReader([]byte(c.in)), via); err == nil {
			t.Errorf("%s: %v", what, a)
		}
		if a, _, err := proxied.Datagram([]byte(c.in), via); err == nil {
			t.Errorf("%s, a datagram: %v", what, a)
		}
	}
	s := proxied.New([]proxied.Source{{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, How: proxied.Header}})
	in := []byte(v4 + "rest")
	if n := testing.AllocsPerRun(100, func() { proxied.Datagram(in, via); s.How(via) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestHTTP: the client is the last address that is no proxy of that kind.
func TestHTTP(t *testing.T) {
	s := proxied.New([]proxied.Source{{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, How: proxied.XForwardedFor},
		{Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, How: proxied.Forwarded}})
	for _, c := range []struct {
		how    proxied.How
		values []string
		want   string
	}{
		{proxied.XForwardedFor, []string{"10.0.0.1"}, "10.0.0.1"},
		{proxied.XForwardedFor, []string{"10.0.0.1, 10.0.0.2"}, "10.0.0.2"},
		{proxied.XForwardedFor, []string{"10.0.0.1", "10.0.0.2 , 192.0.2.7"}, "10.0.0.2"},
		{proxied.XForwardedFor, []string{"junk, ::ffff:10.0.0.2"}, "10.0.0.2"},
		{proxied.XForwardedFor, []string{"10.0.0.2:4711"}, "10.0.0.2"},
		{proxied.XForwardedFor, []string{"[2001:db8::1]:1"}, "2001:db8::1"},
		{proxied.XForwardedFor, []string{"10.0.0.1, junk"}, ""},
		{proxied.XForwardedFor, []string{"10.0.0.1,"}, ""},
		{proxied.XForwardedFor, []string{"192.0.2.1, 192.0.2.2"}, ""},
		{proxied.XForwardedFor, nil, ""},
		{proxied.Forwarded, []string{`for=10.0.0.1;proto=https, For="[2001:db8::1]:4711";by=x`}, "2001:db8::1"},
		{proxied.Forwarded, []string{"for=10.0.0.1, for=198.51.100.3"}, "10.0.0.1"},
		{proxied.Forwarded, []string{"for=_hidden"}, ""},
		{proxied.Forwarded, []string{"proto=https"}, ""},
	} {
		a, err := s.HTTP(c.how, c.values)
		if got := a.String(); (err == nil) != (c.want != "") || err == nil && got != c.want {
			t.Errorf("%q: %v %v, want %s", c.values, a, err, c.want)
		}
	}
	var none *proxied.Sources
	if none.How(netip.MustParseAddr("192.0.2.1")) != proxied.Not || proxied.New(nil) != nil {
		t.Error("there are proxies where none are")
	}
}
