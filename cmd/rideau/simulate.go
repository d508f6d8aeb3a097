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

	"rideau/blocklists/querylog"
	"rideau/blocklists/simulate"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/setup"
)

const simulateHelp = `Says what a configuration would change before you use it: which names, for how many clients, would
be newly blocked, and which no longer, if the queries in a log came again. Compare the
configuration that you want to use with the one in use:

  rideau simulate --config new.yaml --against rideau.yaml --log /var/log/rideau/queries.log

Without --against it is compared with no policy. It reads the log of queries that Rideau writes
(log.queries), query logs of dnsmasq, BIND and Unbound, with or without a syslog header, and
captures (pcap, pcapng; UDP and TCP, also in fragments). They may be compressed with gzip;
"-" is the standard input, and more files may follow. The format is detected for each line.

It judges the questions alone. A log does not show what is in an answer, such as an alias of a banned
name, so that more can be blocked than is printed here. Names, clients and queries are counted
exactly up to 2,097,152 names, 1,048,576 clients and 524,288 names that change, and the report says
if there were more. Counting that many takes 600 MB, a usual day 50 MB.
No query is sent, and nothing is fetched or changed; lists with a url are read as they were last fetched.

Exit code 0: the report is printed. 1: a configuration, a list or a log cannot be read, or the logs
hold no query. 2: the command line is wrong.`

func simulatePolicy(c *call) int {
	logs := c.logs()
	if len(logs) == 0 {
		fmt.Fprintln(c.stderr, `rideau simulate: no log is named; give --log FILE, or --log - for the standard input`)
		return exitUsage
	}
	if f := c.string("log-format"); f != "" && !slices.Contains(querylog.Formats(), f) {
		fmt.Fprintf(c.stderr, "rideau simulate: --log-format %q is none of %s\n", f, strings.Join(querylog.Formats(), ", "))
		return exitUsage
	}
	var now time.Time
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

	o := reason.SimulateOptions{At: now, Logs: logs, LogFormat: c.string("log-format"), LeaveOut: leave, Top: top}
	if o.Candidate, err = loaded(c, c.string("config")); err != nil {
		return c.fail(err)
	}
	if path := c.string("against"); path != "" {
		against, err := loaded(c, path)
		if err != nil {
			return c.fail(err)
		}
		o.Against = &against
	}
	out, err := reason.Simulate(o)
	if errors.Is(err, reason.ErrNoQuery) {
		err = fmt.Errorf("%w; give logs of a day with queries, or leave --not-from out", err)
	}
	if err != nil {
		return c.fail(err)
	}
	if c.bool("json") {
		printJSON(c, out)
	} else {
		printSimulation(c.stdout, out)
	}
	return exitOK
}

// parseRange parses a prefix, or an address as a prefix.
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

// loaded reads a configuration and its lists.
func loaded(c *call, path string) (reason.Policy, error) {
	cfg, err := setup.Load(path)
	if err != nil {
		return reason.Policy{}, err
	}
	snap, _, err := setup.LoadPolicy(c.ctx, cfg, nil, nil, setup.ReadClock(cfg).Instants)
	if err != nil {
		return reason.Policy{}, fmt.Errorf("%s: %w", setup.Name(cfg), err)
	}
	return reason.Policy{Config: cfg, Snapshot: snap}, nil
}

// logs are the query logs that the command line names.
func (c *call) logs() (logs []reason.Log) {
	files, _ := c.GetStringArray("log")
	for _, file := range append(files, c.args...) {
		l := reason.Log{Name: file, Open: func() (io.ReadCloser, error) { return os.Open(file) }}
		if file == "-" {
			l = reason.Log{Name: "(standard input)", Open: func() (io.ReadCloser, error) { return io.NopCloser(os.Stdin), nil }}
		}
		logs = append(logs, l)
	}
	return logs
}

// printSimulation prints a report for people.
func printSimulation(w io.Writer, r *reason.Simulation) {
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
