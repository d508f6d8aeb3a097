package resolver

import "sync/atomic"

// budget allows a number of events in each second. It is safe for concurrent
// use.
type budget struct {
	perSecond uint32
	window    atomic.Uint64 // the second's low 32 bits, then the number spent in it
}

// spend takes one event from the budget of a second, and reports whether one
// was left.
func (b *budget) spend(second int64) bool {
	for {
		old := b.window.Load()
		now := uint64(uint32(second)) << 32
		n := now | 1
		if old&^0xFFFFFFFF == now {
			if uint32(old) >= b.perSecond {
				return false
			}
			n = old + 1
		} else if b.perSecond == 0 {
			return false
		}
		if b.window.CompareAndSwap(old, n) {
			return true
		}
	}
}
