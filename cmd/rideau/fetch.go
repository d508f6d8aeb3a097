package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"rideau/blocklists"
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
	cfg, err := loadConfig(c.string("config"))
	if err != nil {
		return c.fail(err)
	}
	lists := remoteLists(cfg)
	if len(lists) == 0 {
		return c.fail(fmt.Errorf("%s: no list has a url; there is nothing to fetch", configName(cfg)))
	}
	s := newSources(nil, true)
	if _, err := s.store(cfg); err != nil {
		return c.fail(err)
	}
	visits, err := s.fetchAll(c, cfg, lists, c.bool("force"))
	if err != nil {
		return c.fail(err)
	}
	code := exitOK
	for _, v := range visits {
		info, err := s.accept(c, cfg, v)
		if err != nil {
			code = c.fail(fmt.Errorf("list %s: %s: %s", v.list.ID, v.list.Name(), strings.TrimPrefix(err.Error(), v.list.Name()+": ")))
			continue
		}
		fmt.Fprintf(c.stdout, "list %s: %s, %d entries, sha256 %x, from %s\n", info.ID, v.result, info.Entries, info.SHA256, info.Source)
	}
	return code
}

// accept reads a list alone, so that the others and the files of this machine do not matter, and keeps it if it is good.
func (s *listSources) accept(c *call, cfg *config.Config, v visit) (blocklists.ListInfo, error) {
	if v.err != nil {
		return blocklists.ListInfo{}, v.err
	}
	alone := *cfg
	alone.Lists, alone.Bans, alone.Exceptions = []config.List{*v.list}, nil, nil
	for _, b := range cfg.Bans {
		if slices.Contains(b.Lists, v.list.ID) {
			b.Lists = []string{v.list.ID}
			alone.Bans = append(alone.Bans, b)
		}
	}
	for _, e := range cfg.Exceptions {
		if slices.Contains(e.Lists, v.list.ID) {
			e.Lists, e.Names = []string{v.list.ID}, nil
			alone.Exceptions = append(alone.Exceptions, e)
		}
	}
	snap, report, err := s.load(c.ctx, &alone, nil, new(blocklists.Slots), loadOptions{force: c.bool("force")})
	for _, e := range report.Failed {
		return blocklists.ListInfo{}, e.Err
	}
	if err != nil {
		return blocklists.ListInfo{}, err
	}
	return snap.Lists()[0], nil
}

// fetchAll is one round of downloads for a command.
func (s *listSources) fetchAll(c *call, cfg *config.Config, lists []*config.List, again bool) ([]visit, error) {
	plan, err := planUpstreams(cfg, nil)
	if err != nil {
		return nil, err
	}
	return s.fetch(c.ctx, cfg, bootstrap(cfg, plan), lists, again), nil
}

// remoteLists are the lists that have a URL.
func remoteLists(cfg *config.Config) []*config.List {
	var out []*config.List
	for i := range cfg.Lists {
		if cfg.Lists[i].URL != "" {
			out = append(out, &cfg.Lists[i])
		}
	}
	return out
}

// sources are where check finds lists: what was fetched before or, with --fetch, what is there now.
func (res *checkResult) sources(c *call, cfg *config.Config) (*listSources, func()) {
	s := newSources(nil, false)
	lists := remoteLists(cfg)
	if !c.bool("fetch") || len(lists) == 0 {
		return s, func() {}
	}
	temp, err := os.MkdirTemp("", "rideau-check-")
	if err != nil {
		res.add(err, "")
		return s, func() {}
	}
	s.temp = temp
	visits, err := s.fetchAll(c, cfg, lists, false)
	if err != nil {
		res.add(err, cfg.File)
	}
	for _, v := range visits {
		if v.err != nil {
			res.Findings = append(res.Findings, finding{Severity: "error", File: v.list.Name(), Message: "list " + v.list.ID + ": " + v.err.Error()})
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
func (res *checkResult) refused(report blocklists.Report) {
	for _, p := range ops.ListProblems(blocklists.Report{Failed: report.Failed}) {
		res.Findings = append(res.Findings, finding{"error", p.File, p.Line, "list " + p.List + ": " + p.Message, p.Remedy})
	}
}
