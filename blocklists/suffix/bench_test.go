package suffix_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"rideau/blocklists/suffix"
	"rideau/resolver/wire"
)

func BenchmarkLookup(b *testing.B) {
	sizes := []int{1, 1000, 100_000, 1_000_000}
	if os.Getenv("RIDEAU_BENCH_LARGE") != "" {
		sizes = append(sizes, 10_000_000)
	}
	for _, size := range sizes {
		trie, hits := build(b, size)
		r := rand.New(rand.NewPCG(9, 9))
		misses := make([]wire.Name, 1<<16)
		for i := range misses {
			misses[i] = *name(b, generated(r, i)+".")
		}
		// The names are in one block of memory and are read in order, so that
		// the cache misses measured are those of the trie, not those of the sample.
		run := func(kind string, names []wire.Name) {
			var arena []byte
			for i := range names {
				arena = append(append(arena, byte(names[i].Len())), names[i].Bytes()...)
			}
			b.Run(fmt.Sprintf("%s/%d", kind, size), func(b *testing.B) {
				b.ReportAllocs()
				var n wire.Name
				i := 0
				for b.Loop() {
					end := i + 1 + int(arena[i])
					n.Set(arena[i+1 : end])
					deepest(trie, &n)
					if i = end; i == len(arena) {
						i = 0
					}
				}
			})
		}
		run("hit", hits)
		run("miss", misses)
	}
}

func BenchmarkBuild(b *testing.B) {
	const size = 1_000_000
	r := rand.New(rand.NewPCG(1, size))
	names := make([][]byte, size)
	for i := range names {
		names[i] = bytes.Clone(name(b, generated(r, i)).Bytes())
	}
	var before, after runtime.MemStats
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		var bl suffix.Builder
		for _, n := range names {
			if err := bl.Add(n, 1); err != nil {
				b.Fatal(err)
			}
		}
		trie := finish(b, &bl)
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/size, "bytes/name")
		runtime.KeepAlive(trie)
		b.StartTimer()
	}
}
