package suffix

import (
	"errors"

	"rideau/resolver/wire"
)

// Errors of Add, and of Trie.
var (
	ErrName  = errors.New("suffix: not a wire-form name")
	ErrFull  = errors.New("suffix: the names take more than three gigabytes")
	ErrValue = errors.New("suffix: value 0 means that there is no name")
)

// recordMost is how many octets a record can take beside its name, and recordValue how many
// its value takes if it has no code.
const recordMost, recordValue, maxText = 6, 2, 255

// maxOctets bounds the octets of all records. The blocks that they are
// in have a few unused octets each, and addresses have 32 bits.
const maxOctets = 3 << 30

// Builder collects names. The zero value is ready for use. It is for one goroutine.
//
// It only stores what it is given, which is fast and takes the memory of
// the names. [Builder.Trie] does the rest at once, and uses the
// memory of these notes for the trie.
type Builder struct {
	notes  notes
	octets int64 // the most that the records can take
	depths [2]uint64
	roots  []uint16 // values of the root
}

// Add adds a name with a value, which is not 0. The name is in wire form and
// lower case, and not kept. A name may be added more than once.
func (b *Builder) Add(name []byte, value uint16) error {
	labels, ok := count(name)
	if !ok {
		return ErrName
	}
	if value == 0 {
		return ErrValue
	}
	if labels == 0 {
		b.roots = append(b.roots, value)
		return nil
	}
	if b.octets += int64(len(name) + recordMost); b.octets > maxOctets {
		return ErrFull
	}
	b.depths[labels>>6] |= 1 << (labels & 63)
	b.notes.add(name[:len(name)-1], value)
	return nil
}

// count returns how many labels a name has. ok is false if it is not a name in wire form.
func count(name []byte) (labels int, ok bool) {
	if len(name) > wire.MaxName {
		return 0, false
	}
	for i := 0; i < len(name); labels++ {
		n := int(name[i])
		if n == 0 {
			return labels, i+1 == len(name)
		}
		if n > wire.MaxLabel {
			return 0, false
		}
		i += 1 + n
	}
	return 0, false
}

// Trie makes the trie of the names that were added. merge returns the value of a name
// that was added with a and later with b; 0 drops the name. It may be called with the same values more than
// once, and must then return the same. Trie returns its error. The Builder is empty afterwards.
func (b *Builder) Trie(merge func(a, b uint16) (uint16, error)) (*Trie, error) {
	defer func() { *b = Builder{} }()
	t := &Trie{key: newKey(), depths: b.depths, endings: make([]ending, 1)}
	for _, v := range b.roots {
		if t.root == 0 {
			t.root = v
			continue
		}
		var err error
		if t.root, err = merge(t.root, v); err != nil {
			return nil, err
		}
	}
	for d := range 128 {
		if t.depths[d>>6]>>(d&63)&1 != 0 {
			t.deepest = d
		}
	}
	if b.notes.n == 0 {
		return t, nil
	}
	c := compiler{t: t, merge: merge}
	if err := c.compile(&b.notes); err != nil {
		return nil, err
	}
	return t, nil
}

// notes are paths with values, in the order in which they were added. A note is a path's length and the
// path. If the value is not that of the note before, a mark and the value
// precede it.
type notes struct {
	chunks [][]byte
	n      int
	value  uint16 // of the last one
}

// newValue is the mark: it is no path's length, which is at most 254.
const newValue = 0xFF

func (n *notes) add(path []byte, value uint16) { n.addFrom(nil, path, value) }

// addFrom is add with new chunks from the pool.
func (n *notes) addFrom(p *pool, path []byte, value uint16) {
	last := len(n.chunks) - 1
	var c []byte
	if last >= 0 {
		c = n.chunks[last]
	}
	if need := len(path) + 4; cap(c)-len(c) < need {
		if p != nil || cap(c) >= blockSize/2 {
			c = p.get()
		} else {
			c = make([]byte, 0, max(need, 2*cap(c), 128)) // a few names take little memory
		}
		n.chunks = append(n.chunks, c)
		last++
	}
	if value != n.value {
		c = append(c, newValue, byte(value), byte(value>>8))
		n.value = value
	}
	c = append(c, byte(len(path)))
	n.chunks[last] = append(c, path...)
	n.n++
}

// reader reads notes.
type reader struct {
	rest  []byte
	value uint16
}

// next returns the next path of the chunk whose end is rest; nil after the
// last.
func (r *reader) next() []byte {
	if len(r.rest) == 0 {
		return nil
	}
	if r.rest[0] == newValue {
		r.value = uint16(r.rest[1]) | uint16(r.rest[2])<<8
		r.rest = r.rest[3:]
	}
	n := 1 + int(r.rest[0])
	path := r.rest[1:n]
	r.rest = r.rest[n:]
	return path
}

// pool is memory for notes and records in pieces of one size. The memory of notes that were
// read is used for what is written.
type pool struct{ free [][]byte }

func (p *pool) get() []byte {
	if p == nil || len(p.free) == 0 {
		return make([]byte, 0, blockSize)
	}
	last := len(p.free) - 1
	b := p.free[last]
	p.free = p.free[:last]
	return b
}

func (p *pool) put(b []byte) {
	if cap(b) == blockSize {
		p.free = append(p.free, b[:0])
	}
}
