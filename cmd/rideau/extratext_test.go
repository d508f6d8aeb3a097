package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists/extratext"
)

// TestLongestAnswer: for the longest name and the longest EXTRA-TEXT, answers by each action fit 512 octets for a client that takes no more. With a
// cookie beside it the text may be left out, and never the code. A client without EDNS gets neither.
func TestLongestAnswer(t *testing.T) {
	w := newWorld(t)
	title := strings.Repeat("é", 128)
	lists, bans := "", ""
	actions := []string{"nxdomain", "nodata", "refused", "sinkhole"}
	for _, a := range actions {
		lists += `, {id: "` + a + `", names: [` + a + `.example]}`
		bans += `, {id: "` + a + strings.Repeat("x", 64-len(a)) + `", title: {en: "` + title + `", fr: "` + title + `"}, contact: "` + strings.Repeat("c", 46) + `", lists: [` + a + `], action: ` + a + `}`
	}
	w.write("rideau.yaml", strings.Replace(w.configText(func(s *settings) { s.extraLists = lists }), "bans: [{id: ban,", "bans: ["+strings.TrimPrefix(bans, ", ")+", {id: ban,", 1))
	p := start(t, w.dir)
	for _, action := range actions {
		name := strings.Repeat(strings.Repeat("a", 63)+".", 4) + action + ".example."
		name = name[len(name)-254:] // as long as a name can be
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS} {
			for _, options := range [][]dns.EDNS0{nil, {&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}}} {
				q := new(dns.Msg).SetQuestion(name, qtype)
				q.SetEdns0(512, false)
				q.IsEdns0().Option = options
				a, raw := exchangeRaw(t, p.dns[0], q)
				e := extendedError(a)
				if len(raw) > 512 || a.Truncated || e == nil || e.InfoCode != dns.ExtendedErrorCodeBlocked {
					t.Fatalf("%s %s, %d options: %d octets, TC %v, %v", action, dns.Type(qtype), len(options), len(raw), a.Truncated, e)
				}
				whole := strings.HasPrefix(e.ExtraText, action) && len(e.ExtraText) <= extratext.Limit && len(e.ExtraText) >= extratext.Limit-4
				if left := len(options) > 0 && e.ExtraText == ""; !whole && !left {
					t.Errorf("%s %s, %d options: the text is %q", action, dns.Type(qtype), len(options), e.ExtraText)
				}
			}
			a, raw := exchangeRaw(t, p.dns[0], new(dns.Msg).SetQuestion(name, qtype))
			if len(raw) > 512 || a.Truncated || a.IsEdns0() != nil {
				t.Errorf("%s %s without EDNS: %d octets, TC %v, %v", action, dns.Type(qtype), len(raw), a.Truncated, a.IsEdns0())
			}
		}
	}
}

// exchangeRaw sends a query by UDP, and returns the answer and its octets.
func exchangeRaw(t *testing.T, to string, q *dns.Msg) (*dns.Msg, []byte) {
	t.Helper()
	c, err := dns.Dial("udp", netip.MustParseAddrPort(to).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if err := c.WriteMsg(q); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 65535)
	n, err := c.Read(raw)
	if err != nil {
		t.Fatal(err)
	}
	a := new(dns.Msg)
	if err := a.Unpack(raw[:n]); err != nil {
		t.Fatal(err)
	}
	return a, raw[:n]
}

func extendedError(m *dns.Msg) *dns.EDNS0_EDE {
	if o := m.IsEdns0(); o != nil {
		for _, opt := range o.Option {
			if e, ok := opt.(*dns.EDNS0_EDE); ok {
				return e
			}
		}
	}
	return nil
}
