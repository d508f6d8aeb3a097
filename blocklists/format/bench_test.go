package format_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"rideau/blocklists/entry"
	"rideau/blocklists/format"
)

// generated returns a plain list of n names, the same each time.
func generated(n int) []byte {
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
	return b.Bytes()
}

func TestPlainAllocations(t *testing.T) {
	count := func(lines int) float64 {
		list := generated(lines)
		var r bytes.Reader
		sum := 0
		add := func(e entry.Entry) error { sum += len(e.Name); return nil }
		return testing.AllocsPerRun(5, func() {
			r.Reset(list)
			stats, err := format.Read(&r, format.Options{File: "list"}, add)
			if err != nil || stats.Entries+stats.Skipped != lines { // some are public suffixes
				t.Fatalf("%d entries of %d, error %v", stats.Entries, lines, err)
			}
		})
	}
	few, many := count(10), count(10_000)
	// About one name in a hundred may be a public suffix, and is looked up.
	if many > few+150 {
		t.Errorf("%v allocations for 10,000 lines, %v for 10: a line allocates", many, few)
	}
}

func benchmark(b *testing.B, f format.Format, list []byte, lines int) {
	var r bytes.Reader
	b.SetBytes(int64(len(list)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(list)
		stats, err := format.Read(&r, format.Options{File: "list", Format: f, MaxSkipped: 0.01}, func(entry.Entry) error { return nil })
		if err != nil || stats.Entries+stats.Skipped != lines { // some are public suffixes
			b.Fatalf("%d entries, error %v", stats.Entries, err)
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mlines/s")
}

func BenchmarkPlain(b *testing.B) {
	const lines = 1_000_000
	benchmark(b, format.Plain, generated(lines), lines)
}

func BenchmarkHosts(b *testing.B) {
	const lines = 100_000
	list := append([]byte("0.0.0.0 "), bytes.ReplaceAll(bytes.TrimSpace(generated(lines)), []byte("\n"), []byte("\n0.0.0.0 "))...)
	benchmark(b, format.Hosts, list, lines)
}

func BenchmarkAdblock(b *testing.B) {
	const lines = 100_000
	list := bytes.ReplaceAll(append([]byte("||"), generated(lines)...), []byte("\n"), []byte("^\n||"))
	benchmark(b, format.Adblock, bytes.TrimSuffix(list, []byte("||")), lines)
}

func BenchmarkRPZ(b *testing.B) {
	const lines = 100_000
	list := bytes.ReplaceAll(generated(lines), []byte("\n"), []byte(" CNAME .\n"))
	list = append([]byte("$TTL 300\n@ SOA localhost. root.localhost. 1 3600 600 86400 300\n"), list...)
	benchmark(b, format.RPZ, list, lines)
}
