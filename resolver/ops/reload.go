package ops

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
)

// Problem is a fault in the configuration or a list that the operator should
// know of.
type Problem struct {
	List    string `json:"list,omitempty"` // the list's id; empty for the configuration
	File    string `json:"file"`
	Line    int    `json:"line"`          // from 1; 0 for the file as a whole
	Key     string `json:"key,omitempty"` // of the configuration
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// String is the problem on one line: FILE:LINE: KEY: MESSAGE; REMEDY.
func (p Problem) String() string {
	var b strings.Builder
	if p.List != "" {
		b.WriteString("list " + p.List + ": ")
	}
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return oneLine(b.String())
}

// ListProblems returns the problems in a report of [compile.Load]: first the
// lists that were refused, then the lines that were skipped.
func ListProblems(r compile.Report) []Problem {
	var out []Problem
	for _, e := range r.Failed {
		out = append(out, listProblem(e))
	}
	for _, l := range r.Problems {
		out = append(out, lineProblem(l))
	}
	return out
}

func lineProblem(l format.Problem) Problem {
	p := Problem{File: l.File, Line: l.Line, Message: l.Reason, Remedy: l.Remedy}
	if l.Text != "" {
		p.Message = fmt.Sprintf("%q: %s", l.Text, l.Reason)
	}
	return p
}

// listProblem splits the error of a refused list: place and remedy have fields
// of their own.
func listProblem(e *compile.ListError) Problem {
	if l, ok := e.Err.(format.Problem); ok {
		p := lineProblem(l)
		p.List = e.List
		return p
	}
	p := Problem{List: e.List, File: e.Source, Message: oneLine(e.Err.Error())}
	var line format.Problem
	switch {
	case errors.As(e.Err, &line):
		p.File, p.Line, p.Remedy = line.File, line.Line, line.Remedy
		p.Message = strings.TrimSuffix(p.Message, "; "+line.Remedy)
	case input.IsGuard(e.Err), errors.Is(e.Err, fs.ErrNotExist) && strings.Contains(p.Message, "; "):
		if i := strings.LastIndex(p.Message, "; "); i >= 0 {
			p.Message, p.Remedy = p.Message[:i], p.Message[i+2:]
		}
	case errors.Is(e.Err, fs.ErrNotExist):
		p.Remedy = "create the file, or correct where the list comes from"
	case errors.Is(e.Err, fs.ErrPermission):
		p.Remedy = "let the user that rideau runs as read it"
	}
	p.Message = strings.TrimPrefix(p.Message, p.File+": ")
	return p
}

// ReloadOptions say how to reload.
type ReloadOptions struct {
	// Force are the ids of lists and bans that are accepted though guards against mistakes refuse them, such as lists that became empty or
	// shrank, and bans that are gone. Of a list with a URL that is what its URL has now: it is downloaded first.
	Force input.Forced
	// Fetch downloads all lists with a URL first.
	Fetch bool
}

// ReloadResult is the result of a reload.
type ReloadResult struct {
	// Policy is in force after the reload: the new one or, if the reload
	// failed, the old one.
	Policy *blocklists.Snapshot
	// Changed reports whether anything differs from before.
	Changed bool
	// Problems are why there is an error, or else what was skipped.
	Problems []Problem
	// Unfetched says why lists that were to be fetched were not.
	Unfetched []Problem
	// Refused are the lists whose new version was refused, so that the old one
	// stays in use.
	Refused []string
	// Forced are the lists and bans that Force let through.
	Forced []Forced
	// Changes are what differs from before, by file and key, and Warnings what is valid in the configuration but probably not meant.
	Changes  []Change
	Warnings []Problem
	// Restart are the changed configuration keys that apply from the next
	// start.
	Restart []string
}

// reloadReply is a ReloadResult as JSON.
type reloadReply struct {
	OK         bool      `json:"ok"`
	Error      string    `json:"error,omitempty"`
	Generation uint64    `json:"generation"`
	Changed    bool      `json:"changed"`
	Bans       []Ban     `json:"bans"`
	Lists      []List    `json:"lists"`
	Problems   []Problem `json:"problems"`
	Forced     []Forced  `json:"forced,omitempty"`
	Changes    []Change  `json:"changes,omitempty"`
	Warnings   []Problem `json:"warnings,omitempty"`
	Restart    []string  `json:"restart"`
}

// reload reloads the policy, one request at a time. The reply waits for the end
// of the reload. If the client goes away, the reload is cancelled.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if reason := s.mayChange(r); reason != "" {
		s.refuseAccess(w, r, "reload", reason)
		return
	}
	q, err := parameters(r)
	if err != nil {
		refuse(w, r, http.StatusBadRequest, err.Error())
		return
	}
	select {
	case s.reloading <- struct{}{}:
		defer func() { <-s.reloading }()
	case <-r.Context().Done():
		refuse(w, r, http.StatusServiceUnavailable, errUnfinished)
		return
	}
	if q.dryRun {
		s.dryRun(w, r, q.force)
		return
	}
	result, err := s.o.Reload(r.Context(), ReloadOptions{Force: q.force, Fetch: q.fetch})
	result.Problems = append(result.Unfetched, result.Problems...)
	if (q.fetch || len(q.force) > 0) && err == nil && len(result.Unfetched)+len(result.Refused) > 0 {
		err = errUnfetched
	}
	// The reload may have taken longer than the write timeout, so the deadline
	// is set again. It does not matter if a ResponseWriter has no deadlines.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.o.Timeout))
	status := http.StatusOK
	switch {
	case err != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		refuse(w, r, http.StatusServiceUnavailable, errUnfinished)
		return
	case err != nil:
		status = http.StatusUnprocessableEntity
	}
	if wantsJSON(r) {
		writeJSON(w, status, result.reply(err))
		return
	}
	writeText(w, status, result.lines(err)...)
}

const errUnfinished = "the reload was cancelled and nothing changed; try again"

// errUnfetched is the error of a request to fetch if some lists were not
// fetched; the others are in force.
var errUnfetched = errors.New("some lists could not be fetched, or were refused; their last good copies serve")

// reloadParameters are the parameters of a reload request.
type reloadParameters struct {
	force         input.Forced
	fetch, dryRun bool
}

// parameters parses the parameters of a reload request. Of those that are not
// force, one without a value is true.
func parameters(r *http.Request) (q reloadParameters, err error) {
	known := map[string]*bool{"fetch": &q.fetch, "dry-run": &q.dryRun}
	query, err := queryOf(r)
	if err != nil {
		return q, err
	}
	for _, k := range slices.Sorted(maps.Keys(query)) {
		values := query[k]
		if k == "force" {
			if q.force, err = forcedIDs(values); err != nil {
				return q, err
			}
			continue
		}
		p := known[k]
		if p == nil {
			return q, fmt.Errorf("unknown parameter %q; the parameters are force=ID, fetch=true and dry-run=true", k)
		}
		v := values[len(values)-1]
		if v == "" {
			*p = true
			continue
		}
		if *p, err = strconv.ParseBool(v); err != nil {
			return q, fmt.Errorf("%s=%q is neither true nor false; use %s=true or %s=false", k, v, k, k)
		}
	}
	if q.dryRun && q.fetch {
		return q, errors.New("fetch=true stores what it fetches, and dry-run=true changes nothing; send only one of them")
	}
	return q, nil
}

// queryOf returns all parameters of the request. Parameters that cannot be
// parsed are an error, so that a misspelt dry run does not become a reload.
func queryOf(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the parameters cannot be read (%w); write them after a ?, with & between them", err)
	}
	return query, nil
}

func (res *ReloadResult) reply(err error) reloadReply {
	out := reloadReply{OK: err == nil, Changed: res.Changed, Bans: bansOf(res.Policy), Lists: listsOf(res.Policy),
		Problems: append([]Problem{}, res.Problems...), Forced: res.Forced, Changes: res.Changes, Warnings: res.Warnings, Restart: append([]string{}, res.Restart...)}
	if err != nil {
		out.Error = oneLine(err.Error())
	}
	if res.Policy != nil {
		out.Generation = res.Policy.Generation()
	}
	return out
}

// lines returns the result as text: the outcome first, then what to examine.
func (res *ReloadResult) lines(err error) []string {
	var out []string
	for _, p := range res.Problems {
		out = append(out, p.String())
	}
	var forced []string
	for _, f := range res.Forced {
		forced = append(forced, f.String())
	}
	if err != nil {
		if len(out) == 0 {
			out = strings.Split(strings.TrimSpace(err.Error()), "\n")
		}
		if errors.Is(err, errUnfetched) {
			return append(append([]string{err.Error()}, forced...), out...)
		}
		return append([]string{"not reloaded; the old policy goes on serving"}, out...)
	}
	var head []string
	what := "reloaded, and nothing changed"
	if res.Changed {
		what = "reloaded"
	}
	if res.Policy != nil {
		what += fmt.Sprintf(" (generation %d)", res.Policy.Generation())
	}
	head = append(append(head, what), forced...)
	for _, b := range bansOf(res.Policy) {
		state := "in force"
		if !b.Active {
			state = "not in force"
		}
		head = append(head, fmt.Sprintf("ban %s: %s, %s, %s", b.ID, b.Mode, state, english.Plural(b.Names, "name", "")))
	}
	for _, l := range listsOf(res.Policy) {
		head = append(head, fmt.Sprintf("list %s: %s, %s skipped, from %s", l.ID, english.Plural(l.Entries, "entry", ""), english.Plural(l.Skipped, "line", ""), l.Source))
	}
	for _, c := range res.Changes {
		head = append(head, c.String())
	}
	for _, w := range res.Warnings {
		head = append(head, "warning: "+w.String())
	}
	for _, k := range res.Restart {
		head = append(head, fmt.Sprintf("%s changed: restart rideau to apply it", k))
	}
	return append(head, out...)
}
