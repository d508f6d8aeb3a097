package pipeline

import (
	"errors"
	"time"
)

const (
	// A connection is doubted when it has brought nothing for SRTT + 4 RTTVAR,
	// within these bounds, while a query waits. One that has brought nothing at
	// all yet, of a server that may be slow, has the longest time.
	minPatience     = 300 * time.Millisecond
	unknownPatience = 500 * time.Millisecond
	maxPatience     = time.Second
	// openingFor is how long a connection is opened before another is, too.
	openingFor = time.Second
	// maxSilence is how many queries in a row may be given up on a connection
	// that brings nothing before it counts as dead.
	maxSilence = 3
	// maxRaces is how often a query is sent over one more connection. Each time it
	// has twice the time.
	maxRaces = 5
	// minSilence is how long nothing must have arrived besides: the server may
	// just have become slower.
	minSilence = 1500 * time.Millisecond
	// silentFor is how long a connection is silent before another may take its
	// place.
	silentFor = 3 * time.Second
)

var (
	errSilent     = errors.New("the connection brings nothing any more")
	errMismatches = errors.New("the server sends answers to other questions")
)

// patience is how long nothing comes before x is doubted.
func (x *conn) patience() time.Duration {
	if x.answered == 0 {
		return maxPatience
	}
	return min(x.p.pace.Limit(minPatience, unknownPatience), maxPatience)
}

// tick looks whether x is to be doubted, or has been idle for long.
func (x *conn) tick() {
	p := x.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if x.gone {
		return
	}
	now := p.now()
	if x.live == 0 {
		left := x.idle + p.o.IdleTimeout - now
		if x.opened && left <= 0 {
			x.drop()
			return
		}
		x.timer.Reset(max(left, 10*time.Millisecond))
		return
	}
	next, patience := time.Duration(-1), x.patience()
	for _, c := range x.waiting {
		if c.ended || !c.newest(x) || c.races == maxRaces {
			continue
		}
		left := patience
		if x.opened {
			left = max(x.heard, c.on(x).sent) + patience<<c.races - now
		} else {
			left = x.started + openingFor - now
		}
		if left <= 0 {
			p.doubt(x, now)
			next = patience
			break
		}
		if next < 0 || left < next {
			next = left
		}
	}
	if next < 0 {
		next = patience
	}
	if !x.gone {
		x.timer.Reset(next)
	}
}

// doubt sends what waits on x over others as well. The first of it may be what a
// server that answers in order is busy with, and goes over one of its own. Other
// connections that have brought nothing since may have gone with x.
func (p *Pool) doubt(x *conn, now time.Duration) {
	x.doubted = true
	calls := x.unanswered()
	for _, y := range p.conns {
		y.doubted = y.doubted || y.opened && y.heard < calls[0].on(x).sent
	}
	var first *conn
	for _, c := range calls {
		if !c.newest(x) || c.races == maxRaces {
			continue
		}
		y := p.best(x, first)
		if y == nil && first != nil && first.takes() {
			y = first
		}
		if y == nil {
			if x.answered > 0 { // there may be no more connections: one takes its place
				p.habit.silent(x, now)
				p.lose(x, errSilent)
				p.dispatch()
			}
			return
		}
		c.races++
		if c.at[1].conn != nil {
			p.withdraw(c, now)
		}
		y.add(c, now)
		if first == nil {
			first = y
		}
	}
}

// withdraw takes c off the older of its two connections.
func (p *Pool) withdraw(c *call, now time.Duration) {
	o := c.at[0]
	c.at[0], c.at[1] = c.at[1], place{}
	o.conn.waiting[o.id] = p.late
	o.conn.live--
	o.conn.rest(now)
}

// believe notes that x has brought something: it was slow, and so were those
// that were doubted with it.
func (p *Pool) believe(x *conn) {
	x.doubted = false
	for _, y := range p.conns {
		y.doubted = y.doubted && y.live > 0
	}
}

// overtaken notes that a query was answered over another connection than o, after
// took there. If that was far quicker than o, which is still silent, o is closed.
func (p *Pool) overtaken(o place, took, now time.Duration) {
	x := o.conn
	switch {
	case x.gone:
		return
	case 2*took > now-o.sent:
		x.rest(now)
		return
	case x.heard > o.sent:
		p.habit.ignored(x, now)
	case x.doubted:
		p.habit.silent(x, now)
	}
	if !x.doubted {
		x.rest(now)
		return
	}
	p.lose(x, errSilent)
}
