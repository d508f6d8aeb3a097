package cache

import (
	"encoding/binary"

	"rideau/resolver/wire"
)

// kind is what a response is to the cache.
type kind uint8

const (
	uncacheable kind = iota
	positive
	negative
	failure
)

// classify reads what msg is as a response to k.
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
	// A referral or something lame: without SOA the two look alike, and
	// neither says for how long (RFC 2308 section 5).
	return uncacheable
}

// hasAnswer reports whether the answer section has a record of the type and
// class asked. A CNAME chain alone is no answer but to those who ask for it.
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

// Put keeps a response, and reports whether it did. If so, it appends it to dst
// as a [Cache.Get] of this moment would but for the compression of names, with
// TTLs as they count from here;
// else, and of a failure, dst comes back as it was. msg was read into r by [wire.Response.Parse]
// and is the response to k; it is neither written nor kept. generation is that
// of the policy under which it was found clean. Once the cache is full, Put
// does not allocate where dst has the room.
//
// A positive answer is kept for the smallest TTL of its records. A negative
// one is kept for the smallest of its SOA's TTL and minimum and its other
// records' TTLs, and not without SOA (RFC 2308 section 5); its SOA's TTL
// becomes that of the answer, and no other record of its authority section
// stays longer. An NXDOMAIN holds for all types, and for all names below (see
// [Options.NoCut]). A failure is kept like one of [Cache.PutFailure]. Truncated
// responses, referrals, YXDOMAIN, and what has a TTL of 0 are not kept.
//
// A response takes the place of what was kept for k. So does a complete answer
// that may not be kept: what it contradicts is gone.
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
		w := k.want()
		return dst, c.putFailure(&w, r.Rcode, r.EDE, true, generation, now)
	}
	e := entry{stored: now, generation: generation, ede: packEDE(r.EDE), flags: k.want().flags}
	if what == positive {
		e.flags |= flagPositive
	}
	var tmp [2 * wire.UsualRecords]byte
	out, offsets := c.pack(dst, tmp[:0], &e, msg, &k, r, what)

	if r.Rcode == wire.NoError || r.Answers > 0 {
		c.undeny(&k)
	}
	if e.lifetime > 0 && denies(out[base:], &k, r) {
		if c.putDenial(out[base:], &k, e) {
			return out, true
		}
	}
	w := k.want()
	h, s := c.locate(&w)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.lifetime == 0 {
		s.forget(h, &w)
		return dst, false
	}
	if !s.add(h, &w, e, out[base:], offsets) {
		return dst, false
	}
	return out, true
}

// echoes reports whether msg has k's question in any letter case.
func echoes(msg []byte, k *Key) bool {
	n := wire.HeaderLen + k.Name.Len()
	return len(msg) >= n+4 && wire.EqualFold(msg[wire.HeaderLen:n], k.Name.Bytes()) &&
		binary.BigEndian.Uint16(msg[n:]) == uint16(k.Type) &&
		binary.BigEndian.Uint16(msg[n+2:]) == uint16(k.Class)
}

// pack appends msg to dst with id 0, the question in lower case (so that a
// look-up compares octets), and the TTLs as they count from here, and the place
// of each TTL to offsets. The lifetime stays 0 where msg may not be kept.
func (c *Cache) pack(dst, offsets []byte, e *entry, msg []byte, k *Key, r *wire.Response, what kind) (out, offs []byte) {
	if r.MinTTL == 0 || what == negative && r.NegativeTTL == 0 {
		return dst, offsets
	}
	limit := c.maxTTL // of the authority section
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

func packEDE(ede int) uint16 {
	if ede < 0 || ede > noEDE {
		return noEDE
	}
	return uint16(ede)
}
