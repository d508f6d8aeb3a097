package suffix_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
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

// finish returns a trie in which the last value of a name counts.
func finish(t testing.TB, b *suffix.Builder) *suffix.Trie {
	t.Helper()
	trie, err := b.Trie(func(_, b uint16) (uint16, error) { return b, nil })
	if err != nil {
		t.Fatal(err)
	}
	return trie
}

// deepest returns the last of a name's nodes.
func deepest(t *suffix.Trie, n *wire.Name) (value uint16, labels int) {
	m := t.Match(n)
	for {
		l, v, ok := m.Next()
		if !ok {
			return value, labels
		}
		if v != 0 {
			value, labels = v, l
		}
	}
}

func TestTrie(t *testing.T) {
	var b suffix.Builder
	for i, s := range []string{"wechat.com", "com", "a.b.wechat.com", "."} {
		if err := b.Add(name(t, s).Bytes(), uint16(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	trie := finish(t, &b)
	for _, c := range []struct {
		name          string
		value, labels int
	}{
		{"wechat.com", 1, 2}, {"x.wechat.com", 1, 2}, {"b.wechat.com", 1, 2}, {"a.b.wechat.com", 3, 4},
		{"z.a.b.wechat.com", 3, 4}, {"notwechat.com", 2, 1}, {"example.ca", 4, 0}, {".", 4, 0},
	} {
		if v, l := deepest(trie, name(t, c.name)); int(v) != c.value || l != c.labels {
			t.Errorf("%s: value %d at %d labels, want %d at %d", c.name, v, l, c.value, c.labels)
		}
	}
	for _, bad := range [][]byte{nil, {}, {3, 'a'}, {1, 'a'}, {1, 'a', 0, 0}, {64}, bytes.Repeat([]byte{1, 'a'}, 200)} {
		if err := b.Add(bad, 1); err == nil {
			t.Errorf("%x added", bad)
		}
	}
}

func TestEmptyTrie(t *testing.T) {
	trie := finish(t, new(suffix.Builder))
	if v, l := deepest(trie, name(t, "a.b")); v != 0 || l != 0 {
		t.Error(v, l)
	}
}

// FuzzTrie compares the trie with a map.
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
			v := uint16(i%60000 + 1)
			if err := b.Add(n.Bytes(), v); err != nil {
				t.Fatal(err)
			}
			model[string(n.Bytes())] = v
		}
		trie := finish(t, &b)
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
			if v, l := deepest(trie, &n); v != want || l != labels {
				t.Fatalf("%q: %d at %d, want %d at %d", s, v, l, want, labels)
			}
		}
	})
}

// generated returns the i-th name of a list that looks like the large ones in
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
		if err := bl.Add(n.Bytes(), 1); err != nil {
			b.Fatal(err)
		}
		if i%max(1, size/(1<<16)) == 0 {
			sample = append(sample, *n)
		}
	}
	r.Shuffle(len(sample), func(i, j int) { sample[i], sample[j] = sample[j], sample[i] })
	return finish(b, &bl), sample
}

func TestLookupDoesNotAllocate(t *testing.T) {
	trie, names := build(t, 1000)
	if n := testing.AllocsPerRun(100, func() { deepest(trie, &names[0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestModel compares tries of random names with a map: many names in few
// labels, deep names, long ones, octets of all kinds, names that were added
// again, and look-ups far from the lists.
func TestModel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{0, 1, 2, 40, 3000, 60_000} {
		labels := make([][]byte, 2+size/8)
		for i := range labels {
			l := make([]byte, 1+r.IntN(1+r.IntN(63)))
			for j := range l {
				l[j] = byte(r.IntN(256))
				if l[j] >= 'A' && l[j] <= 'Z' {
					l[j] |= 0x20
				}
			}
			labels[i] = l
		}
		random := func() []byte {
			depth := 1 + r.IntN(5)
			if r.IntN(50) == 0 {
				depth = r.IntN(128)
			}
			var w []byte
			for len(w) < 250 && depth > 0 {
				l := labels[r.IntN(len(labels))]
				if depth > 8 {
					l = l[:1]
				}
				if len(w)+1+len(l) > 254 {
					break
				}
				w = append(append([]byte{byte(len(l))}, l...), w...)
				depth--
			}
			return append(w, 0)
		}
		var b suffix.Builder
		model, all := map[string]uint16{}, [][]byte{}
		for range size {
			w := random()
			if len(all) > 0 && r.IntN(10) == 0 {
				w = all[r.IntN(len(all))] // once more
			}
			v := uint16(1 + r.IntN(65535))
			if err := b.Add(w, v); err != nil {
				t.Fatal(err)
			}
			model[string(w)] ^= v
			if model[string(w)] == 0 {
				model[string(w)] = v
			}
			all = append(all, w)
		}
		trie, err := b.Trie(func(a, b uint16) (uint16, error) {
			if a == b {
				return b, nil
			}
			return a ^ b, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		names := len(model)
		if _, ok := model["\x00"]; ok {
			names--
		}
		if trie.Nodes() != names {
			t.Errorf("%d nodes, want %d", trie.Nodes(), names)
		}
		for i := range 2*size + 100 {
			w := random()
			if i < len(all) {
				w = all[i]
				if r.IntN(2) == 0 && len(w) < 200 {
					w = append([]byte("\x03www"), w...)
				}
			}
			var n wire.Name
			if err := n.Set(w); err != nil {
				t.Fatal(err)
			}
			m := trie.Match(&n)
			for k := 0; k <= n.Labels(); k++ {
				want := model[string(n.Suffix(k))]
				if want == 0 {
					continue
				}
				if l, v, ok := m.Next(); !ok || l != k || v != want {
					t.Fatalf("size %d, %x: got %d at %d, %v, want %d at %d", size, w, v, l, ok, want, k)
				}
			}
			if l, v, ok := m.Next(); ok {
				t.Fatalf("size %d, %x: %d at %d, and nothing is there", size, w, v, l)
			}
		}
	}
}

// If merge fails, Trie fails, and the Builder can be used again.
func TestMergeFails(t *testing.T) {
	var b suffix.Builder
	for range 2 {
		if err := b.Add(name(t, "a.example").Bytes(), 1); err != nil {
			t.Fatal(err)
		}
	}
	no := errors.New("no")
	if _, err := b.Trie(func(a, b uint16) (uint16, error) { return 0, no }); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
	if n := finish(t, &b).Nodes(); n != 0 {
		t.Errorf("%d nodes", n)
	}
	if err := b.Add(name(t, "a.example").Bytes(), 0); err == nil {
		t.Error("value 0 was taken")
	}
}

// More last labels than there are codes.
func TestManyLastLabels(t *testing.T) {
	var b suffix.Builder
	const n = 2000
	for i := range n {
		if err := b.Add(name(t, fmt.Sprintf("a.tld%d", i)).Bytes(), uint16(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	trie := finish(t, &b)
	for i := range n {
		if v, l := deepest(trie, name(t, fmt.Sprintf("x.a.tld%d", i))); v != uint16(i+1) || l != 2 {
			t.Fatalf("tld%d: %d at %d", i, v, l)
		}
		if v, _ := deepest(trie, name(t, fmt.Sprintf("b.tld%d", i))); v != 0 {
			t.Fatalf("b.tld%d: %d", i, v)
		}
	}
}

// The longest names, with and without a code for their endings, alone and
// where many share a part of the hashes' range.
func TestLongNames(t *testing.T) {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	var long [][]byte
	for i := range len(letters) {
		deep := bytes.Repeat([]byte{1, letters[i]}, 127)
		wide := bytes.Repeat(append([]byte{63}, bytes.Repeat([]byte{letters[i]}, 63)...), 4)[:192]
		wide = append(append([]byte{61}, bytes.Repeat([]byte{letters[i]}, 61)...), wide...)
		long = append(long, append(deep, 0), append(wide, 0))
	}
	for _, n := range []int{1, 2, len(long)} {
		var b suffix.Builder
		for i, w := range long[:n] {
			if err := b.Add(w, uint16(i+1)); err != nil {
				t.Fatalf("%d octets: %v", len(w), err)
			}
		}
		trie := finish(t, &b)
		for i, w := range long {
			var name wire.Name
			if err := name.Set(w); err != nil {
				t.Fatal(err)
			}
			v, l := deepest(trie, &name)
			if i >= n && v != 0 || i < n && (int(v) != i+1 || l != name.Labels()) {
				t.Errorf("%d of %d: value %d at %d labels", i, n, v, l)
			}
			if err := name.Set(w[1+w[0]:]); err != nil {
				t.Fatal(err)
			}
			if v, l := deepest(trie, &name); v != 0 {
				t.Errorf("%d of %d: the name above has value %d at %d labels", i, n, v, l)
			}
		}
	}
}

// Names that were added many times, so that most parts of the
// builder have no name.
func TestManyTimes(t *testing.T) {
	var b suffix.Builder
	const names, times = 50, 2000
	for i := range names * times {
		if err := b.Add(name(t, fmt.Sprintf("x%d.example.com", i%names)).Bytes(), uint16(i/names+1)); err != nil {
			t.Fatal(err)
		}
	}
	trie := finish(t, &b)
	if trie.Nodes() != names {
		t.Errorf("%d nodes, want %d", trie.Nodes(), names)
	}
	for i := range names {
		if v, l := deepest(trie, name(t, fmt.Sprintf("www.x%d.example.com", i))); v != times || l != 3 {
			t.Errorf("x%d: %d at %d", i, v, l)
		}
	}
	if trie.Bytes() > 64<<10 {
		t.Errorf("%d octets", trie.Bytes())
	}
}

// What merge makes 0 is not listed.
func TestMergeDrops(t *testing.T) {
	var b suffix.Builder
	for _, s := range []string{"a.example", "b.a.example", "a.example"} {
		if err := b.Add(name(t, s).Bytes(), 3); err != nil {
			t.Fatal(err)
		}
	}
	trie, err := b.Trie(func(a, b uint16) (uint16, error) { return a ^ b, nil })
	if err != nil {
		t.Fatal(err)
	}
	if v, l := deepest(trie, name(t, "x.b.a.example")); v != 3 || l != 3 {
		t.Errorf("%d at %d", v, l)
	}
	if v, _ := deepest(trie, name(t, "a.example")); v != 0 {
		t.Errorf("a.example has value %d", v)
	}
}
