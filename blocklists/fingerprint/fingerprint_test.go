package fingerprint_test

import (
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/fingerprint"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
)

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func list(id, source, text string) input.List {
	return input.List{ID: id, Source: source, Format: format.Plain, Unguarded: true, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}
}

// policy is the policy of all cases, changed by change.
func policy(change func(*blocklists.Policy)) blocklists.Policy {
	p := blocklists.Policy{
		Groups: []blocklists.Group{
			{ID: "lab", Clients: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.3.0.0/16")}},
			{ID: "guests", Clients: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}}},
		Lists: []input.List{list("chat", "/etc/a.txt", "wechat.com\n=weixin.qq.com\n203.0.113.0/24\n"), list("needed", "b.txt", "ok.wechat.com\n")},
		Bans: []blocklists.Ban{
			{ID: "one", TitleEN: "One", EDE: 16, TTL: time.Minute, Groups: []string{"lab", "guests"}, Lists: []string{"chat"}},
			{ID: "two", TitleEN: "Two", Mode: blocklists.Monitor, Groups: []string{"all"}, Lists: []string{"chat"}}},
		Exceptions: []blocklists.Exception{{ID: "x", Groups: []string{"lab"}, Lists: []string{"needed"}}},
	}
	if change != nil {
		change(&p)
	}
	return p
}

func of(t *testing.T, p blocklists.Policy, now time.Time) string {
	t.Helper()
	s, _, err := compile.Load(t.Context(), p, nil, compile.Options{Now: now, Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	return fingerprint.Of(s)
}

// TestSame: what does not decide has no part in the fingerprint.
func TestSame(t *testing.T) {
	want := of(t, policy(nil), day)
	for what, change := range map[string]func(*blocklists.Policy){
		"the path of a list": func(p *blocklists.Policy) { p.Lists[0].Source = "/srv/other.txt" },
		"comments, order, other case": func(p *blocklists.Policy) {
			p.Lists[0] = list("chat", "x", "# a note\n\n203.0.113.0/24\n=WEIXIN.qq.com.\nwechat.com\n")
		},
		"the order of lists":      func(p *blocklists.Policy) { p.Lists[0], p.Lists[1] = p.Lists[1], p.Lists[0] },
		"a list that is not used": func(p *blocklists.Policy) { p.Lists = append(p.Lists, list("idle", "c", "example.net")) },
		"the order of groups":     func(p *blocklists.Policy) { p.Groups[0], p.Groups[1] = p.Groups[1], p.Groups[0] },
		"the order of clients": func(p *blocklists.Policy) {
			c := p.Groups[0].Clients
			c[0], c[1] = c[1], c[0]
		},
		"the order of a ban's groups": func(p *blocklists.Policy) { p.Bans[0].Groups = []string{"guests", "lab"} },
		"a mode that says nothing":    func(p *blocklists.Policy) { p.Bans[0].Modes = map[string]blocklists.Mode{"lab": blocklists.Enforce} },
		"who decided":                 func(p *blocklists.Policy) { p.Bans[0].Authority, p.Bans[0].URL = "Somebody", "https://example.ca/" },
	} {
		if got := of(t, policy(change), day); got != want {
			t.Errorf("%s: another fingerprint", what)
		}
	}
	dated := func(zone *time.Location) blocklists.Policy {
		return policy(func(p *blocklists.Policy) { p.Bans[0].Effective = day.AddDate(0, 1, 0).In(zone) })
	}
	if of(t, dated(time.UTC), day) != of(t, dated(time.FixedZone("EST", -5*3600)), day.AddDate(1, 0, 0)) {
		t.Error("the time of reading, or the zone of a date: another fingerprint")
	}
}

// TestDifferent: each thing that decides has a part in the fingerprint.
func TestDifferent(t *testing.T) {
	ban := func(f func(*blocklists.Ban)) func(*blocklists.Policy) {
		return func(p *blocklists.Policy) { f(&p.Bans[0]) }
	}
	seen := map[string]string{}
	for what, change := range map[string]func(*blocklists.Policy){
		"nothing":          nil,
		"off":              ban(func(b *blocklists.Ban) { b.Mode = blocklists.Off }),
		"monitor":          ban(func(b *blocklists.Ban) { b.Mode = blocklists.Monitor }),
		"monitor of group": ban(func(b *blocklists.Ban) { b.Modes = map[string]blocklists.Mode{"lab": blocklists.Monitor} }),
		"effective":        ban(func(b *blocklists.Ban) { b.Effective = day }),
		"expires":          ban(func(b *blocklists.Ban) { b.Expires = day.AddDate(1, 0, 0) }),
		"a ban's groups":   ban(func(b *blocklists.Ban) { b.Groups = []string{"lab"} }),
		"a ban's lists":    ban(func(b *blocklists.Ban) { b.Lists = []string{"needed"} }),
		"action":           ban(func(b *blocklists.Ban) { b.Action = blocklists.Refuse }),
		"sinkhole":         ban(func(b *blocklists.Ban) { b.Sinkhole4 = netip.MustParseAddr("192.0.2.1") }),
		"ede":              ban(func(b *blocklists.Ban) { b.EDE = 15 }),
		"ttl":              ban(func(b *blocklists.Ban) { b.TTL = time.Hour }),
		"title":            ban(func(b *blocklists.Ban) { b.TitleFR = "Un" }),
		"contact":          ban(func(b *blocklists.Ban) { b.Contact = "desk" }),
		"bypass":           ban(func(b *blocklists.Ban) { b.Bypass = true }),
		"all_but":          ban(func(b *blocklists.Ban) { b.Lists, b.AllBut = nil, b.Lists }),
		"strip_ech":        ban(func(b *blocklists.Ban) { b.StripECH = true }),
		"unknown_types":    ban(func(b *blocklists.Ban) { b.UnknownTypes = true }),
		"order of bans":    func(p *blocklists.Policy) { p.Bans[0], p.Bans[1] = p.Bans[1], p.Bans[0] },
		"no second ban":    func(p *blocklists.Policy) { p.Bans = p.Bans[:1] },
		"a name more": func(p *blocklists.Policy) {
			p.Lists[0] = list("chat", "a", "wechat.com\n=weixin.qq.com\n203.0.113.0/24\nexample.net\n")
		},
		"another match": func(p *blocklists.Policy) {
			p.Lists[0] = list("chat", "a", "wechat.com\nweixin.qq.com\n203.0.113.0/24\n")
		},
		"another block": func(p *blocklists.Policy) {
			p.Lists[0] = list("chat", "a", "wechat.com\n=weixin.qq.com\n203.0.113.0/25\n")
		},
		"entries of another list": func(p *blocklists.Policy) {
			p.Lists = []input.List{list("needed", "a", "wechat.com\n=weixin.qq.com\n203.0.113.0/24\n"), list("chat", "b", "ok.wechat.com\n")}
		},
		"a client":             func(p *blocklists.Policy) { p.Groups[0].Clients = p.Groups[0].Clients[:1] },
		"no exception":         func(p *blocklists.Policy) { p.Exceptions = nil },
		"an exception's date":  func(p *blocklists.Policy) { p.Exceptions[0].Expires = day.AddDate(1, 0, 0) },
		"an exception's group": func(p *blocklists.Policy) { p.Exceptions[0].Groups = []string{"all"} },
		"nat64":                func(p *blocklists.Policy) { p.NAT64 = []netip.Prefix{netip.MustParsePrefix("2001:db8:64::/96")} },
		"protected": func(p *blocklists.Policy) {
			p.Lists[0].Guards.Protected, _ = input.NewProtected([]string{"canada.ca"}, "remedy")
		},
	} {
		got := of(t, policy(change), day)
		if other, same := seen[got]; same {
			t.Errorf("%s and %s: the same fingerprint", what, other)
		}
		seen[got] = what
	}
}
