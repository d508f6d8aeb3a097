package reason

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/enforced"
	"rideau/blocklists/fetch"
	"rideau/blocklists/source"
	"rideau/cmd/rideau/internal/access"
	"rideau/cmd/rideau/internal/blockpage"
	"rideau/cmd/rideau/internal/endpoints"
	"rideau/cmd/rideau/internal/evidence"
	"rideau/cmd/rideau/internal/files"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/listener"
	"rideau/resolver/ops"
)

// CheckOptions say how to check a configuration.
type CheckOptions struct {
	// Fetch downloads the lists that have a URL to a temporary folder, and checks
	// those. Without it, their last good copies are checked.
	Fetch  bool
	Agent  string // the User-Agent of downloads
	Strict bool   // warnings fail, too
	// Elsewhere says that the configuration is for another machine: addresses are not bound.
	Elsewhere bool
}

// CheckReport says what is wrong with a configuration and its lists.
type CheckReport struct {
	// Language is log.language; empty if the configuration cannot be read.
	Language string       `json:"-"`
	OK       bool         `json:"ok"`
	Config   string       `json:"config"`
	Findings []Finding    `json:"findings"`
	Lists    []ListReport `json:"lists,omitempty"`
	Bans     []BanReport  `json:"bans,omitempty"`
	// Exceptions are those of the configuration.
	Exceptions []ExceptionReport `json:"exceptions,omitempty"`
}

// Finding is one thing that is wrong.
type Finding struct {
	Severity string `json:"severity"` // error, warning or note
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Message  string `json:"message"`
	Remedy   string `json:"remedy,omitempty"`
}

// The values of Finding.Severity.
const (
	severityError   = "error"
	severityWarning = "warning"
	severityNote    = "note" // which never fails
)

// ListReport counts the lines of a list.
type ListReport struct {
	ID      string `json:"id"`
	Source  string `json:"source"`
	Format  string `json:"format"`
	Entries int    `json:"entries"`
	Skipped int    `json:"skipped"`
	// NotDNS counts lines that are not about names.
	NotDNS  int          `json:"not_dns"`
	Reasons []SkippedFor `json:"reasons,omitempty"`
}

// SkippedFor counts the lines that were skipped for one reason.
type SkippedFor struct {
	Reason string `json:"reason"`
	Lines  int    `json:"lines"`
}

// Check reads the configuration at path, the one inside the program if path is
// empty, and its lists, as a start does. It serves nothing and changes nothing.
func Check(ctx context.Context, path string, o CheckOptions) *CheckReport {
	r := &CheckReport{Config: path, Findings: []Finding{}}
	cfg, err := setup.Load(path)
	if path == "" {
		r.Config = config.DefaultName
	}
	if err != nil {
		r.failed(err, path)
	} else {
		r.Language = string(cfg.Log.Language)
		for _, w := range cfg.Warnings {
			r.add(severityWarning, w.File, w.Line, withKey(w), w.Remedy)
		}
		r.checkFiles(cfg)
		r.checkServers(cfg, o)
		if problems := evidence.Check(cfg); len(problems) > 0 {
			r.failed(problems, "")
		}
		if !o.Elsewhere {
			r.checkAddresses(cfg)
		}
		r.checkLists(ctx, cfg, o)
	}
	r.OK = !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == severityError || o.Strict && f.Severity == severityWarning })
	return r
}

// add adds a finding.
func (r *CheckReport) add(severity, file string, line int, message, remedy string) {
	r.Findings = append(r.Findings, Finding{severity, file, line, message, remedy})
}

// placed is an error that begins with its place.
var placed = regexp.MustCompile(`^([^ :]+):([0-9]+): (.*)$`)

// failed adds a finding for an error, or for each problem in a configuration.
func (r *CheckReport) failed(err error, file string) {
	var problems config.Problems
	if !errors.As(err, &problems) {
		message, line := err.Error(), 0
		if m := placed.FindStringSubmatch(message); m != nil && file == "" {
			file, message = m[1], m[3]
			line, _ = strconv.Atoi(m[2])
		}
		r.add(severityError, file, line, message, "")
		return
	}
	for _, p := range problems {
		r.add(severityError, p.File, p.Line, withKey(p), p.Remedy)
	}
}

// withKey returns the message of a problem, with the key before it.
func withKey(p config.Problem) string {
	if p.Key == "" {
		return p.Message
	}
	return p.Key + ": " + p.Message
}

// checkFiles checks what a start needs besides the configuration and the lists.
func (r *CheckReport) checkFiles(cfg *config.Config) {
	if _, err := access.Read(cfg); err != nil {
		r.failed(err, "")
	}
	if _, err := setup.Jar(cfg, setup.NewSecret()); err != nil {
		r.failed(err, "")
	}
	if err := setup.QueryLogFolder(cfg); err != nil {
		r.failed(err, "")
	}
	if a, err := blockpage.LoadAuthority(cfg, time.Now()); err != nil {
		r.failed(err, "")
	} else if a != nil {
		for _, w := range a.Warnings {
			r.add(severityWarning, w.File, w.Line, withKey(w), w.Remedy)
		}
	}
	for _, w := range setup.AccessWarnings(cfg) {
		r.add(severityWarning, "", 0, w, "")
	}
	if cfg.State.Dir != "" && cfg.Remote() {
		if err := files.Writable(cfg.State.Dir, true); err != nil {
			r.add(severityError, "", 0, "state.dir: "+err.Error(), "let the user that rideau runs as write there, or set state.dir to a folder where it can")
		}
	}
	if cfg.Cache.Snapshot != "" {
		if err := files.Writable(filepath.Dir(cfg.Cache.Snapshot), false); err != nil {
			r.add(severityWarning, "", 0, "cache.snapshot: "+err.Error(), "make the folder, and let the user that rideau runs as write there")
		}
	}
}

// checkServers makes the upstream servers, and what downloads lists, with the certificates that they need. Nothing is sent.
func (r *CheckReport) checkServers(cfg *config.Config, o CheckOptions) {
	plan, err := setup.PlanUpstreams(cfg, nil)
	if err != nil {
		r.failed(err, "")
		return
	}
	for _, w := range plan.Warnings {
		r.add(severityWarning, "", 0, w, "")
	}
	ups, err := setup.NewUpstreams(cfg, plan, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		r.failed(err, "")
	} else {
		ups.Close()
	}
	client, err := fetch.New(setup.Downloads(cfg, plan, o.Agent))
	if err != nil {
		r.failed(err, "")
		return
	}
	client.Close()
}

// checkAddresses binds the addresses as a start does, and closes them at once.
func (r *CheckReport) checkAddresses(cfg *config.Config) {
	try := func(key string, err error) {
		switch {
		case err == nil:
		case errors.Is(err, syscall.EADDRINUSE):
			r.add(severityNote, "", 0, key+": "+err.Error(), "if it is this rideau that runs, there is nothing to do")
		default:
			r.add(severityError, "", 0, key+": "+err.Error(), "if the configuration is for another machine, check it with --elsewhere")
		}
	}
	for _, a := range cfg.Listen.Addresses {
		if err := listener.Try(a); !setup.Optional(cfg, a) || !setup.NoIPv6(err) {
			try("listen.addresses", err)
		}
	}
	warnings := endpoints.Try(cfg, endpoints.Options{Clock: time.Now}, func(key string, line int, err error) {
		if key == "" {
			r.failed(err, "")
			return
		}
		try(key, err)
	})
	for _, w := range warnings {
		r.add(severityWarning, w.File, w.Line, withKey(w), w.Remedy)
	}
	if cfg.Ops.Listen != "" && !strings.Contains(cfg.Ops.Listen, "/") {
		try("ops.listen", ops.Try(cfg.Ops.Listen))
	}
	if socket, named := cfg.SocketPath(); socket != "" && named {
		try("ops.socket", ops.TrySocket(socket))
	}
}

// checkLists reads the lists, and reports what became of them.
func (r *CheckReport) checkLists(ctx context.Context, cfg *config.Config, o CheckOptions) {
	now := setup.ReadClock(cfg)
	for _, w := range []string{now.Distrusted, now.Ignored} {
		if w != "" {
			r.add(severityWarning, "", 0, w, "")
		}
	}
	lists, done := r.acquire(ctx, cfg, o)
	defer done()
	snap, report, err := lists.Prepare(ctx, source.PrepareOptions{Slots: new(blocklists.Slots), Lenient: true, Now: now.Instants})
	if !o.Fetch { // or there is an error for each already
		for _, l := range lists.Missing() {
			r.add(severityWarning, l.Source, 0, "list "+l.ID+" was not fetched yet, and was not looked at",
				`a start fetches it; or run "rideau fetch", or check with --fetch`)
		}
	}
	for _, p := range report.Problems {
		message := p.Reason
		if p.Text != "" {
			message = fmt.Sprintf("%q is skipped: %s", p.Text, p.Reason)
		}
		r.add(severityWarning, p.File, p.Line, message, p.Remedy)
	}
	for _, p := range ops.ListProblems(compile.Report{Failed: report.Failed}) {
		r.add(severityError, p.File, p.Line, "list "+p.List+": "+p.Message, p.Remedy)
	}
	if err != nil {
		if len(report.Failed) == 0 {
			r.failed(err, cfg.File)
		}
		return
	}
	for _, l := range snap.Lists() {
		if l.Entries == 0 && !slices.ContainsFunc(lists.Missing(), func(m *source.List) bool { return m.ID == l.ID }) {
			r.add(severityWarning, l.Source, 0, "list "+l.ID+" has no entries", "add names, or take the list out of the configuration")
		}
		lr := ListReport{ID: l.ID, Source: l.Source, Format: string(l.Format), Entries: l.Entries, Skipped: l.Skipped, NotDNS: l.NotDNS}
		for _, why := range l.Reasons {
			lr.Reasons = append(lr.Reasons, SkippedFor{why.Reason, why.Lines})
		}
		r.Lists = append(r.Lists, lr)
	}
	r.checkGroups(cfg, snap)
	r.Bans, r.Exceptions = Bans(snap, now.Now()), Exceptions(snap, now.Now())
	countRepeated(snap, r.Bans)
	if !enforced.Any(snap) && !slices.ContainsFunc(cfg.Warnings, func(w config.Problem) bool { return w.Message == enforced.None }) {
		r.add(severityWarning, cfg.File, 0, enforced.None, "see the dates, modes, groups and lists of the bans")
	}
}

// checkGroups reports the groups whose path or name does not count for all clients, since they block less than others.
func (r *CheckReport) checkGroups(cfg *config.Config, snap *blocklists.Snapshot) {
	for i, g := range cfg.Groups {
		if g.Path == "" && g.SNI == "" || g.MayWeaken {
			continue
		}
		var others []string
		for o := range blocklists.GroupID(len(cfg.Groups) + 1) {
			if !snap.Stricter(blocklists.GroupID(i+1), o) {
				others = append(others, snap.GroupName(o))
			}
		}
		if len(others) > 0 {
			r.add(severityWarning, setup.Name(cfg), g.Line, fmt.Sprintf("the path and the name of group %q do not count for clients of %s, since it blocks less", g.ID, strings.Join(others, ", ")),
				"write may_weaken: true if all who know them may choose the group")
		}
	}
}

// acquire begins to acquire the lists. The caller calls done at the end.
func (r *CheckReport) acquire(ctx context.Context, cfg *config.Config, o CheckOptions) (a *source.Acquisition, done func()) {
	local := func() (*source.Acquisition, func()) {
		a := source.New(source.Options{ReadOnly: true}).Begin(setup.Lists(cfg))
		return a, a.Close
	}
	if !o.Fetch || !cfg.Remote() {
		return local()
	}
	temp, err := os.MkdirTemp("", "rideau-check-")
	if err != nil {
		r.failed(err, "")
		return local()
	}
	plan, err := DownloadPlan(cfg, o.Agent)
	if err != nil {
		os.RemoveAll(temp)
		r.failed(err, cfg.File)
		return local()
	}
	a = source.New(source.Options{ReadOnly: true, Temp: temp}).Begin(plan)
	for _, v := range a.Fetch(ctx, func(*source.List) bool { return true }, nil) {
		if v.Err != nil {
			r.add(severityError, v.List.Source, 0, "list "+v.List.ID+": "+v.Err.Error(), "")
		}
	}
	return a, func() {
		a.Close()
		os.RemoveAll(temp)
	}
}

// DownloadPlan returns the lists of a configuration, and how they are downloaded;
// agent is the User-Agent.
func DownloadPlan(cfg *config.Config, agent string) (*source.Plan, error) {
	ups, err := setup.PlanUpstreams(cfg, nil)
	if err != nil {
		return nil, err
	}
	plan := setup.Lists(cfg)
	plan.Fetch = setup.Downloads(cfg, ups, agent)
	return plan, nil
}
