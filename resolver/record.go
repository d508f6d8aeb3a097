package resolver

import (
	"sync/atomic"
	"time"

	"rideau/blocklists"
	"rideau/resolver/audit/names"
	"rideau/resolver/wire"
)

// Marks are the reasons for which somebody may want a record of a query. A
// reader of records names the marks that it wants, and gets each query that
// has one of them.
type Marks uint8

// Marks. All but Finished are set in an Outcome.
const (
	// Finished is the mark of every query.
	Finished Marks = 1 << iota
	// Banned: a ban stopped the query.
	Banned
	// WouldBlock: a ban in monitor mode would have stopped it. A ban on ways
	// around this resolver has the mark Bypass instead.
	WouldBlock
	// Excepted: an exception let it through, and a ban would have stopped it.
	Excepted
	// Bypass: a ban on ways around this resolver names it, and the device was
	// not reported lately (see package device).
	Bypass
)

// Audit records queries that ended; *audit.Log is one.
type Audit interface {
	// Wanted is where the union of all wanted Marks stands, for good. Queries
	// with none of them are not recorded.
	Wanted() *atomic.Uint32
	// NewRecorder returns the Recorder of one worker.
	NewRecorder() Recorder
}

// Recorder records queries that ended. Record is called by several goroutines
// at a time. It neither waits nor allocates, and keeps neither q nor its bytes.
type Recorder interface {
	Record(q *Query, o Outcome, elapsed time.Duration)
}

// Facts are what a record says of a query beside the Outcome.
type Facts struct {
	Name  []byte // in wire form and lower case; borrowed from the Query
	Type  wire.Type
	Group blocklists.GroupID
	Route uint16 // the index of what takes the question if nothing here answers it; 0 is the default
	// Server is 1 plus the index of the route's server whose response was used; 0 if
	// none was.
	Server uint16
	// Verdict is the one that decided; meaningful if the Outcome has a Ban or
	// is Overruled. InAnswer means that it is about a name or an address in the
	// response, not about the question.
	Verdict  blocklists.Verdict
	InAnswer bool
	// Names translates the numbers of Group, Route and Verdict.
	Names *names.Table
}

// Facts returns the facts of a query that ended. ok is false for a query that
// is not recorded: one that is no standard query for a name of class IN, and
// one that gets no response for a reason other than a ban, and one of a self-test. The latter come as
// fast as an attacker sends them.
func (q *Query) Facts(o *Outcome) (f Facts, ok bool) {
	v := &q.view
	if q.test || !v.HasQuestion || v.Opcode != wire.OpQuery || v.Class != wire.ClassIN || q.state == nil ||
		o.Kind == Limited || o.Kind == Dropped && o.Ban == blocklists.NoBan {
		return f, false
	}
	return Facts{Name: v.Name.Bytes(), Type: v.Type, Group: q.findGroup(q.state.policy), Route: q.route, Server: q.server,
		Verdict: q.verdict, InAnswer: q.inAnswer, Names: q.state.names}, true
}
