package main

import (
	"fmt"
	"io"
	"net/netip"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/text"
	"rideau/resolver/ops/printable"
	"rideau/resolver/wire"
)

const explainHelp = `Says what a client would be answered for a name, and why: the ban and its legal
basis, the list, the file and the line that decide. It reads the configuration and the
lists as they are on disk now, and sends no query.

A name that is in no list can still be blocked because of its answer, for example an alias
of a banned name. explain does not show that, since it does not ask an upstream.

Exit code 0: not banned. 3: banned. 1: the configuration or a list cannot be read.
2: the command line is wrong.`

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
	now := setup.ReadClock(cfg)
	snap, _, err := setup.LoadPolicy(c.ctx, cfg, nil, nil, now.Instants)
	if err != nil {
		return c.fail(err)
	}
	e, err := reason.Explain(cfg, snap, reason.Question{Name: name, Type: wire.Type(qtype), Client: client, DO: c.bool("do")})
	if err != nil {
		return c.fail(err)
	}
	e.Clock = now.Distrusted
	if c.bool("json") {
		printJSON(c, e)
	} else {
		printExplanation(c.stdout, e)
	}
	if e.Kind == blocklists.Block {
		return exitBanned
	}
	return exitOK
}

// printExplanation prints an explanation for people.
func printExplanation(w io.Writer, e *reason.Explanation) {
	fmt.Fprintf(w, "%s %s for %s (group %s): %s\n", e.Name, e.Type, e.Client, e.Group, e.Verdict)
	line := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "  %-10s %s\n", k, printable.Text(v))
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
	line("clock", e.Clock)
	if r := e.Rule; r != nil {
		line("entry", fmt.Sprintf("%s (%s)", r.Entry, r.Match))
		line("list", r.List)
		line("file", fmt.Sprintf("%s:%d", r.File, r.Line))
	}
}
