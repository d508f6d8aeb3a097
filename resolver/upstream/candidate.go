package upstream

import (
	"sync/atomic"
	"time"

	"rideau/resolver/upstream/health"
	"rideau/resolver/upstream/member"
	"rideau/resolver/upstream/try"
)

// candidate is a server's place in a race.
type candidate struct {
	m       *member.Member
	first   bool
	health  health.Health
	order   int64 // among those of one health; lower is earlier
	last    bool  // it gives no answers, as a rule
	over    bool  // it has given its response, and is not asked again
	useless bool  // that was no answer
	cut     int   // how often it has said TC without more over TCP
	full    bool  // it has too many requests under way to be asked again, for now
	asked   int
	refused int // how often an ICMP message has refused what it was sent
}

// attempt is one request of a race. Until it has come through done, msg, took
// and err belong to its goroutine.
type attempt struct {
	Attempt
	candidate  *candidate
	limit      time.Duration // after it others are asked
	stream     bool          // over TCP, since UDP was of no use
	truncated  bool          // over TCP, since a datagram says so, and that may be forged
	hedge      bool
	again      bool     // the server has been asked before in this race
	handedOver *Started // if a multiplexer waits for the response
	late       bool     // past its limit, and counted as unanswered
	refused    bool     // an ICMP message, which may be forged, says that nobody is there
	end        bool

	msg       []byte
	took      time.Duration
	quick     atomic.Int64 // how long the connection that brought msg took, if it is known
	err       error
	validated bool     // msg came with AD, which whoever is not trusted to validate loses
	part      try.Part // what it has said by UDP, with TC
}

// inPlay is how many servers may be asked again.
func (r *race) inPlay() int {
	n := 0
	for i := range r.candidates {
		if !r.candidates[i].over {
			n++
		}
	}
	return max(n, 1)
}
