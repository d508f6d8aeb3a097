// Package selftest asks the running server for names that its bans block, and
// compares the answers with the policy: at each address and by each transport, as
// clients do, and for each group of clients inside the process, where the address of a
// client can be chosen.
//
// The queries end with a key that only this process knows, so that the server does
// not count or record them as attempts of a client.
package selftest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/miekg/dns"

	"rideau/blocklists"
)

// Options say what is tested. All functions are safe for concurrent use.
type Options struct {
	// Policy returns the policy in force, and Serves whether a client is answered.
	Policy func() *blocklists.Snapshot
	Serves func(netip.Addr) bool
	// Endpoints returns where DNS is served to clients without certificates.
	Endpoints func() []Endpoint
	// Answer returns the response to a query of a client, as a listener for
	// streams gets it; nil if there is none.
	Answer func(ctx context.Context, client netip.Addr, claims *blocklists.Claims, query []byte) []byte
	// Key ends the messages of queries; see resolver.Options.TestKey.
	Key []byte
	// Logger hears of failures and of their end. It may not be nil.
	Logger *slog.Logger
}

// Result is how one question was answered.
type Result struct {
	Ban   string `json:"ban"`
	Group string `json:"group"`
	Name  string `json:"name"`
	// Way is a transport and a socket, or "inside": within the process.
	Way string `json:"way"`
	// Problem is what is wrong; empty if the ban decided as it should.
	Problem string `json:"problem,omitempty"`
}

// Report is one test of all bans.
type Report struct {
	OK         bool       `json:"ok"`
	At         time.Time  `json:"at"` // when it began
	Generation uint64     `json:"generation"`
	Results    []Result   `json:"results"`
	Untested   []Untested `json:"untested,omitempty"`
}

// Tester tests a server. It is safe for concurrent use.
type Tester struct {
	o       Options
	running sync.Mutex // one test at a time

	mu   sync.Mutex
	last *Report // nil before the first
}

// New makes a Tester. It starts nothing.
func New(o Options) *Tester { return &Tester{o: o} }

// Last returns the last report, which must not be written; nil if there is none.
func (t *Tester) Last() *Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// again is how soon a failed test is repeated, and settle how often a change of the
// policy is looked for.
const (
	again  = 10 * time.Second
	settle = 5 * time.Second
)

// Loop tests now, whenever the policy has changed, and when interval has passed,
// until ctx ends. An interval of 0 means never.
func (t *Tester) Loop(ctx context.Context, interval func() time.Duration) {
	tick := time.NewTicker(settle)
	defer tick.Stop()
	for {
		last, every := t.Last(), interval()
		if every > 0 && t.due(last, every) {
			t.Run(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (t *Tester) due(last *Report, every time.Duration) bool {
	if last == nil || last.Generation != t.o.Policy().Generation() {
		return true
	}
	since := time.Since(last.At)
	return since >= every || !last.OK && since >= again
}

// Run tests all bans, and returns the report. It waits for a test that runs
// already.
func (t *Tester) Run(ctx context.Context) *Report {
	t.running.Lock()
	defer t.running.Unlock()
	var r *Report
	for range 3 {
		s := t.o.Policy()
		if r = t.test(ctx, s); ctx.Err() != nil {
			return r // cut short, and no result
		}
		if t.o.Policy() == s {
			break // else the answers may be by another policy
		}
	}
	t.mu.Lock()
	was := t.last
	t.last = r
	t.mu.Unlock()
	if was == nil || was.Generation != r.Generation {
		for _, u := range r.Untested {
			t.o.Logger.Warn("a ban cannot be tested", "ban", u.Ban, "group", u.Group, "why", u.Why)
		}
	}
	switch {
	case !r.OK && (was == nil || was.OK || was.Generation != r.Generation):
		for _, p := range r.Problems() {
			t.o.Logger.Error("the self-test failed: a ban is not enforced as it should be", "problem", p)
		}
	case r.OK && was != nil && !was.OK:
		t.o.Logger.Warn("the self-test passes again")
	}
	return r
}

// Problems returns what failed, one line each.
func (r *Report) Problems() []string {
	var out []string
	for _, x := range r.Results {
		if x.Problem != "" {
			out = append(out, fmt.Sprintf("ban %s, group %s: %s, %s: %s", x.Ban, x.Group, x.Name, x.Way, x.Problem))
		}
	}
	return out
}

// Lines are the report for people.
func (r *Report) Lines() []string {
	out := r.Problems()
	for _, u := range r.Untested {
		out = append(out, fmt.Sprintf("ban %s, group %s: not tested: %s", u.Ban, u.Group, u.Why))
	}
	bans := map[string]bool{}
	for _, x := range r.Results {
		bans[x.Ban] = true
	}
	verdict := "all bans that were tested decide as they should"
	if !r.OK {
		verdict = "FAILED"
	} else if len(bans) == 0 {
		verdict = "nothing was tested"
	}
	return append(out, fmt.Sprintf("%s: %s, %s", verdict, english.Plural(len(r.Results), "question", ""), english.Plural(len(bans), "ban", "")))
}

func (t *Tester) test(ctx context.Context, s *blocklists.Snapshot) *Report {
	r := &Report{OK: true, At: time.Now(), Generation: s.Generation()}
	questions, untested := plan(s, t.o.Serves)
	r.Untested = untested
	add := func(q *Question, way string, problem string) {
		r.Results = append(r.Results, Result{Ban: q.Ban, Group: q.Group, Name: strings.TrimSuffix(q.Name.String(), "."), Way: way, Problem: problem})
		r.OK = r.OK && problem == ""
	}
	for i := range questions {
		q := &questions[i]
		query := t.query(q)
		within, cancel := context.WithTimeout(ctx, patience)
		add(q, "inside", judge(s, q, query, t.o.Answer(within, q.Client, q.Claims, query), true))
		cancel()
	}
	for _, e := range t.o.Endpoints() {
		t.through(ctx, s, e.reachable(), questions, add)
	}
	return r
}

// through asks the questions of this machine's own group at an endpoint.
func (t *Tester) through(ctx context.Context, s *blocklists.Snapshot, e Endpoint, questions []Question, add func(*Question, string, string)) {
	own := ownAddress(e.Addr)
	if !own.IsValid() || !t.o.Serves(own) {
		return // this machine is no client
	}
	group := s.GroupName(s.Group(own, nil))
	for i := range questions {
		q := &questions[i]
		if q.Group != group || ctx.Err() != nil {
			continue
		}
		query := t.query(q)
		problem := ""
		for range tries {
			response, err := t.askOnce(ctx, e, query, q.want.Action == blocklists.Drop)
			if err != nil {
				problem = err.Error()
				continue
			}
			if problem = judge(s, q, query, response, e.Transport != UDP); problem == "" {
				break
			}
		}
		add(q, e.String(), problem)
	}
}

// ownAddress is the address from which this machine asks a server on itself.
func ownAddress(at netip.AddrPort) netip.Addr {
	c, err := net.Dial("udp", at.String())
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

const (
	tries    = 3
	patience = 2 * time.Second
	// silence is how long no answer has to come where a ban drops queries.
	silence = 300 * time.Millisecond
	// optionKey is the EDNS option that carries the key: one for experiments
	// (RFC 6891 section 9). It is the last, so that the key ends the message.
	optionKey = 65001
)

// query is the message of a question.
func (t *Tester) query(q *Question) []byte {
	m := new(dns.Msg).SetQuestion(q.Name.String(), dns.TypeA)
	m.SetEdns0(1232, false)
	opt := m.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: optionKey, Data: t.o.Key})
	out, err := m.Pack()
	if err != nil {
		return nil // the name came from one
	}
	return out
}

// askOnce asks an endpoint. With quiet no answer is waited for longer than to see
// that none comes, and then the response is nil.
func (t *Tester) askOnce(ctx context.Context, e Endpoint, query []byte, quiet bool) ([]byte, error) {
	wait := patience
	if quiet {
		wait = silence
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	response, err := ask(ctx, e, query)
	if quiet && err != nil && silent(err) {
		return nil, nil
	}
	return response, err
}
