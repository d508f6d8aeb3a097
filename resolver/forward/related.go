package forward

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

// relatedTypes are the types by which a client finds the addresses of a name.
// Their answers have to agree: a name whose AAAA record leads to something that
// is banned is banned for A too. Answers of the other types are looked up in
// the cache; nothing is asked so that they agree.
var relatedTypes = [...]wire.Type{wire.TypeA, wire.TypeAAAA, wire.TypeHTTPS}

func hasRelatedTypes(t wire.Type) bool {
	return t == wire.TypeA || t == wire.TypeAAAA || t == wire.TypeHTTPS
}

// uncleanNames are names of which an answer was not clean, by their hash. A
// false match costs a check and nothing else. There are few such names, and
// most queries find that there are none at all. A bounded number is kept, those
// that were used last. It is safe for concurrent use.
type uncleanNames struct {
	seed  maphash.Seed
	some  atomic.Bool
	mu    sync.Mutex
	names *simplelru.LRU[uint64, struct{}] // guarded by mu
}

// maxUnclean is how many there may be: some 100 octets each.
const maxUnclean = 1 << 16

func (u *uncleanNames) init(seed maphash.Seed) {
	u.seed = seed
	u.names, _ = simplelru.NewLRU[uint64, struct{}](maxUnclean, nil) // fails for sizes below 1
}

func (u *uncleanNames) add(name *wire.Name) {
	h := maphash.Bytes(u.seed, name.Bytes())
	u.mu.Lock()
	defer u.mu.Unlock()
	u.names.Add(h, struct{}{})
	u.some.Store(true)
}

func (u *uncleanNames) has(name *wire.Name) bool {
	if !u.some.Load() {
		return false
	}
	h := maphash.Bytes(u.seed, name.Bytes())
	u.mu.Lock()
	defer u.mu.Unlock()
	_, found := u.names.Get(h)
	return found
}

// Unclean reports whether an answer for a related type of the question may not
// have been clean, so that the answer to the question must not count as clean.
func (x *Exchanges) Unclean(name *wire.Name, t wire.Type) bool {
	return hasRelatedTypes(t) && x.unclean.has(name)
}

// MarkUnclean notes that the answer to a question was not clean, so that the
// answers for its related types are examined again.
func (x *Exchanges) MarkUnclean(name *wire.Name, t wire.Type) {
	if !hasRelatedTypes(t) {
		return
	}
	x.unclean.add(name)
	for _, r := range relatedTypes {
		if r == t {
			continue
		}
		for flags := range 4 {
			x.cache.Unmark(cache.Key{Name: name, Type: r, Class: wire.ClassIN, DO: flags&1 != 0, CD: flags&2 != 0})
		}
	}
}

// ByRelatedTypes is what policy says of the cached answers for the related
// types of a question whose own answer is not banned. now is in nanoseconds.
func (x *Exchanges) ByRelatedTypes(policy *blocklists.Snapshot, ask blocklists.Ask, now int64) (v blocklists.Verdict, found bool) {
	var scratch wire.Name
	var buf []byte
	asked := ask.Type
	ask.Final = true // policy zones decide by the answer to the question alone
	for _, t := range relatedTypes {
		if t == asked {
			continue
		}
		for flags := range 4 {
			k := cache.Key{Name: ask.Name, Type: t, Class: wire.ClassIN, DO: flags&1 != 0, CD: flags&2 != 0}
			msg, ok := x.cache.Peek(buf[:0], k, now)
			if !ok {
				continue
			}
			buf = msg
			ask.Type = t
			if v, _ := policy.Response(msg, &ask, blocklists.Verdict{}, &scratch); v.Kind == blocklists.Block {
				return v, true
			}
		}
	}
	return blocklists.Verdict{}, false
}
