// Package sink delivers evidence, which is records of queries and acts, to one
// place: a file, a syslog server, a program that reads dnstap.
//
// A [Sink] has queues of its own, so that a slow place delays no other one, and
// never an answer. It encodes what it reads, and offers it to its [Writer] in
// batches. What the Writer does not take waits in a spool (package spool), in
// order, and is offered again, at longer and longer intervals, until it is taken.
// So each event is delivered at least once; one that was on its way when a
// connection broke may arrive twice. Only what finds no space, in the queue or in
// the spool, is dropped, and each such event is counted by the reason.
//
// # Adding a place
//
// Write a Writer, and if it has a format of its own an [Encoder]. Neither is
// called by more than one goroutine at a time.
package sink

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/spool"
)

const (
	batchEvents = 512
	batchOctets = 256 << 10
	firstPause  = 250 * time.Millisecond
	lastPause   = 30 * time.Second
	// logInterval is the shortest time between two messages of the same sink.
	logInterval = time.Minute
	// syncInterval is how much evidence a loss of power may cost.
	syncInterval = 5 * time.Second
	maxActs      = 1 << 12
	// FinalWait is how long the last events are offered when a Sink ends. What is
	// not taken by then stays in the spool.
	FinalWait = 2 * time.Second
)

// Options configure a Sink.
type Options struct {
	// Name is the sink's id in the configuration.
	Name string
	// Records and Acts are what is delivered; a Sink reads its own queues of
	// them. Either may be nil.
	Records *audit.Log
	Acts    *act.Log
	// Want chooses the records by their marks, and Keep, if it is not nil, among
	// those. It is called by one goroutine.
	Want resolver.Marks
	Keep func(*audit.Record) bool
	// Queue is how many records may wait to be encoded; 0 is 65,536.
	Queue int
	// Spool opens what keeps the events that the Writer does not take, and says
	// how many octets of it could not be read; nil: such events are dropped. Run
	// calls it, and closes it when it ends.
	Spool   func() (s *spool.Spool, cut int64, err error)
	Encoder Encoder
	Writer  Writer // owned by the Sink
	// Logger hears of trouble, at a bounded rate. nil: nobody does.
	Logger *slog.Logger
}

// Sink delivers evidence to one place. It is safe for concurrent use.
type Sink struct {
	o       Options
	records *audit.Reader
	acts    *act.Reader

	kept    atomic.Uint64 // delivered
	offered atomic.Uint64
	again   atomic.Uint64 // returned by the Writer
	drops   [reasons]atomic.Uint64
	spool   atomic.Pointer[spool.Spool] // nil: there is none
	failing atomic.Bool
	since   atomic.Int64 // failing since, in Unix nanoseconds

	// Run's alone.
	text    []byte
	ends    []int
	pause   time.Duration
	next    time.Time // no try before
	failed  time.Time // the last try that failed
	told    time.Time
	muted   int
	warned  bool // told that the place takes no events
	unsaved bool
}

// New makes a Sink. From now on its queues fill; Run empties them.
func New(o Options) *Sink {
	if o.Queue == 0 {
		o.Queue = 1 << 16
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sink{o: o}
	if o.Records != nil && o.Want != 0 {
		s.records = o.Records.NewReader(o.Queue)
		s.records.Want(o.Want)
	}
	if o.Acts != nil {
		s.acts = o.Acts.NewReader(maxActs)
	}
	return s
}

// Run delivers until ctx ends, and then what is queued: for up to FinalWait to
// the place, the rest to the spool. It closes the Writer and the Spool.
func (s *Sink) Run(ctx context.Context) {
	s.open()
	sync := time.NewTicker(syncInterval)
	defer sync.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		s.collect(ctx)
		s.replay(ctx)
		again.Reset(s.wait())
		select {
		case <-ctx.Done():
			s.finish(ctx)
			return
		case <-s.recordsReady():
		case <-s.actsReady():
		case <-again.C:
		case <-sync.C:
			s.settle(ctx, false)
			s.sync()
		}
	}
}

// open opens the spool.
func (s *Sink) open() {
	if s.o.Spool == nil {
		return
	}
	sp, cut, err := s.o.Spool()
	if err != nil {
		s.tell("the spool cannot be opened: what is not delivered at once is dropped and counted", err)
		return
	}
	s.spool.Store(sp)
	if cut > 0 {
		s.o.Logger.Warn("the spool ended within an event, which is lost", "sink", s.o.Name, "octets", cut)
	}
}

// wait is how long Run may sleep if nothing comes.
func (s *Sink) wait() time.Duration {
	if s.spooled() == 0 {
		return time.Hour
	}
	return max(time.Until(s.next), 0)
}

func (s *Sink) recordsReady() <-chan struct{} {
	if s.records == nil {
		return nil
	}
	return s.records.Ready()
}

func (s *Sink) actsReady() <-chan struct{} {
	if s.acts == nil {
		return nil
	}
	return s.acts.Ready()
}

// finish delivers what is left.
func (s *Sink) finish(ctx context.Context) {
	if s.records != nil {
		s.o.Records.Drain()
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), FinalWait)
	defer cancel()
	s.next = time.Time{}
	s.collect(last)
	for n := s.spooled(); n > 0 && last.Err() == nil; n = s.spooled() {
		s.next = time.Time{}
		if s.replay(last); s.spooled() >= n {
			break
		}
	}
	s.settle(last, true)
	if s.records != nil {
		s.records.Close()
	}
	if s.acts != nil {
		s.acts.Close()
	}
	if err := s.o.Writer.Close(); err != nil {
		s.tell("closing failed", err)
	}
	if sp := s.spool.Load(); sp != nil {
		if err := sp.Close(); err != nil {
			s.tell("the spool cannot be written to the disk", err)
		}
	}
}

// collect encodes what is queued and delivers it, or puts it into the spool.
// Acts come before queries.
func (s *Sink) collect(ctx context.Context) {
	if s.acts != nil {
		for _, a := range s.acts.Read() {
			s.text = s.o.Encoder.Act(s.text, a)
			s.event(ctx)
		}
	}
	if s.records != nil {
		s.records.Read(func(r *audit.Record) {
			if s.o.Keep != nil && !s.o.Keep(r) {
				return
			}
			s.text = s.o.Encoder.Query(s.text, r)
			s.event(ctx)
		})
	}
	s.deliver(ctx)
}

// event ends an event in text, and delivers if there are enough.
func (s *Sink) event(ctx context.Context) {
	begin := 0
	if n := len(s.ends); n > 0 {
		begin = s.ends[n-1]
	}
	if len(s.text) == begin {
		return
	}
	s.offered.Add(1)
	s.ends = append(s.ends, len(s.text))
	if len(s.ends) == batchEvents || len(s.text) >= batchOctets {
		s.deliver(ctx)
	}
}

// deliver writes the events in text, or keeps them.
func (s *Sink) deliver(ctx context.Context) {
	if len(s.ends) == 0 {
		return
	}
	events := make([][]byte, len(s.ends))
	begin := 0
	for i, end := range s.ends {
		events[i] = s.text[begin:end:end]
		begin = end
	}
	if s.spooled() == 0 && (s.spool.Load() == nil || !time.Now().Before(s.next)) {
		n, taken, back := s.write(ctx, events)
		s.kept.Add(uint64(taken))
		s.keep(back)
		events = events[n:]
	}
	s.keep(events)
	s.text, s.ends = s.text[:0], s.ends[:0]
}

// write offers events to the Writer. The first n are done with: taken of them were
// taken, the others dropped. back are events that the Writer took, and that are to
// be offered again.
func (s *Sink) write(ctx context.Context, events [][]byte) (n, taken int, back [][]byte) {
	for n < len(events) {
		some, err := s.o.Writer.Write(ctx, events[n:])
		n, taken = n+some, taken+some
		back = append(back, s.returned(err)...)
		var refused *Refused
		switch {
		case len(back) > 0:
			s.fails(err)
			return n, taken, back
		case err == nil || n == len(events):
			s.works()
			return n, taken, nil
		case errors.As(err, &refused):
			s.drop(NotTaken, 1)
			s.tell("an event was refused and is dropped", err)
			n++
		default:
			s.fails(err)
			return n, taken, nil
		}
	}
	return n, taken, nil
}

// returned returns the events that an error gives back.
func (s *Sink) returned(err error) [][]byte {
	var r *Returned
	if !errors.As(err, &r) {
		return nil
	}
	s.again.Add(uint64(len(r.Events)))
	return r.Events
}

// settle asks the Writer what did not arrive.
func (s *Sink) settle(ctx context.Context, last bool) {
	w, ok := s.o.Writer.(Settler)
	if !ok {
		return
	}
	if err := w.Settle(ctx, last); err != nil {
		s.keep(s.returned(err))
		s.fails(err)
	}
}

// keep puts events into the spool.
func (s *Sink) keep(events [][]byte) {
	if len(events) == 0 {
		return
	}
	sp := s.spool.Load()
	if sp == nil {
		s.drop(Undelivered, len(events))
		return
	}
	n, err := sp.Append(events)
	s.unsaved = s.unsaved || n > 0
	switch left := len(events) - n; {
	case errors.Is(err, spool.ErrFull):
		s.drop(SpoolFull, left)
		s.tell("the spool is full: events are dropped and counted", err)
	case err != nil:
		s.drop(SpoolError, left)
		s.tell("the spool cannot be written: events are dropped and counted", err)
	}
}

// replay delivers from the spool, if it is time.
func (s *Sink) replay(ctx context.Context) {
	for s.spooled() > 0 && !time.Now().Before(s.next) && ctx.Err() == nil {
		sp := s.spool.Load()
		events, err := sp.Next(batchEvents, batchOctets)
		if err == nil {
			n, taken, back := s.write(ctx, events)
			err = sp.Delivered(events[:n])
			s.kept.Add(uint64(taken)) // when they wait no longer, so that none is counted twice
			s.keep(back)
		}
		if err != nil {
			s.fails(err)
			return
		}
		s.collect(ctx) // a long replay must not fill the queue
	}
}

func (s *Sink) spooled() int {
	if sp := s.spool.Load(); sp != nil {
		return sp.Events()
	}
	return 0
}

func (s *Sink) sync() {
	if !s.unsaved {
		return
	}
	s.unsaved = false
	if err := s.spool.Load().Sync(); err != nil {
		s.tell("the spool cannot be written to the disk", err)
	}
}

// fails notes that the place does not take events, and when to try again. The
// interval grows also if the place works for moments in between.
func (s *Sink) fails(err error) {
	now := time.Now()
	if !s.failing.Swap(true) {
		s.since.Store(now.UnixNano())
		if s.pause == 0 || now.Sub(s.failed) > 2*lastPause {
			s.pause = firstPause
		}
	}
	s.failed, s.next = now, now.Add(s.pause)
	s.pause = min(2*s.pause, lastPause)
	if s.tell("events cannot be delivered; they are kept and offered again", err) {
		s.warned = true
	}
}

// works notes that the place takes events.
func (s *Sink) works() {
	s.next = time.Time{}
	if s.failing.Swap(false) && s.warned {
		s.warned = false
		s.o.Logger.Info("events are delivered again", "sink", s.o.Name, "after", time.Since(time.Unix(0, s.since.Load())).Round(time.Second))
	}
}

func (s *Sink) drop(r Reason, n int) { s.drops[r].Add(uint64(n)) }

// tell logs trouble, once in logInterval. It reports whether it did.
func (s *Sink) tell(message string, err error) bool {
	if now := time.Now(); now.Sub(s.told) >= logInterval {
		s.o.Logger.Warn(message, "sink", s.o.Name, "error", err, "not_logged", s.muted)
		s.told, s.muted = now, 0
		return true
	}
	s.muted++
	return false
}
