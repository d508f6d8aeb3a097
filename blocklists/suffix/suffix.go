// Package suffix has an exact trie of domain names in flat memory, for
// look-ups that return every listed name at or above another.
//
// A walk from the root label down waits for memory once for each
// label, one wait after the other, and most nodes only lead to others.
// Here a node is found by the hash of its whole path from
// the root instead. Only nodes with a value exist. The places where the
// ancestors of a name would be are all known before the first is read,
// so the processor fetches them in parallel. A mask says at which
// depths there are nodes, and no other depth is read.
//
// A bucket is sixteen octets: twelve tags, each an octet of a node's hash,
// and the address of the nodes' records, which are stored together in the order of
// the tags. If nothing is listed at or above a name, its tags are absent,
// and the look-up nearly always costs one access for each depth, to an eighth of
// the memory. Records are read only if a tag is present, which happens by chance once in
// thirty times. A record is a name, compared in full, so a match
// never depends on a hash only, and its value. The common endings of names
// are written as a code of one octet, which stands for the value, too.
//
// A name takes less than five octets and its text without its ending. Buckets and
// records have no pointers: the garbage collector reads about ten
// kilobytes for a million names. Hashes are keyed with secrets of the trie:
// neither the author of a list nor a client can choose names that collide.
//
// A [Builder] collects names and makes one [Trie] of them. A Trie is immutable and
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
	// fill is how many nodes a bucket has on average. With 6, one bucket in a
	// hundred has more nodes than slots; with 8, six in a hundred.
	fill = 6
	// plain instead of the last four tags marks plain records. No tag
	// has all bits set.
	plain = 0xFFFFFFFF

	blockBits = 14
	blockSize = 1 << blockBits
	// blockTail is how many octets may be read after the last record.
	blockTail = 8
	// An address has 32 bits: a block and an offset in it.
	maxBlocks = 1 << (32 - blockBits)
)

// bucket has the nodes whose hashes are in one part of the range of hashes. Slots are used
// from the first on; the tag 0 is an unused slot.
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
	// An octet's high bit is 0 here if the octet of x is 0, and only then:
	// nothing carries over from one octet to the next.
	x |= x&lows + lows
	y |= y&(lows&0xFFFFFFFF) + lows&0xFFFFFFFF
	return ^(x | lows), ^(y | lows&0xFFFFFFFF)
}

// plain reports whether the bucket has plain records. It has no tags then,
// and may have any node.
func (b *bucket) plain() bool { return b.more == plain }

// used returns how many slots are used.
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

// Trie maps names to values. [Builder.Trie] makes it.
type Trie struct {
	buckets []bucket
	key     key
	depths  [2]uint64 // a bit for each number of labels that a node has
	deepest int
	blocks  []*[blockSize]byte // the records; those of one bucket are in one block
	endings []ending           // by code; 0 stands for none
	root    uint16
	nodes   int
}

// Nodes returns the number of names without the root.
func (t *Trie) Nodes() int { return t.nodes }

// Bytes returns the memory of the trie, in octets.
func (t *Trie) Bytes() int {
	n := len(t.buckets)*16 + len(t.blocks)*(blockSize+8)
	for _, e := range t.endings {
		n += endingLen + len(e.text)
	}
	return n
}

// Match is a look-up of a name: Next returns what is listed at and above
// it, from the root down. It refers to the name, which must not change meanwhile.
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
		// This computes key.sum of each suffix, and reads each block once.
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
		// No access depends on another, and the processor learns to predict that
		// nothing is listed: it works on the next depth before the bucket of this
		// one has arrived.
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

// The records of a bucket are, in the order of the tags, the lengths of all texts,
// then the codes of all endings, and then the texts. A
// text is the path before the ending; with code 0 the value stands before it.
//
// Plain records are for the few buckets that do not fit this format. They are the number of
// names, and for each its length, its value and the path.
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
		// The sum of the lengths before this one, without a branch that depends on
		// their number. A block continues for eight octets after the last record.
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

// sum returns the sum of the octets of x.
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
