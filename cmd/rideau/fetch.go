package main

import (
	"fmt"
	"os"
	"strings"

	"rideau/blocklists/compile"
	"rideau/blocklists/source"
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
	if !cfg.Remote() {
		return c.fail(fmt.Errorf("%s: no list has a url; there is nothing to fetch", setup.Name(cfg)))
	}
	s := source.New(source.Options{})
	if err := s.Writable(setup.Lists(cfg)); err != nil {
		return c.fail(err)
	}
	plan, err := downloadPlan(cfg)
	if err != nil {
		return c.fail(err)
	}
	code := exitOK
	for _, v := range s.Fetch(c.ctx, plan, plan.Remote(), c.bool("force")) {
		info, err := s.Accept(c.ctx, plan, v, c.bool("force"))
		if err != nil {
			code = c.fail(fmt.Errorf("list %s: %s: %s", v.List.ID, v.List.Source, strings.TrimPrefix(err.Error(), v.List.Source+": ")))
			continue
		}
		fmt.Fprintf(c.stdout, "list %s: %s, %d entries, sha256 %x, from %s\n", info.ID, v.Result, info.Entries, info.SHA256, info.Source)
	}
	return code
}

// downloadPlan returns what lists a configuration has, and how they are downloaded.
func downloadPlan(cfg *config.Config) (*source.Plan, error) {
	ups, err := setup.PlanUpstreams(cfg, nil)
	if err != nil {
		return nil, err
	}
	plan := setup.Lists(cfg)
	plan.Fetch = setup.Downloads(cfg, ups, agent())
	return plan, nil
}

// acquire begins to acquire the lists for check. With --fetch it downloads them to a temporary folder; otherwise check reads what was
// downloaded before. The caller calls done at the end.
func (res *checkResult) acquire(c *call, cfg *config.Config) (a *source.Acquisition, done func()) {
	local := func() (*source.Acquisition, func()) {
		a := source.New(source.Options{ReadOnly: true}).Begin(setup.Lists(cfg))
		return a, a.Close
	}
	if !c.bool("fetch") || !cfg.Remote() {
		return local()
	}
	temp, err := os.MkdirTemp("", "rideau-check-")
	if err != nil {
		res.add(err, "")
		return local()
	}
	plan, err := downloadPlan(cfg)
	if err != nil {
		os.RemoveAll(temp)
		res.add(err, cfg.File)
		return local()
	}
	a = source.New(source.Options{ReadOnly: true, Temp: temp}).Begin(plan)
	for _, v := range a.Fetch(c.ctx, false) {
		if v.Err != nil {
			res.Findings = append(res.Findings, finding{Severity: "error", File: v.List.Source, Message: "list " + v.List.ID + ": " + v.Err.Error()})
		}
	}
	return a, func() {
		a.Close()
		os.RemoveAll(temp)
	}
}

// missing reports the lists that were never fetched: a start would fetch them.
func (res *checkResult) missing(c *call, lists []*source.List) {
	for _, l := range lists {
		if c.bool("fetch") {
			continue // there is an error already
		}
		res.Findings = append(res.Findings, finding{"warning", l.Source, 0, "list " + l.ID + " was not fetched yet, and was not looked at",
			`a start fetches it; or run "rideau fetch", or check with --fetch`})
	}
}

// refused says which new versions would be put aside.
func (res *checkResult) refused(report compile.Report) {
	for _, p := range ops.ListProblems(compile.Report{Failed: report.Failed}) {
		res.Findings = append(res.Findings, finding{"error", p.File, p.Line, "list " + p.List + ": " + p.Message, p.Remedy})
	}
}
