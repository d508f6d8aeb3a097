package main

import (
	"cmp"
	"fmt"
	"net/netip"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/lang"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/show"
	"rideau/cmd/rideau/internal/text"
	"rideau/resolver/wire"
)

const explainHelp = `Says what a client would be answered for a name, and why: the ban and its legal
basis, the list, the file and the line that decide. It reads the configuration and the
lists as they are on disk now, and sends no query.

NAME may be an address: what becomes of answers with it, and of its reverse name.

It also says what almost decides: bans that name it and are off, for other groups, not yet or
no longer in force, entries of tiers that are not used, and exceptions likewise.

A name that is in no list can still be blocked because of its answer, for example an alias
of a banned name. explain does not show that, since it does not ask an upstream.

Exit code 0: not banned. 3: banned. 1: the configuration or a list cannot be read.
2: the command line is wrong.`

func explain(c *call) int {
	address, isAddress := text.ParseAddress(c.args[0])
	name := new(wire.Name)
	var err error
	if isAddress {
		name = text.ReverseName(address)
	} else if name, err = text.ParseName(c.args[0]); err != nil {
		fmt.Fprintf(c.stderr, "rideau explain: %v\n", err)
		return exitUsage
	}
	language, ok := c.language()
	if !ok {
		return exitUsage
	}
	client, err := netip.ParseAddr(c.string("client"))
	if err != nil {
		fmt.Fprintf(c.stderr, "rideau explain: --client %q is not an IP address\n", c.string("client"))
		return exitUsage
	}
	qtype, ok := text.ParseType(c.string("type"))
	if isAddress && !c.Changed("type") {
		qtype = uint16(wire.TypePTR)
	}
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
	e, err := reason.Explain(cfg, snap, reason.Question{Name: name, Type: wire.Type(qtype), Client: client,
		Claims: reason.Claims(c.string("certificate"), c.string("issuer"), c.string("path"), c.string("sni")), DO: c.bool("do"), Address: address, Now: now.Now()})
	if err != nil {
		return c.fail(err)
	}
	e.Clock = now.Distrusted
	if c.bool("json") {
		printJSON(c, e)
	} else {
		show.Explanation(c.stdout, lang.New(cmp.Or(language, lang.Language(cfg.Log.Language))), e)
	}
	if e.Kind == blocklists.Block || e.InAnswers != nil && e.InAnswers.Kind == blocklists.Block {
		return exitBanned
	}
	return exitOK
}
