package device_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"rideau/resolver/device"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// client is the nth client.
func client(n int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x0A000000+uint32(n))))
}

func expect(t *testing.T, table *device.Table, now time.Time, want ...device.Group) {
	t.Helper()
	if got := table.Groups(now); !slices.Equal(got, want) {
		t.Errorf("at %v: %+v, want %+v", now, got, want)
	}
}

func TestTable(t *testing.T) {
	table := device.New(device.Options{})
	expect(t, table, noon)
	for i, c := range []struct {
		group  string
		client string
		after  time.Duration
		want   bool
	}{
		{"mobile", "10.0.0.1", 0, true},
		{"mobile", "10.0.0.1", time.Second, false},
		{"mobile", "::ffff:10.0.0.1", 2 * time.Second, false}, // the same
		{"mobile", "2001:db8::1%eth0", 2 * time.Second, true},
		{"mobile", "2001:db8::1", 3 * time.Second, false},
		{"all", "10.0.0.1", 4 * time.Second, true}, // it moved
		{"mobile", "10.0.0.1", time.Hour - time.Second, false},
		{"mobile", "10.0.0.1", time.Hour, true}, // an hour after the first
		{"mobile", "10.0.0.1", time.Hour + time.Minute, false},
		{"mobile", "10.0.0.1", 0, false}, // a time out of order
		{"mobile", "10.0.0.1", 2 * time.Hour, true},
	} {
		if got := table.Seen(c.group, netip.MustParseAddr(c.client), noon.Add(c.after)); got != c.want {
			t.Errorf("%d: %+v: %v", i, c, got)
		}
	}
	all, mobile := device.Group{Group: "all", Attempts: 1, Devices: 1}, device.Group{Group: "mobile", Attempts: 10, Devices: 2}
	expect(t, table, noon.Add(2*time.Hour), all, mobile)
	expect(t, table, noon.Add(24*time.Hour+2*time.Second), all, mobile)
	mobile.Devices = 1
	expect(t, table, noon.Add(24*time.Hour+3*time.Second), all, mobile)
	all.Devices = 0
	expect(t, table, noon.Add(24*time.Hour+4*time.Second), all, mobile)
	expect(t, table, noon.Add(26*time.Hour-time.Second), all, mobile)
	mobile.Devices = 0
	expect(t, table, noon.Add(26*time.Hour), all, mobile)
	if !table.Seen("mobile", netip.MustParseAddr("10.0.0.1"), noon.Add(27*time.Hour)) {
		t.Error("a device that comes back is not reported")
	}
	mobile = device.Group{Group: "mobile", Attempts: 11, Devices: 1}
	expect(t, table, noon.Add(27*time.Hour), all, mobile)
}

// A device that comes back after the window counts once, whether or not Groups
// was called in between.
func TestReturn(t *testing.T) {
	table := device.New(device.Options{Window: time.Minute})
	for i := range 5 {
		at := noon.Add(time.Duration(i) * time.Hour)
		if !table.Seen("all", client(1), at) {
			t.Errorf("return %d is not reported", i)
		}
		expect(t, table, at, device.Group{Group: "all", Attempts: uint64(2*i + 1), Devices: 1})
		table.Seen("all", client(1), at.Add(30*time.Second))
		if i%2 == 0 {
			expect(t, table, at.Add(90*time.Second), device.Group{Group: "all", Attempts: uint64(2*i + 2)})
		}
	}
}

// A clock that was years ahead for a while neither keeps devices for years nor
// silences them.
func TestClockSetBack(t *testing.T) {
	table := device.New(device.Options{MaxDevices: 3})
	for n := range 3 {
		table.Seen("all", client(n), noon.AddDate(10, 0, 0))
	}
	if !table.Seen("all", client(0), noon) || table.Seen("all", client(0), noon.Add(time.Minute)) {
		t.Error("a known device is not reported once")
	}
	if !table.Seen("all", client(7), noon) {
		t.Error("devices of the future fill the table")
	}
	expect(t, table, noon.Add(time.Minute), device.Group{Group: "all", Attempts: 6, Devices: 2})
}

func TestBounds(t *testing.T) {
	const most, extra = 1000, 500
	table := device.New(device.Options{MaxDevices: most, MaxTotal: 1 << 20})
	reported := 0
	for n := range most + extra {
		if table.Seen("all", client(n), noon) {
			reported++
		}
	}
	full := device.Group{Group: "all", Attempts: most + extra, Devices: most, Overflow: extra}
	expect(t, table, noon, full)
	if reported != most {
		t.Errorf("%d are reported", reported)
	}
	// Known devices stay known, and other groups have a bound of their own.
	if table.Seen("all", client(0), noon.Add(time.Minute)) || !table.Seen("mobile", client(0), noon) {
		t.Error("the bound of one group touches what it should not")
	}
	// Entries that have expired make space.
	later := noon.Add(24*time.Hour + 30*time.Second)
	reported = 0
	for n := range extra {
		if table.Seen("all", client(most+n), later) {
			reported++
		}
	}
	if reported != extra {
		t.Errorf("%d of %d new ones are reported after a day", reported, extra)
	}
	full.Attempts, full.Devices = full.Attempts+1+extra, extra+1
	expect(t, table, later, full, device.Group{Group: "mobile", Attempts: 1})
}

// However many groups and clients come, the table stays within its bounds.
func TestBoundsInAll(t *testing.T) {
	table := device.New(device.Options{MaxDevices: 100, MaxTotal: 320, MaxGroups: 4})
	for g := range 10 {
		for n := range 200 {
			table.Seen(fmt.Sprint("g", g), client(n), noon)
		}
	}
	devices, attempts, overflow := 0, uint64(0), uint64(0)
	var ids []string
	for _, g := range table.Groups(noon) {
		ids = append(ids, g.Group)
		devices, attempts, overflow = devices+g.Devices, attempts+g.Attempts, overflow+g.Overflow
		if g.Devices > 100 {
			t.Errorf("%+v", g)
		}
	}
	if want := []string{"g0", "g1", "g2", "g3", device.OtherGroups}; !slices.Equal(ids, want) {
		t.Errorf("groups %q, want %q", ids, want)
	}
	if devices > 320 || attempts != 2000 || overflow == 0 || overflow > attempts {
		t.Errorf("%d devices, %d attempts, %d overflow", devices, attempts, overflow)
	}
}

// The table against a list of all attempts.
func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	table := device.New(device.Options{Window: 50 * time.Second, Quiet: 10 * time.Second})
	type entry struct {
		group string
		n     int
	}
	last, reported := map[entry]int{}, map[entry]int{}
	attempts := map[string]uint64{}
	now := 0
	for range 20_000 {
		now += rng.IntN(2)
		w := entry{[]string{"a", "b"}[rng.IntN(2)], rng.IntN(200)}
		before, known := last[w]
		want := !known || now-before >= 50 || now-reported[w] >= 10
		if want {
			reported[w] = now
		}
		last[w] = now
		attempts[w.group]++
		at := noon.Add(time.Duration(now) * time.Second)
		if got := table.Seen(w.group, client(w.n), at); got != want {
			t.Fatalf("%v at %d: %v, want %v", w, now, got, want)
		}
		if rng.IntN(50) > 0 {
			continue
		}
		live := map[string]int{}
		for w, at := range last {
			if now-at < 50 {
				live[w.group]++
			}
		}
		for _, g := range table.Groups(at) {
			if g.Devices != live[g.Group] || g.Attempts != attempts[g.Group] || g.Overflow != 0 {
				t.Fatalf("at %d: %+v, want %d devices, %d attempts", now, g, live[g.Group], attempts[g.Group])
			}
		}
	}
}

func TestConcurrent(t *testing.T) {
	const workers, each = 8, 2000
	table := device.New(device.Options{MaxDevices: 1 << 16})
	var wg sync.WaitGroup
	var mu sync.Mutex
	reported := 0
	for w := range workers {
		wg.Go(func() {
			n := 0
			for i := range each {
				if table.Seen([]string{"a", "b", "c"}[i%3], client(i), noon) {
					n++
				}
				if i%500 == w {
					table.Groups(noon)
				}
			}
			mu.Lock()
			reported += n
			mu.Unlock()
		})
	}
	wg.Wait()
	devices, attempts := 0, uint64(0)
	for _, g := range table.Groups(noon) {
		devices, attempts = devices+g.Devices, attempts+g.Attempts
	}
	if reported != each || devices != each || attempts != workers*each {
		t.Errorf("%d reported, %d devices, %d attempts", reported, devices, attempts)
	}
}

func TestNoAllocations(t *testing.T) {
	table := device.New(device.Options{})
	a := client(1)
	table.Seen("all", a, noon)
	if n := testing.AllocsPerRun(1000, func() { table.Seen("all", a, noon) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSeen(b *testing.B) {
	table := device.New(device.Options{})
	clients := make([]netip.Addr, 1<<12)
	for i := range clients {
		clients[i] = client(i)
	}
	i := 0
	for b.Loop() {
		table.Seen("all", clients[i%len(clients)], noon)
		i++
	}
}
