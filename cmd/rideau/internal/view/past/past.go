// Package past keeps sums of the attempts of the last days, which it reads from the
// store of evidence in the background: what pages show of the past costs no search.
package past

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/read"
	"rideau/resolver/audit/store"
)

const (
	// MaxTime is the longest time of one query of the store.
	MaxTime = 5 * time.Second
	// historyDays is how far back sums of attempts go.
	historyDays = 30
	// refreshEvery is how old the sums of the last hours become before somebody who
	// looks at them has them read again.
	refreshEvery = 10 * time.Second
	// historyWait is how long a page waits for sums that were never read.
	historyWait = 1500 * time.Millisecond
)

// ErrNoStore is the error of a search if the node has no store of evidence.
var ErrNoStore = errors.New("this node keeps no evidence: set evidence.store.path, or state.dir")

// Past reads the store of evidence. It is safe for concurrent use.
type Past struct {
	path       func() string
	now        func() time.Time
	background func(func())
	stores     stores
	history    history
}

// New makes a Past. path returns the file of the store, empty if there is none;
// background runs a function with a lower priority. It starts nothing.
func New(path func() string, now func() time.Time, background func(func())) *Past {
	return &Past{path: path, now: now, background: background}
}

// Store returns a connection to the store for searches, none of which takes longer
// than [MaxTime].
func (v *Past) Store(ctx context.Context) (*store.Reader, error) {
	r, _, err := v.stores.open(ctx, v.path())
	return r, err
}

// Close closes the connections. It is the last call.
func (v *Past) Close() { v.stores.close() }

// stores has the connections to the store of evidence: one for searches, and one for
// sums, so that neither waits for the other. It is safe for concurrent use.
type stores struct {
	mu     sync.Mutex
	path   string
	file   os.FileInfo
	search *store.Reader
	sums   *store.Reader
	closed bool
}

// open returns the connections to the store at a path. They are opened anew if another
// file is there now.
func (s *stores) open(ctx context.Context, path string) (search, sums *store.Reader, err error) {
	if path == "" {
		return nil, nil, ErrNoStore
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := os.Stat(path)
	switch {
	case s.closed:
		return nil, nil, context.Canceled
	case err != nil:
		return nil, nil, ErrNoStore // nothing was written yet
	case s.search != nil && s.path == path && os.SameFile(file, s.file):
		return s.search, s.sums, nil
	}
	s.drop()
	ctx, cancel := context.WithTimeout(ctx, MaxTime)
	defer cancel()
	if s.search, err = store.Open(ctx, path, MaxTime); err == nil {
		s.sums, err = store.Open(ctx, path, MaxTime)
	}
	if err != nil {
		s.drop()
		return nil, nil, err
	}
	s.path, s.file = path, file
	return s.search, s.sums, nil
}

// drop closes the connections; mu is held. Queries that run end with an error.
func (s *stores) drop() {
	for _, r := range []*store.Reader{s.search, s.sums} {
		if r != nil {
			r.Close()
		}
	}
	s.search, s.sums, s.path, s.file = nil, nil, "", nil
}

func (s *stores) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.drop()
}

// sums are the attempts of an hour, by ban.
type sums map[string]Counts

// Counts are numbers of queries by what the policy decided.
type Counts struct {
	Blocked   int64 `json:"blocked"`
	Monitored int64 `json:"monitored"`
	Excepted  int64 `json:"excepted"`
}

// Attempts are the queries that a ban stopped or would have.
func (c Counts) Attempts() int64 { return c.Blocked + c.Monitored }

func (c *Counts) add(verdict read.Verdict, n int64) {
	switch verdict {
	case read.Blocked:
		c.Blocked += n
	case read.Monitored:
		c.Monitored += n
	case read.Excepted:
		c.Excepted += n
	}
}

// Plus adds counts.
func (c *Counts) Plus(o Counts) {
	c.Blocked += o.Blocked
	c.Monitored += o.Monitored
	c.Excepted += o.Excepted
}

// chunk are the sums of a day, which begins at midnight in UTC. It is not written
// after it was made.
type chunk struct {
	hours      [24]sums
	groups     map[string]Counts // by group
	around     map[string]Counts // of these, those on bans of ways round the resolver
	exceptions map[string]int64
	complete   bool // the day was over for long when it was read
}

// history keeps the sums of the last days. It is safe for concurrent use.
type history struct {
	mu        sync.Mutex
	path      string
	days      map[int64]*chunk // by Unix day
	intervals []store.Minutes
	read      time.Time     // when the last refresh ended
	filling   chan struct{} // closed when the refresh that runs ends; nil: none runs
	partial   bool          // days are missing
	err       error
}

// History is what is known of the past.
type History struct {
	// Known says that there is a store; Partial that not all days were read yet.
	Known   bool `json:"known"`
	Partial bool `json:"partial"`
	// Since is the first day of which there are sums.
	Since time.Time `json:"since,omitzero"`

	days      map[int64]*chunk
	intervals []store.Minutes
	now       time.Time
}

const day = int64(24 * time.Hour / time.Second)

// History returns the history. If it is old, it is read again in the background; the
// first time the call waits for that, not for long.
func (v *Past) History(ctx context.Context) History {
	path, h := v.path(), &v.history
	now := v.now()
	if path == "" {
		return History{now: now}
	}
	h.mu.Lock()
	if h.path != path {
		h.path, h.days, h.intervals, h.read, h.partial = path, map[int64]*chunk{}, nil, time.Time{}, true
	}
	if h.filling == nil && time.Since(h.read) > refreshEvery {
		h.filling = make(chan struct{})
		go v.fill(path, now, h.filling)
	}
	filling, first := h.filling, h.read.IsZero()
	h.mu.Unlock()
	if filling != nil && first {
		wait := time.NewTimer(historyWait)
		defer wait.Stop()
		select {
		case <-filling:
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	out := History{Known: !errors.Is(h.err, ErrNoStore), Partial: h.partial, days: make(map[int64]*chunk, len(h.days)), intervals: h.intervals, now: now}
	for d, c := range h.days {
		out.days[d] = c
		if at := time.Unix(d*day, 0).UTC(); len(c.groups)+len(c.exceptions) > 0 && (out.Since.IsZero() || at.Before(out.Since)) {
			out.Since = at
		}
	}
	return out
}

// fill reads what is missing, the last day first, and closes done.
func (v *Past) fill(path string, now time.Time, done chan struct{}) {
	h := &v.history
	var err error
	v.background(func() { err = v.fillDays(path, now) })
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; err == nil {
		h.partial = false
	}
	h.read, h.filling = time.Now(), nil
	close(done)
}

func (v *Past) fillDays(path string, now time.Time) error {
	ctx, h := context.Background(), &v.history
	_, r, err := v.stores.open(ctx, path)
	if err != nil {
		return err
	}
	intervals, err := r.Minutes(ctx, now.AddDate(0, 0, -historyDays), now.Add(time.Hour))
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.intervals = intervals
	h.mu.Unlock()
	last := now.Unix() / day
	for d := last + 1; d > last-historyDays; d-- {
		h.mu.Lock()
		known := h.path == path && h.days[d] != nil && h.days[d].complete
		h.mu.Unlock()
		if known {
			continue
		}
		c := &chunk{groups: map[string]Counts{}, around: map[string]Counts{}, exceptions: map[string]int64{}, complete: d < last-1}
		begin := time.Unix(d*day, 0)
		if err := r.Attempts(ctx, begin, begin.Add(24*time.Hour), c.add); err != nil {
			return err
		}
		h.mu.Lock()
		if h.path == path {
			h.days[d] = c
			delete(h.days, last-historyDays)
		}
		h.mu.Unlock()
	}
	return nil
}

func (c *chunk) add(a store.Attempts) {
	hour := a.Hour.UTC().Hour()
	if c.hours[hour] == nil {
		c.hours[hour] = sums{}
	}
	for _, x := range []struct {
		in  map[string]Counts
		key string
		is  bool
	}{{c.hours[hour], a.Ban, true}, {c.groups, a.Group, true}, {c.around, a.Group, a.Bypass}} {
		if x.is {
			n := x.in[x.key]
			n.add(a.Verdict, a.Events)
			x.in[x.key] = n
		}
	}
	if a.Exception != "" {
		c.exceptions[a.Exception] += a.Events
	}
}

// Bar is what happened in an hour or on a day.
type Bar struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Counts
}

// of returns the counts of a ban, of all bans if it is empty, in the hour that begins
// at a time.
func (h *History) of(ban string, at time.Time) Counts {
	c := h.days[at.Unix()/day]
	if c == nil {
		return Counts{}
	}
	hour := c.hours[at.UTC().Hour()]
	if ban != "" {
		return hour[ban]
	}
	var out Counts
	for _, n := range hour {
		out.Plus(n)
	}
	return out
}

// Hours returns the last hours of a ban, the latest last.
func (h *History) Hours(ban string, n int) []Bar {
	out := make([]Bar, 0, n)
	last := h.now.UTC().Truncate(time.Hour)
	for i := n - 1; i >= 0; i-- {
		at := last.Add(-time.Duration(i) * time.Hour)
		out = append(out, Bar{at, at.Add(time.Hour), h.of(ban, at)})
	}
	return out
}

// Days returns the last days of a ban in a zone, the latest last. Where a day does not
// begin with an hour of UTC, the hour counts for the day in which it begins.
func (h *History) Days(ban string, n int, zone *time.Location) []Bar {
	out := make([]Bar, 0, n)
	now := h.now.In(zone)
	for i := n - 1; i >= 0; i-- {
		b := Bar{From: time.Date(now.Year(), now.Month(), now.Day()-i, 0, 0, 0, 0, zone), To: time.Date(now.Year(), now.Month(), now.Day()-i+1, 0, 0, 0, 0, zone)}
		begin := b.From.UTC().Truncate(time.Hour)
		if begin.Before(b.From) {
			begin = begin.Add(time.Hour)
		}
		for at := begin; at.Before(b.To); at = at.Add(time.Hour) {
			b.Plus(h.of(ban, at))
		}
		out = append(out, b)
	}
	return out
}

// InForce says since when a ban is in force without a break, zero if it is not, and
// which share of the time on record in the last days it was, negative if there is none.
func (h *History) InForce(ban string) (since time.Time, share float64) {
	var in, all time.Duration
	begin := h.now.AddDate(0, 0, -historyDays)
	for i := range h.intervals {
		m := &h.intervals[i]
		if m.Ban != ban {
			continue
		}
		if m.State.InForce() {
			if since.IsZero() {
				since = m.From
			}
		} else if m.Elapsed() > 0 || m.Open {
			since = time.Time{}
		}
		if m.State == inforce.Absent || m.State == inforce.Unrecorded {
			continue
		}
		d := m.Elapsed()
		if m.From.Before(begin) {
			d -= begin.Sub(m.From)
		}
		if all += max(d, 0); m.State.InForce() {
			in += max(d, 0)
		}
	}
	if all <= 0 {
		return since, -1
	}
	return since, float64(in) / float64(all)
}

// Groups adds up the counts of a group of clients on all days, and of these those on
// bans of ways round the resolver.
func (h *History) Groups(group string) (all, around Counts) {
	for _, c := range h.days {
		all.Plus(c.groups[group])
		around.Plus(c.around[group])
	}
	return all, around
}

// Uses is how many queries an exception let through on all days.
func (h *History) Uses(exception string) (n int64) {
	for _, c := range h.days {
		n += c.exceptions[exception]
	}
	return n
}
