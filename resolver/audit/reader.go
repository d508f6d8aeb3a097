package audit

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/resolver"
	"rideau/resolver/audit/names"
	"rideau/resolver/wire"
)

// Record is one query that ended.
type Record struct {
	Number    uint64    // since the program started, see the package's comment
	Time      time.Time // when the query was received
	Duration  time.Duration
	Client    netip.Addr
	Group     string // id of the client's group
	Type      wire.Type
	Transport resolver.Transport
	// Outcome is how the query ended, Stale among it, and Rcode the code of
	// the response; meaningless if Outcome is Dropped.
	Outcome resolver.Kind
	Rcode   wire.Rcode
	Marks   resolver.Marks
	// Route is that of a query that was sent to an upstream, or would have been if
	// one were up: see [names.Table.Route]. It is empty for other queries. Upstream is
	// the server whose response was used, as operators call it; empty if none was.
	Route, Upstream string
	// Policy is the policy in force when the query ended.
	Policy names.Policy

	// Ban is the id of the ban that decided; empty if none did. With Monitored
	// it would have, but for its mode, and with Exception but for that. List
	// is the id of the list that names the query: a list of the ban, or of the
	// exception.
	Ban       string
	List      string
	Action    blocklists.Action // what the ban demands
	Monitored bool
	Exception *names.Exception // must not be written
	// InAnswer means that the list names what the response holds, not the
	// query's name.
	InAnswer bool
	// ByZone means that List is a policy zone; Trigger is what it compared.
	ByZone  bool
	Trigger entry.Trigger

	labels uint8
	length uint8
	name   [wire.MaxName]byte
}

// Name is the query's name in wire form and in lower case. It is part of r.
func (r *Record) Name() []byte { return r.name[:r.length] }

// SetName sets the name, which must be one in wire form. It is for tests of
// readers.
func (r *Record) SetName(name []byte) { r.length = uint8(copy(r.name[:], name)) }

// Rule is the listed name that decided, a suffix of Name in wire form. It is
// nil where that is not known: without a ban, where the response holds the
// name, and where a policy zone decided.
func (r *Record) Rule() []byte {
	if r.Ban == "" || r.InAnswer || r.labels == 0 {
		return nil
	}
	var n wire.Name
	if n.Set(r.Name()) != nil || n.Labels() < int(r.labels) {
		return nil
	}
	return r.Name()[n.SuffixOffset(int(r.labels)):]
}

// read makes r the record in a slot of c.
func (r *Record) read(c *chunk, s *slot) {
	n := c.names[s.names]
	r.Number, r.Policy = s.number, n.Policy()
	r.Time, r.Duration = time.Unix(0, s.received), time.Duration(s.elapsed)
	r.Client = netip.AddrFrom16(s.client).Unmap()
	r.Group, r.Type = n.Group(blocklists.GroupID(s.group)), wire.Type(s.qtype)
	r.Transport, r.Outcome = resolver.Transport(s.transport), resolver.Kind(s.kind)
	r.Rcode, r.Marks = wire.Rcode(s.rcode), resolver.Marks(s.marks)
	r.Route, r.Upstream = "", n.Server(s.route, s.server)
	if r.Outcome == resolver.Forwarded || r.Outcome == resolver.Failed || r.Upstream != "" {
		r.Route = n.Route(s.route)
	}
	r.Ban, r.List, r.Exception, r.Action, r.Trigger, r.labels = "", "", nil, 0, 0, 0
	if s.flags&hasBan != 0 {
		r.Ban, r.List = n.Ban(s.ban), n.List(s.list)
		r.Action, r.Trigger, r.labels = blocklists.Action(s.action), entry.Trigger(s.trigger), s.labels
		if s.flags&unlisted != 0 {
			r.List = "" // no list has the name
		}
	}
	if s.flags&excepted != 0 {
		r.Exception = n.Exception(s.exception)
	}
	r.Monitored, r.InAnswer, r.ByZone = s.flags&monitored != 0, s.flags&inAnswer != 0, s.flags&byZone != 0
	r.length = s.length
	copy(r.name[:], c.text[s.name:][:s.length])
}

// Reader is a queue of the records that somebody wants. Its methods may be
// called by any goroutine, Read by one at a time.
type Reader struct {
	log   *Log
	size  int
	want  atomic.Uint32 // Marks
	lost  atomic.Uint64
	ready chan struct{}
	pool  pool

	mu    sync.Mutex
	queue queue // guarded by mu
	n     int   // guarded by mu: records in queue

	record Record // Read's
}

// Close takes r out of the Log. What is queued can still be read.
func (r *Reader) Close() {
	r.Want(0)
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.readers = slices.DeleteFunc(slices.Clone(r.log.readers), func(other *Reader) bool { return other == r })
}

// Want chooses the records of queries that end from now on: those that have
// one of the marks. 0 is none.
func (r *Reader) Want(m resolver.Marks) { r.log.want(r, m) }

// Ready receives a value after records were queued. One value may stand for
// many records.
func (r *Reader) Ready() <-chan struct{} { return r.ready }

// Read calls each for all queued records, in the order of each worker. The
// Record is valid until each returns; a copy of it may be kept.
func (r *Reader) Read(each func(*Record)) {
	r.mu.Lock()
	c := r.queue.first
	r.queue, r.n = queue{}, 0
	r.mu.Unlock()
	for c != nil {
		for i := range c.n {
			r.record.read(c, &c.slots[i])
			each(&r.record)
		}
		next := c.next
		r.pool.put(c)
		c = next
	}
}

// Lost counts the records that r wanted and did not get.
func (r *Reader) Lost() uint64 { return r.lost.Load() }

// add queues the records of a chunk that r wants.
func (r *Reader) add(c *chunk) {
	want := uint8(r.want.Load())
	if want == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.n
	for i := range c.n {
		s := &c.slots[i]
		if s.marks&want == 0 {
			continue
		}
		if r.n == r.size {
			r.lost.Add(1)
			continue
		}
		to := r.queue.add(&r.pool, c.names[s.names], c.text[s.name:][:s.length])
		names, name := to.names, to.name
		*to = *s
		to.names, to.name = names, name
		r.n++
	}
	if r.n > before {
		select {
		case r.ready <- struct{}{}:
		default:
		}
	}
}

// addLost counts what a ring lost.
func (r *Reader) addLost(l *lost) {
	want := uint8(r.want.Load())
	for m, n := range l {
		if n > 0 && uint8(m)&want != 0 {
			r.lost.Add(n)
		}
	}
}
