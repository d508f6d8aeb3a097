package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/querylog"
	"rideau/blocklists/simulate"
	"rideau/cmd/rideau/internal/server"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/text"
	"rideau/resolver/wire"
)

const simulateHelp = `Says what a configuration would do before it does it: which names, of how many clients, would be
newly blocked, and which no longer, if what was asked on a day were asked again. Compare the
configuration that you mean to use with the one in use:

  rideau simulate --config new.yaml --against rideau.yaml --log /var/log/rideau/queries.log

Without --against it is compared with no policy at all. Logs are those that log.queries of Rideau
writes, query logs of dnsmasq, BIND and Unbound, with or without what syslog puts in front, and
captures (pcap, pcapng; UDP, and queries over TCP that lie in one segment). They may be compressed by gzip; "-" is the standard
input, and more files can follow. The format is found out for each line.

Questions alone are judged. What only an answer shows, such as an alias of a banned name, is not in
a log, so that more can be blocked than is printed here. Names, clients and queries are counted
exactly up to 2,097,152 names, 1,048,576 clients and 524,288 names that change, and the report says if there were more;
with all of them that takes 600 MB, and a usual day 50.
Nothing is asked, fetched or changed; lists with a url are read as they were last fetched.

Exit code 0: the report is printed, whatever it says. 1: a configuration, a list or a log cannot be
read, or a log holds no query. 2: wrong use.`

// simulation is what simulate prints.
type simulation struct {
	Candidate string `json:"candidate"`
	Against   string `json:"against,omitempty"`
	At        string `json:"at"` // the instant that decides which bans are in force
	// NotInForce are the candidate's bans that are not off, and yet do
	// nothing at that instant.
	NotInForce []string  `json:"not_in_force"`
	Logs       []readLog `json:"logs"`
	simulate.Report
	Note string `json:"note"`
}

// readLog is what was found in a log.
type readLog struct {
	File     string       `json:"file"`
	Formats  []string     `json:"formats"`
	Lines    int          `json:"lines"` // or packets
	Queries  int          `json:"queries"`
	LeftOut  int          `json:"left_out"` // queries of clients in --not-from
	Other    int          `json:"other"`
	Unread   int          `json:"unread"`
	Problems []unreadLine `json:"problems"`
}

type unreadLine struct {
	Line   int    `json:"line"`
	Text   string `json:"text,omitempty"`
	Reason string `json:"reason"`
}

const simulateNote = "questions alone are judged: what only an answer shows, such as an alias of a banned name, can be blocked too"

func simulatePolicy(c *call) int {
	logs, _ := c.GetStringArray("log")
	logs = append(logs, c.args...)
	if len(logs) == 0 {
		fmt.Fprintln(c.stderr, `rideau simulate: no log is named; give --log FILE, or --log - for the standard input`)
		return exitUsage
	}
	if f := c.string("log-format"); f != "" && !slices.Contains(querylog.Formats(), f) {
		fmt.Fprintf(c.stderr, "rideau simulate: --log-format %q is none of %s\n", f, strings.Join(querylog.Formats(), ", "))
		return exitUsage
	}
	now := time.Now()
	if text := c.string("now"); text != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, text); err != nil {
			fmt.Fprintf(c.stderr, "rideau simulate: --now %q is no instant; write it like 2027-01-31T08:00:00-05:00\n", text)
			return exitUsage
		}
	}
	var leave []netip.Prefix
	for _, text := range c.strings("not-from") {
		p, err := parseRange(text)
		if err != nil {
			fmt.Fprintf(c.stderr, "rideau simulate: --not-from %q is neither an address nor a range\n", text)
			return exitUsage
		}
		leave = append(leave, p)
	}
	top, err := c.GetInt("top")
	if err != nil || top < 0 {
		fmt.Fprintln(c.stderr, "rideau simulate: --top has to be 0 (all) or more")
		return exitUsage
	}

	out := simulation{At: now.UTC().Format(time.RFC3339), Note: simulateNote}
	candidate, name, err := simulated(c, c.string("config"), now)
	if err != nil {
		return c.fail(err)
	}
	out.Candidate, out.NotInForce = name, notInForce(candidate.Policy)
	var against simulate.Side
	if path := c.string("against"); path != "" {
		if against, out.Against, err = simulated(c, path, now); err != nil {
			return c.fail(err)
		}
	}
	s := simulate.New(candidate, against)
	for _, file := range logs {
		l, err := replay(s, file, c.string("log-format"), leave)
		if err != nil {
			return c.fail(err)
		}
		out.Logs = append(out.Logs, l)
	}
	out.Report = s.Report(top)
	if out.Queries == 0 {
		return c.fail(errors.New("the logs hold no query to judge; give logs of a day with queries, or leave --not-from out"))
	}
	if c.bool("json") {
		printJSON(c, out)
	} else {
		out.print(c)
	}
	return exitOK
}

// parseRange reads an address or a prefix.
func parseRange(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// simulated reads a configuration and its lists.
func simulated(c *call, path string, now time.Time) (side simulate.Side, name string, err error) {
	cfg, err := setup.Load(path)
	if err != nil {
		return side, "", err
	}
	snap, _, err := server.LoadPolicy(c.ctx, cfg, nil, new(blocklists.Slots), false)
	if err != nil {
		return side, "", fmt.Errorf("%s: %w", setup.Name(cfg), err)
	}
	snap = snap.At(now)
	st, err := setup.PolicyState(cfg, snap)
	if err != nil {
		return side, "", err
	}
	special := func(n *wire.Name) bool { zone, _ := st.Zone(n, wire.TypeA); return zone != "" }
	return simulate.Side{Policy: snap, Serves: st.Serves, Special: special}, setup.Name(cfg), nil
}

// notInForce are the bans that wait for their date, or are past it.
func notInForce(s *blocklists.Snapshot) []string {
	out := []string{}
	for _, b := range s.Bans() {
		if !b.Active && b.Ban.Mode != blocklists.Off {
			out = append(out, b.Ban.ID)
		}
	}
	return out
}

// replay puts a log's queries to the simulation.
func replay(s *simulate.Simulation, file, as string, leave []netip.Prefix) (readLog, error) {
	left := 0
	out, err := readTrace(file, as, func(q *querylog.Query) error {
		for _, p := range leave {
			if p.Contains(q.Client) {
				left++
				return nil
			}
		}
		s.Add(q)
		return nil
	})
	out.LeftOut = left
	return out, err
}

// readTrace reads a log, and says what it consists of.
func readTrace(file, as string, each func(*querylog.Query) error) (readLog, error) {
	out := readLog{File: file, Formats: []string{}, Problems: []unreadLine{}}
	in := io.Reader(os.Stdin)
	if file == "-" {
		out.File = "(standard input)"
	} else {
		f, err := os.Open(file)
		if err != nil {
			return out, fmt.Errorf("%w; give the path of a log", err)
		}
		defer f.Close()
		in = f
	}
	o := querylog.Options{File: out.File, Format: querylog.Format(as), Type: func(name string) (wire.Type, bool) {
		if t, ok := dns.StringToType[name]; ok {
			return wire.Type(t), true
		}
		t, ok := text.ParseType(name)
		return wire.Type(t), ok
	}}
	stats, err := querylog.Read(in, o, each)
	out.Lines, out.Queries, out.Other, out.Unread = stats.Lines, stats.Queries, stats.Other, stats.Unread
	for _, f := range stats.Formats {
		out.Formats = append(out.Formats, string(f))
	}
	for _, p := range stats.Problems {
		out.Problems = append(out.Problems, unreadLine{p.Line, p.Text, p.Reason})
	}
	return out, err
}

func (r *simulation) print(c *call) {
	w := c.stdout
	against := r.Against
	if against == "" {
		against = "no policy"
	}
	fmt.Fprintf(w, "%s against %s, as of %s\n", r.Candidate, against, r.At)
	for _, id := range r.NotInForce {
		fmt.Fprintf(w, "the ban %s is not in force then; --now takes another instant\n", id)
	}
	for _, l := range r.Logs {
		kind := "lines"
		if len(l.Formats) == 1 && l.Formats[0] == string(querylog.Pcap) {
			kind = "packets"
		}
		fmt.Fprintf(w, "%s (%s): %d %s, %d queries, %d other, %d not read\n", filepath.ToSlash(l.File), strings.Join(l.Formats, ", "), l.Lines, kind, l.Queries, l.Other, l.Unread)
		if l.LeftOut > 0 {
			fmt.Fprintf(w, "  %d queries left out by --not-from\n", l.LeftOut)
		}
		for _, p := range l.Problems {
			fmt.Fprintf(w, "  %s:%d: %s: %q\n", filepath.ToSlash(l.File), p.Line, p.Reason, p.Text)
		}
	}
	fmt.Fprintf(w, "%d queries for %d names by %d clients\n", r.Queries, r.Names, r.Clients)
	for _, change := range r.Changes {
		if change.Queries > 0 {
			printChange(w, &change)
		}
	}
	u := r.Same
	fmt.Fprintf(w, "\nunchanged: %d queries, %d names, %d clients\n", u.Queries, u.Names, u.Clients)
	for _, x := range []struct {
		what string
		n    int
	}{{"passed", u.Passed}, {"blocked", u.Blocked}, {"monitored", u.Monitored}, {"excepted", u.Excepted}, {"special-use names", u.Special}, {"clients not served", u.Refused}} {
		if x.n > 0 {
			fmt.Fprintf(w, "  %s: %d queries\n", x.what, x.n)
		}
	}
	fmt.Fprintln(w)
	for _, s := range r.Short {
		fmt.Fprintf(w, "not exact: %s\n", s)
	}
	fmt.Fprintf(w, "note: %s\n", r.Note)
}

func printChange(w io.Writer, change *simulate.Change) {
	fmt.Fprintf(w, "\n%s: %d queries, %d names, %d clients\n", strings.ReplaceAll(change.Class, "_", " "), change.Queries, change.Names, change.Clients)
	for _, by := range change.By {
		fmt.Fprintf(w, "  %s, was %s: %d queries, %d names, %d clients\n", by.After, by.Before, by.Queries, by.Names, by.Clients)
	}
	fmt.Fprintf(w, "  %9s %9s  name\n", "queries", "clients")
	for _, n := range change.Top {
		fmt.Fprintf(w, "  %9d %9d  %s\n", n.Queries, n.Clients, n.Name)
	}
	if more := change.Names - len(change.Top); more > 0 {
		fmt.Fprintf(w, "  and %d more names; --top prints more\n", more)
	}
}
