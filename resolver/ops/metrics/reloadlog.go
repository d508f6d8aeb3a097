package metrics

import (
	"maps"
	"sync"
	"time"
)

// ListResult is the result of a reload for one list.
type ListResult struct {
	List string // its id
	OK   bool   // it was read and accepted
}

// ReloadLog counts reloads, whatever triggered them. The zero value is ready.
// It is safe for concurrent use.
type ReloadLog struct {
	mu     sync.Mutex
	totals reloadTotals
}

// reloadTotals are the counts of a ReloadLog at one moment.
type reloadTotals struct {
	success, failure uint64
	lastSuccess      time.Time
	lastFailed       bool
	lists            map[string]listTotals
}

type listTotals struct{ success, failure uint64 }

// Record counts a reload that ended at that time; the load at the start is one
// too. lists are the lists that were read. With ok they are all lists, and the
// counts of other lists are removed.
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

// read returns the counts. Their map is never written again.
func (l *ReloadLog) read() reloadTotals {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals
}
