package cache_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

// shapes are ways to fill a cache: each call stores one more answer.
func shapes() map[string]func(f *filler) {
	return map[string]func(f *filler){
		"one address":  func(f *filler) { f.put(1) },
		"big":          func(f *filler) { f.put(60) },
		"bigger still": func(f *filler) { f.put(400) },
		"random sizes": func(f *filler) { f.put(1 + int(f.rnd.ExpFloat64()*8)) },
		"from small to big and back": func(f *filler) {
			n := f.rnd.IntN(4)
			if f.n/60_000%2 == 1 {
				n += 40
			}
			f.put(1 + n)
		},
		"some again": func(f *filler) {
			f.n = f.rnd.IntN(150_000)
			f.put(1 + f.rnd.IntN(30))
		},
		"failures":  func(f *filler) { f.fail() },
		"not there": func(f *filler) { f.deny() },
	}
}

// filler stores answers with the given number of addresses, each under a new
// name.
type filler struct {
	c    *cache.Cache
	rnd  *rand.Rand
	n    int
	name wire.Name
	msg  []byte
	buf  []byte
}

func (f *filler) key() cache.Key {
	f.n++
	if err := f.name.SetText(fmt.Sprintf("host%06d.example.com", f.n)); err != nil {
		panic(err)
	}
	return cache.Key{Name: &f.name, Type: wire.TypeA, Class: wire.ClassIN}
}

func (f *filler) fail() { f.c.PutFailure(f.key(), wire.ServFail, 22, false, epoch) }

func (f *filler) put(addresses int) {
	k := f.key()
	m := f.question(k, 0)
	for i := range addresses {
		m = wire.AppendRecord(m, 0, wire.Answer, wire.HeaderLen, wire.TypeA, 300, []byte{10, 0, byte(i >> 8), byte(i)})
	}
	f.store(k, m)
}

func (f *filler) deny() {
	k := f.key()
	m := f.question(k, uint16(wire.NXDomain))
	f.store(k, wire.AppendSOA(m, 0, wire.Authority, wire.HeaderLen+11, 300)) // of example.com
}

func (f *filler) question(k cache.Key, rcode uint16) []byte {
	m := append(f.msg[:0], 0, 0, 0x81, 0x80|byte(rcode), 0, 1, 0, 0, 0, 0, 0, 0)
	m = append(m, k.Name.Bytes()...)
	return append(m, 0, byte(k.Type), 0, byte(k.Class))
}

func (f *filler) store(k cache.Key, m []byte) {
	f.msg = m
	var r wire.Response
	var scratch wire.Name
	if err := r.Parse(m, &scratch); err != nil {
		panic(err)
	}
	f.buf, _ = f.c.Put(f.buf[:0], k, m, &r, 1, epoch)
}

// fill calls next until many entries were evicted, or many stored.
func (f *filler) fill(next func(*filler)) {
	for i := 0; i < 220_000 && (i%1000 != 0 || f.c.Stats().Evictions < 60_000); i++ {
		next(f)
	}
}

func newFiller(bytes int64) *filler {
	return &filler{c: cache.New(cache.Options{Entries: 400_000, Bytes: bytes}), rnd: rand.New(rand.NewPCG(7, 8)),
		msg: make([]byte, 0, 1<<16), buf: make([]byte, 0, 1<<16)}
}

const memoryBytes = 32 << 20

// The memory that the cache reports is what it uses, within a tenth, and within
// its bound.
func TestMemoryHeap(t *testing.T) {
	if race {
		t.Skip("it takes minutes with the race detector")
	}
	for what, next := range shapes() {
		t.Run(what, func(t *testing.T) {
			f := newFiller(memoryBytes)
			heap := func() int64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC()
				runtime.ReadMemStats(&m)
				return int64(m.HeapInuse)
			}
			empty := heap()
			f.fill(next)
			s := f.c.Stats()
			real := heap() - empty
			t.Logf("%d entries, %d evicted; accounted %.1f MiB, heap %.1f MiB, of %d", s.Entries, s.Evictions,
				float64(s.Bytes)/(1<<20), float64(real)/(1<<20), memoryBytes>>20)
			if s.Bytes > memoryBytes || float64(s.Bytes) < 0.9*float64(real) {
				t.Errorf("accounted %d, heap %d, bound %d", s.Bytes, real, memoryBytes)
			}
			if s.Evictions > 0 && float64(s.Bytes) < 0.9*memoryBytes {
				t.Errorf("evicts with %d of %d in use", s.Bytes, memoryBytes)
			}
			runtime.KeepAlive(f)
		})
	}
}

// TestMemoryResident compares the reported memory with the resident memory of a
// process that does nothing else. It returns garbage to the system first.
func TestMemoryResident(t *testing.T) {
	if what := os.Getenv("RIDEAU_TEST_SHAPE"); what != "" {
		before := resident(t)
		f := newFiller(memoryBytes)
		next := shapes()[what]
		f.fill(next)
		debug.FreeOSMemory()
		fmt.Printf("\naccounted=%d resident=%d\n", f.c.Stats().Bytes, resident(t)-before)
		runtime.KeepAlive(f)
		return
	}
	if resident(t) == 0 {
		t.Skip("there is no /proc/self/status")
	}
	if race {
		t.Skip("the race detector uses memory of its own for each octet")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"one address", "random sizes", "some again"} {
		cmd := exec.Command(exe, "-test.run=^TestMemoryResident$")
		cmd.Env = append(os.Environ(), "RIDEAU_TEST_SHAPE="+what)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var accounted, rss int64
		if _, err := fmt.Sscanf(string(out[bytes.Index(out, []byte("accounted=")):]), "accounted=%d resident=%d", &accounted, &rss); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Logf("%s: accounted %.1f MiB, resident %.1f MiB", what, float64(accounted)/(1<<20), float64(rss)/(1<<20))
		// The runtime needs a few MiB for its own structures and half empty
		// spans.
		if float64(accounted) < 0.9*float64(rss)-4<<20 {
			t.Errorf("%s: accounted %d, resident %d", what, accounted, rss)
		}
	}
}

// resident returns the resident memory of this process, in octets; 0 if the
// system does not report it.
func resident(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	return 0
}

// BenchmarkMemory reports the memory per entry, and the slowest Put into a full
// cache.
func BenchmarkMemory(b *testing.B) {
	for what, next := range shapes() {
		b.Run(what, func(b *testing.B) {
			f := newFiller(memoryBytes)
			for f.n < 150_000 && f.c.Stats().Evictions < 10_000 {
				next(f)
			}
			worst := time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				begun := time.Now()
				next(f)
				worst = max(worst, time.Since(begun))
			}
			s := f.c.Stats()
			b.ReportMetric(float64(s.Bytes)/float64(s.Entries), "B/entry")
			b.ReportMetric(float64(worst.Microseconds()), "worst-µs")
		})
	}
}
