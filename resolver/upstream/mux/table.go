package mux

import (
	"time"

	"rideau/resolver/upstream/acceptance"
)

const (
	// batchSize is how many datagrams are read or sent at a time.
	batchSize = 32
	// A socket sends for portAge, and at most portUses queries, and is then
	// replaced by one with a new random port. At less than portsPerSecond
	// queries a second each query has a port of its own.
	portAge        = 5 * time.Second
	portUses       = 512
	portsPerSecond = 64
)

// server is a server that is asked.
type server struct {
	endpoint *acceptance.Endpoint
	addr     sockaddr
	current  *port // what queries are sent from; nil if there is none
	// queue has the calls that are to be sent from there.
	queue [batchSize]*Call
	n     int
	// waiting has the calls that are not late, in the order in which they were
	// sent: they all have the same limit.
	waiting list
	// The number of queries in this second, and in the one before.
	second        int64
	asked, before int
}

// port is a socket, connected to its server.
type port struct {
	s          *server
	fd         int
	tag        uint32 // in Mux.ports
	born       time.Time
	uses       int
	pending    int // calls in the table
	mismatches int
	retired    bool // it sends no more; it is closed when nothing is pending
}

// count counts a query, and returns how many queries one port may send at the
// present rate.
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

// remove removes a call that is there, and moves others towards their homes, so
// that a search does not stop at the free place.
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
