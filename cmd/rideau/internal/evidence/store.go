package evidence

import (
	"time"

	config "rideau/config/evidence"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/store"
	"rideau/resolver/ops/metrics"
)

// storeWriter makes the Writer of the store. It opens nothing: neither a broken disk nor a damaged file may keep a server from starting.
func (e *Evidence) storeWriter(s config.Sink) sink.Writer {
	return store.NewWriter(store.Options{Path: s.Path, Searchable: s.Store.Searchable, Days: s.Store.Days, MaxBytes: s.Store.MaxBytes,
		Run: e.node.Run, Node: e.node.Name, Version: e.node.Version, Now: time.Now, Uptime: e.o.Uptime, Distrusted: e.o.Distrusted,
		Latest: e.latest, Sinks: e.counts, Logger: e.o.Logger})
}

// latest returns the last act.
func (e *Evidence) latest() (act.Act, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last, e.last.Bans != nil
}

// counts returns the counts of all sinks, for the store.
func (e *Evidence) counts() []store.Sink {
	var out []store.Sink
	for _, s := range e.Stats() {
		c := store.Sink{Name: s.Name, Offered: s.Offered, Delivered: s.Kept, Repeated: s.Repeated, Waiting: uint64(s.Waiting), Dropped: map[string]uint64{}}
		for _, r := range sink.Reasons() {
			if n := s.Dropped[r]; n > 0 {
				c.Dropped[r.String()] = n
			}
		}
		out = append(out, c)
	}
	return out
}

// StoreMetrics returns the state of the store for metrics; nil without one.
func (e *Evidence) StoreMetrics() *metrics.Store {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.running {
		if r.store != nil {
			m := metrics.Store(r.store.Stats())
			return &m
		}
	}
	return nil
}
