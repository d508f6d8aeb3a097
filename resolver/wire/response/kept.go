package response

import (
	"hash/maphash"

	"rideau/resolver/wire"
)

// maxSignatures is how many signatures of one RRset are kept: one for each algorithm
// of a zone, twice while keys change.
const maxSignatures = 8

// kept are the records of a response that are kept, so that each is kept once
// (RFC 2181 section 5). Up to fewRecords each is compared with all. Beyond that
// they are in a table by their hash.
type kept struct {
	msg   []byte
	few   [fewRecords]record
	n     int
	many  []record
	table []uint32 // the index of a record plus one; 0 is none
	total int      // of the message

	sets  [maxSignedSets]signedSet
	nSets int
}

const (
	fewRecords = 16
	// maxSignedSets is for how many RRsets, beside those of aliases, signatures are
	// kept: a denial has an SOA record and up to three proofs.
	maxSignedSets = 12
)

// record is a record by its offsets.
type record struct {
	wire.Type
	off, data, end uint16
	hash           uint32
	section        wire.Section
}

// signedSet is an RRset and the number of its signatures.
type signedSet struct {
	off, n  uint16
	covered wire.Type
	section wire.Section
}

// reset makes k ready for a message.
func (k *kept) reset(msg []byte) {
	k.msg, k.n, k.nSets, k.many, k.table = msg, 0, 0, nil, nil
	k.total = wire.Count(msg, wire.Answer) + wire.Count(msg, wire.Authority) + wire.Count(msg, wire.Additional)
}

// add notes a record that is to be kept. It reports false if there is one like
// it.
func (k *kept) add(c *chain, r *wire.Record) bool {
	n := record{Type: r.Type, off: uint16(r.Off), data: uint16(r.DataOff), end: uint16(r.End), section: r.Section}
	if k.total > fewRecords {
		return k.addToTable(c, n)
	}
	for i := range k.few[:k.n] {
		if k.equal(c, &k.few[i], &n) {
			return false
		}
	}
	k.few[k.n] = n
	k.n++
	return true
}

func (k *kept) addToTable(c *chain, n record) bool {
	if k.table == nil {
		size := 2 * fewRecords
		for size < 2*min(k.total, maxRelated) {
			size *= 2
		}
		k.table = make([]uint32, size)
	}
	n.hash = k.hash(c, &n)
	mask := uint32(len(k.table) - 1)
	i := n.hash & mask
	for ; k.table[i] != 0; i = (i + 1) & mask {
		if o := &k.many[k.table[i]-1]; o.hash == n.hash && k.equal(c, o, &n) {
			return false
		}
	}
	k.many = append(k.many, n)
	k.table[i] = uint32(len(k.many))
	return true
}

// hash is a hash of all by which records differ.
func (k *kept) hash(c *chain, r *record) uint32 {
	h := c.hash(int(r.off)) ^ uint64(r.Type)<<32 ^ uint64(r.section)<<48
	head, names, off := k.parts(r)
	h = h*0x9E3779B97F4A7C15 ^ maphash.Bytes(c.seed, k.msg[r.data:head])
	for range names {
		next := wire.SkipName(k.msg, off)
		if next < 0 || next > int(r.end) {
			break
		}
		h = h*0x9E3779B97F4A7C15 ^ c.hash(off)
		off = next
	}
	h = h*0x9E3779B97F4A7C15 ^ maphash.Bytes(c.seed, k.msg[off:r.end])
	return uint32(h >> 32)
}

// parts returns where the names of the RDATA begin, and how many there are.
func (k *kept) parts(r *record) (head, names, off int) {
	n, names, _ := wire.DataNames(k.msg, &wire.Record{Type: r.Type, DataOff: int(r.data), End: int(r.end)})
	if r.Type == wire.TypeRRSIG || r.Type == wire.TypeNSEC || int(r.data)+n > int(r.end) {
		n, names = 0, 0 // no name of theirs is compressed
	}
	head = int(r.data) + n
	return head, names, head
}

// equal reports whether two records differ in no more than their TTL.
func (k *kept) equal(c *chain, a, b *record) bool {
	if a.Type != b.Type || a.section != b.section {
		return false
	}
	headA, names, offA := k.parts(a)
	headB, _, offB := k.parts(b)
	if string(k.msg[a.data:headA]) != string(k.msg[b.data:headB]) {
		return false
	}
	for range names {
		if !c.same(offA, offB) {
			return false
		}
		offA, offB = wire.SkipName(k.msg, offA), wire.SkipName(k.msg, offB)
		if offA < 0 || offB < 0 || offA > int(a.end) || offB > int(b.end) {
			return false
		}
	}
	return string(k.msg[offA:a.end]) == string(k.msg[offB:b.end]) && c.same(int(a.off), int(b.off))
}

// addSignature is add for a signature. It also reports false if the RRset has
// maxSignatures.
func (k *kept) addSignature(c *chain, r *wire.Record, covered wire.Type) bool {
	for i := range k.sets[:k.nSets] {
		s := &k.sets[i]
		if s.covered != covered || s.section != r.Section || !c.same(int(s.off), r.Off) {
			continue
		}
		if s.n == maxSignatures || !k.add(c, r) {
			return false
		}
		s.n++
		return true
	}
	if k.nSets == len(k.sets) || !k.add(c, r) {
		return false
	}
	k.sets[k.nSets] = signedSet{off: uint16(r.Off), n: 1, covered: covered, section: r.Section}
	k.nSets++
	return true
}
