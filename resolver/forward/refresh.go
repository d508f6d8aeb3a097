package forward

// maxRefreshing is how many exchanges that no query waits for may be under way.
// Beyond it none begins: the first query after the answer has expired waits.
const maxRefreshing = 128

// Reasons to ask upstream in the background.
const (
	prefetched = iota // a popular answer expires soon
	retried           // upstream has failed more than once, and may be back
)

// Refresh asks upstream for p's question in the background, unless it is
// pending. failure is whether the last exchange failed. The name is copied.
func (x *Exchanges) Refresh(p Pending, failure bool) {
	if x.refreshing.Add(1) > maxRefreshing {
		x.refreshing.Add(-1)
		return
	}
	own, name := p, *p.Name // the exchange outlives the query
	own.Name, own.refresh = &name, true
	if x.pending.register(&own) != nil {
		x.refreshing.Add(-1)
		return
	}
	why := prefetched
	if failure {
		why = retried
	}
	x.refreshes[why].Add(1)
	x.launch(&own)
}

// Refreshes counts the questions that were asked in the background: ahead of
// time, since a popular answer was about to expire, and again after failures,
// while clients got an expired answer.
func (x *Exchanges) Refreshes() (ahead, again uint64) {
	return x.refreshes[prefetched].Load(), x.refreshes[retried].Load()
}

// Refreshing is how many of them are under way.
func (x *Exchanges) Refreshing() int { return int(x.refreshing.Load()) }
