package sink

import "time"

// Reason is why an event was dropped.
type Reason uint8

// Reasons.
const (
	QueueFull   Reason = iota // events came faster than they could be encoded
	SpoolFull                 // the spool has its largest size
	SpoolError                // the spool cannot be written
	Undelivered               // there is no spool, and the place did not take it
	NotTaken                  // the place refuses this event for good
	reasons
)

var reasonTexts = [reasons]string{"queue", "spool_full", "spool_error", "undelivered", "refused"}

// String is the reason in metrics.
func (r Reason) String() string { return reasonTexts[r] }

// Reasons are all reasons.
func Reasons() []Reason { return []Reason{QueueFull, SpoolFull, SpoolError, Undelivered, NotTaken} }

// Stats are a Sink's counts since it was made.
type Stats struct {
	Name string
	// Offered are the events that were to be delivered, Kept those that were
	// delivered for good, Dropped those that never will be, by reason. The
	// difference waits in the spool. Repeated are those that counted as delivered
	// until a connection broke, and are to be delivered again; they are among
	// Offered a second time.
	Offered, Kept, Repeated uint64
	Dropped                 [reasons]uint64
	// Waiting is how many events wait in the spool; SpoolBytes is its size, and
	// SpoolMax the bound on it.
	Waiting    int
	SpoolBytes int64
	SpoolMax   int64
	// FailingSince is since when the place takes no events; zero if it does.
	FailingSince time.Time
}

// Stats returns the counts.
func (s *Sink) Stats() Stats {
	out := Stats{Name: s.o.Name, Kept: s.kept.Load(), Waiting: s.spooled()}
	for i := range s.drops {
		out.Dropped[i] = s.drops[i].Load()
	}
	if s.records != nil {
		out.Dropped[QueueFull] += s.records.Lost()
	}
	if s.acts != nil {
		out.Dropped[QueueFull] += s.acts.Lost()
	}
	out.Repeated = s.again.Load()
	out.Offered = s.offered.Load() + out.Dropped[QueueFull] + out.Repeated
	if sp := s.spool.Load(); sp != nil {
		out.SpoolBytes, out.SpoolMax = sp.Bytes(), sp.Max()
	}
	if s.failing.Load() {
		out.FailingSince = time.Unix(0, s.since.Load())
	}
	return out
}
