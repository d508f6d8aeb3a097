package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/cmd/rideau/internal/server"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/text"
	"rideau/resolver"
	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

const explainHelp = `Says what a client would be answered for a name, and why: the ban and its legal
basis, the list, the file and the line that decide. It reads the configuration and the
lists as they are on disk now, and asks nobody.

A name that no list holds can still be stopped by what its answer contains, such as an alias
of a banned name; explain cannot know that, since it does not ask upstream.

Exit code 0: not banned. 3: banned. 1: the configuration or a list cannot be read.
2: wrong use.`

// explanation is what explain prints.
type explanation struct {
	Name     string     `json:"name"`
	Type     string     `json:"type"`
	Client   string     `json:"client"`
	Group    string     `json:"group"`
	Verdict  string     `json:"verdict"` // banned, monitored, excepted, special, not served, refused, forwarded
	Rcode    string     `json:"rcode,omitempty"`
	Answer   []string   `json:"answer,omitempty"`
	EDE      string     `json:"ede,omitempty"`
	Zone     string     `json:"zone,omitempty"` // the special-use zone
	Upstream string     `json:"upstream,omitempty"`
	Note     string     `json:"note,omitempty"`
	Ban      *bannedBy  `json:"ban,omitempty"`
	Except   string     `json:"exception,omitempty"`
	Ticket   string     `json:"ticket,omitempty"`
	Approver string     `json:"approver,omitempty"`
	Until    string     `json:"exception_expires,omitempty"`
	Rule     *decidedBy `json:"rule,omitempty"`
	verdict  blocklists.Kind
}

type bannedBy struct {
	ID         string `json:"id"`
	TitleEN    string `json:"title_en"`
	TitleFR    string `json:"title_fr,omitempty"`
	Authority  string `json:"authority,omitempty"`
	Instrument string `json:"instrument,omitempty"`
	URL        string `json:"url,omitempty"`
	Effective  string `json:"effective,omitempty"`
	Expires    string `json:"expires,omitempty"`
	Mode       string `json:"mode"`
	Action     string `json:"action"`
	Contact    string `json:"contact,omitempty"`
}

type decidedBy struct {
	Entry string `json:"entry"`
	Match string `json:"match"`
	List  string `json:"list"`
	File  string `json:"file"`
	Line  int    `json:"line"`
}

func explain(c *call) int {
	name, err := text.ParseName(c.args[0])
	if err != nil {
		fmt.Fprintf(c.stderr, "rideau explain: %v\n", err)
		return exitUsage
	}
	client, err := netip.ParseAddr(c.string("client"))
	if err != nil {
		fmt.Fprintf(c.stderr, "rideau explain: --client %q is not an IP address\n", c.string("client"))
		return exitUsage
	}
	qtype, ok := text.ParseType(c.string("type"))
	if !ok {
		fmt.Fprintf(c.stderr, "rideau explain: --type %q is not a type; use A, AAAA, HTTPS, MX or another, or TYPE and a number\n", c.string("type"))
		return exitUsage
	}
	cfg, err := setup.Load(c.string("config"))
	if err != nil {
		return c.fail(err)
	}
	snap, _, err := server.LoadPolicy(c.ctx, cfg, nil, new(blocklists.Slots), false)
	if err != nil {
		return c.fail(err)
	}
	names, routes := setup.UpstreamNames(cfg)
	st, err := resolver.NewState(resolver.StateOptions{Policy: snap, Clients: cfg.Clients.Allow, Routes: routes, UDPSize: 4096})
	if err != nil {
		return c.fail(err)
	}
	e := explanation{Name: name.String(), Type: dns.Type(qtype).String(), Client: client.String()}
	if err := e.ask(st, name, qtype, client.Unmap().WithZone(""), c.bool("do"), names); err != nil {
		return c.fail(err)
	}
	if c.bool("json") {
		printJSON(c, e)
	} else {
		e.print(c)
	}
	if e.verdict == blocklists.Block {
		return exitBanned
	}
	return exitOK
}

// ask puts the query to a resolver that has no upstream, so that what is
// printed is what clients get.
func (e *explanation) ask(st *resolver.State, name *wire.Name, qtype uint16, client netip.Addr, do bool, upstreams []string) error {
	snap := st.Policy()
	group := snap.Group(client)
	e.Group = blocklists.GroupAll
	if group > 0 {
		e.Group = snap.Policy().Groups[group-1].ID
	}
	if !st.Serves(client) {
		e.Verdict = "not served"
	}
	r := resolver.New(resolver.Options{State: st, Cache: cache.New(cache.Options{}), RefusedPerSecond: 1})
	m := new(dns.Msg).SetQuestion(name.String(), qtype)
	m.SetEdns0(4096, do)
	query, err := m.Pack()
	if err != nil {
		return err
	}
	out, o := r.Answer(nil, &resolver.Query{Msg: query, Client: client, Transport: resolver.UDP, Received: time.Now()})
	if len(out) > 0 {
		var answer dns.Msg
		if err := answer.Unpack(out); err != nil {
			return err
		}
		e.read(&answer)
	}
	switch o.Kind {
	case resolver.Special:
		zone, _ := st.Zone(name, wire.Type(qtype))
		e.Verdict, e.Zone = "special", zone
		if zone == "" {
			e.Zone = "." // ANY, which is answered here for every name
		}
		return nil
	case resolver.Denied, resolver.Refused:
		if e.Verdict == "" {
			e.Verdict = "refused"
		}
		return nil
	case resolver.Pending:
		_, route := st.Zone(name, wire.Type(qtype))
		e.Verdict, e.Upstream = "forwarded", upstreams[route]
	}
	ask := blocklists.Ask{Name: name, Type: wire.Type(qtype), Client: client, Group: group}
	v := snap.Question(&ask)
	e.verdict = v.Kind
	if v.Kind == blocklists.Pass {
		return nil
	}
	e.rule(snap, &ask, v)
	switch v.Kind {
	case blocklists.Allow:
		x := &snap.Policy().Exceptions[v.Exception]
		e.Verdict, e.Except, e.Ticket, e.Approver, e.Until = "excepted", x.ID, x.Ticket, x.Approver, text.Date(x.Expires)
		if v.Overruled {
			e.Ban = describe(snap.Ban(v.Ban), e.Group, snap.Ban(v.Ban).Action)
		}
		return nil
	case blocklists.WouldBlock:
		e.Verdict = "monitored"
	case blocklists.Block:
		e.Verdict = "banned"
		if o.Kind == resolver.Pending && v.Action == blocklists.LocalData {
			e.Rcode = "NOERROR"
			for _, l := range snap.LocalData(v) {
				e.Answer = append(e.Answer, fmt.Sprintf("%s %d IN %s %s, and what that has", name, l.TTL, dns.Type(l.Type), wire.NameString(l.Data)))
			}
		}
		if v.Wait {
			e.Note = "a policy zone of an earlier ban may decide otherwise when it sees upstream's answer"
		}
	}
	e.Ban = describe(snap.Ban(v.Ban), e.Group, v.Action)
	return nil
}

func (e *explanation) read(m *dns.Msg) {
	e.Rcode = dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		e.Answer = append(e.Answer, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	if o := m.IsEdns0(); o != nil {
		for _, opt := range o.Option {
			if ede, ok := opt.(*dns.EDNS0_EDE); ok {
				e.EDE = fmt.Sprintf("%d (%s): %s", ede.InfoCode, dns.ExtendedErrorCodeToString[ede.InfoCode], ede.ExtraText)
			}
		}
	}
}

// describe is the ban as it is for a group, with what it does about the
// question.
func describe(b *blocklists.Ban, group string, action blocklists.Action) *bannedBy {
	mode, ok := b.Modes[group]
	if !ok {
		mode = b.Mode
	}
	return &bannedBy{ID: b.ID, TitleEN: b.TitleEN, TitleFR: b.TitleFR, Authority: b.Authority, Instrument: b.Instrument,
		URL: b.URL, Effective: text.Date(b.Effective), Expires: text.Date(b.Expires), Mode: mode.String(),
		Action: action.String(), Contact: b.Contact}
}

var errFound = errors.New("found")

// rule reads the deciding list again, to find the line: that of the name which
// decided, or in a policy zone that of the longest trigger which fits.
func (e *explanation) rule(s *blocklists.Snapshot, q *blocklists.Ask, v blocklists.Verdict) {
	l := &s.Policy().Lists[v.List]
	e.Rule = &decidedBy{List: l.ID, File: l.Source}
	entry := q.Name.Suffix(int(v.Labels))
	best := -1
	zone := v.Labels == 0
	if !zone {
		e.Rule.Entry = strings.TrimSuffix(wire.NameString(entry), ".")
	}
	// The error only ends the reading.
	_ = l.Each(func(file string, x *format.Entry) error {
		length := fits(x, q, v)
		switch {
		case zone && length <= best, !zone && !bytes.Equal(x.Name, entry), length < 0:
			return nil
		}
		best = length
		e.Rule.File, e.Rule.Line = file, x.Line
		if e.Rule.Match = x.Match.String(); x.Name == nil {
			e.Rule.Entry, e.Rule.Match = x.Prefix.String(), "address"
		} else {
			e.Rule.Entry = strings.TrimSuffix(wire.NameString(x.Name), ".")
		}
		if zone {
			return nil
		}
		return errFound
	})
}

// fits is how much of what was asked an entry covers; -1 if it does not.
func fits(x *format.Entry, q *blocklists.Ask, v blocklists.Verdict) int {
	trigger := format.OnAnswer
	if x.Rule != nil {
		trigger = x.Rule.Trigger
		if x.Rule.Except || x.Rule.Cancel {
			return -1
		}
	}
	if v.Labels == 0 && trigger != v.Trigger {
		return -1
	}
	if x.Name == nil {
		if trigger == format.OnClient && x.Prefix.Contains(q.Client) {
			return x.Prefix.Bits()
		}
		return -1
	}
	self := bytes.Equal(x.Name, q.Name.Bytes())
	if !q.Name.IsSubdomain(x.Name) || self && x.Match == format.Below || !self && x.Match == format.Exact {
		return -1
	}
	return 2*len(x.Name) + int(x.Match)%2
}

func (e *explanation) print(c *call) {
	w := c.stdout
	fmt.Fprintf(w, "%s %s for %s (group %s): %s\n", e.Name, e.Type, e.Client, e.Group, e.Verdict)
	line := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "  %-10s %s\n", k, v)
		}
	}
	switch e.Verdict {
	case "not served":
		line("why", "the client is in no range of clients.allow")
	case "special":
		if e.Zone == "." {
			line("why", "ANY is answered here with a record that says so (RFC 8482)")
			break
		}
		line("why", e.Zone+" is a special-use name, answered here and never forwarded")
	case "forwarded", "monitored", "excepted":
		line("upstream", e.Upstream)
		line("note", "what upstream answers is examined for banned names and addresses, too")
	}
	if e.Verdict == "banned" && e.Rcode == "" {
		line("answer", "none: the query is dropped")
	}
	line("rcode", e.Rcode)
	for _, a := range e.Answer {
		line("answer", a)
	}
	line("ede", e.EDE)
	line("note", e.Note)
	if b := e.Ban; b != nil {
		line("ban", b.ID)
		line("title", b.TitleEN)
		line("titre", b.TitleFR)
		line("authority", b.Authority)
		line("instrument", b.Instrument)
		line("url", b.URL)
		line("effective", b.Effective)
		line("expires", b.Expires)
		line("mode", b.Mode)
		line("action", b.Action)
		line("contact", b.Contact)
	}
	line("exception", e.Except)
	line("ticket", e.Ticket)
	line("approver", e.Approver)
	line("until", e.Until)
	if r := e.Rule; r != nil {
		line("entry", fmt.Sprintf("%s (%s)", r.Entry, r.Match))
		line("list", r.List)
		line("file", fmt.Sprintf("%s:%d", r.File, r.Line))
	}
}
