// Package suffix holds an exact trie of domain names that contains no
// pointers, for look-ups that want every name of a list at or above another.
//
// Walking a trie from the root label down costs an access to memory for each
// label, each of which has to wait for the one before it. Here the trie is
// flat: a node is found by the hash of its whole path from the root, so that
// the places where all ancestors of a name would be are known at once, and the
// processor fetches them side by side. Only nodes that carry a value exist. A
// mask tells at which depths there are any; no other is looked at.
//
// The nodes' records lie in one run of memory, in the order of their hashes.
// An index cuts it into buckets of two or three: an entry of eight octets is
// where a bucket begins, and six bits of each of its hashes. Nearly all
// look-ups of names that are not there end with that entry; the others, and
// those that find a name, read one bucket, which is one access to memory more.
// A record is a value and a name, and the name is compared in full, so that a
// match is never a matter of hashes alone. A name's last label is a code if it
// is among the first 255 there were. In all a name costs about 7 octets, and
// its labels less the last. Hashes are seeded: whoever writes a list cannot
// choose names that collide.
//
// A [Builder] is filled and turned into a [Trie] once. A Trie is immutable and
// safe for any number of readers.
package suffix

import (
	"encoding/binary"
	"math/bits"

	"rideau/resolver/wire"
)

// entry is a bucket in the index: where its records begin, and above that the
// tags of the first five of them, of six bits each, and whether there are more.
type entry uint64

const (
	// perBucket is how many nodes a bucket has on average, times two. One
	// bucket in 24 has more than five.
	perBucket = 5
	maxTags   = 5
	tagBits   = 6
	tagMask   = 1<<tagBits - 1
	tagShift  = 32
	moreBit   = entry(1) << 63
	// The lowest and the highest bit of each tag.
	tagOnes  = 1 | 1<<6 | 1<<12 | 1<<18 | 1<<24
	tagHighs = tagOnes << (tagBits - 1)
)

func (e entry) start() int { return int(uint32(e)) }

// may reports whether a node with that tag may be in the bucket. A tag that is
// not there passes now and then.
func (e entry) may(tag uint32) bool {
	x := uint32(e>>tagShift)&(1<<30-1) ^ tag*tagOnes
	return (x-tagOnes)&^x&tagHighs != 0 || e&moreBit != 0
}

// place is where a hash's bucket is, and its tag, which is not 0. They are
// made of the hash's opposite ends.
func place(h uint64, buckets int) (i int, tag uint32) {
	hi, _ := bits.Mul64(h, uint64(buckets))
	return int(hi), uint32(h)&0xFFFF*tagMask>>16 + 1
}

// Trie maps names to values. Get one from [Builder.Trie].
type Trie struct {
	index   []entry // one more than there are buckets: each ends where the next begins
	records []byte
	tails   [][]byte
	depths  [2]uint64 // a bit for each number of labels that a node has
	deepest int
	nodes   int
	seed    uint64
	root    uint16
}

// A record is its value in two octets, the code of its last label, the length
// of the labels before that, and these. A code is an index of tails, each the
// last label of some name and the root label after it; tail 0 is the root
// label alone.
const (
	recordHead = 4
	maxTails   = 256
)

// Nodes counts the names, the root aside.
func (t *Trie) Nodes() int { return t.nodes }

// Bytes is the memory that the trie holds, in octets.
func (t *Trie) Bytes() int { return len(t.index)*8 + cap(t.records) }

// Match is a look-up of a name: its Next returns the nodes at and above it,
// from the root down. It borrows the name.
type Match struct {
	t      *Trie
	name   *wire.Name
	maybe  [2]uint64          // depths where there may be a node
	places [keptPlaces]uint32 // their buckets, by depth
	root   uint16
}

// keptPlaces is how many depths' buckets are remembered; of deeper names they
// are looked for again.
const keptPlaces = 16

// Match looks up a name. It does not allocate.
func (t *Trie) Match(name *wire.Name) (m Match) {
	m.t, m.name, m.root = t, name, t.root
	labels := name.Labels()
	h := t.seed
	for k := 1; k <= min(labels, t.deepest); k++ {
		h = hash(h, name.Label(labels-k))
		if t.depths[k>>6]>>(k&63)&1 == 0 {
			continue
		}
		// No access depends on another, and that there is nothing is what
		// the processor comes to expect: it is at the next depth before this
		// one's entry has come.
		i, tag := place(h, len(t.index)-1)
		if t.index[i].may(tag) {
			m.maybe[k>>6] |= 1 << (k & 63)
			m.places[k%keptPlaces] = uint32(i)
		}
	}
	return m
}

// Next returns the next node: how many labels its name has, and its value. ok
// is false if there is none.
func (m *Match) Next() (labels int, value uint16, ok bool) {
	if m.root != 0 {
		value, m.root = m.root, 0
		return 0, value, true
	}
	for w := range m.maybe {
		for m.maybe[w] != 0 {
			k := w<<6 | bits.TrailingZeros64(m.maybe[w])
			m.maybe[w] &= m.maybe[w] - 1
			if v := m.t.find(m.name.Suffix(k), m.place(k)); v != 0 {
				return k, v, true
			}
		}
	}
	return 0, 0, false
}

// place is the bucket for the last k labels.
func (m *Match) place(k int) int {
	labels := m.name.Labels()
	if labels < keptPlaces {
		return int(m.places[k])
	}
	h := m.t.seed
	for i := 1; i <= k; i++ {
		h = hash(h, m.name.Label(labels-i))
	}
	i, _ := place(h, len(m.t.index)-1)
	return i
}

// find returns the value of just that name, of which the bucket is given; 0
// if there is none.
func (t *Trie) find(name []byte, i int) uint16 {
	r := t.records[t.index[i].start():t.index[i+1].start()]
	for len(r) > 0 {
		head := int(r[3])
		end := recordHead + head
		if len(name) > head && string(r[recordHead:end]) == string(name[:head]) && string(t.tails[r[2]]) == string(name[head:]) {
			return binary.LittleEndian.Uint16(r)
		}
		r = r[end:]
	}
	return 0
}

// hash mixes a label into the hash of what comes after it in a name. It reads
// eight octets at a step.
func hash(h uint64, label []byte) uint64 {
	const k0, k1, k2 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3
	h ^= k0
	var a, c uint64
	n := len(label)
	switch {
	case n > 8:
		p := label
		for len(p) > 16 {
			h = mix(binary.LittleEndian.Uint64(p)^k1, binary.LittleEndian.Uint64(p[8:])^h)
			p = p[16:]
		}
		if len(p) >= 8 {
			a, c = binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(label[n-8:])
		} else {
			a, c = binary.LittleEndian.Uint64(label[n-16:]), binary.LittleEndian.Uint64(label[n-8:])
		}
	case n >= 4:
		a = uint64(binary.LittleEndian.Uint32(label))
		c = uint64(binary.LittleEndian.Uint32(label[n-4:]))
	case n > 0:
		a = uint64(label[0])<<16 | uint64(label[n>>1])<<8 | uint64(label[n-1])
	}
	return mix(k2^uint64(n), mix(a^k1, c^h))
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
