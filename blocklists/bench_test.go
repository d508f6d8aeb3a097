package blocklists_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/format"
)

// BenchmarkLoad compiles a plain list of a million names, as they are in
// large lists: read, checked, brought into their form, hashed and built.
func BenchmarkLoad(b *testing.B) {
	const size = 1_000_000
	rng := rand.New(rand.NewPCG(1, size))
	endings := []string{"com", "net", "org", "xyz", "top", "ru", "co.uk", "com.br", "info", "io"}
	var text bytes.Buffer
	for i := range size {
		if rng.IntN(3) == 0 {
			fmt.Fprintf(&text, "%x.", rng.IntN(1<<16))
		}
		fmt.Fprintf(&text, "%x-name%x.%s\n", rng.Uint32(), i, endings[rng.IntN(len(endings))])
	}
	p := blocklists.Policy{
		Lists: []blocklists.List{{ID: "l", Source: "l", Format: format.Plain, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(text.Bytes())), nil
		}}},
		Bans: []blocklists.Ban{{ID: "b", TitleEN: "B", EDE: 15, TTL: 30 * time.Second, Groups: []string{"all"}, Lists: []string{"l"}}},
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var s *blocklists.Snapshot
	for b.Loop() {
		var err error
		if s, _, err = blocklists.Load(context.Background(), p, nil, blocklists.LoadOptions{Slots: new(blocklists.Slots)}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "names/s")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/size, "B/name")
	runtime.KeepAlive(s)
}
