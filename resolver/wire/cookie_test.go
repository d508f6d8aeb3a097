package wire_test

import (
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire"
)

func TestQueryCookies(t *testing.T) {
	client, server := []byte("clientco"), []byte("servercookie16xx")
	with := func(questions int, options ...[]byte) []byte {
		m := question("example.ca.", dns.TypeA)
		m.SetEdns0(1232, false)
		for _, o := range options {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: o})
		}
		if questions == 0 {
			m.Question = nil
		}
		return encode(t, m)
	}
	for _, c := range []struct {
		name  string
		msg   []byte
		fault wire.Fault
		kind  wire.CookieKind
	}{
		{"none", with(1), wire.FaultNone, wire.CookieNone},
		{"client", with(1, client), wire.FaultNone, wire.CookieClient},
		{"both", with(1, append(client[:8:8], server...)), wire.FaultNone, wire.CookieBoth},
		{"other", with(1, append(client[:8:8], server[:8]...)), wire.FaultNone, wire.CookieOther},
		{"longest", with(1, append(client[:8:8], append(server[:16:16], server...)...)), wire.FaultNone, wire.CookieOther},
		{"the first counts", with(1, client, append(client[:8:8], server...)), wire.FaultNone, wire.CookieClient},
		{"empty", with(1, nil), wire.FaultFormErr, wire.CookieNone},
		{"short", with(1, client[:7]), wire.FaultFormErr, wire.CookieNone},
		{"between", with(1, append(client[:8:8], 1)), wire.FaultFormErr, wire.CookieNone},
		{"long", with(1, make([]byte, 41)), wire.FaultFormErr, wire.CookieNone},
		{"nothing else", with(0, client), wire.FaultCookie, wire.CookieClient},
		{"nothing at all", with(0), wire.FaultFormErr, wire.CookieNone},
	} {
		var q wire.Query
		if f := q.Parse(c.msg); f != c.fault || q.Cookie != c.kind || !q.EDNS {
			t.Errorf("%s: fault %v, cookie %v, EDNS %v", c.name, f, q.Cookie, q.EDNS)
			continue
		}
		if c.kind != wire.CookieNone && string(q.ClientCookie[:]) != string(client) || c.kind == wire.CookieBoth && string(q.ServerCookie[:]) != string(server) {
			t.Errorf("%s: read %q and %q", c.name, q.ClientCookie, q.ServerCookie)
		}
	}
}
