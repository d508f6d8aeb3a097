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

// Sources are the functions that return the numbers. They are called at each
// scrape, also concurrently, and the caller owns what they return. The metrics
// of a nil function are left out.
type Sources struct {
	// Totals returns the sums of the query counters: the method of
	// [resolver.Stats].
	Totals func() *resolver.Totals
	// Policy returns the policy in force; nil if there is none.
	Policy func() *blocklists.Snapshot
	// Cache returns the state of the cache.
	Cache func() Cache
	// Refreshes returns the number of queries sent in the background: ahead of
	// the end of popular answers, and again after failures. It is the method of
	// [resolver.Resolver].
	Refreshes func() (ahead, again uint64)
	// Unrelated returns the number of records in responses that did not belong
	// to the question: the method of [resolver.Resolver].
	Unrelated func() uint64
	// Upstreams returns the upstreams of all routes that are in use. Those with
	// the same name are added up.
	Upstreams func() []Upstream
	// Listener returns the state of all sockets together.
	Listener func() Listener
	// Encrypted returns the state of the encrypted listeners.
	Encrypted func() Encrypted
	// Panics returns the number of queries that ended in a panic, EventsDropped
	// the number of events dropped because the buffer was full.
	Panics        func() uint64
	EventsDropped func() uint64
	// OpsDenied returns the number of refused requests of operators. [rideau/resolver/ops.New] sets it.
	OpsDenied func() uint64
	// EventsCounted returns the number of events that have no line of the log of their own.
	EventsCounted func() uint64
	// QueriesLost returns the number of queries missing from the query log; nil
	// without a query log.
	QueriesLost func() uint64
	// Alerts returns what became of alerts; nil for none.
	Alerts func() Alerts
	// Sinks returns the state of the sinks of evidence; nil for none.
	Sinks func() []Sink
	// Store returns the state of the store of evidence, nil without one. It may be
	// nil.
	Store func() *Store
	// Lists returns the state of the sources of lists, as far as there is
	// something to report; nil for none.
	Lists func() []ListSource
	// SelfTest returns when the last self-test began, and how many of its
	// questions failed; the zero time before the first.
	SelfTest func() (last time.Time, failed int)
	// Distrusted returns why the system's clock is not believed; empty if it is.
	Distrusted func() string
	// Bypass returns, for each group, the attempts to bypass the resolver; each
	// group appears once. If the policy has a ban on bypasses, its groups are
	// exposed even without attempts.
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
	// LastGood is why the list's last good copy is in use instead of its
	// source; empty if it is not.
	LastGood string
	// URL reports whether the list is fetched. Fetches counts its fetches by
	// result, with every result of a closed set present; LastFetch is when the
	// last fetch found the list, new or unchanged, or zero.
	URL       bool
	Fetches   map[string]uint64
	LastFetch time.Time
}

// Sink is the state of a sink of evidence at one moment. The counters never fall.
type Sink struct {
	Name               string // its id
	Offered, Delivered uint64
	Repeated           uint64    // counted as delivered, and to be delivered again
	Dropped            []Failure // by reason; every reason is present
	Waiting            int
	SpoolBytes         int64
	Failing            bool
}

// Store is the state of the store of evidence. The counters never fall. The fields
// are those of the store package's Stats, so that one converts to the other.
type Store struct {
	Bytes   int64     // of the file
	Oldest  time.Time // of the oldest event; zero if there is none
	Reduced uint64    // events from which client and name were removed
	Removed uint64    // events that were removed
	Early   uint64    // of these two, those that were early, for want of space
	Damaged uint64    // files that were moved aside
}

// Build identifies the build. Empty fields are exposed as empty labels.
type Build struct {
	Version  string
	Revision string
}

// Cache is the state of a cache at one moment. The counters never fall. The
// fields are those of the cache package's Stats, so that one converts to the
// other.
type Cache struct {
	Hits       uint64
	Misses     uint64
	Stale      uint64 // stale answers served
	Evictions  uint64 // to keep within bounds
	Collisions uint64 // lookups that met an entry for another question
	Entries    int
	Bytes      int64
	Cuts       uint64 // of Hits, those by the NXDOMAIN of a name above
}

// Bypass counts the attempts of a group of clients to bypass the resolver. The
// counters never fall. The fields are those of the device package's Group, so
// that one converts to the other.
type Bypass struct {
	Group    string
	Attempts uint64
	Devices  int    // within the last 24 hours
	Overflow uint64 // of Attempts, those of clients that are not in Devices because there were too many
}

// Upstream is the state of an upstream at one moment. The counters never fall
// while it is in use.
type Upstream struct {
	Name       string // as configured, without secrets
	Requests   uint64 // sent
	Failures   []Failure
	Mismatches uint64    // datagrams that match no query sent
	Duration   Histogram // of answered requests
	Healthy    bool
	LastAnswer time.Time // zero: never
	// Trying reports whether it was down and gets one request at a time.
	Trying bool
	Loop   bool // it forwards to this Rideau
	// RTT is the smoothed time of its answers, P95 the time within which 19 of
	// 20 came; 0 while unknown.
	RTT, P95  time.Duration
	InFlight  int       // requests in flight
	Busy      []Failure // times it was skipped because there were too many
	Hedges    uint64    // requests sent because it or another upstream was slower than usual
	HedgeWins uint64    // of Hedges, those that were answered first
	// Uses is what queries to it use, as far as that is found out.
	Uses []Use
	// ConnectionAnswers is how many queries it answers on a connection; 0 if that is
	// not known to be bounded.
	ConnectionAnswers int
}

// Use is whether queries use something that a server may not understand. What is a
// word of a closed set.
type Use struct {
	What string
	Used bool
}

// Failure is the number of requests that failed, or were not sent, for one reason. Reasons are
// words of a closed set, and are present even with a count of zero.
type Failure struct {
	Reason string
	Count  uint64
}

// Histogram is the state of a histogram at one moment. Counts has the count of
// each bucket alone, and one more element than Bounds, for values above the
// last bound. An empty one is left out.
type Histogram struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}

// Listener is the state of the sockets at one moment. The counters never fall.
type Listener struct {
	Pending       int // queries that wait for upstream
	Connections   int
	Refused       uint64 // connections refused because too many were open
	UDPSendErrors uint64
	// UDPLost is the number of queries that the system dropped because they
	// were not read in time.
	UDPLost uint64
	// TurnedAway counts, by reason, queries that were dropped or answered with
	// SERVFAIL because too many wait or because their client asks too often.
	TurnedAway []Failure
	// Flooded reports whether queries are turned away because of a flood.
	Flooded bool
}

// Alerts are what became of alerts.
type Alerts struct {
	Conditions []Alert // all, whether there was an alert or not
	Suppressed uint64  // alerts that were not told, since there were too many
}

// Alert is what became of alerts of one condition.
type Alert struct {
	Condition string
	Told      uint64
	Open      int
}
