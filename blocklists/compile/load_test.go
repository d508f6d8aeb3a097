package compile_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/input"
)

// large returns a policy with one plain list of n names, the same each time.
func large(n int) blocklists.Policy {
	rng := rand.New(rand.NewPCG(1, 2))
	tlds := []string{"com", "net", "org", "example", "co.uk", "cn"}
	var b bytes.Buffer
	for range n {
		for range 1 + rng.IntN(2) {
			for range 3 + rng.IntN(9) {
				b.WriteByte("abcdefghijklmnopqrstuvwxyz0123456789-"[rng.IntN(37)])
			}
			b.WriteByte('.')
		}
		b.WriteString(tlds[rng.IntN(len(tlds))])
		b.WriteByte('\n')
	}
	l := list("l")
	l.MaxSkipped = 0.001 // a few of many names are public suffixes
	l.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
	return blocklists.Policy{Lists: []input.List{l}, Bans: []blocklists.Ban{ban("b", "l")}}
}

func loadLarge(t testing.TB, p blocklists.Policy, prev *blocklists.Snapshot) *blocklists.Snapshot {
	s, _, err := compile.Load(context.Background(), p, prev, compile.Options{Now: day, Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLoadMemory bounds all that a load allocates, and so its peak whatever
// the garbage collector does: the names once, and little more.
func TestLoadMemory(t *testing.T) {
	const n = 200_000
	p := large(n)
	prev := loadLarge(t, p, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s := loadLarge(t, p, prev)
	runtime.ReadMemStats(&after)
	if s.Lists()[0].Entries != n {
		t.Fatalf("%d entries", s.Lists()[0].Entries)
	}
	const bound = 50*n + 4<<20
	if got := after.TotalAlloc - before.TotalAlloc; got > bound {
		t.Errorf("%d octets allocated for %d names, more than %d", got, n, bound)
	}
}

// BenchmarkLoad reloads a large list.
func BenchmarkLoad(b *testing.B) {
	const n = 1_000_000
	p := large(n)
	prev := loadLarge(b, p, nil)
	peak := peakHeap(func() { loadLarge(b, p, prev) })
	for b.Loop() {
		loadLarge(b, p, prev)
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "names/s")
	b.ReportMetric(float64(peak)/n, "peak-B/name")
	b.ReportMetric(float64(prev.Memory())/n, "B/name")
}

// peakHeap returns how much the heap grew while f ran, measured every millisecond.
func peakHeap(f func()) uint64 {
	runtime.GC()
	before := heap()
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		peak := before
		for {
			select {
			case <-tick.C:
				peak = max(peak, heap())
			case <-done:
				most <- peak
				return
			}
		}
	}()
	f()
	close(done)
	return <-most - before
}

// heap returns the memory of objects on the heap, garbage included.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
