package member

import (
	"time"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/health"
	"rideau/resolver/upstream/latency"
)

// Stat is what a group has measured of a server, at one moment. The counters
// never fall.
type Stat struct {
	Addr string
	// Requests were sent to it, Failures of them brought no usable answer.
	// Requests that were given up because another server had answered are in
	// neither Failures nor Latency. Probes are not counted here.
	Requests uint64
	Failures []Failure     // one for each reason, in order
	Latency  latency.Total // of requests that got any response
	// Probes were sent by the group; ProbeFailures of them were not answered.
	Probes        uint64
	ProbeFailures uint64
	// Mismatches are messages that were no response to what had been asked.
	Mismatches uint64
	Healthy    bool // it is not down
	Health     health.Health
	LastAnswer time.Time // zero: never
	// RTT is the smoothed response time, P95 the 95th percentile of recent
	// ones; 0 while not known.
	RTT, P95 time.Duration
	// InFlight are requests under way. Busy counts how often the server was not
	// asked because there were too many: one for each [limit.Reason], in order.
	InFlight int
	Busy     []Failure
	// Hedges were sent to it because another server, or itself, was slower than
	// usual; HedgeWins of them were answered first.
	Hedges    uint64
	HedgeWins uint64
	// Uses is what queries to it use, as far as that is found out.
	Uses []acceptance.Use
	// ConnectionAnswers is how many queries it answers on a connection; 0 if that is
	// not known to be bounded.
	ConnectionAnswers int
}

// Failure counts the requests that failed, or were not sent, for one reason.
type Failure struct {
	Reason string
	Count  uint64
}
