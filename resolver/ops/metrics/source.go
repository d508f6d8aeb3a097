// Package metrics describes Rideau's metrics and serves them to Prometheus. It
// gets every number from its [Sources], which are functions and plain values, and
// stores none but the counts of reloads. No label names a client or a queried name.
//
// It is the only package that imports the Prometheus client.
package metrics

import (
	"time"

	"rideau/blocklists"
	"rideau/resolver"
)

// Sources are where facts come from. The functions are called at each scrape
// and by many at a time; what they return is theirs no longer. A nil one leaves
// its metrics out.
type Sources struct {
	// Totals sums the query counters: the method of [resolver.Stats].
	Totals func() *resolver.Totals
	// Policy is what serves now; nil while there is none.
	Policy func() *blocklists.Snapshot
	// Cache is the state of the cache.
	Cache func() Cache
	// Refreshes counts the questions asked in the background, ahead of an
	// answer's end and again after failures: the method of [resolver.Resolver].
	Refreshes func() (ahead, again uint64)
	// Unrelated counts the records in responses that did not belong to the
	// question: the method of [resolver.Resolver].
	Unrelated func() uint64
	// Upstreams are those in use now, of all routes. Two of one name are
	// added up.
	Upstreams func() []Upstream
	// Listener is the state of all sockets together.
	Listener func() Listener
	// Panics counts the queries that ended in one, EventsDropped the events
	// that found no room.
	Panics        func() uint64
	EventsDropped func() uint64
	// QueriesLost counts the queries that the log of queries lacks; nil for none.
	QueriesLost func() uint64
	// Lists is the state of lists' sources, of those that there is something to say of; nil for none.
	Lists func() []ListSource
	// Bypass is who tried to go round the resolver, by group, each once. The
	// groups of the policy appear even if nobody did, where it has a ban on
	// bypasses.
	Bypass func() []Bypass
	// Reloads counts reloads; nil for none.
	Reloads *ReloadLog
	Build   Build
}

// Snapshot returns what Policy does, and nil without Policy.
func (s *Sources) Snapshot() *blocklists.Snapshot {
	if s.Policy == nil {
		return nil
	}
	return s.Policy()
}

// ListSource is the state of a list's source at one moment.
type ListSource struct {
	List string // its id
	// LastGood is why the list's last good copy serves in the place of what its source has; empty if it does not.
	LastGood string
	// URL is set for a list that is fetched. Fetches counts its fetches by result, words of a closed set that are all there; LastFetch is the last that
	// found the list, new or unchanged, or zero.
	URL       bool
	Fetches   map[string]uint64
	LastFetch time.Time
}

// Build tells builds apart. Empty fields are reported as such.
type Build struct {
	Version  string
	Revision string
}

// Cache is a cache's state at one moment. The counters never fall. The fields
// are those of the cache package's Stats, so that one converts to the other.
type Cache struct {
	Hits       uint64
	Misses     uint64
	Stale      uint64 // stale answers given
	Evictions  uint64 // to keep within bounds
	Collisions uint64 // entries found under the key of another question
	Entries    int
	Bytes      int64
	Cuts       uint64 // of Hits, those by the NXDOMAIN of a name above
}

// Bypass is what a group of clients did to go round the resolver. The counters
// never fall. The fields are those of the device package's Group, so that one
// converts to the other.
type Bypass struct {
	Group    string
	Attempts uint64
	Devices  int    // within the last 24 hours
	Overflow uint64 // of Attempts, those of devices that were too many to be told apart
}

// Upstream is an upstream's state at one moment. The counters never fall
// while it is in use.
type Upstream struct {
	Name       string // as configured, without secrets
	Requests   uint64 // sent
	Failures   []Failure
	Mismatches uint64    // datagrams that answered no question asked
	Duration   Histogram // of requests that were answered
	Healthy    bool
	LastAnswer time.Time // zero: never
	// Probing is whether it was down and is tried with one request at a time.
	Probing bool
	// RTT is the smoothed time of its answers, P95 what nineteen of twenty
	// take at most; 0 while not known.
	RTT, P95  time.Duration
	InFlight  int    // requests under way
	Busy      uint64 // times it was passed over because there were too many
	Hedges    uint64 // requests sent because another, or it, was slower than usual
	HedgeWins uint64 // those that were answered first
}

// Failure counts the requests that failed for one reason. Reasons are words of
// a closed set, and appear even where they count nothing.
type Failure struct {
	Reason string
	Count  uint64
}

// Histogram is a histogram's state at one moment: Counts are for each bucket
// alone, and there is one more of them than Bounds, for what lies beyond. One without
// either is left out.
type Histogram struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}

// Listener is the sockets' state at one moment. The counters never fall.
type Listener struct {
	Pending       int // queries that wait for upstream
	Connections   int
	Refused       uint64 // connections, because there were too many
	UDPSendErrors uint64
	// UDPLost are queries that the system let go because they were not read in
	// time.
	UDPLost uint64
	// TurnedAway counts queries that were not answered, or with SERVFAIL,
	// for want of room or because their sender asks too much, by reason.
	TurnedAway []Failure
	Flooded    bool
}
