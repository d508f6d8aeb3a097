package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/source"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/ops"
)

const checkHelp = `Reads the configuration and every list it names, as a start or a reload would,
and prints what is wrong: file, line, and what to do. Nothing is served and
nothing that runs is touched.

Lists with a url are read as they were last fetched; --fetch looks at what is there now,
and keeps nothing of it.

Exit code 0: rideau would start with this. 1: it would not; or, with --strict, there are
warnings or lines that cannot be used.`

// finding is one thing that check has to say.
type finding struct {
	Severity string `json:"severity"` // error or warning
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Message  string `json:"message"`
	Remedy   string `json:"remedy,omitempty"`
}

type checkResult struct {
	OK       bool         `json:"ok"`
	Config   string       `json:"config"`
	Findings []finding    `json:"findings"`
	Lists    []listReport `json:"lists,omitempty"`
	Bans     []banReport  `json:"bans,omitempty"`
}

// listReport is what became of a list's lines.
type listReport struct {
	ID      string `json:"id"`
	Source  string `json:"source"`
	Format  string `json:"format"`
	Entries int    `json:"entries"`
	Skipped int    `json:"skipped"`
	// NotDNS counts lines about something else than names.
	NotDNS  int            `json:"not_dns"`
	Reasons []reasonReport `json:"reasons,omitempty"`
}

type reasonReport struct {
	Reason string `json:"reason"`
	Lines  int    `json:"lines"`
}

type banReport struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Mode  string `json:"mode"`
	// Modes are those of groups for which it is another.
	Modes  map[string]string `json:"modes,omitempty"`
	Action string            `json:"action"`
	Active bool              `json:"active"`
	Names  int               `json:"names"`
	stages string
}

func check(c *call) int {
	path := c.string("config")
	res := checkResult{Config: path, Findings: []finding{}}
	if path == "" {
		res.Config = "(inside the program)"
	}
	cfg, err := setup.Load(path)
	if err != nil {
		res.add(err, path)
	} else {
		for _, w := range cfg.Warnings {
			res.Findings = append(res.Findings, finding{"warning", w.File, w.Line, keyed(w), w.Remedy})
		}
		res.surroundings(cfg)
		res.lists(c, cfg)
	}
	res.OK = true
	for _, f := range res.Findings {
		if f.Severity == "error" || c.bool("strict") {
			res.OK = false
		}
	}
	if c.bool("json") {
		printJSON(c, res)
	} else {
		res.print(c)
	}
	if !res.OK {
		return exitFailure
	}
	return exitOK
}

// surroundings looks at what a start needs beside the file.
func (res *checkResult) surroundings(cfg *config.Config) {
	if _, err := setup.Token(cfg); err != nil {
		res.add(err, "")
	}
	if _, err := setup.Jar(cfg, setup.NewSecret()); err != nil {
		res.add(err, "")
	}
	if err := setup.QueryLogFolder(cfg); err != nil {
		res.add(err, "")
	}
	plan, err := setup.PlanUpstreams(cfg, nil)
	if err != nil {
		res.add(err, "")
	}
	for _, w := range plan.Warnings {
		res.Findings = append(res.Findings, finding{Severity: "warning", Message: w})
	}
}

func (res *checkResult) lists(c *call, cfg *config.Config) {
	a, done := res.acquire(c, cfg)
	defer done()
	snap, report, err := a.Prepare(c.ctx, source.PrepareOptions{Slots: new(blocklists.Slots), Lenient: true})
	res.missing(c, a.Missing())
	for _, p := range report.Problems {
		res.Findings = append(res.Findings, finding{"warning", p.File, p.Line, fmt.Sprintf("%q is skipped: %s", p.Text, p.Reason), p.Remedy})
	}
	if err != nil {
		for _, p := range ops.ListProblems(compile.Report{Failed: report.Failed}) {
			res.Findings = append(res.Findings, finding{"error", p.File, p.Line, "list " + p.List + ": " + p.Message, p.Remedy})
		}
		if len(report.Failed) == 0 {
			res.add(err, cfg.File)
		}
		return
	}
	res.refused(report)
	for _, l := range snap.Lists() {
		if l.Entries == 0 && !slices.ContainsFunc(a.Missing(), func(m *source.List) bool { return m.ID == l.ID }) {
			res.Findings = append(res.Findings, finding{"warning", l.Source, 0, "list " + l.ID + " has no entries", "add names, or take the list out of the configuration"})
		}
	}
	res.Bans = banReports(snap)
	for _, l := range snap.Lists() {
		r := listReport{ID: l.ID, Source: l.Source, Format: string(l.Format), Entries: l.Entries, Skipped: l.Skipped, NotDNS: l.NotDNS}
		for _, why := range l.Reasons {
			r.Reasons = append(r.Reasons, reasonReport{why.Reason, why.Lines})
		}
		res.Lists = append(res.Lists, r)
	}
}

func banReports(s *blocklists.Snapshot) []banReport {
	var out []banReport
	for _, b := range s.Bans() {
		r := banReport{ID: b.Ban.ID, Title: b.Ban.TitleEN, Mode: b.Ban.Mode.String(), Action: b.Ban.Action.String(), Active: b.Active, Names: b.Names,
			stages: b.Ban.Stages()}
		for g, m := range b.Ban.Modes {
			if r.Modes == nil {
				r.Modes = map[string]string{}
			}
			r.Modes[g] = m.String()
		}
		out = append(out, r)
	}
	return out
}

// add takes an error apart into findings.
func (res *checkResult) add(err error, file string) {
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			res.Findings = append(res.Findings, finding{"error", p.File, p.Line, keyed(p), p.Remedy})
		}
		return
	}
	res.Findings = append(res.Findings, finding{Severity: "error", File: file, Message: err.Error()})
}

func keyed(p config.Problem) string {
	if p.Key == "" {
		return p.Message
	}
	return p.Key + ": " + p.Message
}

func (res *checkResult) print(c *call) {
	for _, f := range res.Findings {
		where := f.File
		if f.Line > 0 {
			where = fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		line := f.Severity + ": " + f.Message
		if where != "" {
			line = where + ": " + line
		}
		if f.Remedy != "" {
			line += "; " + f.Remedy
		}
		fmt.Fprintln(c.stdout, line)
	}
	for _, l := range res.Lists {
		if l.Skipped+l.NotDNS == 0 {
			continue
		}
		fmt.Fprintf(c.stdout, "list %s (%s): %d entries, %d lines skipped, %d not about names:\n", l.ID, l.Format, l.Entries, l.Skipped, l.NotDNS)
		for _, r := range l.Reasons {
			fmt.Fprintf(c.stdout, "  %d: %s\n", r.Lines, r.Reason)
		}
	}
	for _, b := range res.Bans {
		state := b.stages
		if state != "off" && !b.Active {
			state += ", not in force today"
		}
		fmt.Fprintf(c.stdout, "ban %s: %d names, %s, %s\n", b.ID, b.Names, state, b.Action)
	}
	if res.OK {
		fmt.Fprintf(c.stdout, "%s: ok\n", res.Config)
		return
	}
	fmt.Fprintf(c.stdout, "%s: not ok\n", res.Config)
}

func printJSON(c *call, v any) {
	e := json.NewEncoder(c.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		c.fail(err)
	}
}
