package upstream

import (
	"time"

	"rideau/resolver/upstream/latency"
)

// Reason is why a request brought no usable answer.
type Reason uint8

// Reasons.
const (
	Timeout   Reason = iota // nothing came within the attempt's time
	Network                 // it could not be sent, or the server's host refused it
	Malformed               // the records of the response cannot be read
	FormErr                 // the response code, here and below
	ServFail
	NotImp
	Refused     // REFUSED
	reasons int = iota
)

var reasonNames = [reasons]string{"timeout", "network", "malformed", "formerr", "servfail", "notimp", "refused"}

// String is the reason in a word.
func (r Reason) String() string { return reasonNames[r] }

// Stat is an upstream's state at one moment. The counters never fall.
type Stat struct {
	Addr string
	// Requests were sent to it, Failures of them brought no usable answer.
	// Requests that were given up because another upstream had answered are
	// in neither Failures nor Latency. Probes are not counted here.
	Requests uint64
	Failures []Failure     // one for each reason, in order
	Latency  latency.Total // of requests that were answered, whatever the answer
	// Probes were sent by [Group.Run]; ProbeFailures of them were not answered.
	Probes        uint64
	ProbeFailures uint64
	// Mismatches are messages that were no answer to what had been asked.
	Mismatches uint64
	Healthy    bool // it is not down
	Health     Health
	LastAnswer time.Time // zero: never
	// RTT is the smoothed time of answers, P95 what nineteen of twenty recent
	// ones took at most; 0 while not known.
	RTT, P95 time.Duration
	// InFlight are requests under way, Busy counts how often it was passed
	// over because there were too many.
	InFlight int
	Busy     uint64
	// Hedges were sent to it because another one was slower than usual, or it
	// was itself; HedgeWins of them answered first.
	Hedges    uint64
	HedgeWins uint64
}

// Failure counts the requests that failed for one reason.
type Failure struct {
	Reason string
	Count  uint64
}
