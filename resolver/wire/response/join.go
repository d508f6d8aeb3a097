package response

import "rideau/resolver/wire"

// MarkPartial notes in the header that a response ends at an alias whose target
// was not asked for. The mark is the bit TC, which no response in the cache has and
// which is not passed on.
func MarkPartial(msg []byte) { wire.SetFlags(msg, wire.Flags(msg)|wire.FlagTC) }

// IsPartial reports whether MarkPartial was called for a response.
func IsPartial(msg []byte) bool { return wire.Flags(msg)&wire.FlagTC != 0 }

// Join returns one response made of two: the answers of first, which end with
// an alias, and all that next says about its target, with the response code of
// next. AD is set if both have it. ok is false if the result is too long or a
// response is malformed.
func Join(first, next []byte) (whole []byte, ok bool) {
	w := wire.NewWalk(first)
	if w.Err() != nil || len(next) < wire.HeaderLen {
		return nil, false
	}
	out := newWriter(make([]byte, 0, len(first)+len(next)), first, wire.MaxMessage)
	flags := wire.Flags(first)&^(0xF|wire.FlagAD|wire.FlagTC) | wire.Flags(next)&0xF | wire.Flags(first)&wire.Flags(next)&wire.FlagAD
	wire.SetFlags(out.out, flags)
	var rec wire.Record
	for w.Next(&rec) && rec.Section == wire.Answer {
		if !out.add(first, &rec) {
			return nil, false
		}
	}
	for w = wire.NewWalk(next); w.Next(&rec); {
		if !out.add(next, &rec) {
			return nil, false
		}
	}
	return out.out, w.Err() == nil
}
