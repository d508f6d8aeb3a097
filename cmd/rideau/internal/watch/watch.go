// Package watch notices that files change.
package watch

import (
	"context"
	"maps"
	"os"
	"time"
)

// Watcher notices changes of files by comparing their stamps: size, times and
// inode.
//
// Comparing works alike for a file written in place, renamed into place, or replaced
// by a symbolic link anywhere in its path, on a network file system and on a volume in
// a container. Events of the system, where there are any, only say when to compare: a
// program that wakes ten times a second to compare needs more of the processor than all
// else that it does while it has nothing to answer. As a change in
// a folder far up the path is none of these events, the Watcher compares every few
// seconds anyway.
type Watcher struct {
	// Interval is the time between two comparisons while files change, and always
	// where not every change is an event: on network file systems, for example.
	Interval func() time.Duration
	Paths    func() []string // the files to watch; if there are none, it waits
	// Seen has the stamps of the files from before they were last read.
	Seen Stamps
	// Changed is called when files have changed: at once if complete files were
	// renamed into place, else when they were unchanged for an interval and for a
	// fifth of a second. It is called once for each new set of stamps, so that a
	// broken file is not read again and again.
	Changed func()
}

// settleTime is how long a file that is written in place must be unchanged before
// it is read: a file must not be read half written.
const settleTime = 200 * time.Millisecond

// Between two comparisons there is slow at least while nothing changes. They are made
// at each interval for lively after an event or a change.
const (
	slow   = 5 * time.Second
	lively = time.Second
)

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	e := newEvents()
	if e != nil {
		defer e.close()
	}
	done, last := w.Seen, w.Seen // the stamps of the last call of Changed, and the newest
	since := time.Now()          // when last was first seen
	often := since.Add(lively)   // until when files are compared at each interval
	for ctx.Err() == nil {
		p := w.Paths()
		if e != nil {
			e.follow(p, time.Now().Before(often))
		}
		if w.wait(ctx, e, len(p) == 0 || e != nil && e.whole && time.Now().After(often)) {
			often = time.Now().Add(lively)
		}
		if len(p) == 0 || ctx.Err() != nil {
			continue // there is nothing to watch now
		}
		now := StampFiles(p)
		if !maps.Equal(now, last) {
			last, since = now, time.Now()
			often = since.Add(lively)
			if !whole(done, now) {
				continue
			}
		} else if time.Since(since) < settleTime {
			continue
		}
		if !maps.Equal(now, done) {
			// A file that is written while Changed reads it has a new stamp.
			done = now
			w.Changed()
		}
	}
}

// wait waits until files are to be compared: for an interval or, if nothing changes, for
// longer. An event ends the longer wait within an interval; wait reports that.
func (w *Watcher) wait(ctx context.Context, e *events, longer bool) (event bool) {
	interval := w.Interval()
	if longer && interval < slow {
		var changed chan struct{}
		if e != nil {
			changed = e.changed
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(slow):
			return false
		case <-changed:
			event = true
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(interval):
	}
	return event
}

// Stamps are those of files, by path.
type Stamps map[string]fileStamp

// fileStamp differs if a file was changed or replaced. The zero fileStamp is that
// of a file that does not exist.
type fileStamp struct {
	size, modified, changed int64
	device, inode           uint64
}

// whole reports whether all files that differ from done were complete when they
// were put in place: each is another file than before, and its inode changed after
// the last write, as a rename does. A file that is being written differs from
// that, and so does a deleted one. An empty file may be about to be written.
func whole(done, now Stamps) bool {
	for path, s := range now {
		old, known := done[path]
		if s == old {
			continue
		}
		if !known || s.device == old.device && s.inode == old.inode || s.changed <= s.modified || s.size == 0 {
			return false
		}
	}
	return true
}

// StampFiles returns the stamps of files.
func StampFiles(paths []string) Stamps {
	stamps := make(Stamps, len(paths))
	for _, p := range paths {
		var s fileStamp
		if info, err := os.Stat(p); err == nil {
			s = stampOf(info)
		}
		stamps[p] = s
	}
	return stamps
}
