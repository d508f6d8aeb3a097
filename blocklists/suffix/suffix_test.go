package suffix_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"rideau/blocklists/suffix"
	"rideau/resolver/wire"
)

func name(t testing.TB, text string) *wire.Name {
	t.Helper()
	n := new(wire.Name)
	if err := n.SetText(text); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTrie(t *testing.T) {
	var b suffix.Builder
	for i, s := range []string{"wechat.com", "com", "a.b.wechat.com", "."} {
		n, err := b.Add(name(t, s).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		b.SetValue(n, uint16(i+1))
	}
	trie := b.Trie()
	for _, c := range []struct {
		name          string
		value, labels int
	}{
		{"wechat.com", 1, 2}, {"x.wechat.com", 1, 2}, {"b.wechat.com", 1, 2}, {"a.b.wechat.com", 3, 4},
		{"z.a.b.wechat.com", 3, 4}, {"notwechat.com", 2, 1}, {"example.ca", 4, 0}, {".", 4, 0},
	} {
		if v, l := trie.Deepest(name(t, c.name)); int(v) != c.value || l != c.labels {
			t.Errorf("%s: value %d at %d labels, want %d at %d", c.name, v, l, c.value, c.labels)
		}
	}
	if n, ok := trie.Find(name(t, "b.wechat.com")); !ok || trie.Value(n) != 0 || trie.Leaf(n) {
		t.Error("b.wechat.com is a node without value that has a child")
	}
	if _, ok := trie.Find(name(t, "c.wechat.com")); ok {
		t.Error("c.wechat.com is no node")
	}
	for _, bad := range [][]byte{nil, {}, {3, 'a'}, {1, 'a'}, {1, 'a', 0, 0}, {64}, bytes.Repeat([]byte{1, 'a'}, 200)} {
		if _, err := b.Add(bad); err == nil {
			t.Errorf("%x added", bad)
		}
	}
}

func TestEmptyTrie(t *testing.T) {
	trie := new(suffix.Builder).Trie()
	if v, l := trie.Deepest(name(t, "a.b")); v != 0 || l != 0 {
		t.Error(v, l)
	}
	if _, ok := trie.Find(name(t, "a")); ok {
		t.Error("found")
	}
}

// FuzzTrie holds the trie against a map.
func FuzzTrie(f *testing.F) {
	f.Add("a.b c.b b x.a.b", "a.b x.c.b d")
	f.Fuzz(func(t *testing.T, added, asked string) {
		var b suffix.Builder
		model := map[string]uint16{}
		for i, s := range strings.Fields(added) {
			var n wire.Name
			if n.SetText(s) != nil {
				continue
			}
			node, err := b.Add(n.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if b.Value(node) != model[string(n.Bytes())] {
				t.Fatalf("%s: %d", s, b.Value(node))
			}
			v := uint16(i%60000 + 1)
			b.SetValue(node, v)
			model[string(n.Bytes())] = v
		}
		trie := b.Trie()
		for _, s := range strings.Fields(added + " " + asked) {
			var n wire.Name
			if n.SetText(s) != nil {
				continue
			}
			var want uint16
			labels := 0
			for k := 0; k <= n.Labels(); k++ {
				if v := model[string(n.Suffix(k))]; v != 0 {
					want, labels = v, k
				}
			}
			if v, l := trie.Deepest(&n); v != want || l != labels {
				t.Fatalf("%q: %d at %d, want %d at %d", s, v, l, want, labels)
			}
		}
	})
}

// generated makes the i-th name of a list that looks like the large ones in
// use: mostly two and three labels, some deep, few endings.
func generated(r *rand.Rand, i int) string {
	tlds := [...]string{"com", "net", "org", "xyz", "top", "ru", "co.uk", "com.br", "info", "io"}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	label := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return string(b)
	}
	s := fmt.Sprintf("%s%x.%s", label(3+r.IntN(9)), i, tlds[r.IntN(len(tlds))])
	switch r.IntN(10) {
	case 0, 1, 2:
		s = label(1+r.IntN(8)) + "." + s
	case 3:
		s = label(2) + "." + label(5) + "." + s
	}
	return s
}

func build(b testing.TB, size int) (*suffix.Trie, []wire.Name) {
	r := rand.New(rand.NewPCG(1, uint64(size)))
	var bl suffix.Builder
	var sample []wire.Name
	for i := range size {
		n := name(b, generated(r, i))
		node, err := bl.Add(n.Bytes())
		if err != nil {
			b.Fatal(err)
		}
		bl.SetValue(node, 1)
		if i%max(1, size/(1<<16)) == 0 {
			sample = append(sample, *n)
		}
	}
	r.Shuffle(len(sample), func(i, j int) { sample[i], sample[j] = sample[j], sample[i] })
	return bl.Trie(), sample
}

func BenchmarkLookup(b *testing.B) {
	for _, size := range []int{1, 1000, 1_000_000} {
		trie, hits := build(b, size)
		r := rand.New(rand.NewPCG(9, 9))
		misses := make([]wire.Name, 1<<16)
		for i := range misses {
			misses[i] = *name(b, generated(r, i)+".")
		}
		// The names lie in one run of memory and are read in order, so that
		// what is measured is the trie's misses and not the sample's.
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
					trie.Deepest(&n)
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
		runtime.GC()
		runtime.ReadMemStats(&before)
		var bl suffix.Builder
		for _, n := range names {
			node, err := bl.Add(n)
			if err != nil {
				b.Fatal(err)
			}
			bl.SetValue(node, 1)
		}
		trie := bl.Trie()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/size, "bytes/name")
		b.ReportMetric(float64(trie.Nodes())/size, "nodes/name")
		runtime.KeepAlive(trie)
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	trie, names := build(t, 1000)
	if n := testing.AllocsPerRun(100, func() { trie.Deepest(&names[0]); trie.Find(&names[1]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
