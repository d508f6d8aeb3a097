package resolver

import (
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

// dropUnrelated takes out of a response what does not belong to its question, so that
// an upstream's word, or a forger's, is kept and passed on for nothing but what
// was asked, and puts its answer in order. It reports false if all the answer was for
// other names. resp is read anew if need be.
func (r *Resolver) dropUnrelated(msg []byte, do bool, resp *wire.Response, scratch *wire.Name) ([]byte, bool) {
	out, dropped, moved, ok := response.AppendRelated(nil, msg[:resp.End], do)
	if dropped > 0 {
		r.unrelated.Add(uint64(dropped))
	}
	if !ok || dropped == 0 && !moved {
		return out, ok
	}
	ede := resp.EDE // was in the OPT record
	if err := resp.Parse(out, scratch); err != nil {
		return nil, false
	}
	resp.EDE = ede
	return out[:resp.End], true
}

// Unrelated counts the records of upstreams' responses that did not belong to
// the question and were let go.
func (r *Resolver) Unrelated() uint64 { return r.unrelated.Load() }
