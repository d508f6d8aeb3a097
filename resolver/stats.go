package resolver

import (
	"sync"
	"sync/atomic"
	"time"

	"rideau/blocklists"
	"rideau/resolver/histogram"
	"rideau/resolver/qtype"
	"rideau/resolver/transport"
)

// Bounds are the upper bounds of the buckets of Totals.Latency.
var Bounds = histogram.Bounds

// Counters count the queries of one worker that ended. Each worker has its own,
// so that no two cores write the same cache line; a scrape sums them.
type Counters struct {
	_        [64]byte
	queries  [transport.Count][qtype.Count][kinds]atomic.Uint64
	latency  [kinds]histogram.Histogram
	blocks   [blocklists.MaxSlots][blocklists.Actions]atomic.Uint64
	monitor  [blocklists.MaxSlots]atomic.Uint64
	allowed  [blocklists.MaxSlots]atomic.Uint64
	wanted   *atomic.Uint32 // Marks
	recorder Recorder       // nil if none are ever wanted
	_        [64]byte
}

// Observe records a query that ended, if a record is wanted, and counts it.
// Pending queries are neither recorded nor counted.
func (c *Counters) Observe(q *Query, o Outcome, elapsed time.Duration) {
	if c.wants(o) {
		c.recorder.Record(q, o, elapsed)
	}
	c.Count(q, o, elapsed)
}

// Record is Observe without Count, for a caller that counts a batch of queries
// later, when q is another query already.
func (c *Counters) Record(q *Query, o Outcome) {
	if c.wants(o) {
		c.recorder.Record(q, o, time.Since(q.Received))
	}
}

// wants reports whether a record of a query is wanted.
func (c *Counters) wants(o Outcome) bool {
	return Marks(c.wanted.Load())&(Finished|o.Marks) != 0 && o.Kind != Pending
}

// Count counts a query that ended. Of q it uses the transport only.
func (c *Counters) Count(q *Query, o Outcome, elapsed time.Duration) {
	if o.Kind == Pending {
		return
	}
	c.queries[q.Transport][o.Qtype][o.Kind].Add(1)
	c.latency[o.Kind].Observe(elapsed)
	if o.Overruled != 0 {
		c.allowed[o.Overruled-1].Add(1)
	}
	if o.Ban == blocklists.NoBan {
		return
	}
	if o.Monitored {
		c.monitor[o.Ban].Add(1)
		return
	}
	c.blocks[o.Ban][o.Action].Add(1)
}

// Totals is the sum of all counters at one moment.
type Totals struct {
	Queries [transport.Count][qtype.Count][kinds]uint64
	Latency [kinds]histogram.Total
	Blocks  [blocklists.MaxSlots][blocklists.Actions]uint64
	Monitor [blocklists.MaxSlots]uint64
	Allowed [blocklists.MaxSlots]uint64 // by exceptions
}

// Stats makes counters and sums them. The zero value is ready. It is safe for
// concurrent use.
type Stats struct {
	audit   Audit         // nil: nothing is recorded
	nothing atomic.Uint32 // wanted without audit; always 0
	mu      sync.Mutex
	all     []*Counters // guarded by mu
}

// NewCounters returns new counters, which Totals includes from now on.
func (s *Stats) NewCounters() *Counters {
	c := &Counters{wanted: &s.nothing}
	if s.audit != nil {
		c.wanted, c.recorder = s.audit.Wanted(), s.audit.NewRecorder()
	}
	s.mu.Lock()
	s.all = append(s.all, c)
	s.mu.Unlock()
	return c
}

// Totals sums the counters.
func (s *Stats) Totals() *Totals {
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	t := new(Totals)
	for _, c := range all {
		for i := range c.queries {
			for j := range c.queries[i] {
				for k := range c.queries[i][j] {
					t.Queries[i][j][k] += c.queries[i][j][k].Load()
				}
			}
		}
		for i := range c.latency {
			t.Latency[i].Add(&c.latency[i])
		}
		for i := range c.blocks {
			for j := range c.blocks[i] {
				t.Blocks[i][j] += c.blocks[i][j].Load()
			}
			t.Monitor[i] += c.monitor[i].Load()
			t.Allowed[i] += c.allowed[i].Load()
		}
	}
	return t
}
