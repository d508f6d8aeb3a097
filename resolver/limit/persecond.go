package limit

import "sync/atomic"

// PerSecond allows a number of events in each second. It is safe for concurrent
// use, except for SetMax.
type PerSecond struct {
	max    uint32
	window atomic.Uint64 // the second's low 32 bits, then the number spent in it
}

// SetMax sets how many events each second has; below 0 is 0. It is called before
// Take.
func (b *PerSecond) SetMax(n int) { b.max = uint32(max(n, 0)) }

// Take takes one event of a second, and reports whether one was left.
func (b *PerSecond) Take(second int64) bool {
	for {
		old := b.window.Load()
		now := uint64(uint32(second)) << 32
		n := now | 1
		if old&^0xFFFFFFFF == now {
			if uint32(old) >= b.max {
				return false
			}
			n = old + 1
		} else if b.max == 0 {
			return false
		}
		if b.window.CompareAndSwap(old, n) {
			return true
		}
	}
}
