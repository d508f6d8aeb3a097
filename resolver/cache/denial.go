package cache

import (
	"encoding/binary"
	"sync/atomic"

	"rideau/resolver/wire"
)

// That a name does not exist holds for all types (RFC 2308 section 5) and for
// all names below it (RFC 8020 section 2). So an NXDOMAIN is stored under the
// name alone, as a denial, with the names in its records uncompressed: a query
// for another type, or for a name below, gets the same records after a question
// of another length. With DO the records would not prove what was asked, so
// such an NXDOMAIN is stored for its own question only, as is one that the
// package existence does not believe about more. That package also says when a
// denial holds for names below.

// denials counts the stored denials by the number of labels of their names, so
// that a lookup that missed does not search for what is not there.
type denials struct {
	all    atomic.Int32
	labels [maxLabels + 1]atomic.Int32
}

const maxLabels = 127 // of a name (RFC 1035 section 2.3.4)

// count adds n to the count for the name in msg's question.
func (d *denials) count(msg []byte, n int32) {
	labels := 0
	for at := wire.HeaderLen; at < len(msg) && msg[at] != 0; at += 1 + int(msg[at]) {
		labels++
	}
	d.labels[labels].Add(n)
	d.all.Add(n)
}

// any reports whether a denial of k's name, or of one above it, may be stored.
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

// denialKey returns the key under which the denial is stored of the name made
// of k's last labels, which may be k's own name.
func (k *Key) denialKey(labels int) entryKey {
	w := entryKey{name: k.Name.Suffix(labels), class: k.Class, flags: flagDenial}
	if k.CD {
		w.flags |= flagCD
	}
	return w
}

// getDenial looks up a denial of k's name or of a name above, the nearest
// first.
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

// getDenialOf looks up the denial of the name made of k's last n labels.
func (c *Cache) getDenialOf(dst []byte, k *Key, n int, now int64) ([]byte, Hit) {
	w := k.denialKey(n)
	h, s := c.locate(&w)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(h, &w, now)
	if e == nil || !e.fresh(now) || n < k.Name.Labels() && e.flags&flagCut == 0 {
		return dst, Hit{EDE: -1}
	}
	s.hits++
	hit := e.hit(Fresh)
	hit.denied = uint8(n)
	if n == k.Name.Labels() {
		hit.Refresh = c.prefetchDue(e, now)
	} else {
		s.cuts++
	}
	shift := k.Name.Len() - len(w.name)
	dst = s.appendDenial(dst, e, k)
	s.countDown(dst[len(dst)-int(e.size)-shift:], e, shift, now)
	return dst, hit
}

// getStaleDenial looks up a denial of k's own name that came later than since.
// An expired denial does not hold for names below.
func (c *Cache) getStaleDenial(dst []byte, k *Key, since, now int64) ([]byte, Hit) {
	w := k.denialKey(k.Name.Labels())
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
	case e.servableStale(now, c.maxStale):
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

// offsets returns the offsets of the TTLs in e's message, two octets each.
func (s *shard) offsets(e *entry) []byte {
	return s.octets.At(e.data, int(e.length))[e.size:]
}

// appendDenial appends e's message with k's question. It clears AD unless the
// question is for e's own name: that the name above was validated says nothing
// about k.
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

// countDown subtracts e's age from the TTLs of msg, which stand shift octets
// later than in e's message.
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

// denies reports whether a response that may be stored denies k's name. With an
// alias before it, it denies another name. The zone of the SOA record must be
// above k's name: a filter that answers NXDOMAIN to block a name may have other
// names below, and sends no SOA record, or one of the name itself. zone is the
// number of labels of that zone.
func denies(msg []byte, k *Key, r *wire.Response) (zone int, ok bool) {
	if r.Rcode != wire.NXDomain || r.Answers > 0 || k.DO || k.Name.Labels() < max(k.ZoneLabels, 1) {
		return 0, false
	}
	var owner wire.Name
	w := wire.NewWalk(msg)
	var rec wire.Record
	for w.Next(&rec) {
		if rec.Section == wire.Authority && rec.Type == wire.TypeSOA {
			_, err := owner.Parse(msg, rec.Off)
			return owner.Labels(), err == nil && owner.Len() < k.Name.Len() && k.Name.IsSubdomain(owner.Bytes())
		}
	}
	return 0, false
}

// deny stores an NXDOMAIN, encoded for k, as the denial of k's name if package
// existence believes that, and reports whether it did.
func (c *Cache) deny(msg []byte, k *Key, zone int, e entry, now int64) bool {
	types, cut := c.existence.Deny(k.Name, zone, k.Type, now, now+int64(e.lifetime)*1e9)
	stored := types && c.putDenial(msg, k, e)
	if cut > 0 && !c.noCut {
		w := k.denialKey(cut)
		h, s := c.locate(&w)
		s.mu.Lock()
		defer s.mu.Unlock()
		if n, ok := s.lookup(h, &w); ok {
			s.record(n).flags |= flagCut
		}
	}
	return stored
}

// Contradicts reports whether a response to k denies a name that was answered
// lately, itself or below, so that it is worth asking somebody else. One that a
// filter has made up is meant so: it says so, or has no SOA record of a zone above.
func (c *Cache) Contradicts(k Key, msg []byte, r *wire.Response, now int64) bool {
	if r.EDE >= int(wire.EDEBlocked) && r.EDE <= int(wire.EDEProhibited) {
		return false
	}
	k.DO = false
	_, ok := denies(msg, &k, r)
	return ok && c.existence.Exists(k.Name, now)
}

// maxDenial is the longest message of a denial, names uncompressed. One with
// more in it than the usual SOA record is stored for its question.
const maxDenial = 1024

// putDenial stores a message, encoded for k, as the denial of k's name, and
// reports whether it did.
func (c *Cache) putDenial(msg []byte, k *Key, e entry) bool {
	var plain [maxDenial]byte
	var tmp [2 * wire.UsualRecords]byte
	w := k.denialKey(k.Name.Labels())
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

	own := k.entryKey()
	c.removeKey(&own) // the denial contradicts it
	h, s := c.locate(&w)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store(h, &w, e, out, offsets)
}

// removeDenied removes what is stored for the usual questions for k's name, if it
// denies that the name exists: k's answer shows that it does.
func (c *Cache) removeDenied(k *Key) {
	w := k.entryKey()
	for _, w.typ = range []wire.Type{wire.TypeA, wire.TypeAAAA, wire.TypeHTTPS} {
		for _, w.flags = range []uint8{0, flagDO, flagCD, flagDO | flagCD} {
			h, s := c.locate(&w)
			s.mu.Lock()
			if n, ok := s.lookup(h, &w); ok && s.record(n).flags&flagFailure == 0 && wire.HeaderRcode(s.octets.At(s.record(n).data, wire.HeaderLen)) == wire.NXDomain {
				s.remove(n)
			}
			s.mu.Unlock()
		}
	}
}

// removeDenials removes denials of k's name and of the names above, since k's
// name exists.
func (c *Cache) removeDenials(k *Key) {
	if c.denials.all.Load() == 0 {
		return
	}
	own := k.Name.Labels()
	for n := own; n >= max(k.ZoneLabels, 1) && (n == own || !c.noCut); n-- {
		if c.denials.labels[n].Load() == 0 {
			continue
		}
		w := k.denialKey(n)
		for _, cd := range []uint8{0, flagCD} {
			w.flags = flagDenial | cd
			c.removeKey(&w)
		}
	}
}
