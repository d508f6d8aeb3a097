package sink

import (
	"context"

	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
)

// Encoder makes the events of one format. Its methods append one event to dst, or
// nothing if the format has no such event.
type Encoder interface {
	Query(dst []byte, r *audit.Record) []byte
	Act(dst []byte, a *act.Act) []byte
}

// Writer takes events to one place.
type Writer interface {
	// Write takes events in their order. It returns how many it took for good;
	// if these are not all, err says why. The others are offered again. It keeps
	// none of the slices, and returns soon after ctx has ended.
	Write(ctx context.Context, events [][]byte) (taken int, err error)
	// Close ends what Write began. It is called once, after the last Write.
	Close() error
}

// Refused is an error of a Writer for one event that this place will never take:
// the event after those that were taken. It is dropped, and not offered again.
type Refused struct{ Err error }

// Error implements error.
func (e *Refused) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *Refused) Unwrap() error { return e.Err }

// Returned is an error of a Writer whose connection broke. Events were taken, by
// this Write or by earlier ones, and may not have arrived: they are offered again,
// before the others. The Sink may keep them until it calls the Writer again.
type Returned struct {
	Events [][]byte
	Err    error
}

// Error implements error.
func (e *Returned) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *Returned) Unwrap() error { return e.Err }

// Settler is a Writer that takes events before it is known whether they arrive.
type Settler interface {
	Writer
	// Settle returns a Returned if the connection broke. It is called every few
	// seconds, and must not wait. The last call comes before Close: it waits
	// until all that was taken has arrived, or ctx ends.
	Settle(ctx context.Context, last bool) error
}
