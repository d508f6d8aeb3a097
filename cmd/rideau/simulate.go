package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"rideau/blocklists/querylog"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/show"
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
		show.Simulation(c.stdout, out)
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
