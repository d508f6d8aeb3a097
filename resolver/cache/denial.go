package cache

import (
	"encoding/binary"
	"sync/atomic"

	"rideau/resolver/wire"
)

// That a name does not exist is known for all types at once (RFC 2308 section
// 5), and nothing is below it (RFC 8020 section 2). So an NXDOMAIN is kept by
// the name alone, with all names in it written out: whoever asks for another type
// or a name below gets the same records behind a question of another length.
// With DO they would not prove what was asked, so that such an NXDOMAIN is
// kept for its own question only.

// denials counts the denials kept by the labels of their names, so that a
// look-up that missed looks for none where there is none.
type denials struct {
	all    atomic.Int32
	labels [maxLabels + 1]atomic.Int32
}

const maxLabels = 127 // of a name (RFC 1035 section 2.3.4)

// count adds n to those of the name that msg asks for.
func (d *denials) count(msg []byte, n int32) {
	labels := 0
	for at := wire.HeaderLen; at < len(msg) && msg[at] != 0; at += 1 + int(msg[at]) {
		labels++
	}
	d.labels[labels].Add(n)
	d.all.Add(n)
}

// any reports whether there may be a denial of k's name or one above it.
func (d *denials) any(k *Key) bool {
	if k.DO || d.all.Load() == 0 {
		return false
	}
	for n := k.Name.Labels(); n >= max(k.ZoneLabels, 1); n-- {
		if d.labels[n].Load() != 0 {
			return true
		}
	}
	return false
}

// denial is what the denial of the name of that many labels above k, or of k's
// own, is kept under.
func (k *Key) denial(labels int) want {
	w := want{name: k.Name.Suffix(labels), class: k.Class, flags: flagDenial}
	if k.CD {
		w.flags |= flagCD
	}
	return w
}

// getDenial is Get for a name that is denied, or that is below one which is.
// The closest to k is taken.
func (c *Cache) getDenial(dst []byte, k *Key, now int64) ([]byte, Hit) {
	own := k.Name.Labels()
	for n := own; n >= max(k.ZoneLabels, 1) && (n == own || !c.noCut); n-- {
		if c.denials.labels[n].Load() == 0 {
			continue
		}
		if out, hit := c.getDenialOf(dst, k, n, now); hit.Freshness != Miss {
			return out, hit
		}
	}
	return dst, Hit{EDE: -1}
}

// getDenialOf is getDenial by the name of so many labels alone.
func (c *Cache) getDenialOf(dst []byte, k *Key, n int, now int64) ([]byte, Hit) {
	w := k.denial(n)
	h, s := c.locate(&w)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(h, &w, now)
	if e == nil || !e.fresh(now) {
		return dst, Hit{EDE: -1}
	}
	s.hits++
	hit := e.hit(Fresh)
	hit.denied = uint8(n)
	if n == k.Name.Labels() {
		hit.Refresh = c.soon(e, now)
	} else {
		s.cuts++
	}
	shift := k.Name.Len() - len(w.name)
	dst = s.appendDenial(dst, e, k)
	s.countDown(dst[len(dst)-int(e.size)-shift:], e, shift, now)
	return dst, hit
}

// getStaleDenial is GetStale for a name that was denied later than since. A
// name below is not denied by what has expired.
func (c *Cache) getStaleDenial(dst []byte, k *Key, since, now int64) ([]byte, Hit) {
	w := k.denial(k.Name.Labels())
	h, s := c.locate(&w)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(h, &w, now)
	if e == nil || e.stored < since {
		return dst, Hit{EDE: -1}
	}
	hit := e.hit(Fresh)
	hit.denied = uint8(k.Name.Labels())
	switch {
	case e.fresh(now):
		dst = s.appendDenial(dst, e, k)
		s.countDown(dst[len(dst)-int(e.size):], e, 0, now)
	case e.usable(now, c.maxStale):
		s.stale++
		hit.Freshness = Expired
		dst = s.appendDenial(dst, e, k)
		msg := dst[len(dst)-int(e.size):]
		for o := s.offsets(e); len(o) >= 2; o = o[2:] {
			binary.BigEndian.PutUint32(msg[binary.BigEndian.Uint16(o):], c.staleTTL)
		}
	default:
		return dst, Hit{EDE: -1}
	}
	return dst, hit
}

// offsets is where e's message has its TTLs.
func (s *shard) offsets(e *entry) []byte {
	return s.octets.At(e.data, int(e.length))[e.size:]
}

// appendDenial appends e's message with k's question. That a name above is
// denied with AD does not say that this was validated for k.
func (s *shard) appendDenial(dst []byte, e *entry, k *Key) []byte {
	msg := s.octets.At(e.data, int(e.size))
	end := wire.HeaderLen
	for msg[end] != 0 {
		end += 1 + int(msg[end])
	}
	end++
	base := len(dst)
	dst = append(dst, msg[:wire.HeaderLen]...)
	if end-wire.HeaderLen < k.Name.Len() {
		wire.SetFlags(dst[base:], wire.Flags(dst[base:])&^wire.FlagAD)
	}
	dst = append(dst, k.Name.Bytes()...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(k.Type))
	dst = binary.BigEndian.AppendUint16(dst, uint16(k.Class))
	return append(dst, msg[end+4:]...)
}

// countDown takes e's age off the TTLs of msg, which are shift octets further
// on than e has them.
func (s *shard) countDown(msg []byte, e *entry, shift int, now int64) {
	age := uint32(min(e.age(now)/1e9, 1<<31-1))
	if age == 0 {
		return
	}
	for o := s.offsets(e); len(o) >= 2; o = o[2:] {
		field := msg[shift+int(binary.BigEndian.Uint16(o)):]
		ttl := binary.BigEndian.Uint32(field)
		binary.BigEndian.PutUint32(field, ttl-min(ttl, age))
	}
}

// denies reports whether a response that may be kept denies k's name. An alias
// before it means that another name is denied. The zone whose SOA record is there
// has to be above: those who make an NXDOMAIN up, to block a name, may have
// something else below, and have no such record or one of the name itself.
func denies(msg []byte, k *Key, r *wire.Response) bool {
	if r.Rcode != wire.NXDomain || r.Answers > 0 || k.DO || k.Name.Labels() < max(k.ZoneLabels, 1) {
		return false
	}
	var owner wire.Name
	w := wire.NewWalk(msg)
	var rec wire.Record
	for w.Next(&rec) {
		if rec.Section == wire.Authority && rec.Type == wire.TypeSOA {
			_, err := owner.Parse(msg, rec.Off)
			return err == nil && owner.Len() < k.Name.Len() && k.Name.IsSubdomain(owner.Bytes())
		}
	}
	return false
}

// maxDenial is how long the message of a denial may be with its names written
// out. One with more in it than the usual SOA record is kept for its question.
const maxDenial = 1024

// putDenial keeps a message, packed for k, as the denial of k's name, and
// reports whether it did.
func (c *Cache) putDenial(msg []byte, k *Key, e entry) bool {
	var plain [maxDenial]byte
	var tmp [2 * wire.UsualRecords]byte
	w := k.denial(k.Name.Labels())
	out := append(plain[:0], msg[:wire.HeaderLen]...)
	for _, s := range []wire.Section{wire.Answer, wire.Authority, wire.Additional} {
		wire.SetCount(out, s, 0)
	}
	out = append(out, w.name...)
	out = binary.BigEndian.AppendUint16(out, 0)
	out = binary.BigEndian.AppendUint16(out, uint16(k.Class))
	out, ok := wire.AppendRecords(out, 0, msg, maxDenial)
	if !ok {
		return false
	}
	offsets := tmp[:0]
	walk := wire.NewWalk(out)
	var rec wire.Record
	for walk.Next(&rec) {
		offsets = binary.BigEndian.AppendUint16(offsets, uint16(rec.TTLOff))
	}
	e.flags = w.flags

	own := k.want()
	c.forget(&own) // what it contradicts
	h, s := c.locate(&w)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(h, &w, e, out, offsets)
}

// undeny forgets denials of k's name and of those above, since there is such
// a name.
func (c *Cache) undeny(k *Key) {
	if c.denials.all.Load() == 0 {
		return
	}
	own := k.Name.Labels()
	for n := own; n >= max(k.ZoneLabels, 1) && (n == own || !c.noCut); n-- {
		if c.denials.labels[n].Load() == 0 {
			continue
		}
		w := k.denial(n)
		for _, cd := range []uint8{0, flagCD} {
			w.flags = flagDenial | cd
			c.forget(&w)
		}
	}
}
