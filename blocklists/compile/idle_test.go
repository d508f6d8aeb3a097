package compile_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

// A ban in use with lists of lines, none of which blocks anything, is refused.
func TestIdleBan(t *testing.T) {
	const cosmetic = "[Adblock Plus 2.0]\nx.example##.ad\ny.example##.ad\n"
	for _, c := range []struct {
		name   string
		text   string
		change func(*blocklists.Policy)
		force  bool
		want   error
	}{
		{name: "nothing about names", text: cosmetic, want: input.ErrIdle},
		{name: "a setting", text: "no-resolv\nserver=/x.example/192.0.2.1\nserver=192.0.2.1\nlocal-ttl=1\n", change: func(p *blocklists.Policy) { p.Lists[0].Format = format.Dnsmasq; p.Lists[0].MaxSkipped = 1 }, want: input.ErrIdle},
		{name: "only exceptions", text: "@@||x.example^\n", want: input.ErrIdle},
		{name: "only cancelled rules", text: "||x.example^$badfilter\n", want: input.ErrIdle},
		{name: "a policy zone that lets names through", text: "$TTL 1\n@ SOA a. b. 1 2 3 4 5\nx.example CNAME rpz-passthru.\n"},
		{name: "rows of another tier", text: "x.example\tsuffix\tshared\tp\ts\n", want: input.ErrIdle},
		{name: "all lines are skipped", text: "x.example/path\n", change: func(p *blocklists.Policy) { p.Lists[0].MaxSkipped = 1 }, want: input.ErrIdle},
		{name: "empty_ok", text: cosmetic, change: func(p *blocklists.Policy) { p.Lists[0].EmptyOK = true }},
		{name: "by force", text: cosmetic, force: true},
		{name: "a ban that is off", text: cosmetic, change: func(p *blocklists.Policy) { p.Bans[0].Mode = blocklists.Off }},
		{name: "a ban that watches", text: cosmetic, change: func(p *blocklists.Policy) { p.Bans[0].Mode = blocklists.Monitor }, want: input.ErrIdle},
		{name: "a ban that has ended", text: cosmetic, change: func(p *blocklists.Policy) { p.Bans[0].Expires = day.Add(-time.Hour) }},
		{name: "a ban of the future", text: cosmetic, change: func(p *blocklists.Policy) { p.Bans[0].Effective = day.Add(time.Hour) }, want: input.ErrIdle},
		{name: "another list has names", text: cosmetic, change: func(p *blocklists.Policy) {
			p.Lists = append(p.Lists, list("m", "m.example"))
			p.Bans[0].Lists = append(p.Bans[0].Lists, "m")
		}},
		{name: "an address", text: "192.0.2.1\n"},
		{name: "no lines at all", text: "# nothing yet\n"},
		{name: "an exception", text: cosmetic, change: func(p *blocklists.Policy) {
			p.Bans = nil
			p.Exceptions = []blocklists.Exception{{ID: "e", Groups: []string{blocklists.GroupAll}, Lists: []string{"l"}}}
		}, want: input.ErrIdle},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := guarded(c.text, func(l *input.List) { l.Format = format.Auto })
			if c.change != nil {
				c.change(&p)
			}
			o := compile.Options{Now: day, Slots: new(blocklists.Slots)}
			if c.force {
				o.Force = input.Forced{"l"}
			}
			if _, _, err := compile.Load(t.Context(), p, nil, o); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// A list that has only @@ is an allowlist: as an exception it lets these names through. In one that has other rules, too, @@ takes names out of it.
func TestExceptionOfExceptions(t *testing.T) {
	for _, c := range []struct {
		allow string
		let   string // the names that are let through
	}{
		{"@@||x.example^\n@@||y.example^$important\n@@|z.example^\n", "x.example a.x.example y.example z.example"},
		{"@@||x.example^\n@@||y.example^\n@@||y.example^$badfilter\n", "x.example a.x.example"},
		{"||x.example^\n@@||a.x.example^\n", "x.example"},
		{"||x.example^\n||y.example^\n||y.example^$badfilter\n", "x.example a.x.example"},
		{"! x\n@@||x.example^$document\n", "x.example a.x.example"},
	} {
		p := guarded("x.example\ny.example\nz.example\n", nil)
		allow := list("allow")
		allow.Format, allow.Open = format.Auto, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c.allow)), nil }
		p.Lists = append(p.Lists, allow)
		p.Exceptions = []blocklists.Exception{{ID: "e", Groups: []string{blocklists.GroupAll}, Lists: []string{"allow"}}}
		snap, _, err := compile.Load(t.Context(), p, nil, compile.Options{Now: day, Slots: new(blocklists.Slots)})
		if err != nil {
			t.Errorf("%q: %v", c.allow, err)
			continue
		}
		for _, text := range []string{"x.example", "a.x.example", "y.example", "z.example", "a.z.example"} {
			var name wire.Name
			if err := name.SetText(text); err != nil {
				t.Fatal(err)
			}
			want := strings.Contains(" "+c.let+" ", " "+text+" ")
			if got := snap.Name(&name, 0).Kind == blocklists.Allow; got != want {
				t.Errorf("%q: %s is let through: %v", c.allow, text, got)
			}
		}
	}
}
