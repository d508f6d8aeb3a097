// Package auditlog has the readers of records of queries that rideau runs: the
// log of queries, and the log of events.
package auditlog

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rideau/cmd/rideau/internal/text"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/wire"
)

// maxEvents is how many records may wait to be logged.
const maxEvents = 1 << 14

// period is the time for which lines are counted.
const period = time.Second

// eventKinds are the kinds of events: the mark of their records, and what the
// log says of them.
var eventKinds = [...]struct {
	mark resolver.Marks
	text string
}{
	{resolver.Banned, "blocked"},
	{resolver.WouldBlock, "would have been blocked"},
	{resolver.Excepted, "let through by an exception"},
	{resolver.Bypass, "tried to go round this resolver"},
}

// blocked is the index of the kind that may be switched off, and of which there may be as many as queries.
const blocked = 0

// EventOptions say what an EventLog logs.
type EventOptions struct {
	Blocked   bool // a line for each query that a ban blocks, too
	PerSecond int  // lines of each kind
	Clients   Clients
}

// EventLog logs single queries that a person should know of, some a second,
// and how many more there were.
//
// Once the lines of a second are used up, blocked queries are no longer recorded until it is over, but only counted: however many come, they
// cost what they would without this log.
type EventLog struct {
	records *audit.Log
	reader  *audit.Reader
	log     *slog.Logger
	total   func() uint64 // queries that bans have blocked so far
	counted atomic.Uint64 // events without a line of their own

	mu     sync.Mutex
	o      EventOptions         // guarded by mu
	logged [len(eventKinds)]int // guarded by mu: in this period
	left   [len(eventKinds)]int // guarded by mu: events of this period that were not logged
	full   bool                 // guarded by mu: blocked queries are only counted
	from   uint64               // guarded by mu: total when full was set
}

// NewEventLog makes an EventLog, which logs nothing before [EventLog.Use]. total returns how many queries bans have blocked.
func NewEventLog(records *audit.Log, log *slog.Logger, total func() uint64) *EventLog {
	return &EventLog{records: records, reader: records.NewReader(maxEvents), log: log, total: total}
}

// Use sets what is logged from now on.
func (l *EventLog) Use(o EventOptions) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.o = o
	l.want()
}

// want asks for the records of what is to be logged. mu is held.
func (l *EventLog) want() {
	want := resolver.Marks(0)
	for k, kind := range eventKinds {
		if k != blocked || l.o.Blocked && !l.full {
			want |= kind.mark
		}
	}
	l.reader.Want(want)
}

// Run logs events until ctx ends, and those of all queries that have ended
// then.
func (l *EventLog) Run(ctx context.Context) {
	end := time.NewTimer(period)
	defer end.Stop()
	end.Stop()
	running := false // a period
	for {
		select {
		case <-ctx.Done():
			l.records.Drain()
			l.read()
			l.more()
			return
		case <-end.C:
			running = false
			l.more()
		case <-l.reader.Ready():
			l.read()
			if !running {
				running = true
				end.Reset(period)
			}
		}
	}
}

// Lost counts the events that came faster than they could be read.
func (l *EventLog) Lost() uint64 { return l.reader.Lost() }

// Counted counts the events that the log only counts, beyond its lines a second.
func (l *EventLog) Counted() uint64 { return l.counted.Load() }

func (l *EventLog) read() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reader.Read(l.event)
	if l.logged[blocked] >= l.o.PerSecond && l.o.Blocked && !l.full {
		l.full = true
		l.want()
		l.from = l.total()
	}
}

// more logs how many events were not logged, and begins another period.
func (l *EventLog) more() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		l.full = false
		l.want()
		l.left[blocked] += int(l.total() - l.from)
	}
	for k, n := range l.left {
		if n > 0 {
			l.log.Info("more "+eventKinds[k].text, "queries", n)
			l.counted.Add(uint64(n))
		}
	}
	clear(l.logged[:])
	clear(l.left[:])
}

// event logs what a record is about, or counts it if there were many. mu is held.
func (l *EventLog) event(r *audit.Record) {
	for k, kind := range eventKinds {
		switch {
		case r.Marks&kind.mark == 0 || k == blocked && !l.o.Blocked:
		case k == blocked && l.full:
			// It is part of the total, or ended before that was taken.
			if r.Marks&^(resolver.Banned|resolver.Finished) == 0 {
				l.left[k]++
			}
		case l.logged[k] >= l.o.PerSecond:
			l.left[k]++
		default:
			l.logged[k]++
			l.log.Info(kind.text, l.facts(r, kind.mark)...)
		}
	}
}

// facts is what a line says of a record.
func (l *EventLog) facts(r *audit.Record, kind resolver.Marks) []any {
	out := []any{"ban", r.Ban, "list", r.List}
	switch rule := r.Rule(); {
	case rule != nil:
		out = append(out, "rule", wire.NameString(rule))
	case r.ByZone:
		out = append(out, "rule", "policy zone, "+r.Trigger.String())
	case r.InAnswer:
		out = append(out, "rule", "in the answer")
	}
	out = append(out, "name", wire.NameString(r.Name()), "type", text.TypeName(uint16(r.Type)))
	if client := l.o.Clients.String(r.Client); client != "" {
		out = append(out, "client", client)
	}
	out = append(out, "group", r.Group)
	switch kind {
	case resolver.Banned, resolver.WouldBlock:
		out = append(out, "action", r.Action.String())
	case resolver.Excepted:
		x := r.Exception
		out = append(out, "exception", x.ID)
		if x.Ticket != "" {
			out = append(out, "ticket", x.Ticket)
		}
		if x.Approver != "" {
			out = append(out, "approver", x.Approver)
		}
	case resolver.Bypass:
		out = append(out, "stopped", r.Marks&resolver.Banned != 0)
	}
	return out
}
