package upstream

import "time"

const (
	// batchSize is how many datagrams are read or sent at a time.
	batchSize = 32
	// A socket sends for so long, and at most so many queries, and is then
	// replaced by one with a new random port. It is so many only where that
	// makes portsPerSecond: below, each query has a port of its own.
	portAge        = 5 * time.Second
	portUses       = 512
	portsPerSecond = 64
)

// server is one that is asked.
type server struct {
	up   *Do53
	addr any   // of the system's kind
	now  *port // what queries are sent from
	// queue are the calls that are to be sent from there.
	queue [batchSize]*Call
	n     int
	// waiting are the calls whose time is not over, in the order in which
	// they were sent: they all have the same time.
	waiting list
	// How many queries there were in this second, and in the one before.
	second        int64
	asked, before int
}

// port is a socket.
type port struct {
	s          *server
	fd         int
	tag        uint32 // in Mux.ports
	born       time.Time
	uses       int
	pending    int // calls in the table
	mismatches int
	retired    bool // it sends no more
}

// count counts a query, and returns how many a port may send at that rate.
func (s *server) count(now time.Time) int {
	if t := now.Unix(); t != s.second {
		if s.before = s.asked; t != s.second+1 {
			s.before = 0
		}
		s.second, s.asked = t, 0
	}
	s.asked++
	return min(max(s.asked, s.before)/portsPerSecond+1, portUses)
}

// list is a list of calls, doubly linked through them.
type list struct{ first, last *Call }

func (l *list) append(c *Call) {
	c.prev, c.next = l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
}

func (l *list) remove(c *Call) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.prev, c.next = nil, nil
}

// table finds calls by socket and id: open addressing in a power of two of
// places, at most half of them taken.
type table struct {
	places []*Call
	n      int
}

func key(p *port, id uint16) uint32 { return p.tag<<16 | uint32(id) }

func (c *Call) key() uint32 { return key(c.port, c.id) }

// home is where a key's search begins. Ids are random, so that they need
// little mixing.
func (t *table) home(k uint32) uint32 { return (k ^ k>>16*0x9E37) & uint32(len(t.places)-1) }

func (t *table) get(k uint32) *Call {
	if t.n == 0 {
		return nil
	}
	for i := t.home(k); ; i = (i + 1) & uint32(len(t.places)-1) {
		if c := t.places[i]; c == nil || c.key() == k {
			return c
		}
	}
}

// put adds a call whose key is not there yet.
func (t *table) put(c *Call) {
	if 2*(t.n+1) > len(t.places) {
		old := t.places
		t.places = make([]*Call, max(256, 2*len(old)))
		for _, o := range old {
			if o != nil {
				t.place(o)
			}
		}
	}
	t.place(c)
	t.n++
}

func (t *table) place(c *Call) {
	i := t.home(c.key())
	for t.places[i] != nil {
		i = (i + 1) & uint32(len(t.places)-1)
	}
	t.places[i] = c
}

// remove takes out a call that is there, and moves up those that its place
// has kept from theirs.
func (t *table) remove(c *Call) {
	mask := uint32(len(t.places) - 1)
	i := t.home(c.key())
	for t.places[i] != c {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; t.places[j] != nil; j = (j + 1) & mask {
		// The call at j may move to i unless its home lies between, cyclically.
		if h := t.home(t.places[j].key()); (j-h)&mask >= (j-i)&mask {
			t.places[i] = t.places[j]
			i = j
		}
	}
	t.places[i] = nil
	t.n--
}
