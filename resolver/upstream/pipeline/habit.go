package pipeline

import (
	"errors"
	"time"
)

const (
	// A habit is believed for firstTerm, and each time that it is seen again right
	// after that, for twice as long, up to lastTerm.
	firstTerm = time.Minute
	lastTerm  = time.Hour
	// maxAnswers is the most answers of a connection that are worth knowing: more
	// cost little when they end.
	maxAnswers = 32
)

// habit is what a server makes of connections, as far as is known. It is believed
// when two connections show it. One alone may have ended for any reason, and
// several at a time when a server restarts: of connections that end, the second
// must have been opened after the first ended.
type habit struct {
	answers int           // how many queries a connection answers; 0 if it is not known to be bounded
	single  bool          // a connection answers only what comes alone
	until   time.Duration // when it is forgotten
	term    time.Duration

	seen   int           // the answers of the last connection that ended early; 0 if none did
	seenAt time.Duration // when that was
	same   int           // how many in a row had as many answers
	alone  time.Duration // when a connection last answered nothing but what came alone; 0 if never
}

// maxConns is how many connections there may be.
func (h *habit) maxConns() int {
	if h.answers > 0 || h.single {
		return maxShortConns
	}
	return maxConns
}

// ended notes the end of a connection. It was early if the server had answered,
// and queries waited.
func (h *habit) ended(x *conn, err error, now time.Duration) {
	if x.live > 0 && errors.Is(err, errGone) {
		h.early(x, now, true)
	}
}

// silent notes that x has brought nothing any more for a query that another
// connection was quick with. The path may have lost x: only two that were
// silent after as many answers show a habit.
func (h *habit) silent(x *conn, now time.Duration) {
	h.early(x, now, false)
}

func (h *habit) early(x *conn, now time.Duration, closed bool) {
	if x.answered == 0 || x.answered > maxAnswers {
		return
	}
	if h.seen == x.answered {
		h.same++
	} else {
		h.same = 1
	}
	agrees := h.seen > 0 && x.started >= h.seenAt && now-h.seenAt < h.memory() && (closed || h.same > 1)
	if agrees || h.same >= 3 && !closed {
		h.answers = max(h.seen, x.answered)
		h.believe(now)
	}
	h.seen, h.seenAt = x.answered, now
}

// ignored notes that x has answered others and left a query unanswered that came
// with them.
func (h *habit) ignored(x *conn, now time.Duration) {
	if x.most < 2 || x.counted {
		return
	}
	x.counted = true
	if h.alone > 0 && now-h.alone < h.memory() {
		h.aloneAnswered(now)
	}
	h.alone = now
}

// aloneAnswered notes that a query was answered alone that several connections
// had not answered with others.
func (h *habit) aloneAnswered(now time.Duration) {
	h.single = true
	h.believe(now)
}

// memory is how long a first connection that showed a habit is remembered.
func (h *habit) memory() time.Duration { return 2 * max(h.term, firstTerm) }

func (h *habit) believe(now time.Duration) {
	if h.until == 0 {
		h.term = min(max(2*h.term, firstTerm), lastTerm)
	}
	h.until = now + h.term
}

// expire forgets what is to be tried again.
func (h *habit) expire(now time.Duration) {
	if h.until != 0 && now >= h.until {
		h.answers, h.single, h.until = 0, false, 0
	}
}
