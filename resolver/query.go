package resolver

import (
	"net/netip"
	"time"

	"rideau/blocklists"
	"rideau/resolver/forward"
	"rideau/resolver/limit"
	"rideau/resolver/qtype"
	"rideau/resolver/transport"
	"rideau/resolver/wire"
)

// Transport is the transport that a query came over.
type Transport = transport.Transport

// Transports.
const (
	UDP  = transport.UDP
	TCP  = transport.TCP
	DoT  = transport.DoT
	DoH  = transport.DoH
	DoH3 = transport.DoH3
	DoQ  = transport.DoQ
)

// Query is one client's query on its way. A listener owns it, fills the
// exported fields, and may use it again as soon as the call it was given to
// has returned. To let a query wait, copy the Query, and set Msg of the copy to
// a copy of the message: what Answer learned from it is offsets, not slices.
type Query struct {
	// Msg is the message as received. It is borrowed and never written.
	Msg []byte
	// Client is the address the query came from, without zone, and IPv4 as
	// IPv4 (netip.Addr.Unmap).
	Client    netip.Addr
	Transport Transport
	// Claims are what the connection says of the client beside its address; nil: nothing. They are borrowed.
	Claims *blocklists.Claims
	// Received is when the query was read. A listener that reads in batches
	// reads the clock once for each batch.
	Received time.Time
	// Keepalive is the idle timeout of the connection in units of 100
	// milliseconds, for clients that request it (RFC 7828); 0: it is not sent.
	Keepalive uint16

	view wire.Query
	gate *limit.Gate // nil: there is no limit
	// verified: the query has a valid server cookie, so that the client is
	// known to receive what is sent to its address. fresh: the cookie is not to
	// be replaced yet.
	verified, fresh bool
	// What Answer learned, for Resolve and for records.
	state      *State
	group      blocklists.GroupID
	route      uint16 // index in State.upstreams
	zoneLabels int    // number of labels of the route's zone
	// verdict is that on the question; once the query has ended, the one that
	// decided. inAnswer: it is about a name or an address in the response. test: the query ends with Options.TestKey.
	verdict        blocklists.Verdict
	inAnswer, test bool
	share          limit.Share     // whose place at an upstream its exchange takes
	server         uint16          // 1 plus the index of the one that answered; 0 if none was asked, or none did
	shared         *forward.Shared // of the pending query to wait for; nil: there is none yet
	// target is the name that local data makes the question's name an alias of,
	// while that is to be resolved; nil otherwise.
	target *wire.Name
	// chain is the message whose aliases lead to the name that a policy zone
	// stopped; nil if that is the question's.
	chain []byte
}

// AcquirePermit acquires the permit to wait for a query that Answer left
// pending. It reports false if too many queries wait already.
func (q *Query) AcquirePermit(w *limit.WaitLimit, p *limit.Permit) bool {
	_, ok := w.Acquire(p, q.Client, &q.view.Name)
	q.share = w.Share(p, &q.view.Name)
	return ok
}

// findGroup returns the group of the client that sent q. No other code decides
// which group a client belongs to.
func (q *Query) findGroup(p *blocklists.Snapshot) blocklists.GroupID {
	return p.Group(q.Client, q.Claims)
}

// verify checks the server cookie, if there is one.
func (q *Query) verify() {
	v := &q.view
	q.verified, q.fresh = false, false
	if v.Cookie == wire.CookieBoth && q.state.cookies != nil {
		q.verified, q.fresh = q.state.cookies.Check(v.ClientCookie, v.ServerCookie, q.Client, q.Received.Unix())
	}
}

// ask is the question for policy. It borrows q's name.
func (q *Query) ask() blocklists.Ask {
	v := &q.view
	return blocklists.Ask{Name: &v.Name, Type: v.Type, Client: q.Client, TCP: q.Transport.LargeAnswers(), Group: q.group}
}

// Kind is how a query ended. The set is closed: it labels metrics.
type Kind uint8

// Kinds.
const (
	// Pending: the query has not ended, and Resolve is to be called.
	Pending Kind = iota
	Malformed
	NotImplemented
	Denied  // a client that is not allowed: REFUSED
	Refused // a kind of query that no client gets an answer to: REFUSED
	Special // a special-use name, answered here
	Blocked
	Cached
	Stale
	Forwarded
	Failed  // SERVFAIL: no upstream gave a usable response
	Shed    // SERVFAIL: too many queries wait already
	Dropped // no response is sent
	Limited // the client exceeds its rate: no response, or an empty one
	kinds
)

// String is the kind's name in metrics.
func (k Kind) String() string {
	return [...]string{"pending", "malformed", "notimp", "denied", "refused", "special",
		"blocked", "cached", "stale", "forwarded", "servfail", "shed", "dropped", "limited"}[k]
}

// Outcome says how a query ended. It is a small value, since every query
// returns one by value; the verdict that decided stays in the Query.
type Outcome struct {
	Kind  Kind
	Qtype qtype.Class
	// Ban is the slot of the ban that decided or, in monitor mode, would have
	// decided; NoBan if there is none.
	Ban blocklists.Slot
	// Action is what the ban demands; meaningful if Ban is set.
	Action blocklists.Action
	// Monitored means that Ban is in monitor mode, and the query was answered
	// as if there were no ban.
	Monitored bool
	// Overruled is 1 plus the slot of the ban that would have decided without
	// an exception; 0 if there is none.
	Overruled uint8
	// Marks are all but Finished.
	Marks Marks
	// Rcode is the response's code; meaningful if a response is sent.
	Rcode wire.Rcode
}

// Decided reports whether a ban decided, or would have decided without its mode
// or an exception.
func (o *Outcome) Decided() bool { return o.Ban != blocklists.NoBan || o.Overruled != 0 }
