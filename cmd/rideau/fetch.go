package main

import (
	"fmt"
	"os"
	"strings"

	"rideau/blocklists/compile"
	"rideau/cmd/rideau/internal/server"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/ops"
)

const fetchHelp = `Fetches every list that has a url into the state folder, once, and reads it as a start
would, so that what is kept is known to be good. For setting a machine up, and for
networks without a way out: fetch on a machine that has one, and bring the state folder.
A rideau that runs takes up what was fetched at the next reload.

Exit code 0: all lists are there and good. 1: one is not; its old copy stays.`

// fetchLists is the command fetch.
func fetchLists(c *call) int {
	cfg, err := setup.Load(c.string("config"))
	if err != nil {
		return c.fail(err)
	}
	lists := server.RemoteLists(cfg)
	if len(lists) == 0 {
		return c.fail(fmt.Errorf("%s: no list has a url; there is nothing to fetch", setup.Name(cfg)))
	}
	s := server.NewSources(nil, true, agent())
	if _, err := s.OpenStore(cfg); err != nil {
		return c.fail(err)
	}
	visits, err := s.FetchAll(c.ctx, cfg, lists, c.bool("force"))
	if err != nil {
		return c.fail(err)
	}
	code := exitOK
	for _, v := range visits {
		info, err := s.Accept(c.ctx, cfg, v, c.bool("force"))
		if err != nil {
			code = c.fail(fmt.Errorf("list %s: %s: %s", v.List.ID, v.List.Name(), strings.TrimPrefix(err.Error(), v.List.Name()+": ")))
			continue
		}
		fmt.Fprintf(c.stdout, "list %s: %s, %d entries, sha256 %x, from %s\n", info.ID, v.Result, info.Entries, info.SHA256, info.Source)
	}
	return code
}

// sources are where check finds lists: what was fetched before or, with --fetch, what is there now.
func (res *checkResult) sources(c *call, cfg *config.Config) (*server.Sources, func()) {
	s := server.NewSources(nil, false, agent())
	lists := server.RemoteLists(cfg)
	if !c.bool("fetch") || len(lists) == 0 {
		return s, func() {}
	}
	temp, err := os.MkdirTemp("", "rideau-check-")
	if err != nil {
		res.add(err, "")
		return s, func() {}
	}
	s.Temp = temp
	visits, err := s.FetchAll(c.ctx, cfg, lists, false)
	if err != nil {
		res.add(err, cfg.File)
	}
	for _, v := range visits {
		if v.Err != nil {
			res.Findings = append(res.Findings, finding{Severity: "error", File: v.List.Name(), Message: "list " + v.List.ID + ": " + v.Err.Error()})
		}
	}
	return s, func() { os.RemoveAll(temp) }
}

// missing says which lists were never fetched: a start would fetch them.
func (res *checkResult) missing(c *call, lists []*config.List) {
	for _, l := range lists {
		if c.bool("fetch") {
			continue // there is an error already
		}
		res.Findings = append(res.Findings, finding{"warning", l.Name(), 0, "list " + l.ID + " was not fetched yet, and was not looked at",
			`a start fetches it; or run "rideau fetch", or check with --fetch`})
	}
}

// refused says which new versions would be put aside.
func (res *checkResult) refused(report compile.Report) {
	for _, p := range ops.ListProblems(compile.Report{Failed: report.Failed}) {
		res.Findings = append(res.Findings, finding{"error", p.File, p.Line, "list " + p.List + ": " + p.Message, p.Remedy})
	}
}
