package resolver

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rideau/blocklists"
	"rideau/resolver/wire"
)

// logRing is how many octets of queries each [Counters] keep until they are
// read, twice: about ten thousand queries.
const logRing = 1 << 20

// LoggedQuery is a query that ended, for a log of queries. What it points to
// belongs to whoever reads, until the next one.
type LoggedQuery struct {
	Received  time.Time
	Client    netip.Addr
	Group     []byte // id
	Name      []byte // wire form, in lower case
	Type      wire.Type
	Transport Transport
	Kind      Kind
	// Ban is the id of the ban that decided; empty if none. With Monitored it would have,
	// but for its mode, and with Excepted but for an exception.
	Ban       []byte
	Monitored bool
	Excepted  bool
}

// queryRing holds queries packed, oldest first, until they are read. Who puts
// never waits for a reader: what does not fit is counted and lost.
type queryRing struct {
	on   atomic.Bool
	lost atomic.Uint64

	mu    sync.Mutex
	in    []byte // guarded by mu
	spare []byte // the reader's
}

// Flags of a packed query.
const (
	packedMonitored = 1 << iota
	packedExcepted
)

// put packs a query. It does not allocate. What is no query for a name of the
// Internet, and what strangers get no answer to, is not logged.
func (l *queryRing) put(q *Query, o Outcome) {
	if !q.view.HasQuestion || q.view.Opcode != wire.OpQuery || q.view.Class != wire.ClassIN || q.state == nil ||
		o.Kind == Limited || o.Kind == Dropped && o.Ban == blocklists.NoBan {
		return
	}
	p := q.state.policy
	group := p.GroupName(q.findGroup(p))
	var ban string
	var flags byte
	slot := o.Ban
	if slot == blocklists.NoBan && o.Overruled != 0 {
		slot, flags = blocklists.Slot(o.Overruled-1), packedExcepted
	}
	if o.Monitored {
		flags |= packedMonitored
	}
	if slot != blocklists.NoBan {
		if ids := p.SlotIDs(); int(slot) < len(ids) {
			ban = ids[slot]
		} else {
			ban = blocklists.OtherBans
		}
	}
	name := q.view.Name.Bytes()
	client := q.Client.As16()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.in)+32+2+len(group)+2+len(ban)+1+len(name) > cap(l.in) {
		l.lost.Add(1)
		return
	}
	b := binary.LittleEndian.AppendUint64(l.in, uint64(q.Received.UnixNano()))
	b = append(b, client[:]...)
	b = binary.LittleEndian.AppendUint16(b, uint16(q.view.Type))
	b = append(b, byte(q.Transport), byte(o.Kind), flags)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(group)))
	b = append(b, group...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(ban)))
	b = append(b, ban...)
	b = append(b, byte(len(name)))
	l.in = append(b, name...)
}

// read empties the ring. One goroutine reads at a time.
func (l *queryRing) read(q *LoggedQuery, each func(*LoggedQuery)) {
	l.mu.Lock()
	b := l.in
	l.in = l.spare[:0]
	l.mu.Unlock()
	l.spare = b
	for len(b) > 0 {
		q.Received = time.Unix(0, int64(binary.LittleEndian.Uint64(b)))
		q.Client = netip.AddrFrom16([16]byte(b[8:24])).Unmap()
		q.Type = wire.Type(binary.LittleEndian.Uint16(b[24:]))
		q.Transport, q.Kind = Transport(b[26]), Kind(b[27])
		q.Monitored, q.Excepted = b[28]&packedMonitored != 0, b[28]&packedExcepted != 0
		q.Group, b = field(b[29:])
		q.Ban, b = field(b)
		q.Name = b[1 : 1+int(b[0])]
		b = b[1+len(q.Name):]
		each(q)
	}
}

// field takes octets with their length in front.
func field(b []byte) (field, rest []byte) {
	n := 2 + int(binary.LittleEndian.Uint16(b))
	return b[2:n], b[n:]
}

// turn begins or ends the keeping of queries.
func (l *queryRing) turn(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if on && cap(l.in) == 0 {
		l.in, l.spare = make([]byte, 0, logRing), make([]byte, 0, logRing)
	}
	l.on.Store(on)
}

// LogQueries begins or ends the keeping of queries for [Stats.LoggedQueries].
// Until it is first called none are kept, and none cost anything.
func (s *Stats) LogQueries(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logging = on
	for _, c := range s.all {
		c.log.turn(on)
	}
}

// LoggedQueries calls each for the queries that ended since the last call, in the order of each
// Counters. Only one call may be made at a time.
func (s *Stats) LoggedQueries(each func(*LoggedQuery)) {
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	var q LoggedQuery
	for _, c := range all {
		c.log.read(&q, each)
	}
}

// QueriesNotLogged counts the queries that were lost since they came faster
// than LoggedQueries was called.
func (s *Stats) QueriesNotLogged() (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.all {
		n += c.log.lost.Load()
	}
	return n
}
