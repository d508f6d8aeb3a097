package cache

import (
	"encoding/binary"
	"math"

	"rideau/resolver/wire"
)

// PutFailure keeps that k could not be resolved (RFC 9520). ede is an info
// code or -1. With backOff it is kept for twice as long as the failure before,
// if no answer came between the two and not much time; otherwise for
// FailureTTL.
//
// It takes nothing that can be served, now or stale, out of the cache: there
// the failure is only noted, Get reports it once the answer has expired, and
// GetStale still finds the answer. From the second failure in a row on, Get wishes
// now and then for another attempt, so that nobody has to wait for it.
func (c *Cache) PutFailure(k Key, rcode wire.Rcode, ede int, backOff bool, now int64) {
	w := k.want()
	c.putFailure(&w, rcode, ede, backOff, 0, now)
}

func (c *Cache) putFailure(k *want, rcode wire.Rcode, ede int, backOff bool, generation uint64, now int64) bool {
	rcode = bareRcode(rcode)
	h, s := c.locate(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	fails := uint8(1)
	if n, ok := s.look(h, k); ok {
		old := s.record(n)
		old.rewind(now)
		if backOff {
			fails = c.inRow(old, now)
		}
		if old.flags&flagFailure == 0 && (old.fresh(now) || old.usable(now, c.maxStale)) {
			old.flags |= flagNoted
			old.note(now)
			old.notedEDE, old.notedRcode, old.fails = packEDE(ede), uint8(rcode), fails
			s.touch(n)
			return true
		}
	}
	var tmp [wire.HeaderLen + wire.MaxName + 4]byte
	return s.add(h, k, entry{stored: now, lifetime: c.backedOff(fails),
		generation: generation, ede: packEDE(ede), fails: fails, flags: k.flags | flagFailure,
	}, appendFailure(tmp[:0], k, rcode), nil)
}

// inRow is how many failures in a row there are with one now, if e was there
// before.
func (c *Cache) inRow(e *entry, now int64) uint8 {
	if e.flags&(flagFailure|flagNoted) == 0 || now-e.notedAt() > 1e9*(int64(c.backedOff(e.fails))+int64(c.failureMaxTTL)) {
		return 1
	}
	return min(e.fails, math.MaxUint8-1) + 1
}

// backedOff is for how many seconds the last of so many failures in a row is
// remembered.
func (c *Cache) backedOff(fails uint8) uint32 {
	doublings := min(max(fails, 1)-1, 16) // an hour and a half, of a second
	return uint32(min(uint64(c.failureTTL)<<doublings, uint64(c.failureMaxTTL)))
}

// note sets when the last failure was.
func (e *entry) note(now int64) { e.noted = uint32(min(e.age(now)/1e6, math.MaxUint32)) }

// notedAt is when that was; of a failure, when it was stored.
func (e *entry) notedAt() int64 { return e.stored + int64(e.noted)*1e6 }

// failing reports whether a failure noted on e is to be answered.
func (c *Cache) failing(e *entry, now int64) bool {
	return e.flags&flagNoted != 0 && now-e.notedAt() < int64(c.backedOff(e.fails))*1e9
}

// retry reports whether it is time to try again in the background what failed
// more than once, and puts off the next time.
func (c *Cache) retry(e *entry, now int64) bool {
	if e.fails < 2 || now-e.notedAt() < int64(c.failureTTL)*1e9 {
		return false
	}
	e.note(now)
	return true
}

// soon counts that e was asked for, and reports, once, that it is popular and
// expires within the last tenth of its time.
func (c *Cache) soon(e *entry, now int64) bool {
	if e.asked < math.MaxUint8 {
		e.asked++
	}
	if c.prefetchAfter == 0 || e.asked < c.prefetchAfter || e.flags&flagRefresh != 0 ||
		e.age(now) < int64(e.lifetime)*(1e9-1e8) {
		return false
	}
	e.flags |= flagRefresh
	return true
}

// bareRcode is what a bare header can say. What an OPT record would have to,
// or what is no failure at all, becomes SERVFAIL: it would read as something
// else.
func bareRcode(rcode wire.Rcode) wire.Rcode {
	if rcode > 0xF || rcode == wire.NoError || rcode == wire.NXDomain {
		return wire.ServFail
	}
	return rcode
}

// appendFailure appends the bare header and question of a failure.
func appendFailure(dst []byte, k *want, rcode wire.Rcode) []byte {
	flags := wire.FlagQR | wire.FlagRD | wire.FlagRA | uint16(rcode)
	if k.flags&flagCD != 0 {
		flags |= wire.FlagCD
	}
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, flags)
	dst = append(dst, 0, 1, 0, 0, 0, 0, 0, 0)
	dst = append(dst, k.name...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(k.typ))
	return binary.BigEndian.AppendUint16(dst, uint16(k.class))
}
