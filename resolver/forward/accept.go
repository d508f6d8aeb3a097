package forward

import (
	"context"
	"slices"

	"rideau/blocklists"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

// fault is why a response is not stored as it is.
type fault uint8

const (
	none      fault = iota
	malformed       // it cannot be parsed
	unusable        // it is no answer
	unrelated       // all its records are for other names
	breaksOff       // it ends at an alias, and what that leads to is to be asked for
	endless         // its aliases lead in a circle, or are too many
	empty           // it says that there is no data, from a server that may not know
	cut             // it is truncated, and nobody has the whole
	denied          // it denies a name that was answered lately
)

// incoming is an upstream's response on its way into the cache. It is scratch
// memory: one value serves one response after another.
type incoming struct {
	msg  []byte
	resp wire.Response
	name wire.Name         // scratch
	rel  response.Relation // rel.End is where the aliases lead, with breaksOff
}

// accept is the one way of an upstream's response to p: it is parsed, checked
// to be an answer, freed of unrelated records, examined by policy, stored, and
// appended to dst as the next client will get it, with its TTLs bounded. msg is
// written to. now is in nanoseconds. With a fault nothing is stored, and r has
// what was found so far. Nobody doubts what is final: the others have been asked.
func (x *Exchanges) accept(p *Pending, msg, dst []byte, r *incoming, now int64, final bool) (Result, fault) {
	if f := x.examine(p, msg, r); f != none {
		return Result{}, f
	}
	if !final && x.contradicts(p, r, now) {
		return Result{}, denied
	}
	return x.store(p, dst, r, now), none
}

// examine is accept without policy and cache.
func (x *Exchanges) examine(p *Pending, msg []byte, r *incoming) fault {
	if err := r.resp.Parse(msg, &r.name); err != nil {
		return malformed
	}
	f := x.lacks(msg, r)
	if f == unusable {
		return unusable
	}
	wire.SetID(msg, 0) // it was the exchange's
	r.msg = msg[:r.resp.End]
	answers := r.resp.Answers
	g := x.relate(p, r, p)
	if g == none && answers > 0 && r.resp.Answers == 0 && !r.resp.HasSOA && r.resp.Rcode == wire.NoError {
		f = max(f, empty) // all was of other types
	}
	if g == none || f == cut && p.DO && g == breaksOff {
		return f // signatures may be what is missing
	}
	return g
}

// contradicts reports whether a response that examine has found to be an answer
// denies a name that was answered lately, so that it is worth asking others.
func (x *Exchanges) contradicts(p *Pending, r *incoming, now int64) bool {
	return r.resp.Rcode == wire.NXDomain && x.cache.Contradicts(p.Key(), r.msg, &r.resp, now)
}

// context is the context of an exchange for p that takes its share of the upstream's
// places, and in which the upstream doubts what contradicts.
func (x *Exchanges) context(parent context.Context, p *Pending) context.Context {
	return upstream.WithDoubt(upstream.WithShare(parent, p.Share), func(msg []byte) bool {
		var r incoming
		r.msg = slices.Clone(msg) // Parse writes to it
		return r.resp.Parse(r.msg, &r.name) == nil && x.contradicts(p, &r, x.now())
	})
}

// lacks says what keeps a response that has been parsed from being an answer.
// Most are one, as a look at the header shows.
func (x *Exchanges) lacks(msg []byte, r *incoming) fault {
	flags := wire.Flags(msg)
	if acceptance.Usable(&r.resp) && flags&wire.FlagRA != 0 && r.resp.Answers > 0 && r.resp.Rcode != wire.YXDomain {
		return none
	}
	lack := acceptance.LackOf(msg, &r.resp)
	switch {
	case lack == acceptance.LacksAll:
		return unusable
	case r.resp.TC:
		wire.SetFlags(msg, flags&^wire.FlagTC) // the mark of a partial answer
		return cut
	case lack == acceptance.LacksData:
		return empty
	}
	return none
}

// relate removes the records of a response that do not belong to its question, so
// that neither an upstream nor a forger is believed about anything else, and puts
// its answer section in order. The response is parsed anew if it has changed.
func (x *Exchanges) relate(p *Pending, r *incoming, router response.Router) fault {
	found, ok := r.rel.Relate(nil, r.msg, p.DO, router)
	if found.Dropped > 0 && found.Ending != response.Elsewhere {
		x.unrelated.Add(uint64(found.Dropped))
	}
	if !ok {
		return unrelated
	}
	if found.Changed {
		ede := r.resp.EDE // it was in the OPT record
		if err := r.resp.Parse(found.Msg, &r.name); err != nil {
			return unrelated
		}
		r.resp.EDE = ede
		r.msg = found.Msg[:r.resp.End]
	}
	switch found.Ending {
	case response.Dangling, response.Elsewhere:
		return breaksOff
	case response.Endless:
		return endless
	}
	return none
}

// Unrelated counts the records of responses that did not belong to the question
// and were dropped.
func (x *Exchanges) Unrelated() uint64 { return x.unrelated.Load() }

// store has policy examine a whole answer and stores it, as accept does.
func (x *Exchanges) store(p *Pending, dst []byte, r *incoming, now int64) Result {
	res := x.vet(p, r, now)
	var stored bool
	if res.Msg, stored = x.put(p, dst, r, res.Generation, now); !stored {
		res.Msg = bounded(dst, r, x.cache.MaxTTL())
	}
	return res
}

// bounded appends an answer that is not stored to dst.
func bounded(dst []byte, r *incoming, maxTTL uint32) []byte {
	wire.CapTTLs(r.msg, maxTTL)
	return append(dst, r.msg...)
}

// vet has policy examine an answer.
func (x *Exchanges) vet(p *Pending, r *incoming, now int64) Result {
	res := Result{EDE: r.resp.EDE}
	p.target.noteAnswer(now)
	policy := x.routing.Load().policy
	ask := blocklists.Ask{Name: p.Name, Type: p.Type, Group: policy.Everyone()}
	if v, trim := policy.Response(r.msg, &ask, blocklists.Verdict{}, &r.name); v.Kind != blocklists.Pass {
		if !v.ByZone() {
			x.MarkUnclean(p.Name, p.Type)
		}
	} else if !trim && !x.Unclean(p.Name, p.Type) {
		res.Generation = policy.Generation()
	}
	return res
}

// put puts an answer into the cache, unless its question goes to another
// upstream since a reload, whose answer may be another, or the cache was
// flushed since the exchange began. That is checked before and after, since a
// flush comes after the reload that wants it, and is counted first.
func (x *Exchanges) put(p *Pending, dst []byte, r *incoming, generation uint64, now int64) ([]byte, bool) {
	if !x.current(p) {
		return dst, false
	}
	out, stored := x.cache.Put(dst, p.Key(), r.msg, &r.resp, generation, now)
	if !stored || x.current(p) {
		return out, stored
	}
	x.cache.Remove(p.Key())
	return dst, false
}

// putFailure is put for an exchange that brought no answer.
func (x *Exchanges) putFailure(p *Pending, ede int, backOff bool) {
	if x.current(p) {
		x.cache.PutFailure(p.Key(), wire.ServFail, ede, backOff, x.now())
	}
}

// current reports whether p's question would still go to p's upstream, and the
// cache has not been flushed since p began.
func (x *Exchanges) current(p *Pending) bool {
	if x.cache.Epoch() != p.epoch {
		return false
	}
	now := x.routing.Load()
	if now == p.routing {
		return true
	}
	_, _, route := now.Zone(p.Name, p.Type)
	return now.targets[route].same(p.target)
}
