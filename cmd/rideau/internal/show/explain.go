// Package show prints, for people, what package reason finds out and what a server serves.
package show

import (
	"fmt"
	"io"
	"strings"

	"rideau/cmd/rideau/internal/lang"
	"rideau/cmd/rideau/internal/reason"
	"rideau/resolver/ops/printable"
)

// special says why Rideau itself answers.
func special(p *lang.Printer, e *reason.Explanation) string {
	switch {
	case e.Note == reason.NoteOnNetwork:
		return p.Say("this is the name by which clients recognize this Rideau (on_network)")
	case e.Zone == ".":
		return p.Say("ANY is answered here with a record that says so (RFC 8482)")
	}
	return p.Say("%s is a special-use name, answered here and never forwarded", e.Zone)
}

// Explanation prints an explanation.
func Explanation(w io.Writer, p *lang.Printer, e *reason.Explanation) {
	fmt.Fprintln(w, p.Say("%s %s for %s (group %s): %s", e.Name, e.Type, e.Client, e.Group, p.Say(e.Verdict)))
	line := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "  %s %s\n", p.Label(k), printable.Text(v))
		}
	}
	switch e.By {
	case "certificate":
		line("why", p.Say("the client is in the group %s by its certificate", e.Group))
	case "path":
		line("why", p.Say("the client is in the group %s by its path", e.Group))
	case "name":
		line("why", p.Say("the client is in the group %s by its name", e.Group))
	}
	for _, g := range e.Passed {
		line("note", p.Say("what it asks for is the group %s's, which blocks less and does not count", g))
	}
	switch e.Verdict {
	case "not served":
		line("why", p.Say("the client is in no range of clients.allow"))
	case "special":
		line("why", special(p, e))
	case "forwarded", "monitored", "excepted":
		line("upstream", e.Upstream)
		line("note", p.Say("what upstream answers is examined for banned names and addresses, too"))
	}
	if e.Verdict == "banned" && e.Rcode == "" {
		line("answer", p.Say("none: the query is dropped"))
	}
	line("rcode", e.Rcode)
	for _, a := range e.Answer {
		line("answer", a)
	}
	line("ede", e.EDE)
	switch e.Note {
	case reason.NoteUnknownType:
		line("note", p.Say("the ban blocks types that Rideau does not know (unknown_types: block)"))
	case reason.NoteUnlisted:
		line("note", p.Say("the ban is on all names but those on its lists (all_but), and this name is not on them"))
	case reason.NoteMayWait:
		line("note", p.Say("a policy zone of an earlier ban may decide otherwise when it sees upstream's answer"))
	}
	if b := e.Ban; b != nil {
		line("ban", b.ID)
		first, second := [2]string{"title", b.TitleEN}, [2]string{"titre", b.TitleFR}
		if p.Language() == lang.French {
			first, second = second, first
		}
		line(first[0], first[1])
		line(second[0], second[1])
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
	line("clock", e.Clock)
	if r := e.Rule; r != nil {
		line("entry", fmt.Sprintf("%s (%s)", r.Entry, r.Match))
		line("list", r.List)
		line("file", fmt.Sprintf("%s:%d", r.File, r.Line))
	}
	for _, n := range e.Near {
		line("near", nearMiss(p, e, &n))
	}
	if a := e.InAnswers; a != nil {
		fmt.Fprintln(w, p.Say("answers with the address %s: %s", a.Address, p.Say(a.Verdict)))
		switch r := a.Rule; {
		case r == nil:
		case a.Except != "":
			line("why", p.Say("by the exception %s, entry %s of the list %s, %s:%d", a.Except, r.Entry, r.List, r.File, r.Line))
		default:
			line("why", p.Say("by the ban %s, entry %s of the list %s, %s:%d", a.Ban, r.Entry, r.List, r.File, r.Line))
		}
	}
}

// nearMiss says why a ban or an exception does not decide.
func nearMiss(p *lang.Printer, e *reason.Explanation, n *reason.NearMiss) string {
	at := fmt.Sprintf("%s, %s:%d", n.Rule.Entry, n.Rule.File, n.Rule.Line)
	groups := strings.Join(n.Groups, ", ")
	if n.Exception != "" {
		switch n.Code {
		case reason.NearOtherGroup:
			return p.Say("the exception %s names it (%s), and is for other groups: %s", n.Exception, at, groups)
		case reason.NearNotYet:
			return p.Say("the exception %s names it (%s), and begins on %s", n.Exception, at, n.Date)
		}
		return p.Say("the exception %s names it (%s), and ended on %s", n.Exception, at, n.Date)
	}
	switch n.Code {
	case reason.NearOff:
		if n.ForGroup {
			return p.Say("the ban %s names it (%s), and is off for the group %s", n.Ban, at, e.Group)
		}
		return p.Say("the ban %s names it (%s), and is off", n.Ban, at)
	case reason.NearOtherGroup:
		return p.Say("the ban %s names it (%s), and is for other groups: %s", n.Ban, at, groups)
	case reason.NearNotYet:
		return p.Say("the ban %s names it (%s), and begins on %s", n.Ban, at, n.Date)
	case reason.NearTier:
		return p.Say("the list %s of the ban %s has it (%s) in the tier %s, which tiers leaves out", n.Rule.List, n.Ban, at, n.Tier)
	}
	return p.Say("the ban %s names it (%s), and ended on %s", n.Ban, at, n.Date)
}
