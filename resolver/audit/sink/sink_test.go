package sink_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/spool"
)

// numbers encodes acts as their numbers.
type numbers struct{}

func (numbers) Query(dst []byte, r *audit.Record) []byte { return fmt.Append(dst, "q", r.Number) }
func (numbers) Act(dst []byte, a *act.Act) []byte        { return fmt.Append(dst, a.Number) }

// place is a Writer that works, or does not.
type place struct {
	mu     sync.Mutex
	got    []string
	down   bool
	most   int // events of a batch that are taken; 0 is all
	refuse string
	closed bool
	stall  time.Duration
}

var errDown = errors.New("down")

func (p *place) Write(ctx context.Context, events [][]byte) (int, error) {
	p.mu.Lock()
	stall := p.stall
	p.mu.Unlock()
	if stall > 0 {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(stall):
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return 0, errDown
	}
	for i, e := range events {
		if p.most > 0 && i == p.most {
			return i, errDown
		}
		if string(e) == p.refuse {
			return i, &sink.Refused{Err: errors.New("no such event")}
		}
		p.got = append(p.got, string(e))
	}
	return len(events), nil
}

func (p *place) Close() error { p.closed = true; return nil }

func (p *place) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// inOrder reports what is wrong with what a place got: it must be the numbers
// from 1 to n but for some.
func inOrder(got []string, n int, but ...int) error {
	want := []string{}
	for i := 1; i <= n; i++ {
		left := false
		for _, b := range but {
			left = left || b == i
		}
		if !left {
			want = append(want, fmt.Sprint(i))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("got %.200v, want %.200v", got, want)
	}
	return nil
}

// run runs a Sink in a bubble of synctest. end ends it and waits.
func run(t *testing.T, p *place, acts *act.Log, s *spool.Spool) (k *sink.Sink, end func()) {
	o := sink.Options{Name: "test", Acts: acts, Encoder: numbers{}, Writer: p}
	if s != nil {
		o.Spool = func() (*spool.Spool, int64, error) { return s, 0, nil }
	}
	k = sink.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	return k, func() { cancel(); <-done }
}

func add(l *act.Log, n int) {
	for range n {
		l.Add(act.Act{Kind: act.Flush})
	}
}

// An hour's outage loses nothing, and the order stays.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, err := spool.Open(t.TempDir(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		acts, p := act.New(), &place{}
		k, end := run(t, p, acts, s)
		add(acts, 10)
		time.Sleep(time.Second)
		p.set(func() { p.down = true })
		for range 60 {
			add(acts, 20)
			time.Sleep(time.Minute)
		}
		if st := k.Stats(); st.Kept != 10 || st.Waiting != 1200 || st.FailingSince.IsZero() {
			t.Errorf("during the outage: %+v", st)
		}
		p.set(func() { p.down, p.most = false, 7 }) // and slowly at first
		time.Sleep(30 * time.Second)
		p.set(func() { p.most = 0 })
		add(acts, 5)
		time.Sleep(2 * time.Minute)
		if st := k.Stats(); st.Offered != 1215 || st.Kept != 1215 || st.Waiting != 0 || !st.FailingSince.IsZero() {
			t.Errorf("after the outage: %+v", st)
		}
		end()
		if err := inOrder(p.got, 1215); err != nil {
			t.Error(err)
		}
		if !p.closed {
			t.Error("the writer was not closed")
		}
	})
}

// What was not delivered when a Sink ended is delivered by the next one.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		acts, p := act.New(), &place{down: true}
		for i := range 3 {
			s, cut, err := spool.Open(dir, 1<<20)
			if err != nil || cut != 0 {
				t.Fatal(cut, err)
			}
			if i == 2 {
				p.set(func() { p.down = false })
			}
			_, end := run(t, p, acts, s)
			add(acts, 100)
			time.Sleep(time.Second)
			end()
		}
		if err := inOrder(p.got, 300); err != nil {
			t.Error(err)
		}
	})
}

// A full spool drops what comes, counts it, and keeps what it has. An event that
// the place refuses is dropped alone.
func TestDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, err := spool.Open(t.TempDir(), 10*9)
		if err != nil {
			t.Fatal(err)
		}
		acts, p := act.New(), &place{down: true}
		k, end := run(t, p, acts, s)
		add(acts, 12) // numbers of one digit take 9 octets
		time.Sleep(time.Second)
		p.set(func() { p.down, p.refuse = false, "3" })
		time.Sleep(2 * time.Minute)
		end()
		st := k.Stats()
		if st.Dropped[sink.SpoolFull] != 3 || st.Dropped[sink.NotTaken] != 1 || st.Kept != 8 || st.Offered != 12 {
			t.Errorf("%+v", st)
		}
		if err := inOrder(p.got, 9, 3); err != nil {
			t.Error(err)
		}
	})
}

// Without a spool, what the place does not take is dropped and counted.
func TestNoSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acts, p := act.New(), &place{down: true}
		k, end := run(t, p, acts, nil)
		add(acts, 5)
		time.Sleep(time.Second)
		p.set(func() { p.down = false })
		add(acts, 5)
		time.Sleep(time.Second)
		end()
		if st := k.Stats(); st.Kept != 5 || st.Dropped[sink.Undelivered] != 5 || st.Offered != 10 {
			t.Errorf("%+v", st)
		}
	})
}

// A place that stalls for ever does not keep a Sink from ending, and nothing is
// lost: what it did not take is in the spool.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, _, err := spool.Open(dir, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		acts, p := act.New(), &place{stall: time.Hour}
		_, end := run(t, p, acts, s)
		add(acts, 5)
		time.Sleep(time.Second)
		add(acts, 5)
		began := time.Now()
		end()
		if took := time.Since(began); took > 2*sink.FinalWait {
			t.Errorf("the end took %v", took)
		}
		s, _, err = spool.Open(dir, 1<<20)
		if err != nil || s.Events() != 10 {
			t.Errorf("%d events in the spool, %v", s.Events(), err)
		}
	})
}
