package listener

// begin has the query in hand wait. If that panics the query is given up, and
// the others of its batch are not.
func (b *loop) begin() (ticket uint32, ok, sound bool) {
	defer func() {
		if !sound {
			b.l.panicked(recover(), "wait")
			b.guarded(b.recoverMisses)
		}
	}()
	ticket, ok = b.misses.Begin(&b.q)
	return ticket, ok, true
}

// recovered puts in order what a panic has left half done: who waits is asked
// for anew, answers that were on the way are sent, and slots are as before.
func (b *loop) recovered(p any) {
	b.l.panicked(p, "loop")
	b.guarded(b.recoverMisses)
	b.guarded(b.send)
	b.queued, b.used, b.readable = 0, 0, true
	for i := range b.rx {
		b.restore(i)
	}
}

func (b *loop) recoverMisses() {
	if b.misses != nil {
		b.misses.Recover()
	}
}

// guarded calls f, which may panic again.
func (b *loop) guarded(f func()) {
	defer func() {
		if p := recover(); p != nil {
			b.l.panicked(p, "recovery")
		}
	}()
	f()
}
