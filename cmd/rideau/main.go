// Command rideau is a caching DNS forwarder that enforces bans.
//
// The work is in the packages under resolver and blocklists. internal/server
// joins them to a server, internal/reason answers the questions of the other
// commands, and this package has what a command line is: options, printing and
// exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"rideau/blocklists/pack"
	"rideau/blocklists/querylog"
	"rideau/cmd/rideau/internal/compliance"
	"rideau/cmd/rideau/internal/lang"
	"rideau/cmd/rideau/internal/report/page"
	"rideau/resolver/ops/printable"
)

// Exit codes for scripts.
const (
	exitOK      = 0
	exitFailure = 1 // the command could not do its work, or found an error
	exitUsage   = 2 // the command line is wrong
	exitBanned  = 3 // explain: the name is banned for that client; diff and fleet-check: there are differences; audit: an item fails
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// command is one of the operator's commands.
type command struct {
	name    string
	args    string // the arguments after the options
	summary string
	help    string
	run     func(c *call) int
}

// misused returns what is wrong if the command has n arguments; empty if nothing is.
func (c *command) misused(n int) string {
	want, optional := len(strings.Fields(c.args)), strings.HasPrefix(c.args, "[")
	switch many := strings.HasSuffix(strings.TrimSuffix(c.args, "]"), "..."); {
	case n < want && !optional:
		return "wants " + c.args
	case n > want && !many:
		return "too many arguments"
	}
	return ""
}

// call is one call of a command.
type call struct {
	*pflag.FlagSet
	ctx            context.Context // ends what the command does
	args           []string
	stdout, stderr io.Writer
}

// fail prints an error and returns the exit code for it.
func (c *call) fail(err error) int {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(c.stderr, "rideau:", strings.TrimSuffix(line, "\n"))
	}
	return exitFailure
}

func commands() []command {
	return []command{
		{"serve", "", "answer queries (what rideau does when no command is given)", serveHelp, serve},
		{"check", "[FILE]", "read the configuration and its lists, and print their errors", checkHelp, check},
		{"explain", "NAME|ADDRESS", "say what would be answered, and which ban, list and line decide", explainHelp, explain},
		{"simulate", "[FILE...]", "say what a configuration would change for the queries in query logs", simulateHelp, simulatePolicy},
		{"rules", "[FILE...]", "say which entries of lists are idle, repeated or too wide", rulesHelp, rules},
		{"diff", "OLD NEW", "say what changes from one configuration to another", diffHelp, diff},
		{"fetch", "", "fetch the lists that have a url into the state folder, and check them", fetchHelp, fetchLists},
		{"config", "", "print the configuration or a ban pack inside the program, as a start for your own", configHelp, printConfig},
		{"egress", "", "print the firewall rules that the network needs in addition to DNS", egressHelp, printEgress},
		{"flush", "[NAME...]", "remove names, or everything, from the cache of a running rideau", flushHelp, flush},
		{"reidentify", "[PSEUDONYM...]", "find which addresses pseudonyms in evidence stand for", reidentifyHelp, reidentify},
		{"audit", "[FILE]", "compare the configuration with a published guide: STIG, SP 800-81r3, ITSG-33", auditHelp, audit},
		{"alert-test", "[SINK...]", "send an alert that says that it is a test", alertTestHelp, alertTest},
		{"report", "[FILE...]", "say what bans did: minutes in force, attempts, exceptions, and proof of coverage", reportHelp, makeReport},
		{"seal-key", "FILE", "make the key with which files of evidence are sealed, and print its public key", sealKeyHelp, sealKey},
		{"verify", "[FILE...]", "say whether sealed files of evidence are as they were written", verifyHelp, verify},
		{"user", "NAME", "make the line of a user who signs in with a password, for ops.users_file", userHelp, user},
		{"healthcheck", "", "ask a running rideau whether it is ready; for containers", healthcheckHelp, healthcheck},
		{"selftest", "", "ask the running rideau for a name of each ban, and compare the answers with the policy", selftestHelp, selftest},
		{"fleet-check", "HOST...", "ask servers which policy they enforce, and say whether they agree", fleetHelp, fleetCheck},
		{"completion", "SHELL", "print a script by which bash, zsh or fish completes command lines", completionHelp, complete},
		{"version", "", "print the version", "Prints the version, the revision and what it was built with.", version},
	}
}

// run runs a command line and returns the exit code. What it prints holds no control character that a terminal would obey.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	out, errs := printable.NewWriter(stdout), printable.NewWriter(stderr)
	defer out.Close()
	defer errs.Close()
	return runCommand(ctx, args, out, errs)
}

func runCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name, rest := "serve", args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, rest = args[0], args[1:]
	} else if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
		name, rest = "help", nil
	} else if len(args) == 1 && (args[0] == "--version" || args[0] == "-v") {
		name, rest = "version", nil
	}
	if name == "help" {
		if len(rest) == 0 {
			usage(stdout)
			return exitOK
		}
		name, rest = rest[0], []string{"--help"}
	}
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 {
		fmt.Fprintf(stderr, "rideau: unknown command %q; see rideau help\n", name)
		return exitUsage
	}
	cmd := all[i]
	c := &call{pflag.NewFlagSet(name, pflag.ContinueOnError), ctx, nil, stdout, stderr}
	c.SetOutput(io.Discard)
	c.SortFlags = false
	defineFlags(c, name)
	switch err := c.Parse(rest); {
	case errors.Is(err, pflag.ErrHelp):
		c.help(cmd)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "rideau %s: %v; see rideau help %s\n", name, err, name)
		return exitUsage
	}
	c.args = c.Args()
	if problem := cmd.misused(len(c.args)); problem != "" {
		fmt.Fprintf(stderr, "rideau %s: %s; see rideau help %s\n", name, problem, name)
		return exitUsage
	}
	return cmd.run(c)
}

func (c *call) help(cmd command) {
	fmt.Fprintf(c.stdout, "Usage: rideau %s", cmd.name)
	if c.HasFlags() {
		fmt.Fprint(c.stdout, " [options]")
	}
	if cmd.args != "" {
		fmt.Fprint(c.stdout, " ", cmd.args)
	}
	fmt.Fprintf(c.stdout, "\n\n%s\n", cmd.help)
	if c.HasFlags() {
		fmt.Fprintf(c.stdout, "\nOptions:\n%s", c.FlagUsages())
	}
}

func usage(w io.Writer) {
	fmt.Fprint(w, `Rideau is a caching DNS forwarder that enforces bans.

Usage: rideau [command] [options]

Commands:
`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-12s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `
Without --config, the configuration inside the program is used: it bans WeChat
and Kaspersky, listens on 127.0.0.1:5300, and forwards to the system's resolvers.
"rideau help COMMAND" explains a command.
`)
}

// defineFlags defines a command's options.
func defineFlags(c *call, name string) {
	switch name {
	case "version", "completion", "config", "diff", "fleet-check", "reidentify", "seal-key", "user", "verify":
	default:
		c.StringP("config", "c", "", "configuration `file`; without it the one inside the program is used")
	}
	switch name {
	case "audit", "check", "diff", "explain", "fleet-check", "rules", "selftest", "simulate", "verify", "version":
		c.Bool("json", false, "print JSON")
	}
	switch name {
	case "flush", "selftest", "healthcheck":
		c.String("url", "", "`address` of the operators' HTTP, such as http://127.0.0.1:5380; by default from the configuration")
	case "audit", "check", "explain":
		c.String("lang", "", "the `language`, by default log.language of the configuration: "+strings.Join(lang.Names(), ", "))
	}
	switch name {
	case "audit":
		c.String("profile", "", "the `guide`: "+strings.Join(compliance.Profiles(), ", "))
	case "check":
		c.Bool("fetch", false, "fetch the lists that have a url, and check what is there now")
		c.Bool("strict", false, "fail for warnings and skipped lines, too")
		c.Bool("elsewhere", false, "the configuration is for another machine: do not try its addresses")
	case "simulate":
		c.String("against", "", "configuration `file` to compare with, such as the one in use; without it, with no policy")
		c.StringArray("log", nil, "query log or capture, a `file` or -; may be given again, and more files may follow")
		c.String("log-format", "", "the logs' `format`, if it is detected wrongly: "+strings.Join(querylog.Formats(), ", "))
		c.StringSlice("not-from", nil, "`ranges` whose queries are left out, such as the resolver itself in a capture")
		c.String("now", "", "the `instant` (RFC 3339) that decides which bans are in force; by default now")
		c.Int("top", 20, "how many names to print for each kind of change; 0 prints all")
	case "rules":
		c.StringArray("log", nil, "query log or capture, a `file` or -; may be given again, and more files may follow")
		c.String("log-format", "", "the logs' `format`, if it is detected wrongly: "+strings.Join(querylog.Formats(), ", "))
		c.Int("top", 10, "how many to print of each kind; 0 prints all")
	case "diff":
		c.Bool("all", false, "print all names, not only the first")
		c.Int("examples", 10, "how many names to print of each kind")
	case "fetch":
		c.StringArray("force", nil, "accept a version of this `list` that is empty, shrank or grew too much, or is older; may be given again; all is for all")
	case "config":
		c.Bool("example", false, "print the example that explains every key")
		c.String("pack", "", "print the ban pack of this `name`: "+strings.Join(pack.Names(), ", "))
	case "explain":
		c.String("client", "127.0.0.1", "the client's `address`")
		c.String("certificate", "", "a `name` (SAN) of the certificate that the client shows")
		c.String("issuer", "", "the common `name` of what issued that certificate")
		c.String("path", "", "the `path` at which the client asks by HTTPS")
		c.String("sni", "", "the `name` that the client asks for in TLS")
		c.StringP("type", "t", "A", "the query's `type`")
		c.Bool("do", false, "set the DO bit")
	case "egress":
		c.String("format", "", "the firewall's `language`: "+egressFormats())
		c.StringSlice("clients", nil, "`ranges` that may ask Rideau, instead of clients.allow")
		c.StringSlice("resolvers", nil, "Rideau's own `addresses`, instead of listen.addresses")
		c.Bool("banned-networks", false, "also refuse the networks in the packs of bans in force")
		c.Bool("kaspersky-console", false, "also refuse the ports of Kaspersky's cloud console")
	case "flush":
		c.Bool("tree", false, "remove all names below NAME, too")
		c.Bool("all", false, "remove everything")
		c.Duration("timeout", defaultFlushTimeout, "how long to wait")
	case "reidentify":
		c.String("keys", "", "the `folder` of the keys, evidence.pseudonyms.key_dir")
		c.StringSlice("network", nil, "an address or a `network` to try, such as 192.0.2.0/24; may be given again")
		c.String("addresses", "", "a `file` with more of them, one a line")
	case "report":
		c.String("from", "", "the first `day` such as 2026-11-01, or an instant (RFC 3339); by default 30 days before the end")
		c.String("to", "", "the last `day`, or an instant; by default now")
		c.StringSlice("ban", nil, "only the ban with this `id`; may be given again")
		c.String("format", "html", "the `format`: "+strings.Join(page.Formats(), ", "))
		c.String("lang", "en", "the `language` of html and md: "+strings.Join(page.Languages(), ", "))
		c.String("zone", "Local", "the time `zone` of days, such as America/Toronto or UTC; by default the machine's")
		c.String("out", "", "the `file` to write; by default the standard output")
	case "seal-key":
		c.Bool("public", false, "print the public key of the key in FILE, and make none")
	case "user":
		c.String("role", "viewer", "what the user may: `viewer`, analyst or operator")
	case "verify":
		c.StringSlice("key", nil, "the public `key`, or a file with it; may be given again for a key of before")
		c.StringSlice("heads", nil, "a `file` of another place with acts of the kind seal, such as a syslog server's; may be given again")
		c.String("since", "", "the `instant` (RFC 3339) from which on nothing may be missing")
	case "selftest":
		c.Duration("timeout", defaultSelftestTimeout, "how long to wait")
	case "fleet-check":
		c.String("token-file", "", "a `file` with the token to send by HTTP")
		c.Duration("timeout", defaultFleetTimeout, "how long to wait for each server")
	case "healthcheck":
		c.Bool("live", false, "ask only whether the process runs, not whether it is ready")
		c.Duration("timeout", defaultHealthTimeout, "how long to wait")
	}
}

func (c *call) bool(name string) bool     { v, _ := c.GetBool(name); return v }
func (c *call) string(name string) string { v, _ := c.GetString(name); return v }

func (c *call) strings(name string) []string { v, _ := c.GetStringSlice(name); return v }

// language returns the language of --lang, empty if none is given. It reports whether there
// is such a language, and says so if not.
func (c *call) language() (lang.Language, bool) {
	l := c.string("lang")
	if l == "" || slices.Contains(lang.Names(), l) {
		return lang.Language(l), true
	}
	fmt.Fprintf(c.stderr, "rideau %s: --lang %q is not a language; use en or fr\n", c.Name(), l)
	return "", false
}
