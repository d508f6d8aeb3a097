package resolver

import (
	"net/netip"
	"sync/atomic"
	"time"

	"rideau/blocklists"
	"rideau/resolver/wire"
)

// Event is something about one query that a person should hear of: a ban in
// monitor mode would have stopped it.
type Event struct {
	Time   time.Time
	Client netip.Addr
	Type   wire.Type
	Ban    string
	List   string
	name   [wire.MaxName]byte
	length uint8
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

func (e *events) put(q *Query, v blocklists.Verdict) {
	p := q.state.policy
	ev := Event{Time: q.Received, Client: q.Client, Type: q.view.Type,
		Ban: p.Ban(v.Ban).ID, List: p.Lists()[v.List].ID}
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
