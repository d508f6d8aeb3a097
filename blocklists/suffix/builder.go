package suffix

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"

	"rideau/resolver/wire"
)

// Builder collects names. The zero value is ready. It is for one goroutine.
//
// Names are put down where they come, in parts by the first octet of their
// hashes, and sorted out part by part when all have come: whatever the number
// of names, nearly every access is to a part that the processor has at hand,
// and each part goes as its nodes are made.
type Builder struct {
	parts   [parts]part
	octets  int // that records will take, if all names differ
	added   int
	codes   map[string]uint8
	tails   [][]byte
	depths  [2]uint64
	deepest int
	seed    uint64
	root    []uint16 // values for the root, in order
}

const parts = 256

// part is records as a trie has them with the hash before each.
type part struct {
	chunks [][]byte
	n      int
}

const (
	hashSize   = 8
	firstChunk = 512
	lastChunk  = 32 << 10
)

// Errors of Add.
var (
	ErrName  = errors.New("suffix: not a wire-form name")
	ErrFull  = errors.New("suffix: the names take more than four gigabytes")
	ErrValue = errors.New("suffix: value 0 means that there is no name")
)

// Add adds a name with a value, which is not 0. The name is in wire form and
// lower case, and not kept. A name may be added more than once.
func (b *Builder) Add(name []byte, value uint16) error {
	var offs [128]uint8
	labels, ok := split(name, &offs)
	switch {
	case !ok:
		return ErrName
	case value == 0:
		return ErrValue
	case labels == 0:
		b.root = append(b.root, value)
		return nil
	}
	if b.seed == 0 {
		b.seed = rand.Uint64() | 1
		b.codes = map[string]uint8{}
		b.tails = [][]byte{{0}}
	}
	h := b.seed
	for k := labels - 1; k >= 0; k-- {
		o := int(offs[k])
		h = hash(h, name[o+1:o+1+int(name[o])])
	}
	code := b.code(name[offs[labels-1]:])
	head := len(name) - len(b.tails[code])
	if uint64(b.octets+recordHead+head) > 1<<32-1 {
		return ErrFull
	}
	r := b.parts[h>>56].room(hashSize + recordHead + head)
	binary.LittleEndian.PutUint64(r, h)
	binary.LittleEndian.PutUint16(r[hashSize:], value)
	r[hashSize+2], r[hashSize+3] = code, uint8(head)
	copy(r[hashSize+recordHead:], name[:head])
	b.octets += recordHead + head
	b.added++
	b.depths[labels>>6] |= 1 << (labels & 63)
	b.deepest = max(b.deepest, labels)
	return nil
}

// split notes where a name's labels begin. ok is false if it is no name.
func split(name []byte, offs *[128]uint8) (labels int, ok bool) {
	i := 0
	for {
		if i >= len(name) || i >= wire.MaxName || name[i] > wire.MaxLabel {
			return 0, false
		}
		if name[i] == 0 {
			return labels, i+1 == len(name)
		}
		offs[labels] = uint8(i)
		labels++
		i += 1 + int(name[i])
	}
}

// code is that of a last label; 0 if there are too many others.
func (b *Builder) code(tail []byte) uint8 {
	code, ok := b.codes[string(tail)]
	if !ok && len(b.tails) < maxTails {
		code = uint8(len(b.tails))
		b.tails = append(b.tails, slices.Clone(tail))
		b.codes[string(tail)] = code
	}
	return code
}

// room returns n octets at the end of the part. A record does not reach over
// chunks.
func (p *part) room(n int) []byte {
	p.n++
	i := len(p.chunks) - 1
	if i < 0 || len(p.chunks[i])+n > cap(p.chunks[i]) {
		size := firstChunk
		if i >= 0 {
			size = min(2*cap(p.chunks[i]), lastChunk)
		}
		p.chunks = append(p.chunks, make([]byte, 0, size))
		i++
	}
	c := p.chunks[i]
	p.chunks[i] = c[:len(c)+n]
	return c[len(c) : len(c)+n : len(c)+n]
}

// Trie makes the trie of what was added. merge says what the value of a name
// is that was added with a and later with b; its error is Trie's. The Builder
// is empty afterwards.
func (b *Builder) Trie(merge func(a, b uint16) (uint16, error)) (*Trie, error) {
	defer func() { *b = Builder{} }()
	t := &Trie{tails: b.tails, depths: b.depths, deepest: b.deepest, seed: b.seed}
	for _, v := range b.root {
		if t.root == 0 {
			t.root = v
			continue
		}
		var err error
		if t.root, err = merge(t.root, v); err != nil {
			return nil, err
		}
	}
	if b.added == 0 {
		return t, nil
	}
	// As many to each part, so that no bucket has records in two.
	t.index = make([]entry, parts*(2*b.added/perBucket/parts+1)+1)
	t.records = make([]byte, 0, b.octets)
	huge(t.index)
	huge(t.records)
	s := sorter{t: t, merge: merge}
	for i := range b.parts {
		if err := s.part(&b.parts[i]); err != nil {
			return nil, err
		}
		b.parts[i] = part{}
	}
	s.fill(len(t.index))
	if cap(t.records) > len(t.records)+len(t.records)/8 {
		t.records = slices.Clone(t.records) // lists had much in common
	}
	return t, nil
}

// sorter makes nodes of parts.
type sorter struct {
	t       *Trie
	merge   func(a, b uint16) (uint16, error)
	next    int      // the first bucket that has no entry yet
	all     [][]byte // of a part: the records, with their hashes
	starts  []int32  // by bucket: where its records begin in ordered
	ordered []int32  // indexes of all
}

// part makes the nodes of a part. Its buckets come after all before it.
func (s *sorter) part(p *part) error {
	if p.n == 0 {
		return nil
	}
	s.all = s.all[:0]
	buckets := len(s.t.index) - 1
	for _, c := range p.chunks {
		for len(c) > 0 {
			n := hashSize + recordHead + int(c[hashSize+3])
			s.all = append(s.all, c[:n])
			c = c[n:]
		}
	}
	low, _ := place(binary.LittleEndian.Uint64(s.all[0])&^(1<<56-1), buckets)
	// By bucket, and in a bucket as they came.
	s.starts = append(s.starts[:0], make([]int32, buckets/parts+1)...)
	for _, r := range s.all {
		i, _ := place(binary.LittleEndian.Uint64(r), buckets)
		s.starts[i-low+1]++
	}
	for i := range s.starts[1:] {
		s.starts[i+1] += s.starts[i]
	}
	s.ordered = slices.Grow(s.ordered[:0], len(s.all))[:len(s.all)]
	for j, r := range s.all {
		i, _ := place(binary.LittleEndian.Uint64(r), buckets)
		s.ordered[s.starts[i-low]] = int32(j)
		s.starts[i-low]++
	}
	from := int32(0)
	for i := range s.starts[:len(s.starts)-1] {
		to := s.starts[i] // where the next one begins
		if from < to {
			if err := s.bucket(low+i, s.ordered[from:to]); err != nil {
				return err
			}
		}
		from = to
	}
	clear(s.all)
	return nil
}

// bucket makes the nodes of a bucket.
func (s *sorter) bucket(i int, records []int32) error {
	t := s.t
	s.fill(i)
	start := len(t.records)
	e, n := entry(start), 0
next:
	for _, j := range records {
		r := s.all[j]
		for at := start; at < len(t.records); at += recordHead + int(t.records[at+3]) {
			if o := t.records[at:]; string(o[2:recordHead+int(o[3])]) == string(r[hashSize+2:]) {
				v, err := s.merge(binary.LittleEndian.Uint16(o), binary.LittleEndian.Uint16(r[hashSize:]))
				if err != nil {
					return err
				}
				binary.LittleEndian.PutUint16(o, v)
				continue next
			}
		}
		t.records = append(t.records, r[hashSize:]...)
		t.nodes++
		if n < maxTags {
			_, tag := place(binary.LittleEndian.Uint64(r), 1)
			e |= entry(tag) << (tagShift + tagBits*n)
		} else {
			e |= moreBit
		}
		n++
	}
	t.index[i] = e
	s.next = i + 1
	return nil
}

// fill makes the entries before bucket i, which are empty.
func (s *sorter) fill(i int) {
	for ; s.next < i; s.next++ {
		s.t.index[s.next] = entry(len(s.t.records))
	}
}
