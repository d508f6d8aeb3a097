package resolver

import (
	"net/netip"
	"sync/atomic"
	"time"

	"rideau/blocklists"
	"rideau/resolver/wire"
)

// EventKind is what happened to a query that a person should hear of.
type EventKind uint8

// EventKinds.
const (
	WouldBlock EventKind = iota // a ban in monitor mode would have stopped it
	Excepted                    // an exception let it through, and a ban would have stopped it
	Bypass                      // it was stopped, or would have been, by a ban on ways around this resolver
)

// Event is something about one query that a person should hear of.
type Event struct {
	Kind   EventKind
	Time   time.Time
	Client netip.Addr
	Group  string // id
	Type   wire.Type
	Ban    string // id
	List   string // id of the list that decided
	// Exception is what let it through, with the kind Excepted. It must not be written.
	Exception *blocklists.Exception
	// Enforced is set where the query was stopped.
	Enforced bool
	name     [wire.MaxName]byte
	length   uint8
}

// Name is the question's name as text.
func (e *Event) Name() string { return wire.NameString(e.name[:e.length]) }

// events is a bounded queue. Whoever puts never waits: what does not fit is
// counted and lost.
type events struct {
	ch      chan Event
	dropped atomic.Uint64
}

func (e *events) init(n int) {
	if n <= 0 {
		n = 1024
	}
	e.ch = make(chan Event, n)
}

// put tells of a query and the verdict that decided.
func (e *events) put(q *Query, v blocklists.Verdict) {
	p := q.state.policy
	ban := p.Ban(v.Ban)
	ev := Event{Time: q.Received, Client: q.Client, Group: p.GroupName(q.group), Type: q.view.Type,
		Ban: ban.ID, List: p.Lists()[v.List].ID, Enforced: v.Kind == blocklists.Block}
	switch {
	case v.Kind == blocklists.Allow:
		ev.Kind, ev.Exception = Excepted, &p.Policy().Exceptions[v.Exception]
	case ban.Bypass:
		ev.Kind = Bypass
	}
	ev.length = uint8(copy(ev.name[:], q.view.Name.Bytes()))
	select {
	case e.ch <- ev:
	default:
		e.dropped.Add(1)
	}
}

// Events are the events, for one reader. The channel is never closed.
func (r *Resolver) Events() <-chan Event { return r.events.ch }

// EventsDropped counts the events for which there was no room.
func (r *Resolver) EventsDropped() uint64 { return r.events.dropped.Load() }
