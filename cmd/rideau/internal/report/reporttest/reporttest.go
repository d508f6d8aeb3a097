// Package reporttest makes evidence for tests of reports: a node with a store and a
// file of events, under a clock that the test sets.
package reporttest

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/names"
	"rideau/resolver/audit/schema"
	"rideau/resolver/audit/store"
)

// Node is a node. It is for one goroutine.
type Node struct {
	t    testing.TB
	name string
	path string
	now  time.Time
	up   time.Duration
	runs int
	w    *store.Writer
	e    *schema.Rideau
	n    uint64
	// Lines are all events.
	Lines bytes.Buffer
	batch [][]byte
}

// New makes a node that starts at a time, with a store in dir.
func New(t testing.TB, dir, name string, at time.Time) *Node {
	n := &Node{t: t, name: name, path: filepath.Join(dir, "evidence.db"), now: at}
	n.run()
	t.Cleanup(func() { n.w.Close() })
	return n
}

func (n *Node) run() {
	n.runs++
	run := fmt.Sprintf("%s-run%d", n.name, n.runs)
	n.up, n.n = 0, 0
	n.w = store.NewWriter(store.Options{Path: n.path, Searchable: 180, Days: 400, MaxBytes: 4 << 30, Run: run, Node: n.name, Version: "1.2.0",
		Now: func() time.Time { return n.now }, Uptime: func() time.Duration { return n.up },
		Sinks: func() []store.Sink {
			return []store.Sink{{Name: "store", Offered: n.n, Delivered: n.n, Dropped: map[string]uint64{}}}
		}})
	text := func(u uint16) string { return map[uint16]string{1: "A", 65: "HTTPS", 3: "NXDOMAIN"}[u] }
	n.e = schema.NewRideau(&schema.Node{Name: n.name, Run: run, Version: "1.2.0", TypeName: text, RcodeName: text})
}

func (n *Node) add(line []byte) {
	n.Lines.Write(append(line, '\n'))
	n.batch = append(n.batch, line)
	if len(n.batch) == 512 {
		n.Flush()
	}
}

// Flush writes to the store what waits.
func (n *Node) Flush() {
	n.t.Helper()
	if k, err := n.w.Write(n.t.Context(), n.batch); err != nil || k != len(n.batch) {
		n.t.Fatalf("%d of %d events were taken: %v", k, len(n.batch), err)
	}
	n.batch = n.batch[:0]
}

func (n *Node) settle(last bool) {
	n.t.Helper()
	n.Flush()
	if err := n.w.Settle(n.t.Context(), last); err != nil {
		n.t.Fatal(err)
	}
}

// Until lets time pass, with beats.
func (n *Node) Until(t time.Time) {
	n.t.Helper()
	for n.now.Before(t) {
		d := min(t.Sub(n.now), 4*time.Minute)
		n.now, n.up = n.now.Add(d), n.up+d
		n.w.Tick() // what it tells is written with the next events
	}
}

// Restart ends the run and begins another one after a time.
func (n *Node) Restart(after time.Duration) {
	n.settle(true)
	n.w.Close()
	n.now = n.now.Add(after)
	n.run()
}

// Close ends the run and returns the path of the store.
func (n *Node) Close() string {
	n.settle(true)
	n.w.Close()
	return n.path
}

// Ban is the state of a ban, in a mode.
func Ban(id, mode string, change ...func(*act.Ban)) act.Ban {
	b := act.Ban{ID: id, Mode: mode, Enforced: mode == "enforce", TitleEN: "Ban " + id, TitleFR: "Interdiction " + id, Authority: "Treasury Board of Canada Secretariat",
		Instrument: "Direction of October 30, 2023", URL: "https://www.canada.ca/en/treasury-board-secretariat.html", Effective: time.Date(2023, 10, 30, 4, 0, 0, 0, time.UTC),
		Lists: []act.List{{ID: "list-" + id, Hash: strings.Repeat("0123456789abcdef", 4), Entries: 42}}}
	for _, c := range change {
		c(&b)
	}
	return b
}

// Exception is an exception of a record.
func Exception(id, ticket, approver string) *names.Exception {
	return &names.Exception{ID: id, Ticket: ticket, Approver: approver}
}

// Act records an act, after which there are these bans.
func (n *Node) Act(kind act.Kind, bans ...act.Ban) { n.Record(act.Act{Kind: kind, Bans: bans}) }

// Record records an act now.
func (n *Node) Record(a act.Act) {
	n.n++
	a.Number, a.Time, a.Uptime, a.Config = n.n, n.now, n.up+1, "c0ffee"
	if a.Actor.Way == "" {
		a.Actor.Way = act.ByItself
	}
	n.add(n.e.Act(nil, &a))
	n.Flush()
}

// Query records a query that a ban decided.
func (n *Node) Query(ban, client, name string, change func(*audit.Record)) {
	n.n++
	r := audit.Record{Number: n.n, Time: n.now.Add(time.Duration(n.n%1000) * time.Microsecond), Client: netip.MustParseAddr(client), Group: "staff", Type: 65, Transport: resolver.UDP,
		Outcome: resolver.Blocked, Rcode: 3, Ban: ban, List: "list-" + ban}
	var wire []byte
	for label := range strings.SplitSeq(name, ".") {
		wire = append(append(wire, byte(len(label))), label...)
	}
	r.SetName(append(wire, 0))
	if change != nil {
		change(&r)
	}
	n.add(n.e.Query(nil, &r))
}
