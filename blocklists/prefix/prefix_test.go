package prefix_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"rideau/blocklists/prefix"
)

func TestTable(t *testing.T) {
	var entries []prefix.Entry
	for i, p := range []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "255.255.255.255/32",
		"2001:db8::/32", "::/0", "ffff::/16", "::ffff:192.0.2.0/120", "10.0.0.0/16"} {
		entries = append(entries, prefix.Entry{Prefix: netip.MustParsePrefix(p), Value: uint32(i + 1)})
	}
	table := prefix.New(entries)
	for a, want := range map[string]uint32{
		"10.2.0.0": 1, "10.1.255.255": 2, "10.1.2.3": 3, "10.1.2.4": 2, "9.255.255.255": 4, "11.0.0.0": 4,
		"255.255.255.255": 5, "255.255.255.254": 4, "2001:db8:1::": 6, "2001:db9::": 7, "ffff::1": 8,
		"192.0.2.7": 9, "::ffff:192.0.2.7": 9, "10.0.3.4": 10, "fe80::1%eth0": 7,
	} {
		if got := table.Lookup(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %d, want %d", a, got, want)
		}
	}
	if got := table.Lookup(netip.Addr{}); got != 0 {
		t.Errorf("no address: %d", got)
	}
	if got := new(prefix.Table).Lookup(netip.MustParseAddr("::1")); got != 0 {
		t.Errorf("empty table: %d", got)
	}
}

// TestAgainstScan compares random tables with a comparison with every prefix.
func TestAgainstScan(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	addr := func(six bool) netip.Addr {
		// few distinct octets, so that prefixes nest and touch
		pick := func() byte { return [...]byte{0, 1, 127, 128, 254, 255}[r.IntN(6)] }
		if six {
			var b [16]byte
			for _, i := range [...]int{0, 7, 8, 15} {
				b[i] = pick()
			}
			b[1] = 1 // never IPv4-mapped
			return netip.AddrFrom16(b)
		}
		return netip.AddrFrom4([4]byte{pick(), pick(), pick(), pick()})
	}
	for round := range 300 {
		six := round%2 == 1
		entries := make([]prefix.Entry, r.IntN(20))
		for i := range entries {
			a := addr(six)
			p, err := a.Prefix(r.IntN(a.BitLen() + 1))
			if err != nil {
				t.Fatal(err)
			}
			entries[i] = prefix.Entry{Prefix: p, Value: uint32(r.IntN(5))}
		}
		model := append([]prefix.Entry(nil), entries...)
		table := prefix.New(entries)
		for range 300 {
			a := addr(six)
			var want uint32
			best := -1
			for _, e := range model {
				if e.Prefix.Contains(a) && e.Prefix.Bits() >= best {
					want, best = e.Value, e.Prefix.Bits()
				}
			}
			if got := table.Lookup(a); got != want {
				t.Fatalf("%v in %v: %d, want %d", a, model, got, want)
			}
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	table := prefix.New([]prefix.Entry{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Value: 1}})
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() { table.Lookup(a); table.Lookup(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	entries := make([]prefix.Entry, 1000)
	for i := range entries {
		p, _ := netip.AddrFrom4([4]byte{10, byte(r.Uint32()), byte(r.Uint32()), 0}).Prefix(24)
		entries[i] = prefix.Entry{Prefix: p, Value: 1}
	}
	table := prefix.New(entries)
	a := netip.MustParseAddr("10.20.30.40")
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(a)
	}
}

// TestEmpty: only a table of no entries is empty.
func TestEmpty(t *testing.T) {
	if !prefix.New(nil).Empty() || !new(prefix.Table).Empty() {
		t.Error("a table of no entries is not empty")
	}
	for _, p := range []string{"192.0.2.1/32", "2001:db8::/32"} {
		if prefix.New([]prefix.Entry{{Prefix: netip.MustParsePrefix(p), Value: 1}}).Empty() {
			t.Errorf("a table of %s is empty", p)
		}
	}
}
