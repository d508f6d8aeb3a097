// Package suffix holds an exact trie of domain names in flat memory, for
// look-ups that want every listed name at or above another.
//
// A trie walked from the root label down waits for memory once for each
// label, one wait after the other, and most of its nodes are only there to
// lead to others. Here a node is found by the hash of its whole path from
// the root instead. Only nodes with a value exist; the places where the
// ancestors of a name would be are all known before the first is looked at,
// so that the processor fetches them side by side; and a mask tells at which
// depths there are nodes, so that no other depth is looked at.
//
// A bucket is sixteen octets: twelve tags, each an octet of a node's hash,
// and the address of the nodes' records, which lie together in the order of
// the tags. A name of which nothing is listed is known by its tags not being
// there, and nearly always costs one access for each depth, to an eighth of
// the memory; only where a tag is there, once in thirty times by chance, are
// records read. A record is a name, compared in full, so that a match is
// never a matter of a hash alone, and its value. The common endings of names
// are written as a code of one octet which stands for the value as well.
//
// A name costs less than five octets and its text less its ending. Nothing in a
// bucket or record is a pointer: the garbage collector reads some ten
// kilobytes for a million names. Hashes are keyed with secrets of the trie:
// whoever writes a list, or asks, cannot choose names that collide.
//
// A [Builder] is filled and turned into a [Trie] once. A Trie is immutable and
// safe for any number of readers.
package suffix

import (
	"encoding/binary"
	"math/bits"

	"rideau/resolver/wire"
)

const (
	// slots is how many tags a bucket has.
	slots = 12
	// fill is how many nodes a bucket has on average. At 6 one bucket in a
	// hundred has more than there are slots; at 8, six.
	fill = 6
	// plain in place of the last four tags stands for plain records. No tag
	// has all bits set.
	plain = 0xFFFFFFFF

	blockBits = 14
	blockSize = 1 << blockBits
	// blockTail is how many octets may be read after the last record.
	blockTail = 8
	// An address has 32 bits: a block and an offset in it.
	maxBlocks = 1 << (32 - blockBits)
)

// bucket holds the nodes of one stretch of the hashes' range. Tags are in use
// from the first on; 0 is none.
type bucket struct {
	tags uint64 // slots 0 to 7, the first in the low octet
	more uint32 // slots 8 to 11
	at   uint32 // the records' address
}

// match marks the slots with a tag, which is not 0, by the high bits of their
// octets, for slots 0 to 7 and 8 to 11.
func (b *bucket) match(tag uint8) (lo uint64, hi uint32) {
	const ones, lows = 0x0101010101010101, 0x7F7F7F7F7F7F7F7F
	x := b.tags ^ uint64(tag)*ones
	y := b.more ^ uint32(tag)*(ones&0xFFFFFFFF)
	// An octet's high bit is 0 here if the octet of x is, and only then:
	// nothing carries over from one to the next.
	x |= x&lows + lows
	y |= y&(lows&0xFFFFFFFF) + lows&0xFFFFFFFF
	return ^(x | lows), ^(y | lows&0xFFFFFFFF)
}

// plain reports whether the bucket has plain records. It has no tags then,
// and any node is likely.
func (b *bucket) plain() bool { return b.more == plain }

// used is how many tags are in use.
func (b *bucket) used() int {
	if b.more == 0 {
		return 8 - bits.LeadingZeros64(b.tags)/8
	}
	return 12 - bits.LeadingZeros32(b.more)/8
}

func (b *bucket) setTag(slot int, tag uint8) {
	if slot < 8 {
		b.tags |= uint64(tag) << (8 * slot)
	} else {
		b.more |= uint32(tag) << (8 * (slot - 8))
	}
}

// Trie maps names to values. Get one from [Builder.Trie].
type Trie struct {
	buckets []bucket
	key     key
	depths  [2]uint64 // a bit for each number of labels that a node has
	deepest int
	blocks  []*[blockSize]byte // the records; no bucket's lie in two
	endings []ending           // by code; 0 stands for none
	root    uint16
	nodes   int
}

// Nodes counts the names, the root aside.
func (t *Trie) Nodes() int { return t.nodes }

// Bytes is the memory that the trie holds, in octets.
func (t *Trie) Bytes() int {
	n := len(t.buckets)*16 + len(t.blocks)*(blockSize+8)
	for _, e := range t.endings {
		n += endingLen + len(e.text)
	}
	return n
}

// Match is a look-up of a name: its Next returns what is listed at and above
// it, from the root down. It borrows the name.
type Match struct {
	t     *Trie
	name  *wire.Name
	near  uint64 // depths up to 63 where there may be a node, a bit each
	far   uint64 // depths from 64
	hash  uint64 // of the last of these depths,
	depth int    // which is this
	root  uint16
}

// Match looks up a name. It does not allocate.
func (t *Trie) Match(name *wire.Name) Match {
	path := name.Bytes()
	path = path[:max(len(path)-1, 0)]
	var near, far, hash uint64
	depth := 0
	state, taken := t.key.start, 0
	for k := 1; k <= min(name.Labels(), t.deepest); k++ {
		if t.depths[k>>6]>>(k&63)&1 == 0 {
			continue
		}
		// What key.sum does, but that no block is taken twice.
		end := path[name.SuffixOffset(k):]
		for len(end)-taken > 8 {
			taken += 8
			state = t.key.take(state, end[len(end)-taken:])
		}
		head := uint64(0)
		if len(end) >= 8 {
			head = binary.LittleEndian.Uint64(end)
		} else {
			head = short(end)
		}
		h := t.key.finish(state, head, len(end))
		// No access depends on another, and nothing being there is what the
		// processor comes to expect: it is at the next depth before this
		// one's bucket has come.
		i, _ := bits.Mul64(h, uint64(len(t.buckets)))
		b := &t.buckets[i]
		if lo, hi := b.match(tag(h)); lo|uint64(hi) != 0 || b.plain() {
			hash, depth = h, k
			if k < 64 {
				near |= 1 << k
			} else {
				far |= 1 << (k - 64)
			}
		}
	}
	return Match{t, name, near, far, hash, depth, t.root}
}

// Next returns the next name that is listed: how many labels it has, and its
// value, which is never 0. ok is false if there is no other.
func (m *Match) Next() (labels int, value uint16, ok bool) {
	if m.root != 0 {
		value, m.root = m.root, 0
		return 0, value, true
	}
	for {
		var k int
		switch {
		case m.near != 0:
			k = bits.TrailingZeros64(m.near)
			m.near &= m.near - 1
		case m.far != 0:
			k = bits.TrailingZeros64(m.far) + 64
			m.far &= m.far - 1
		default:
			return 0, 0, false
		}
		path := m.name.Suffix(k)
		path = path[:len(path)-1]
		h := m.hash
		if k != m.depth {
			h = m.t.key.sum(path)
		}
		if v := m.t.find(path, h); v != 0 {
			return k, v, true
		}
	}
}

// The records of a bucket are for each name, in the order of the tags, first
// how long its text is, then the code of its ending, and then the texts. A
// text is the path before the ending; with code 0 the value goes before it.
//
// Plain records are for the few buckets that this does not suit. They are how many
// names there are and for each its length, its value and the path.
//
// All numbers but codes and the lengths of texts take two octets.

// find returns the value of just that path, given with its hash; 0 if it is
// not listed.
func (t *Trie) find(path []byte, h uint64) uint16 {
	i, _ := bits.Mul64(h, uint64(len(t.buckets)))
	b := &t.buckets[i]
	records := t.blocks[b.at>>blockBits][b.at&(blockSize-1):]
	if b.plain() {
		return findPlain(records, path)
	}
	n := b.used()
	lo, hi := b.match(tag(h))
	for lo != 0 || hi != 0 {
		// The sum of the lengths before, without a branch that depends on
		// how many there are. A block goes on for eight octets after the last record.
		var slot, at int
		if lo != 0 {
			slot = bits.TrailingZeros64(lo) >> 3
			lo &= lo - 1
			at = 2*n + sum(binary.LittleEndian.Uint64(records)&(1<<(8*slot)-1))
		} else {
			slot = 8 + bits.TrailingZeros32(hi)>>3
			hi &= hi - 1
			at = 2*n + sum(binary.LittleEndian.Uint64(records)) +
				sum(uint64(binary.LittleEndian.Uint32(records[8:]))&(1<<(8*slot-64)-1))
		}
		text := records[at : at+int(records[slot])]
		e := &t.endings[records[n+slot]]
		value := e.value
		if value == 0 {
			value, text = binary.LittleEndian.Uint16(text), text[2:]
		}
		if len(path) == len(text)+len(e.text) && string(path[:len(text)]) == string(text) && string(path[len(text):]) == e.text {
			return value
		}
	}
	return 0
}

// sum adds up the octets of x.
func sum(x uint64) int {
	const even = 0x00FF00FF00FF00FF
	return int((x&even + x>>8&even) * 0x0001000100010001 >> 48)
}

func findPlain(r, path []byte) uint16 {
	n := binary.LittleEndian.Uint16(r)
	for r = r[2:]; n > 0; n-- {
		end := 4 + int(binary.LittleEndian.Uint16(r))
		if string(r[4:end]) == string(path) {
			return binary.LittleEndian.Uint16(r[2:])
		}
		r = r[end:]
	}
	return 0
}
