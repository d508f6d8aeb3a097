package latency_test

import (
	"slices"
	"testing"
	"time"

	"rideau/resolver/upstream/latency"
)

func TestHistogram(t *testing.T) {
	var h latency.Histogram
	l := h.Total()
	if !slices.IsSorted(l.Bounds) || l.Bounds[0] != time.Millisecond || l.Bounds[len(l.Bounds)-1] != 5*time.Second || len(l.Counts) != len(l.Bounds)+1 {
		t.Fatalf("got %+v", l)
	}
	var sum time.Duration
	want := make([]uint64, len(l.Counts))
	observe := func(d time.Duration, bucket int) {
		h.Observe(d)
		sum += d
		want[bucket]++
	}
	observe(0, 0)
	for i, b := range l.Bounds {
		observe(b, i)
		observe(b+1, i+1)
	}
	if l = h.Total(); !slices.Equal(l.Counts, want) || l.Sum != sum {
		t.Errorf("got %v, %v; want %v, %v", l.Counts, l.Sum, want, sum)
	}
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Second) }); n != 0 {
		t.Errorf("Observe allocates %v times", n)
	}
}
