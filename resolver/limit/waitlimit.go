package limit

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"

	"rideau/resolver/wire"
)

// WaitLimit bounds the queries that wait, over all who share it, and divides the
// room between clients and between zones: none has more than what is still
// free, or a share of that. So one alone may have a part of the room and no more,
// a thousand have little each, and who comes new always finds some (dynamic
// thresholds, as in switches' buffers). It is safe for concurrent use.
type WaitLimit struct {
	limit   int64
	waiting atomic.Int64
	refused [reasons]atomic.Uint64
	seed    maphash.Seed
	cells   [1 << 16]atomic.Int32
}

// Reason is why a query found no room.
type Reason uint8

// Reasons.
const (
	Full       Reason = iota // there is none for anybody
	ClientFull               // its client has its share
	ZoneFull                 // its zone has
	reasons    int    = iota
)

// String is the reason in a word.
func (r Reason) String() string { return [...]string{"all", "client", "zone"}[r] }

// NewWaitLimit makes WaitLimit for so many queries.
func NewWaitLimit(n int) *WaitLimit {
	return &WaitLimit{limit: int64(max(n, 1)), seed: maphash.MakeSeed()}
}

// Waiting is the number of queries that wait now.
func (r *WaitLimit) Waiting() int { return int(r.waiting.Load()) }

// Refused counts the queries that found no room, by reason.
func (r *WaitLimit) Refused(why Reason) uint64 { return r.refused[why].Load() }

// Permit is what a query that waits holds. The zero Permit is none.
type Permit struct {
	cells [1 + len(depths)]uint16
	n     uint8 // of them
	held  bool
}

// Zones are counted by the suffixes of the name of so many labels, unless
// that is the name itself: two for what is registered below most top-level
// domains, and more for hosting, departments, and registries below others.
var depths = [...]int{2, 3, 4}

// clientShare is how many times what is free a client may have, so that one
// alone has up to three quarters. A zone alone has half.
const clientShare = 3

// small is what room is too little to divide. Of any other a part is for
// clients that have no query waiting.
const small = 64

// Acquire takes room for a query of a client for a name, or says why there is
// none. What was taken has to be given back.
func (r *WaitLimit) Acquire(c *Permit, client netip.Addr, name *wire.Name) (why Reason, ok bool) {
	n := r.waiting.Add(1)
	if n > r.limit {
		r.waiting.Add(-1)
		r.refused[Full].Add(1)
		return Full, false
	}
	free := r.limit - n
	least, reserve := int64(1), r.limit/16
	if r.limit < small {
		least, reserve = small, 0
	}
	c.n = 0
	h := hashOf(r.seed, client, 32, 64)
	c.cells[0] = uint16(h)
	c.n = 1
	if held := r.cells[c.cells[0]].Load(); int64(held) >= max(clientShare*(free-reserve), least) {
		return r.turnAway(ClientFull)
	}
	for _, d := range depths {
		if name.Labels() <= d {
			break
		}
		h := maphash.Bytes(r.seed, name.Suffix(d))
		cell := uint16(h)
		c.cells[c.n] = cell
		c.n++
		if held := r.cells[cell].Load(); int64(held) >= max(free, least) {
			return r.turnAway(ZoneFull)
		}
	}
	for _, cell := range c.cells[:c.n] {
		r.cells[cell].Add(1)
	}
	c.held = true
	return 0, true
}

func (r *WaitLimit) turnAway(why Reason) (Reason, bool) {
	r.waiting.Add(-1)
	r.refused[why].Add(1)
	return why, false
}

// Release releases what Acquire took; of a Permit that holds nothing it does
// nothing.
func (r *WaitLimit) Release(c *Permit) {
	if !c.held {
		return
	}
	c.held = false
	for _, cell := range c.cells[:c.n] {
		r.cells[cell].Add(-1)
	}
	r.waiting.Add(-1)
}
