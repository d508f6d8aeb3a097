package metrics

import (
	"maps"
	"sync"
	"time"
)

// ListResult is what a reload came to for one list.
type ListResult struct {
	List string // its id
	OK   bool   // read, and found good
}

// ReloadLog counts reloads, whatever set them off. The zero value is ready. It
// is safe for concurrent use.
type ReloadLog struct {
	mu     sync.Mutex
	totals reloadTotals
}

// reloadTotals is a ReloadLog's state at one moment.
type reloadTotals struct {
	success, failure uint64
	lastSuccess      time.Time
	lastFailed       bool
	lists            map[string]listTotals
}

type listTotals struct{ success, failure uint64 }

// Record adds a reload that ended at that time, ok or not; the load at
// start is one too. lists are the lists that were read: all of them with ok, and
// the counts of those that are missing then are forgotten.
func (l *ReloadLog) Record(at time.Time, ok bool, lists []ListResult) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.totals
	t.lastFailed = !ok
	next := make(map[string]listTotals, len(lists))
	if ok {
		t.success++
		t.lastSuccess = at
	} else {
		t.failure++
		maps.Copy(next, t.lists)
	}
	for _, r := range lists {
		n := t.lists[r.List]
		if r.OK {
			n.success++
		} else {
			n.failure++
		}
		next[r.List] = n
	}
	t.lists = next
}

// read is the state. Its map is not written any more.
func (l *ReloadLog) read() reloadTotals {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals
}
