package resolver

import "sync/atomic"

// budget lets so many things through in each second. It is safe for
// concurrent use.
type budget struct {
	perSecond uint32
	window    atomic.Uint64 // the second's low 32 bits, and what was taken in it
}

// take reports whether there is anything left in this second.
func (b *budget) take(second int64) bool {
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
