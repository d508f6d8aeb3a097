package resolver

import (
	"net/netip"
	"time"

	"rideau/blocklists"
	"rideau/resolver/limit"
	"rideau/resolver/wire"
)

// Transport is how a query came.
type Transport uint8

// Transports.
const (
	UDP Transport = iota
	TCP
	transports
)

// String is the transport's name in metrics.
func (t Transport) String() string {
	return [...]string{"udp", "tcp"}[t]
}

// LargeAnswers reports whether a response may have up to 65,535 octets
// (RFC 1035 section 4.2.2), and not only what the client can receive in one
// datagram.
func (t Transport) LargeAnswers() bool { return t != UDP }

// AddressVerified reports whether the client has shown, by a handshake, that it
// receives what is sent to its address.
func (t Transport) AddressVerified() bool { return t != UDP }

// IsTCP reports whether the query came over TCP, which the policy action
// tcp-only demands.
func (t Transport) IsTCP() bool { return t == TCP }

// Query is one client's query on its way. A listener owns it, fills the
// exported fields, and may use it again as soon as the call it was given to
// has returned. To let a query wait, copy the Query and point Msg of the copy
// at a copy of the message: what Answer found in it holds offsets only.
type Query struct {
	// Msg is the message as received. It is borrowed and never written.
	Msg []byte
	// Client is the address the query came from, without zone, and IPv4 as
	// IPv4 (netip.Addr.Unmap).
	Client netip.Addr
	// Transport is how it came.
	Transport Transport
	// Received is when it was read. A listener that reads in batches
	// reads the clock once for each batch.
	Received time.Time
	// Keepalive is the idle timeout of the connection in units of 100
	// milliseconds, told to clients of streams that ask (RFC 7828); 0 says
	// nothing.
	Keepalive uint16

	view wire.Query
	// verified: the client is known to receive what is sent to its address,
	// by its server cookie. fresh: and that is good for some time yet.
	verified, fresh bool
	// What Answer learned, for Resolve to go on with.
	state      *State
	group      blocklists.GroupID
	route      uint16 // of State.routes
	zoneLabels int    // labels of the route's zone
	// verdict is policy's on the question, and once the query has ended, the
	// one that decided. inAnswer: it is about what the response holds.
	verdict  blocklists.Verdict
	inAnswer bool
	shared   *sharedResult // of the pending query that it waits for, if that has begun
	// target is what local data says the name is an alias of; nil unless
	// the answer waits for what that is.
	target *wire.Name
	// chain is the message whose aliases lead to what a policy zone stopped;
	// nil if it was the question.
	chain []byte
}

// AcquirePermit acquires the permit to wait for a query that Answer left
// pending. It reports false if too many queries wait already.
func (q *Query) AcquirePermit(w *limit.WaitLimit, p *limit.Permit) bool {
	_, ok := w.Acquire(p, q.Client, &q.view.Name)
	return ok
}

// findGroup returns the group of the client that sent q. It is the one place
// that knows how a client is told.
func (q *Query) findGroup(p *blocklists.Snapshot) blocklists.GroupID { return p.Group(q.Client) }

// verify looks at the cookie.
func (q *Query) verify() {
	v := &q.view
	q.verified, q.fresh = false, false
	if v.Cookie == wire.CookieBoth && q.state.cookies != nil {
		q.verified, q.fresh = q.state.cookies.Check(v.ClientCookie, v.ServerCookie, q.Client, q.Received.Unix())
	}
}

// ask is what policy is asked. It borrows q.
func (q *Query) ask() blocklists.Ask {
	v := &q.view
	return blocklists.Ask{Name: &v.Name, Type: v.Type, Client: q.Client, TCP: q.Transport.IsTCP(), Group: q.group}
}

// Kind is how a query ended. The set is closed: it labels metrics.
type Kind uint8

// Kinds.
const (
	// Pending is no end: Answer had nothing without waiting, and Resolve
	// is to be called.
	Pending Kind = iota
	Malformed
	NotImplemented
	Denied  // a client that is not served: REFUSED
	Refused // a kind of query that is not answered: REFUSED
	Special // a special-use name, answered here
	Blocked
	Cached
	Stale
	Forwarded
	Failed  // SERVFAIL: no upstream gave an answer
	Shed    // SERVFAIL: too many queries wait already
	Dropped // nothing is sent
	Limited // the client asks too much: nothing is sent, or an empty answer
	kinds
)

// String is the kind's name in metrics.
func (k Kind) String() string {
	return [...]string{"pending", "malformed", "notimp", "denied", "refused", "special",
		"blocked", "cached", "stale", "forwarded", "servfail", "shed", "dropped", "limited"}[k]
}

// QtypeClass is a query type, or the class of types, that metrics tell apart.
type QtypeClass uint8

// QtypeClasses.
const (
	QtypeOther QtypeClass = iota
	QtypeA
	QtypeAAAA
	QtypeHTTPS // and SVCB
	QtypeCNAME
	QtypeMX
	QtypeNS
	QtypePTR
	QtypeSOA
	QtypeSRV
	QtypeTXT
	QtypeDNSSEC // DS, DNSKEY, RRSIG, NSEC, NSEC3
	QtypeANY
	qtypes
)

// String is the class's name in metrics.
func (c QtypeClass) String() string {
	return [...]string{"other", "a", "aaaa", "https", "cname", "mx", "ns", "ptr", "soa", "srv", "txt", "dnssec", "any"}[c]
}

func qtypeClass(t wire.Type) QtypeClass {
	switch t {
	case wire.TypeA:
		return QtypeA
	case wire.TypeAAAA:
		return QtypeAAAA
	case wire.TypeHTTPS, wire.TypeSVCB:
		return QtypeHTTPS
	case wire.TypeCNAME:
		return QtypeCNAME
	case wire.TypeMX:
		return QtypeMX
	case wire.TypeNS:
		return QtypeNS
	case wire.TypePTR:
		return QtypePTR
	case wire.TypeSOA:
		return QtypeSOA
	case wire.TypeSRV:
		return QtypeSRV
	case wire.TypeTXT:
		return QtypeTXT
	case wire.TypeDS, wire.TypeRRSIG, wire.TypeNSEC, wire.TypeKEY, wire.TypeNSEC3:
		return QtypeDNSSEC
	case wire.TypeANY:
		return QtypeANY
	}
	return QtypeOther
}

// Outcome is what became of a query, as a small value for whoever counts.
type Outcome struct {
	Kind  Kind
	Qtype QtypeClass
	// Ban is the slot of the ban that decided or, in monitor mode, would
	// have; NoBan if none.
	Ban blocklists.Slot
	// Action is what the ban asked for; meaningful with Blocked, and with
	// Dropped where Ban is set.
	Action blocklists.Action
	// Monitored is set where Ban is in monitor mode: the answer was the usual
	// one.
	Monitored bool
	// Overruled is 1 and the slot of the ban that would have decided but for
	// an exception; 0 is none.
	Overruled uint8
	// Marks are all but Finished.
	Marks Marks
	// Rcode is the response's code; meaningful if a response is sent.
	Rcode wire.Rcode
}

// Decided reports whether a ban decided, or would have but for its mode or an
// exception.
func (o *Outcome) Decided() bool { return o.Ban != blocklists.NoBan || o.Overruled != 0 }
