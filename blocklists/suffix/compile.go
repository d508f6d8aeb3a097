package suffix

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// partSize is about how many names are processed at a time: their notes and
// records fit into the cache of a processor core.
const partSize = 8192

// compiler makes a trie of notes. It divides them into parts by the first bits of their
// hashes, then makes the buckets and records of one part after another,
// in the order in which they are stored.
type compiler struct {
	t       *Trie
	merge   func(a, b uint16) (uint16, error)
	pool    pool
	coder   *coder
	records []byte   // of a bucket
	block   []byte   // the last of t.blocks, as far as it is filled
	chunks  [][]byte // of the part that refs refer to
	refs    []ref
	order   []uint32 // refs by bucket
	ends    []uint32 // where a bucket's part of order ends
}

// ref is a name of the part at hand.
type ref struct {
	h     uint64
	at    uint32 // where the path is in the part's chunks, in the form of a record's address
	value uint16
	n     uint8 // the path's length
}

func (c *compiler) path(r *ref) []byte {
	return c.chunks[r.at>>blockBits][r.at&(blockSize-1):][:r.n]
}

func (c *compiler) compile(n *notes) error {
	shift := 64 - bits.Len(uint(n.n-1)/partSize)
	parts := c.divide(n, shift)
	if err := c.survey(parts); err != nil {
		return err
	}
	per := len(c.t.buckets) / len(parts)
	for i := range parts {
		if err := c.part(&parts[i], i*per, per); err != nil {
			return err
		}
		for _, chunk := range parts[i].chunks {
			c.pool.put(chunk)
		}
		parts[i] = notes{}
	}
	c.t.blocks = slices.Clip(c.t.blocks)
	return nil
}

// divide copies each note to the part for its hash, and reuses the memory of notes for the
// parts.
func (c *compiler) divide(n *notes, shift int) []notes {
	if shift == 64 {
		return []notes{*n}
	}
	parts := make([]notes, 1<<(64-shift))
	var r reader
	for i, chunk := range n.chunks {
		r.rest = chunk
		for path := r.next(); path != nil; path = r.next() {
			parts[c.t.key.sum(path)>>shift].addFrom(&c.pool, path, r.value)
		}
		n.chunks[i] = nil
		c.pool.put(chunk)
	}
	return parts
}

// survey examines the first part, which is a fair sample of all: how many
// different names there are, for which it makes the buckets,
// and how they end.
func (c *compiler) survey(parts []notes) error {
	c.read(&parts[0])
	slices.SortFunc(c.refs, func(a, b ref) int { return cmp.Or(cmp.Compare(a.h, b.h), cmp.Compare(a.at, b.at)) })
	seen, names := census{}, 0
	for i := 0; i < len(c.refs); names++ {
		r := c.refs[i]
		for i++; i < len(c.refs) && c.refs[i].h == r.h; i++ {
			var err error
			if r.value, err = c.merge(r.value, c.refs[i].value); err != nil {
				return err
			}
		}
		if r.value != 0 {
			seen.add(c.path(&r), r.value)
		}
	}
	c.t.endings = seen.best()
	c.coder = newCoder(&c.t.key, c.t.endings)
	c.t.buckets = make([]bucket, len(parts)*(names/fill+1))
	return nil
}

// read makes the refs of a part.
func (c *compiler) read(n *notes) {
	c.refs, c.chunks = c.refs[:0], n.chunks
	var r reader
	for i, chunk := range n.chunks {
		r.rest = chunk
		for path := r.next(); path != nil; path = r.next() {
			at := len(chunk) - len(r.rest) - len(path)
			c.refs = append(c.refs, ref{c.t.key.sum(path), uint32(i)<<blockBits | uint32(at), r.value, uint8(len(path))})
		}
	}
}

// part makes buckets of a part's names: as many as given, from first on.
func (c *compiler) part(n *notes, first, buckets int) error {
	c.read(n)
	// A counting sort, stable so that values are merged in order.
	c.ends = append(c.ends[:0], make([]uint32, buckets+1)...)
	for i := range c.refs {
		c.ends[c.bucket(i)-first+1]++
	}
	for i := range buckets {
		c.ends[i+1] += c.ends[i]
	}
	c.order = slices.Grow(c.order[:0], len(c.refs))[:len(c.refs)]
	for i := range c.refs {
		to := &c.ends[c.bucket(i)-first]
		c.order[*to] = uint32(i)
		*to++
	}
	begin := uint32(0)
	for i := range buckets {
		names, err := c.once(c.order[begin:c.ends[i]])
		if err != nil {
			return err
		}
		if err := c.fill(&c.t.buckets[first+i], names); err != nil {
			return err
		}
		begin = c.ends[i]
	}
	return nil
}

func (c *compiler) bucket(ref int) int {
	i, _ := bits.Mul64(c.refs[ref].h, uint64(len(c.t.buckets)))
	return int(i)
}

// once makes one ref of those with the same name, with its values merged, and drops
// names whose value is 0.
func (c *compiler) once(names []uint32) ([]uint32, error) {
	out := names[:0]
next:
	for _, n := range names {
		r := &c.refs[n]
		for _, o := range out {
			old := &c.refs[o]
			if old.h == r.h && bytes.Equal(c.path(old), c.path(r)) {
				var err error
				if old.value, err = c.merge(old.value, r.value); err != nil {
					return nil, err
				}
				continue next
			}
		}
		out = append(out, n)
	}
	return slices.DeleteFunc(out, func(n uint32) bool { return c.refs[n].value == 0 }), nil
}

// fill writes a bucket and its records.
func (c *compiler) fill(b *bucket, names []uint32) error {
	if len(names) == 0 {
		return nil
	}
	c.records = c.records[:0]
	if !c.coded(b, names) {
		b.tags, b.more = 0, plain
		c.records = binary.LittleEndian.AppendUint16(c.records[:0], uint16(len(names)))
		for _, n := range names {
			r := &c.refs[n]
			c.records = binary.LittleEndian.AppendUint16(c.records, uint16(r.n))
			c.records = binary.LittleEndian.AppendUint16(c.records, r.value)
			c.records = append(c.records, c.path(r)...)
		}
	}
	if cap(c.block)-len(c.block) < len(c.records)+blockTail {
		// It takes about sixty of the longest names in one bucket to exceed a block. Since hashes
		// are keyed, nobody can write a list that does.
		if len(c.t.blocks) == maxBlocks || len(c.records) > blockSize-blockTail {
			return ErrFull
		}
		c.block = c.pool.get()
		c.t.blocks = append(c.t.blocks, (*[blockSize]byte)(c.block[:blockSize]))
	}
	b.at = uint32(len(c.t.blocks)-1)<<blockBits | uint32(len(c.block))
	c.block = append(c.block, c.records...)
	c.t.nodes += len(names)
	return nil
}

// coded makes the records of a bucket with tags, if that is possible.
func (c *compiler) coded(b *bucket, names []uint32) bool {
	n := len(names)
	if n > slots {
		return false
	}
	c.records = append(c.records, make([]byte, 2*n)...)
	for i, ref := range names {
		r := &c.refs[ref]
		path := c.path(r)
		code, end := c.coder.code(path, r.value)
		if code == 0 {
			if len(path) > maxText-recordValue {
				return false
			}
			c.records[i] = recordValue
			c.records = binary.LittleEndian.AppendUint16(c.records, r.value)
		}
		c.records[i] += uint8(end)
		c.records[n+i] = code
		c.records = append(c.records, path[:end]...)
		b.setTag(i, tag(r.h))
	}
	return true
}
