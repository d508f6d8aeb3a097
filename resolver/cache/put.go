package cache

import (
	"encoding/binary"

	"rideau/resolver/wire"
)

// kind classifies a response for the cache.
type kind uint8

const (
	uncacheable kind = iota
	positive
	negative
	failure
)

// classify returns the kind of msg as a response to k.
func classify(msg []byte, k *Key, r *wire.Response) kind {
	switch {
	case r.TC:
		return uncacheable // RFC 2181 section 9
	case r.Rcode == wire.YXDomain:
		return uncacheable // a DNAME made too long a name (RFC 6672 section 2.2): neither answer nor failure
	case r.Rcode == wire.NXDomain:
		return negative // also at the end of a CNAME chain (RFC 2308 section 2.1)
	case r.Rcode != wire.NoError:
		return failure
	case hasAnswer(msg, k):
		return positive
	case r.HasSOA:
		return negative // NODATA, with or without a CNAME chain (RFC 2308 section 2.2)
	}
	// A referral or a lame answer: without an SOA record the two look alike,
	// and neither says for how long it holds (RFC 2308 section 5).
	return uncacheable
}

// hasAnswer reports whether the answer section has a record of the type and
// class asked for. A CNAME chain alone is an answer only to a query for CNAME.
func hasAnswer(msg []byte, k *Key) bool {
	w := wire.NewWalk(msg)
	var rec wire.Record
	for w.Next(&rec) && rec.Section == wire.Answer {
		if (rec.Type == k.Type || k.Type == wire.TypeANY) && (rec.Class == k.Class || k.Class == wire.ClassANY) {
			return true
		}
	}
	return false
}

// Put stores a response, and reports whether it did. If so, it appends to dst
// what a [Cache.Get] at this moment would append, but for the compression of
// names. If not, and for a failure, dst is returned unchanged. msg was parsed
// into r by [wire.Response.Parse] and is the response to k; Put neither writes
// nor retains it. generation is that of the policy under which it was found
// clean. Once the cache is full, Put does not allocate if dst has the capacity.
//
// A positive answer is stored for the smallest TTL of its records. A negative
// one is stored for the smallest of its SOA record's TTL and minimum and the
// TTLs of its other records, and not without an SOA record (RFC 2308 section
// 5). The TTL of its SOA record becomes that of the answer, and no other record
// of its authority section keeps a longer one. An NXDOMAIN that came for two
// types of a name holds for all types, and, once some names below have been
// denied, too, for all names below (see [Options.NoCut] and package existence). A failure is stored as by
// [Cache.PutFailure]. Truncated responses, referrals, YXDOMAIN, and responses
// with a TTL of 0 are not stored.
//
// A response replaces what was stored for k. A complete answer that may not be
// stored removes it: it contradicts what was stored.
func (c *Cache) Put(dst []byte, k Key, msg []byte, r *wire.Response, generation uint64, now int64) (out []byte, stored bool) {
	if r.End > len(msg) || !echoes(msg[:r.End], &k) {
		return dst, false
	}
	base := len(dst)
	msg = msg[:r.End]
	what := classify(msg, &k, r)
	switch what {
	case uncacheable:
		return dst, false
	case failure:
		w := k.entryKey()
		return dst, c.putFailure(&w, r.Rcode, r.EDE, true, generation, now)
	}
	e := entry{stored: now, generation: generation, ede: encodeEDE(r.EDE), flags: k.entryKey().flags}
	if what == positive {
		e.flags |= flagPositive
	}
	var tmp [2 * wire.UsualRecords]byte
	out, offsets := c.encode(dst, tmp[:0], &e, msg, &k, r, what)

	if r.Rcode == wire.NoError || r.Answers > 0 {
		c.removeDenials(&k)
		if c.existence.Answered(k.Name, now, e.lifetime) {
			c.removeDenied(&k)
		}
	}
	if e.lifetime > 0 {
		if zone, ok := denies(out[base:], &k, r); ok && c.deny(out[base:], &k, zone, e, now) {
			return out, true
		}
	}
	w := k.entryKey()
	h, s := c.locate(&w)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.lifetime == 0 {
		s.removeKey(h, &w)
		return dst, false
	}
	if !s.store(h, &w, e, out[base:], offsets) {
		return dst, false
	}
	return out, true
}

// echoes reports whether msg has k's question, in any letter case.
func echoes(msg []byte, k *Key) bool {
	n := wire.HeaderLen + k.Name.Len()
	return len(msg) >= n+4 && wire.EqualFold(msg[wire.HeaderLen:n], k.Name.Bytes()) &&
		binary.BigEndian.Uint16(msg[n:]) == uint16(k.Type) &&
		binary.BigEndian.Uint16(msg[n+2:]) == uint16(k.Class)
}

// encode appends msg to dst with id 0, the question in lower case, so that a
// lookup compares octets, and the TTLs clamped; and the offset of each TTL to
// offsets. e.lifetime stays 0 if msg may not be stored.
func (c *Cache) encode(dst, offsets []byte, e *entry, msg []byte, k *Key, r *wire.Response, what kind) (out, offs []byte) {
	if r.MinTTL == 0 || what == negative && r.NegativeTTL == 0 {
		return dst, offsets
	}
	limit := c.maxTTL // for the TTLs of the authority section
	if what == negative {
		limit = min(r.NegativeTTL, c.maxNegativeTTL)
	}
	base := len(dst)
	dst = append(dst, msg...)
	out = dst[base:]
	wire.SetID(out, 0)
	copy(out[wire.HeaderLen:], k.Name.Bytes())

	lifetime := limit
	w := wire.NewWalk(msg)
	var rec wire.Record
	for w.Next(&rec) {
		if rec.Type == wire.TypeOPT {
			return dst, offsets // valid for one hop only (RFC 6891 section 6.2.1)
		}
		ttl := min(max(wire.TTL(rec.TTL), c.minTTL), c.maxTTL)
		if rec.Section == wire.Authority {
			ttl = min(ttl, limit)
		}
		binary.BigEndian.PutUint32(out[rec.TTLOff:], ttl)
		offsets = binary.BigEndian.AppendUint16(offsets, uint16(rec.TTLOff))
		lifetime = min(lifetime, ttl)
	}
	if w.Err() == nil {
		e.lifetime = lifetime
	}
	return dst, offsets
}

// encodeEDE returns an info code, or -1, as an entry stores it; decodeEDE is the
// reverse.
func encodeEDE(ede int) uint16 {
	if ede < 0 || ede > noEDE {
		return noEDE
	}
	return uint16(ede)
}
