package limit

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"

	"rideau/resolver/wire"
)

// WaitLimit bounds the queries that wait, of all listeners that share it, and
// divides the limit among clients and among zones: each may have as many as are
// still free, or some share of that. So one client alone gets a part and no
// more, a thousand clients get few each, and a new client always gets some
// (dynamic thresholds, as in the buffers of switches).
//
// An eighth is kept for proven queries: those of clients, or for names in zones,
// whose queries have been answered lately more often than not. So thousands of
// forged clients with names that nobody answers do not take all. It is safe for
// concurrent use.
type WaitLimit struct {
	limit   int64
	waiting atomic.Int64
	refused [Reasons]atomic.Uint64
	seed    maphash.Seed
	cells   [permitCells]atomic.Int32 // permits by the hash of a client or a zone
	// proofs are by the same hash, which is the upper half. The lower half is how
	// many queries were answered, less those that were not.
	proofs [permitCells]atomic.Uint64
}

const (
	permitCells = 1 << 16
	maxProof    = 16
	// provenPermits is the part of the limit that is kept for proven queries.
	provenPermits = 8
)

// Reason is why a query got no permit, or a request no place.
type Reason uint8

// Reasons.
const (
	Full       Reason = iota // none are left, or too few
	ClientFull               // the client has its share
	ZoneFull                 // the zone has its share
	// Reasons is how many there are.
	Reasons = iota
)

// String is the reason's name in metrics.
func (r Reason) String() string { return [...]string{"all", "client", "zone"}[r] }

// NewWaitLimit makes a WaitLimit of n queries, one at least.
func NewWaitLimit(n int) *WaitLimit {
	return &WaitLimit{limit: int64(max(n, 1)), seed: maphash.MakeSeed()}
}

// Waiting is how many permits are held now.
func (w *WaitLimit) Waiting() int { return int(w.waiting.Load()) }

// Refused counts the queries that got no permit, by reason.
func (w *WaitLimit) Refused(why Reason) uint64 { return w.refused[why].Load() }

// Permit is the permit of one query to wait. The zero Permit is none. A copy is
// the same permit: one of them is released.
type Permit struct {
	cells [1 + len(depths)]uint32 // hashes, of which the lower 16 bits are the index
	n     uint8                   // how many of cells are in use
	held  bool
}

// depths are the numbers of labels of the suffixes of a name that count as its
// zones, unless that is the name itself: two for what is registered below most
// top-level domains, and more for hosting, for departments, and for registries
// below other domains.
var depths = [...]int{2, 3, 4}

// clientShare is how many times the free permits a client may have, so that one
// alone gets up to three quarters of the limit, or three fifths if it is not proven. A zone
// alone gets half.
const clientShare = 3

// minDivided is the least limit that is divided. A part of it, the reserve, is
// for clients with no query that waits.
const minDivided = 64

// Acquire acquires a permit for a client's query for a name, or reports why
// there is none. The permit has to be released.
func (w *WaitLimit) Acquire(p *Permit, client netip.Addr, name *wire.Name) (why Reason, ok bool) {
	n := w.waiting.Add(1)
	if n > w.limit {
		return w.refuse(Full)
	}
	free := w.limit - n
	least, reserve := int64(1), w.limit/16
	if w.limit < minDivided {
		least, reserve = minDivided, 0
	}
	p.cells[0] = uint32(hashOf(w.seed, client, 32, 64))
	p.n = 1
	for _, d := range depths {
		if name.Labels() <= d {
			break
		}
		p.cells[p.n] = uint32(maphash.Bytes(w.seed, name.Suffix(d)))
		p.n++
	}
	kept := reserve
	if free < w.limit/4*3 && least == 1 && !w.proven(p.cells[0]) && !w.proven(p.cells[p.n-1]) {
		if kept += w.limit / provenPermits; free < kept-reserve {
			return w.refuse(Full)
		}
	}
	if held := w.cells[uint16(p.cells[0])].Load(); int64(held) >= max(clientShare*(free-kept), least) {
		return w.refuse(ClientFull)
	}
	for i, cell := range p.cells[1:p.n] {
		if held := w.cells[uint16(cell)].Load(); int64(held) >= max(free, least) && !w.modest(p, i, free, reserve) {
			return w.refuse(ZoneFull)
		}
	}
	for _, cell := range p.cells[:p.n] {
		w.cells[uint16(cell)].Add(1)
	}
	p.held = true
	return 0, true
}

// modest reports whether a query may wait though a zone has its share: the client
// and a zone below that one have few, so that others below it need not suffer
// from what fills it. The fewer permits are free beyond the reserve, the fewer are
// few; half of the reserve is left to other zones. That is little, and enough: only
// proven queries, which get their answers and so release their permits soon, can take
// what is below provenPermits.
func (w *WaitLimit) modest(p *Permit, zone int, free, reserve int64) bool {
	few := int32(min(w.limit/256, max(clientShare*(free-reserve), 1)))
	return zone+2 < int(p.n) && free > reserve/2 && w.cells[uint16(p.cells[0])].Load() < few && w.cells[uint16(p.cells[p.n-1])].Load() < few
}

func (w *WaitLimit) refuse(why Reason) (Reason, bool) {
	w.waiting.Add(-1)
	w.refused[why].Add(1)
	return why, false
}

// Settle notes whether the query of a permit was answered, before the permit is
// released. It does nothing if the permit is not held.
func (w *WaitLimit) Settle(p *Permit, answered bool) {
	if !p.held {
		return
	}
	w.prove(p.cells[0], answered)
	if p.n > 1 {
		w.prove(p.cells[p.n-1], answered)
	}
}

// prove counts for a hash. What is answered takes the cell of another hash.
func (w *WaitLimit) prove(hash uint32, answered bool) {
	c := &w.proofs[uint16(hash)]
	was := uint64(0)
	if v := c.Load(); uint32(v>>32) == hash {
		was = uint64(uint32(v))
	}
	is := was
	if answered {
		is = min(was+1, maxProof)
	} else if was > 0 {
		is = was - 1
	}
	if is != was {
		c.Store(uint64(hash)<<32 | is)
	}
}

// proven reports whether a hash is that of a client or a zone that is answered.
func (w *WaitLimit) proven(hash uint32) bool {
	v := w.proofs[uint16(hash)].Load()
	return uint32(v>>32) == hash && uint32(v) > 0
}

// Release releases a permit. It does nothing if the permit is not held.
func (w *WaitLimit) Release(p *Permit) {
	if !p.held {
		return
	}
	p.held = false
	for _, cell := range p.cells[:p.n] {
		w.cells[uint16(cell)].Add(-1)
	}
	w.waiting.Add(-1)
}
