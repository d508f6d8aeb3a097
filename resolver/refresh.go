package resolver

// maxRefreshing is how many pending queries may be under way at a time that nobody
// waits for. One that finds no room is not made: whoever asks when the answer
// has expired waits for it.
const maxRefreshing = 128

// Reasons to ask upstream in the background.
const (
	prefetched = iota // a popular answer expires soon
	retried           // upstream has failed more than once, and may be back
)

// refresh asks upstream for q's question in the background, unless that is
// under way. Its answer has been found already; it is not looked at here.
func (r *Resolver) refresh(q *Query, failure bool) {
	if r.refreshing.Add(1) > maxRefreshing {
		r.refreshing.Add(-1)
		return
	}
	f := r.newPending(q)
	name := *f.name // the pending query outlives the query
	f.name, f.refresh = &name, true
	if r.pending.register(&f) != nil {
		r.refreshing.Add(-1)
		return
	}
	why := prefetched
	if failure {
		why = retried
	}
	r.refreshes[why].Add(1)
	r.launch(&f)
}

// Refreshes counts the questions that were asked in the background: ahead of
// time because a popular answer was about to expire, and again after failures
// while clients got what had expired.
func (r *Resolver) Refreshes() (ahead, again uint64) {
	return r.refreshes[prefetched].Load(), r.refreshes[retried].Load()
}

// Refreshing is how many of them are under way.
func (r *Resolver) Refreshing() int { return int(r.refreshing.Load()) }
