package cache

import (
	"encoding/binary"

	"rideau/resolver/cache/slab"
	"rideau/resolver/wire"
)

const (
	flagDO       uint8 = 1 << iota // of the key
	flagCD                         // of the key
	flagPositive                   // has an answer of the type asked for
	flagFailure                    // is a failure
	flagNoted                      // has a later failure noted on it
	flagRefresh                    // a lookup reported Hit.Refresh, to prefetch it
	flagDenial                     // of the key: denies a name, whatever the type
	flagCut                        // denies the names below, too
)

// entryKey identifies an entry: by a Key, or as the denial of a name. It
// borrows the name.
type entryKey struct {
	name  []byte // in wire form and lower case
	typ   wire.Type
	class wire.Class
	flags uint8
}

func (k *Key) entryKey() entryKey {
	w := entryKey{name: k.Name.Bytes(), typ: k.Type, class: k.Class}
	if k.DO {
		w.flags |= flagDO
	}
	if k.CD {
		w.flags |= flagCD
	}
	return w
}

// noEDE stands for no info code. As a code it is for private use (RFC 8914
// section 5.2); one from upstream is not stored.
const noEDE = 1<<16 - 1

// entry is the record of one response. It fills one line of a processor's cache
// and has no pointers; its octets are in the shard's slab.
type entry struct {
	stored     int64 // Unix time in nanoseconds
	generation uint64
	hash       uint32 // its lower half
	newer      uint32 // neighbours in the order of eviction: number plus one; 0 is none
	older      uint32
	noted      uint32   // milliseconds from stored to the last failure, or attempt to prefetch
	data       slab.Ref // the message, then the offset of each TTL in it
	length     uint32   // of both in octets; 0 if the record is not in use
	lifetime   uint32   // seconds
	serial     uint32   // differs for each message that the shard stores; never 0
	touched    uint16   // the low bits of the second in which it was made the newest
	size       uint16   // of the message alone
	ede        uint16
	notedEDE   uint16
	notedRcode uint8
	flags      uint8
	fails      uint8 // failures in a row, if it is or has one; stops at 255
	hits       uint8 // lookups that found it fresh, stops at 255; with flagRefresh, attempts to prefetch
}

// matches reports whether e is stored under k: an equal hash does not prove it.
func (s *shard) matches(e *entry, k *entryKey) bool {
	return e.flags&(flagDO|flagCD|flagDenial) == k.flags && hasQuestion(s.octets.At(e.data, int(e.size)), k)
}

// hasQuestion reports whether msg has k's question, its name in lower case.
func hasQuestion(msg []byte, k *entryKey) bool {
	n := wire.HeaderLen + len(k.name)
	return len(msg) >= n+4 && string(msg[wire.HeaderLen:n]) == string(k.name) &&
		binary.BigEndian.Uint16(msg[n:]) == uint16(k.typ) &&
		binary.BigEndian.Uint16(msg[n+2:]) == uint16(k.class)
}

// age is in nanoseconds, and never below 0 if the clock was set back.
func (e *entry) age(now int64) int64 { return max(now-e.stored, 0) }

func (e *entry) fresh(now int64) bool {
	return e.age(now) < int64(e.lifetime)*1e9
}

// servableStale reports whether e, past its TTL, may be served stale.
func (e *entry) servableStale(now, maxStale int64) bool {
	return e.flags&flagFailure == 0 && maxStale > 0 && e.age(now)-int64(e.lifetime)*1e9 <= maxStale
}

// rewind follows a clock that was set back: an entry from the future then lives
// no longer than its TTL from now. A caller that waited for upstream passes an
// older time than the newest entries have; that is no clock set back.
func (e *entry) rewind(now int64) {
	const waited = 10e9
	if e.stored > now+waited {
		e.stored, e.noted = now, 0
	}
}

func (e *entry) hit(f Freshness) Hit {
	return Hit{Freshness: f, Failure: e.flags&flagFailure != 0, Generation: e.generation, EDE: decodeEDE(e.ede), serial: e.serial}
}

func decodeEDE(ede uint16) int {
	if ede == noEDE {
		return -1
	}
	return int(ede)
}

func (s *shard) appendFresh(dst []byte, e *entry, now int64) []byte {
	base := len(dst)
	data := s.octets.At(e.data, int(e.length))
	dst = append(dst, data[:e.size]...)
	age := uint32(min(e.age(now)/1e9, 1<<31-1))
	if age == 0 {
		return dst
	}
	msg := dst[base:]
	for o := data[e.size:]; len(o) >= 2; o = o[2:] {
		field := msg[binary.BigEndian.Uint16(o):]
		ttl := binary.BigEndian.Uint32(field)
		binary.BigEndian.PutUint32(field, ttl-min(ttl, age))
	}
	return dst
}

// appendTruncated appends the header and question of e's message, with TC.
func (s *shard) appendTruncated(dst []byte, e *entry, w *entryKey) []byte {
	base := len(dst)
	dst = append(dst, s.octets.At(e.data, int(e.size))[:wire.HeaderLen+len(w.name)+4]...)
	m := dst[base:]
	wire.SetFlags(m, wire.Flags(m)|wire.FlagTC)
	for _, section := range []wire.Section{wire.Answer, wire.Authority, wire.Additional} {
		wire.SetCount(m, section, 0)
	}
	return dst
}

func (s *shard) appendStale(dst []byte, e *entry, ttl uint32) []byte {
	base := len(dst)
	data := s.octets.At(e.data, int(e.length))
	dst = append(dst, data[:e.size]...)
	msg := dst[base:]
	for o := data[e.size:]; len(o) >= 2; o = o[2:] {
		binary.BigEndian.PutUint32(msg[binary.BigEndian.Uint16(o):], ttl)
	}
	return dst
}

// appendNotedFailure appends the failure that is noted on e.
func (e *entry) appendNotedFailure(dst []byte, k *entryKey) []byte {
	return appendFailure(dst, k, wire.Rcode(e.notedRcode))
}
