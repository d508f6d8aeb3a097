// Package auditlog has the readers of records of queries that rideau runs: the
// log of queries, and the log of events.
package auditlog

import (
	"context"
	"log/slog"
	"time"

	"rideau/cmd/rideau/internal/text"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/wire"
)

const (
	// maxEvents is how many records may wait to be logged.
	maxEvents = 1 << 14
	// eventsPerSecond is how many queries of each kind are logged one by one.
	eventsPerSecond = 20
)

// eventKinds are the kinds of events: the mark of their records, and what the
// log says of them.
var eventKinds = [...]struct {
	mark resolver.Marks
	text string
}{
	{resolver.WouldBlock, "would have been blocked"},
	{resolver.Excepted, "let through by an exception"},
	{resolver.Bypass, "tried to go round this resolver"},
}

// EventLog logs single queries that a person should know of, some a second,
// and how many more there were. It is on from the start.
type EventLog struct {
	records *audit.Log
	reader  *audit.Reader
	log     *slog.Logger
	logged  [len(eventKinds)]int // since the last call of more; Run's
	left    [len(eventKinds)]int // events that were not logged; Run's
}

// NewEventLog makes an EventLog.
func NewEventLog(records *audit.Log, log *slog.Logger) *EventLog {
	l := &EventLog{records: records, reader: records.NewReader(maxEvents), log: log}
	want := resolver.Marks(0)
	for _, k := range eventKinds {
		want |= k.mark
	}
	l.reader.Want(want)
	return l
}

// Run logs events until ctx ends, and those of all queries that have ended
// then.
func (l *EventLog) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.records.Drain()
			l.reader.Read(l.event)
			l.more()
			return
		case <-tick.C:
			l.more()
		case <-l.reader.Ready():
			l.reader.Read(l.event)
		}
	}
}

// Lost counts the events that came faster than they could be read.
func (l *EventLog) Lost() uint64 { return l.reader.Lost() }

// more logs how many events were not logged, and begins another second.
func (l *EventLog) more() {
	for k, n := range l.left {
		if n > 0 {
			l.log.Info("more "+eventKinds[k].text, "queries", n)
		}
	}
	clear(l.logged[:])
	clear(l.left[:])
}

// event logs one event, or counts it if there were many.
func (l *EventLog) event(r *audit.Record) {
	k := 0
	for r.Marks&eventKinds[k].mark == 0 {
		k++ // the reader wants no records without one of the marks
	}
	if l.logged[k]++; l.logged[k] > eventsPerSecond {
		l.left[k]++
		return
	}
	facts := []any{"ban", r.Ban, "list", r.List, "name", wire.NameString(r.Name()), "type", text.TypeName(uint16(r.Type)), "client", r.Client, "group", r.Group}
	switch eventKinds[k].mark {
	case resolver.Excepted:
		x := r.Exception
		facts = append(facts, "exception", x.ID, "ticket", x.Ticket, "approver", x.Approver)
	case resolver.Bypass:
		facts = append(facts, "stopped", r.Marks&resolver.Banned != 0)
	}
	l.log.Info(eventKinds[k].text, facts...)
}
