// Package suffix holds an exact trie of domain names, read from the root
// label down, that contains no pointers.
//
// The trie's edges live in one flat, open-addressed table: an edge is a
// parent and a label, and the slot in which it lies is the child. A slot
// stores its parent and where its label's octets are, and a look-up compares
// both, so that a match is never a matter of a hash alone. Compared with maps
// or nodes with pointers, a look-up touches two cache lines for each label,
// the garbage collector has nothing to scan, and a name costs about 18
// octets and its labels.
//
// A [Builder] is filled and turned into a [Trie] once. A Trie is immutable and
// safe for any number of readers.
package suffix

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"math/rand/v2"

	"rideau/resolver/wire"
)

// Node is a place in a trie. Root is where every walk begins. Nodes of
// different tries must not be mixed.
type Node uint32

// Root is the root of the name space.
const Root Node = 0

// slot is an edge and the node it leads to. The node's number is the slot's
// index and one, so that zero is the root.
type slot struct {
	parent Node
	label  uint32 // offset of the label's octets in Trie.labels
	value  uint16
	meta   uint16 // 0: empty. Else lenBits of length, the childBit, and a tag of the hash above
}

const (
	lenMask  = 1<<6 - 1
	childBit = 1 << 6
	tagShift = 7

	// loadNumerator over loadDenominator is how full the table is: a miss
	// looks at about five neighbouring slots.
	loadNumerator, loadDenominator = 2, 3
)

// Trie maps names to values. Get one from [Builder.Trie].
type Trie struct {
	slots  []slot
	labels []byte
	seed   uint64
	root   uint16
	nodes  int
}

// Value is what was set for the node's name; 0 if nothing.
func (t *Trie) Value(n Node) uint16 {
	if n == Root {
		return t.root
	}
	return t.slots[n-1].value
}

// Leaf reports whether no name in the trie lies below n.
func (t *Trie) Leaf(n Node) bool {
	return n != Root && t.slots[n-1].meta&childBit == 0
}

// Child follows the edge for label, which is in lower case. ok is false if
// the trie has no name there.
func (t *Trie) Child(n Node, label []byte) (child Node, ok bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	h := hash(t.seed, uint32(n), label)
	want := uint16(h)<<tagShift | uint16(len(label))
	i, _ := bits.Mul64(h, uint64(len(t.slots)))
	for {
		s := &t.slots[i]
		if s.meta == 0 {
			return 0, false
		}
		if s.meta&^childBit == want && s.parent == n &&
			string(t.labels[s.label:s.label+uint32(len(label))]) == string(label) {
			return Node(i + 1), true
		}
		if i++; i == uint64(len(t.slots)) {
			i = 0
		}
	}
}

// Find is the node of just that name.
func (t *Trie) Find(name *wire.Name) (n Node, ok bool) {
	n = Root
	for k := name.Labels() - 1; k >= 0; k-- {
		if n, ok = t.Child(n, name.Label(k)); !ok {
			return Root, false
		}
	}
	return n, true
}

// Deepest walks as far along name as the trie goes and returns the value of
// the last node with one, and how many labels that node's name has. The value is 0
// if there was none.
func (t *Trie) Deepest(name *wire.Name) (value uint16, labels int) {
	n, value := Root, t.root
	for k := 1; k <= name.Labels(); k++ {
		var ok bool
		if n, ok = t.Child(n, name.Label(name.Labels()-k)); !ok {
			break
		}
		if v := t.Value(n); v != 0 {
			value, labels = v, k
		}
		if t.Leaf(n) {
			break
		}
	}
	return value, labels
}

// Nodes counts the nodes, the root aside.
func (t *Trie) Nodes() int { return t.nodes }

// Bytes is the memory that the trie holds, in octets.
func (t *Trie) Bytes() int { return len(t.slots)*12 + cap(t.labels) }

// Builder collects names. The zero value is ready. It is for one goroutine.
type Builder struct {
	parents []uint32 // by node number less one, as are the next three
	offs    []uint32
	lens    []uint8 // length, with childBit
	values  []uint16
	labels  []byte
	table   []uint32 // node numbers by hash of the edge, 0 for none
	seed    uint64
	root    uint16
}

// Errors of Add.
var (
	ErrName = errors.New("suffix: not a wire-form name")
	ErrFull = errors.New("suffix: more than a billion labels, or four gigabytes of them")
)

// Add makes sure that there is a node for the name, given in wire form and
// lower case, and returns it. The node is good for Value and SetValue of this
// Builder only.
func (b *Builder) Add(name []byte) (Node, error) {
	var offs [128]uint8
	k, i := 0, 0
	for {
		if i >= len(name) || i >= wire.MaxName || name[i] > wire.MaxLabel {
			return 0, ErrName
		}
		if name[i] == 0 {
			break
		}
		offs[k] = uint8(i)
		k++
		i += 1 + int(name[i])
	}
	if i+1 != len(name) {
		return 0, ErrName
	}
	n := uint32(0)
	for k--; k >= 0; k-- {
		o := int(offs[k])
		var err error
		if n, err = b.child(n, name[o+1:o+1+int(name[o])]); err != nil {
			return 0, err
		}
	}
	return Node(n), nil
}

// Value is what SetValue set.
func (b *Builder) Value(n Node) uint16 {
	if n == Root {
		return b.root
	}
	return b.values[n-1]
}

// SetValue sets a node's value; 0 is none.
func (b *Builder) SetValue(n Node, v uint16) {
	if n == Root {
		b.root = v
		return
	}
	b.values[n-1] = v
}

// child returns the node of an edge and makes it if need be.
func (b *Builder) child(parent uint32, label []byte) (uint32, error) {
	if len(b.parents)*4 >= len(b.table)*3 {
		b.grow()
	}
	mask := uint64(len(b.table) - 1)
	i := hash(b.seed, parent, label) & mask
	for ; b.table[i] != 0; i = (i + 1) & mask {
		n := b.table[i] - 1
		o, l := b.offs[n], int(b.lens[n]&lenMask)
		if b.parents[n] == parent && string(b.labels[o:int(o)+l]) == string(label) {
			return n + 1, nil
		}
	}
	if uint64(len(b.labels)+len(label)) > 1<<32-1 || len(b.parents) >= 1<<30 {
		return 0, ErrFull
	}
	b.parents = append(b.parents, parent)
	b.offs = append(b.offs, uint32(len(b.labels)))
	b.lens = append(b.lens, uint8(len(label)))
	b.values = append(b.values, 0)
	b.labels = append(b.labels, label...)
	b.table[i] = uint32(len(b.parents))
	if parent != 0 {
		b.lens[parent-1] |= childBit
	}
	return b.table[i], nil
}

func (b *Builder) grow() {
	if len(b.table) == 0 {
		b.seed = rand.Uint64()
	}
	b.table = make([]uint32, max(256, 2*len(b.table)))
	mask := uint64(len(b.table) - 1)
	for n := range b.parents {
		i := b.edgeHash(n, b.parents[n]) & mask
		for b.table[i] != 0 {
			i = (i + 1) & mask
		}
		b.table[i] = uint32(n + 1)
	}
}

func (b *Builder) edgeHash(n int, parent uint32) uint64 {
	o, l := int(b.offs[n]), int(b.lens[n]&lenMask)
	return hash(b.seed, parent, b.labels[o:o+l])
}

// Trie makes the trie of what was added. The Builder is empty afterwards.
func (b *Builder) Trie() *Trie {
	t := &Trie{seed: b.seed, root: b.root, nodes: len(b.parents)}
	b.table = nil
	t.labels = append(make([]byte, 0, len(b.labels)), b.labels...)
	if t.nodes > 0 {
		t.slots = make([]slot, t.nodes*loadDenominator/loadNumerator+1)
	}
	size := uint64(len(t.slots))
	for n := range b.parents {
		parent := b.parents[n]
		if parent != 0 {
			parent = b.parents[parent-1] // a parent is older: it has its slot, and left its number here
		}
		h := b.edgeHash(n, parent)
		i, _ := bits.Mul64(h, size)
		for t.slots[i].meta != 0 {
			if i++; i == size {
				i = 0
			}
		}
		t.slots[i] = slot{Node(parent), b.offs[n], b.values[n],
			uint16(h)<<tagShift | uint16(b.lens[n])}
		b.parents[n] = uint32(i + 1)
	}
	*b = Builder{}
	return t
}

// hash mixes an edge. It reads eight octets at a step; seed keeps whoever
// writes a list from choosing names that collide.
func hash(seed uint64, parent uint32, label []byte) uint64 {
	const k0, k1, k2 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3
	h := seed ^ uint64(parent)*k0
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
