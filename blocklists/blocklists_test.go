package blocklists_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

var day = time.Date(2023, 10, 30, 0, 0, 0, 0, time.UTC)

func list(id string, lines ...string) input.List {
	return input.List{ID: id, Source: id + ".txt", Format: format.Plain, MaxShrink: 0.5,
		Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Join(lines, "\n"))), nil
		}}
}

func ban(id string, lists ...string) blocklists.Ban {
	return blocklists.Ban{ID: id, TitleEN: "Title of " + id, EDE: 16, TTL: 30 * time.Second,
		Groups: []string{blocklists.GroupAll}, Lists: lists}
}

func load(t testing.TB, p blocklists.Policy, prev *blocklists.Snapshot) *blocklists.Snapshot {
	t.Helper()
	s, _, err := compile.Load(context.Background(), p, prev, compile.Options{Now: day, Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// say returns the verdict on a name as text: ban/list, "allow", "would ban/list" or "pass".
func say(t testing.TB, s *blocklists.Snapshot, name string, client string) string {
	t.Helper()
	var n wire.Name
	if err := n.SetText(name); err != nil {
		t.Fatal(err)
	}
	return text(s, s.Name(&n, s.Group(netip.MustParseAddr(client), nil)))
}

func text(s *blocklists.Snapshot, v blocklists.Verdict) string {
	switch v.Kind {
	case blocklists.Allow:
		return "allow " + s.Lists()[v.List].ID
	case blocklists.Block:
		return s.Ban(v.Ban).ID + "/" + s.Lists()[v.List].ID
	case blocklists.WouldBlock:
		return "would " + s.Ban(v.Ban).ID + "/" + s.Lists()[v.List].ID
	}
	return "pass"
}

func expect(t *testing.T, s *blocklists.Snapshot, client string, want map[string]string) {
	t.Helper()
	for name, w := range want {
		if got := say(t, s, name, client); got != w {
			t.Errorf("%s for %s: %s, want %s", name, client, got, w)
		}
	}
}

func TestMatching(t *testing.T) {
	s := load(t, blocklists.Policy{
		Lists: []input.List{list("l", "wechat.com", "=exact.ca", "*.below.ca", "deep.a.b.c.example")},
		Bans:  []blocklists.Ban{ban("b", "l")},
	}, nil)
	expect(t, s, "10.0.0.1", map[string]string{
		"wechat.com": "b/l", "WEB.WeChat.com.": "b/l", "a.b.c.wechat.com": "b/l", "notwechat.com": "pass", "wechat.com.example.org": "pass", "com": "pass",
		"exact.ca": "b/l", "www.exact.ca": "pass", "below.ca": "pass", "x.below.ca": "b/l", "y.x.below.ca": "b/l",
		"deep.a.b.c.example": "b/l", "a.b.c.example": "pass", ".": "pass",
	})
}

func TestGroups(t *testing.T) {
	mobile := ban("mobile-only", "m")
	mobile.Groups = []string{"mobile"}
	p := blocklists.Policy{
		Groups: []blocklists.Group{
			{ID: "mobile", Clients: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
			{ID: "lab", Clients: []netip.Prefix{netip.MustParsePrefix("10.1.9.0/24"), netip.MustParsePrefix("2001:db8::/32")}},
		},
		Lists:      []input.List{list("a", "all.ca"), list("m", "mobile.ca"), list("x", "www.all.ca", "203.0.113.7")},
		Bans:       []blocklists.Ban{ban("everyone", "a"), mobile},
		Exceptions: []blocklists.Exception{{ID: "research", Groups: []string{"lab"}, Lists: []string{"x"}}},
	}
	s := load(t, p, nil)
	expect(t, s, "192.0.2.1", map[string]string{"all.ca": "everyone/a", "mobile.ca": "pass", "www.all.ca": "everyone/a"})
	expect(t, s, "10.1.2.3", map[string]string{"all.ca": "everyone/a", "mobile.ca": "mobile-only/m", "www.all.ca": "everyone/a"})
	expect(t, s, "10.1.9.3", map[string]string{"all.ca": "everyone/a", "mobile.ca": "pass", "www.all.ca": "allow x"})
	expect(t, s, "2001:db8::1", map[string]string{"www.all.ca": "allow x"})
	var n wire.Name
	if err := n.SetText("mobile.ca"); err != nil {
		t.Fatal(err)
	}
	if v := s.Name(&n, s.Everyone()); v.Kind != blocklists.Block {
		t.Error("everyone's group does not see a ban of one group")
	}
}

// TestUncertainTime: where several instants may be the right one, a ban is in force if it is so at one of them, an exception if it is so at all.
func TestUncertainTime(t *testing.T) {
	soon, ends := ban("soon", "l"), ban("ends", "l2")
	soon.Effective, ends.Expires = day.Add(2*time.Hour), day.Add(time.Hour)
	s := load(t, blocklists.Policy{
		Lists: []input.List{list("l", "soon.ca"), list("l2", "ends.ca", "a.ca", "b.ca"), list("x", "a.ca"), list("y", "b.ca")},
		Bans:  []blocklists.Ban{soon, ends},
		Exceptions: []blocklists.Exception{
			{ID: "x", Groups: []string{blocklists.GroupAll}, Lists: []string{"x"}, Expires: day.Add(3 * time.Hour)},
			{ID: "y", Groups: []string{blocklists.GroupAll}, Lists: []string{"y"}, Effective: day.Add(time.Hour)}},
	}, nil)
	expect(t, s, "10.0.0.1", map[string]string{"soon.ca": "pass", "ends.ca": "ends/l2", "a.ca": "allow x", "b.ca": "ends/l2"})
	both := s.At(day, day.Add(4*time.Hour))
	expect(t, both, "10.0.0.1", map[string]string{"soon.ca": "soon/l", "ends.ca": "ends/l2", "a.ca": "ends/l2", "b.ca": "ends/l2"})
	if !both.NextChange().Equal(day.Add(time.Hour)) {
		t.Errorf("next change %v", both.NextChange())
	}
	for i, b := range both.Bans() {
		if !b.Active {
			t.Errorf("ban %d is not active", i)
		}
	}
	if !s.ChangesAt(day, day.Add(4*time.Hour)) || s.ChangesAt(day.Add(time.Minute)) || both.ChangesAt(day.Add(4*time.Hour), day) {
		t.Error("ChangesAt is wrong")
	}
}

func TestDatesAndModes(t *testing.T) {
	soon, ends, watch, off := ban("soon", "l"), ban("ends", "l2"), ban("watch", "l3"), ban("off", "l4")
	soon.Effective, ends.Expires = day.Add(time.Hour), day.Add(2*time.Hour)
	watch.Mode, off.Mode = blocklists.Monitor, blocklists.Off
	s := load(t, blocklists.Policy{
		Lists: []input.List{list("l", "soon.ca"), list("l2", "ends.ca"), list("l3", "watch.ca", "soon.ca"), list("l4", "off.ca")},
		Bans:  []blocklists.Ban{watch, soon, ends, off},
	}, nil)
	expect(t, s, "10.0.0.1", map[string]string{"soon.ca": "would watch/l3", "ends.ca": "ends/l2", "watch.ca": "would watch/l3", "off.ca": "pass"})
	if !s.NextChange().Equal(day.Add(time.Hour)) {
		t.Errorf("next change %v", s.NextChange())
	}
	later := s.At(day.Add(time.Hour))
	expect(t, later, "10.0.0.1", map[string]string{"soon.ca": "soon/l", "ends.ca": "ends/l2"})
	expect(t, s, "10.0.0.1", map[string]string{"soon.ca": "would watch/l3"})
	if later.Generation() <= s.Generation() || !later.NextChange().Equal(day.Add(2*time.Hour)) {
		t.Errorf("generation %d after %d, next change %v", later.Generation(), s.Generation(), later.NextChange())
	}
	last := later.At(day.Add(2 * time.Hour))
	expect(t, last, "10.0.0.1", map[string]string{"ends.ca": "pass"})
	if !last.NextChange().IsZero() {
		t.Errorf("next change %v", last.NextChange())
	}
	active := map[string]bool{}
	for _, b := range last.Bans() {
		active[b.Ban.ID] = b.Active
	}
	if fmt.Sprint(active) != "map[ends:false off:false soon:true watch:true]" {
		t.Error(active)
	}
}

func TestGuards(t *testing.T) {
	policy := func(lists ...input.List) blocklists.Policy {
		return blocklists.Policy{Lists: lists, Bans: []blocklists.Ban{ban("b", "l")}}
	}
	prev := load(t, policy(list("l", "a.ca", "b.ca", "c.ca", "d.ca")), nil)
	moved := list("l", "a.ca")
	moved.Source = "other.txt"
	unguarded := list("l")
	unguarded.Unguarded = true
	broken := list("l", "a.ca", "b..ca", "what is this")
	missing := list("l")
	missing.Open = func() (io.ReadCloser, error) { return nil, errors.New("open l.txt: no such file") }
	for name, c := range map[string]struct {
		list  input.List
		force bool
		want  error
		text  string
	}{
		"grew":                {list("l", "a.ca", "b.ca", "c.ca", "d.ca", "e.ca"), false, nil, ""},
		"half is gone":        {list("l", "a.ca", "b.ca"), false, nil, ""},
		"more than half":      {list("l", "a.ca"), false, input.ErrShrank, "l.txt: lost more of its entries than max_shrink allows: 1 entry, 4 before"},
		"empty":               {list("l", "# nothing"), false, input.ErrEmpty, "l.txt: no entries, and there were some before (4)"},
		"empty, forced":       {list("l"), true, nil, ""},
		"another file":        {moved, false, nil, ""},
		"written in place":    {unguarded, false, nil, ""},
		"does not parse":      {broken, false, errors.ErrUnsupported, "l.txt:2"},
		"cannot be opened":    {missing, false, errors.ErrUnsupported, "no such file"},
		"broken and enforced": {broken, true, errors.ErrUnsupported, "l.txt:2"},
	} {
		var force input.Forced
		if c.force {
			force = input.Forced{"other", "l"}
		}
		s, report, err := compile.Load(context.Background(), policy(c.list), prev,
			compile.Options{Now: day, Force: force, Slots: new(blocklists.Slots)})
		if c.want == nil {
			if err != nil || s == nil || s.Generation() != prev.Generation()+1 {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if s != nil || err == nil || !strings.Contains(err.Error(), c.text) || len(report.Failed) != 1 || report.Failed[0].List != "l" {
			t.Errorf("%s: %v", name, err)
		}
		if c.want != errors.ErrUnsupported && !errors.Is(err, c.want) {
			t.Errorf("%s: %v is not %v", name, err, c.want)
		}
	}
	expect(t, prev, "10.0.0.1", map[string]string{"d.ca": "b/l"})
}

func TestSlotsLast(t *testing.T) {
	var s blocklists.Slots
	if s.Slot("a") != 0 || s.Slot("b") != 1 || s.Slot("a") != 0 {
		t.Error("slots move")
	}
	for i := range 300 {
		if got := s.Slot(fmt.Sprint(i)); got >= blocklists.MaxSlots {
			t.Fatalf("slot %d", got)
		}
	}
	if s.Slot("b") != 1 {
		t.Error("slots move")
	}
}

func TestResponse(t *testing.T) {
	watch := ban("watch", "w")
	watch.Mode = blocklists.Monitor
	s := load(t, blocklists.Policy{
		Lists: []input.List{list("l", "banned.net", "192.0.2.0/24", "192.0.2.128/25", "2001:db8:bad::/48"),
			list("w", "watched.net", "192.0.2.200"), list("ok", "fine.banned.net", "192.0.2.7")},
		Bans:       []blocklists.Ban{ban("b", "l"), watch},
		Exceptions: []blocklists.Exception{{ID: "e", Groups: []string{blocklists.GroupAll}, Lists: []string{"ok"}}},
	}, nil)
	g := s.Group(netip.MustParseAddr("10.0.0.1"), nil)
	for _, c := range []struct {
		records string // answer; authority after /, additional after the second
		want    string
		trim    bool
	}{
		{"www.q.ca. A 198.51.100.1", "pass", false},
		{"www.q.ca. CNAME x.banned.net.;x.banned.net. A 198.51.100.1", "b/l", false},
		{"www.q.ca. CNAME a.ca.;a.ca. CNAME b.ca.;b.ca. CNAME banned.net.", "b/l", false},
		{"www.q.ca. CNAME fine.banned.net.;fine.banned.net. A 198.51.100.1", "pass", false},
		{"www.q.ca. CNAME fine.banned.net.;fine.banned.net. CNAME banned.net.", "b/l", false},
		{"q.ca. DNAME banned.net.", "b/l", false},
		{"www.q.ca. HTTPS 0 banned.net.", "b/l", false},
		{"www.q.ca. HTTPS 1 . ipv4hint=192.0.2.1", "b/l", false},
		{"www.q.ca. HTTPS 1 . ipv6hint=2001:db8::1,2001:db8:bad::1", "b/l", false},
		{"www.q.ca. HTTPS 1 . ipv6hint=2001:db8::1,64:ff9b::c000:201", "b/l", false},
		{"www.q.ca. HTTPS 1 . ipv6hint=64:ff9b::c633:6401", "pass", false},
		{"www.q.ca. SVCB 1 x.banned.net.", "b/l", false},
		{"www.q.ca. MX 5 banned.net.", "b/l", false},
		{"www.q.ca. SRV 0 0 1 banned.net.", "b/l", false},
		{"www.q.ca. NS banned.net.", "b/l", false},
		{"www.q.ca. PTR banned.net.", "b/l", false},
		{"www.q.ca. TXT banned.net.", "pass", false},
		{"www.q.ca. A 192.0.2.1", "b/l", false},
		{"www.q.ca. A 192.0.2.200", "b/l", false},
		{"www.q.ca. A 192.0.2.7", "allow", false},
		{"www.q.ca. AAAA 2001:db8:bad::1", "b/l", false},
		{"www.q.ca. AAAA 64:ff9b::192.0.2.1", "b/l", false},
		{"www.q.ca. AAAA 64:ff9b::198.51.100.1", "pass", false},
		{"www.q.ca. CNAME watched.net.", "would watch/w", false},
		{"www.q.ca. CNAME watched.net.;watched.net. A 192.0.2.1", "b/l", false},
		{"www.q.ca. A 198.51.100.1/q.ca. NS ns.banned.net.", "pass", true},
		{"www.q.ca. A 198.51.100.1//ns.q.ca. A 192.0.2.1", "pass", true},
		{"www.q.ca. A 198.51.100.1/q.ca. NS ns.watched.net.", "pass", false},
		{"/q.ca. NS ns.banned.net.", "b/l", false},
		{"/q.ca. NS ns.watched.net.", "would watch/w", false},
		{"/q.ca. NS ns.banned.net.;q.ca. SOA a.ca. b.ca. 1 1 1 1 1", "pass", true},
		{"/q.ca. SOA banned.net. x.banned.net. 1 1 1 1 1", "pass", false},
	} {
		m := new(dns.Msg).SetQuestion("www.q.ca.", dns.TypeA)
		m.Response = true
		for i, section := range strings.Split(c.records, "/") {
			for _, text := range strings.Split(section, ";") {
				if text == "" {
					continue
				}
				rr, err := dns.NewRR(strings.Replace(text, ". ", ". 60 IN ", 1))
				if err != nil {
					t.Fatal(err)
				}
				switch i {
				case 0:
					m.Answer = append(m.Answer, rr)
				case 1:
					m.Ns = append(m.Ns, rr)
				case 2:
					m.Extra = append(m.Extra, rr)
				}
			}
		}
		for _, compress := range []bool{true, false} {
			m.Compress = compress
			msg, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			var scratch, name wire.Name
			if err := name.SetText("www.q.ca"); err != nil {
				t.Fatal(err)
			}
			ask := blocklists.Ask{Name: &name, Type: wire.TypeA, Group: g}
			v, trim := s.Response(msg, &ask, blocklists.Verdict{}, &scratch)
			got := text(s, v)
			if got == "allow ok" || c.want == "allow" {
				got, c.want = "pass", "pass"
			}
			if got != c.want || trim != c.trim {
				t.Errorf("%s: %s, trim %v; want %s, %v", c.records, got, trim, c.want, c.trim)
			}
			if n := testing.AllocsPerRun(10, func() { s.Response(msg, &ask, blocklists.Verdict{}, &scratch) }); n != 0 {
				t.Errorf("%s: %v allocations", c.records, n)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	s := load(t, blocklists.Policy{
		Lists: []input.List{list("l", "wechat.com")}, Bans: []blocklists.Ban{ban("b", "l")},
	}, nil)
	var n wire.Name
	if err := n.SetText("web.wechat.com"); err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddr("10.0.0.1")
	if got := testing.AllocsPerRun(100, func() { s.Name(&n, s.Group(client, nil)); s.Addr(client, 0) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// TestStricter: a group is stricter than another only if all that it lets through gets through there, too.
func TestStricter(t *testing.T) {
	only := func(id, list, group string, edit func(*blocklists.Ban)) blocklists.Ban {
		b := ban(id, list)
		b.Groups = []string{group}
		if edit != nil {
			edit(&b)
		}
		return b
	}
	s := load(t, blocklists.Policy{
		Groups: []blocklists.Group{{ID: "more"}, {ID: "less"}, {ID: "watch"}, {ID: "ech"}, {ID: "types"}, {ID: "off"}, {ID: "one"}, {ID: "two"}, {ID: "look"}},
		Lists:  []input.List{list("l", "a.ca"), list("m", "m.ca"), list("x", "x.ca"), list("y", "y.ca"), list("z", "z.ca")},
		Bans: []blocklists.Ban{
			func() blocklists.Ban {
				b := ban("b", "l")
				b.Modes = map[string]blocklists.Mode{"off": blocklists.Off, "watch": blocklists.Monitor}
				return b
			}(),
			only("m", "m", "more", nil),
			only("e", "m", "ech", func(b *blocklists.Ban) { b.StripECH = true }),
			only("t", "m", "types", func(b *blocklists.Ban) { b.UnknownTypes = true }),
			only("one", "", "one", func(b *blocklists.Ban) { b.Lists, b.AllBut = nil, []string{"y"} }),
			only("two", "", "two", func(b *blocklists.Ban) { b.Lists, b.AllBut = nil, []string{"y", "z"} }),
			only("look", "", "look", func(b *blocklists.Ban) { b.Lists, b.AllBut, b.Mode = nil, []string{"y"}, blocklists.Monitor }),
		},
		Exceptions: []blocklists.Exception{{ID: "x", Groups: []string{"less"}, Lists: []string{"x"}}},
	}, nil)
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"all", "all", true}, {"more", "all", true}, {"all", "more", false}, {"less", "all", false}, {"all", "less", true}, {"more", "less", true},
		{"watch", "all", false}, {"watch", "off", true}, {"off", "watch", false}, {"off", "all", false}, {"ech", "more", true}, {"more", "ech", false},
		{"types", "more", true}, {"more", "types", false},
		{"one", "all", true}, {"all", "one", false}, {"one", "two", true}, {"two", "one", false}, {"look", "one", false}, {"one", "look", true}, {"look", "all", true},
	} {
		if got := s.Stricter(s.GroupNamed(c.a), s.GroupNamed(c.b)); got != c.want {
			t.Errorf("%s is stricter than %s: %v", c.a, c.b, got)
		}
	}
}
