package cache

import (
	"encoding/binary"
	"math"

	"rideau/resolver/wire"
)

// PutFailure stores that k could not be resolved (RFC 9520). ede is an info
// code or -1. With backOff the failure is stored for twice as long as the
// failure before, if no answer came between the two and little time has passed;
// otherwise for FailureTTL.
//
// It removes no answer that can be served, now or stale: then the failure is
// only noted on it, Get reports the failure once the answer has expired, and
// GetStale still finds the answer. From the second failure in a row on, Get
// asks from time to time for another attempt in the background, so that no
// client has to wait for it.
func (c *Cache) PutFailure(k Key, rcode wire.Rcode, ede int, backOff bool, now int64) {
	w := k.entryKey()
	c.putFailure(&w, rcode, ede, backOff, 0, now)
}

func (c *Cache) putFailure(k *entryKey, rcode wire.Rcode, ede int, backOff bool, generation uint64, now int64) bool {
	rcode = bareRcode(rcode)
	h, s := c.locate(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	fails := uint8(1)
	if n, ok := s.lookup(h, k); ok {
		old := s.record(n)
		old.rewind(now)
		if backOff && !old.prefetching(now) {
			fails = c.failuresInRow(old, now)
		}
		if old.flags&flagFailure == 0 && (old.fresh(now) || old.servableStale(now, c.maxStale)) {
			old.flags |= flagNoted
			old.noteFailure(now)
			old.notedEDE, old.notedRcode, old.fails = encodeEDE(ede), uint8(rcode), fails
			s.touch(n)
			return true
		}
	}
	var tmp [wire.HeaderLen + wire.MaxName + 4]byte
	return s.store(h, k, entry{stored: now, lifetime: c.backoff(fails),
		generation: generation, ede: encodeEDE(ede), fails: fails, flags: k.flags | flagFailure,
	}, appendFailure(tmp[:0], k, rcode), nil)
}

// prefetching reports whether e is still served, and was to be fetched anew. Such
// failures have cost no client anything, and count as one.
func (e *entry) prefetching(now int64) bool { return e.flags&flagRefresh != 0 && e.fresh(now) }

// failuresInRow returns the number of failures in a row including one now, if e
// was stored before.
func (c *Cache) failuresInRow(e *entry, now int64) uint8 {
	if e.flags&(flagFailure|flagNoted) == 0 || now-e.failedAt() > 1e9*(int64(c.backoff(e.fails))+int64(c.failureMaxTTL)) {
		return 1
	}
	return min(e.fails, math.MaxUint8-1) + 1
}

// backoff returns for how many seconds the last of so many failures in a row is
// remembered.
func (c *Cache) backoff(fails uint8) uint32 {
	doublings := min(max(fails, 1)-1, 16) // 2^16 seconds are far above maxFailureTTL
	return uint32(min(uint64(c.failureTTL)<<doublings, uint64(c.failureMaxTTL)))
}

// noteFailure records now as the time of the last failure.
func (e *entry) noteFailure(now int64) { e.noted = uint32(min(e.age(now)/1e6, math.MaxUint32)) }

// failedAt returns the time of the last failure: for a failure itself, when it
// was stored.
func (e *entry) failedAt() int64 { return e.stored + int64(e.noted)*1e6 }

// failureHolds reports whether the failure noted on e is still remembered.
func (c *Cache) failureHolds(e *entry, now int64) bool {
	return e.flags&flagNoted != 0 && now-e.failedAt() < int64(c.backoff(e.fails))*1e9
}

// retryDue reports whether a query that failed more than once should be tried
// again in the background. The next attempt is then due FailureTTL later.
func (c *Cache) retryDue(e *entry, now int64) bool {
	if e.fails < 2 || now-e.failedAt() < int64(c.failureTTL)*1e9 {
		return false
	}
	e.noteFailure(now)
	return true
}

// prefetchDue counts a lookup of e, and reports that e is popular and that the last
// tenth of its lifetime has begun: once, and again while nothing has replaced e, a
// second after the last attempt or failure, then after two, four and so on.
func (c *Cache) prefetchDue(e *entry, now int64) bool {
	if e.flags&flagRefresh == 0 {
		if e.hits < math.MaxUint8 {
			e.hits++
		}
		if c.prefetchAfter == 0 || e.hits < c.prefetchAfter || e.age(now) < int64(e.lifetime)*(1e9-1e8) {
			return false
		}
		e.flags |= flagRefresh
		e.hits = 0
	} else if now-e.failedAt() < 1e9<<min(e.hits-1, 16) {
		return false
	}
	e.hits++ // now of attempts
	e.noteFailure(now)
	return true
}

// bareRcode returns the response code that a bare header can hold. A code that
// needs an OPT record, or that means no failure, becomes SERVFAIL: it would be
// read as something else.
func bareRcode(rcode wire.Rcode) wire.Rcode {
	if rcode > 0xF || rcode == wire.NoError || rcode == wire.NXDomain {
		return wire.ServFail
	}
	return rcode
}

// appendFailure appends the bare header and question of a failure.
func appendFailure(dst []byte, k *entryKey, rcode wire.Rcode) []byte {
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
