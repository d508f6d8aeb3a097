package view

import (
	"sync"
	"time"

	"rideau/resolver"
	"rideau/resolver/ops/metrics"
)

const (
	sampleEvery = 5 * time.Second
	maxSamples  = 720 // an hour
	// pointEvery is how many samples make one point of a chart.
	pointEvery = 12
	// lately is how many samples "now" is about: half a minute.
	lately = 6
)

const kinds = int(resolver.Limited) + 1

// sample is the state of the counters at one moment.
type sample struct {
	at      time.Time
	kinds   [kinds]uint64
	latency [len(resolver.Bounds) + 1]uint64
}

// samples are those of the last hour. It is safe for concurrent use.
type samples struct {
	mu   sync.Mutex
	ring []sample // the oldest first
}

// count reads the counters.
func count(src *metrics.Sources, at time.Time) sample {
	s, t := sample{at: at}, src.Totals()
	for i := range t.Queries {
		for j := range t.Queries[i] {
			for k, n := range t.Queries[i][j] {
				s.kinds[k] += n
			}
		}
	}
	for k := range t.Latency {
		for b, n := range t.Latency[k].Counts {
			s.latency[b] += n
		}
	}
	return s
}

func (s *samples) sample(src *metrics.Sources, at time.Time) {
	is := count(src, at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ring) == maxSamples+1 {
		copy(s.ring, s.ring[1:])
		s.ring = s.ring[:maxSamples]
	}
	s.ring = append(s.ring, is)
}

// span is what happened between two samples.
func span(from, to *sample) Point {
	p := Point{From: from.at, At: to.at}
	seconds := to.at.Sub(from.at).Seconds()
	if seconds <= 0 {
		return p
	}
	for k := range to.kinds {
		n := to.kinds[k] - from.kinds[k]
		p.queries += n
		switch resolver.Kind(k) {
		case resolver.Blocked:
			p.Blocked = float64(n) / seconds
		case resolver.Cached, resolver.Stale:
			p.hits += n
		case resolver.Forwarded:
			p.misses += n
		case resolver.Failed, resolver.Shed:
			p.Failed += float64(n) / seconds
		}
	}
	p.Rate = float64(p.queries) / seconds
	var counts [len(resolver.Bounds) + 1]uint64
	for b := range counts {
		counts[b] = to.latency[b] - from.latency[b]
	}
	p.Median, p.P99 = quantile(&counts, 0.5), quantile(&counts, 0.99)
	return p
}

// quantile returns the time in milliseconds within which a share of the queries was
// answered, by the buckets of a histogram; -1 if there were none.
func quantile(counts *[len(resolver.Bounds) + 1]uint64, share float64) float64 {
	var all, below uint64
	for _, n := range counts {
		all += n
	}
	if all == 0 {
		return -1
	}
	want := share * float64(all)
	for b, n := range counts {
		if float64(below+n) < want || n == 0 {
			below += n
			continue
		}
		if b == len(resolver.Bounds) {
			break
		}
		low := time.Duration(0)
		if b > 0 {
			low = resolver.Bounds[b-1]
		}
		d := float64(low) + float64(resolver.Bounds[b]-low)*(want-float64(below))/float64(n)
		return d / float64(time.Millisecond)
	}
	return float64(resolver.Bounds[len(resolver.Bounds)-1]) / float64(time.Millisecond)
}

// now returns what happened lately, and points for a chart of the last hour.
func (s *samples) now(src *metrics.Sources, at time.Time) (Point, []Point) {
	is := count(src, at)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.ring)
	recent := span(&s.ring[max(0, n-lately)], &is)
	var out []Point
	// The points end at the same samples from one call to the next.
	last := n - 1
	for last > 0 && s.ring[last].at.Unix()/int64(sampleEvery/time.Second)%pointEvery != 0 {
		last--
	}
	for i := last; i >= pointEvery; i -= pointEvery {
		out = append(out, span(&s.ring[i-pointEvery], &s.ring[i]))
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return recent, out
}

// Point is what happened in a span of time. Rates are per second, times in
// milliseconds; a time is negative if there was no query.
type Point struct {
	From    time.Time `json:"from"`
	At      time.Time `json:"at"`
	Rate    float64   `json:"queries_per_second"`
	Blocked float64   `json:"blocked_per_second"`
	Failed  float64   `json:"failed_per_second"`
	Median  float64   `json:"median_ms"`
	P99     float64   `json:"p99_ms"`

	queries, hits, misses uint64
}
