package resolver

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

// relatedTypes are the types by which a client finds the addresses of a name, and
// so the types whose answers have to agree: a name whose AAAA record leads to what is banned is
// banned for A too. What is known of the others is in the cache; nothing is asked for the
// sake of agreement.
var relatedTypes = [...]wire.Type{wire.TypeA, wire.TypeAAAA, wire.TypeHTTPS}

func hasRelatedTypes(t wire.Type) bool {
	return t == wire.TypeA || t == wire.TypeAAAA || t == wire.TypeHTTPS
}

// uncleanNames are names of which an answer was not clean, by their hash: two
// that share one cost a look, no more. There are few, and most queries find that
// there are none at all. Who is met again stays; of the others the oldest go, in
// the order of golang-lru.
type uncleanNames struct {
	seed  maphash.Seed
	some  atomic.Bool
	mu    sync.Mutex
	names *simplelru.LRU[uint64, struct{}] // guarded by mu
}

// maxSuspects is how many there may be: some 100 octets each.
const maxSuspects = 1 << 16

func (s *uncleanNames) init(seed maphash.Seed) {
	s.seed = seed
	s.names, _ = simplelru.NewLRU[uint64, struct{}](maxSuspects, nil) // fails for sizes below 1
}

func (s *uncleanNames) add(name *wire.Name) {
	h := maphash.Bytes(s.seed, name.Bytes())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names.Add(h, struct{}{})
	s.some.Store(true)
}

func (s *uncleanNames) has(name *wire.Name) bool {
	if !s.some.Load() {
		return false
	}
	h := maphash.Bytes(s.seed, name.Bytes())
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.names.Get(h)
	return found
}

// suspect notes that the answer to a question was not clean, so that those of
// the sibling types are looked at again.
func (r *Resolver) markUnclean(name *wire.Name, t wire.Type) {
	if !hasRelatedTypes(t) {
		return
	}
	r.unclean.add(name)
	for _, s := range relatedTypes {
		if s == t {
			continue
		}
		for flags := range 4 {
			r.cache.Unmark(cache.Key{Name: name, Type: s, Class: wire.ClassIN, DO: flags&1 != 0, CD: flags&2 != 0})
		}
	}
}

// byRelatedTypes is what policy says about the cached answers of the sibling
// types of a question whose own answer is not banned.
func (r *Resolver) byRelatedTypes(q *Query) (v blocklists.Verdict, found bool) {
	p := q.state.policy
	var scratch wire.Name
	var buf []byte
	for _, t := range relatedTypes {
		if t == q.view.Type {
			continue
		}
		for flags := range 4 {
			k := cache.Key{Name: &q.view.Name, Type: t, Class: wire.ClassIN, DO: flags&1 != 0, CD: flags&2 != 0}
			msg, ok := r.cache.Peek(buf[:0], k, q.Received.UnixNano())
			if !ok {
				continue
			}
			buf = msg
			ask := q.ask()
			ask.Type, ask.Final = t, true // policy zones decide by the answer to the question alone
			if v, _ := p.Response(msg, &ask, blocklists.Verdict{}, &scratch); v.Kind == blocklists.Block {
				return v, true
			}
		}
	}
	return blocklists.Verdict{}, false
}
