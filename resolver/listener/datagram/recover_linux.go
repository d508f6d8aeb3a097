package datagram

// begin has the query in hand wait on the worker's own goroutine; ok is false if
// it needs a job. If that panics, sound is false: the query is given up, and the
// others of its batch are not.
func (b *loop) begin() (ticket uint32, ok, sound bool) {
	defer func() {
		if !sound {
			b.core.Panicked(recover(), "wait")
			b.guarded(b.recoverMisses)
		}
	}()
	ticket, ok = b.misses.Begin(b.Query())
	return ticket, ok, true
}

// recovered repairs what a panic has left half done: queries that wait are
// asked anew, responses that were queued are sent, and slots are made ready.
func (b *loop) recovered(p any) {
	b.core.Panicked(p, "loop")
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

// guarded calls f, which may panic.
func (b *loop) guarded(f func()) {
	defer func() {
		if p := recover(); p != nil {
			b.core.Panicked(p, "recovery")
		}
	}()
	f()
}
