package sink_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/spool"
)

// kept is the environment variable with the folder of the process that is killed.
const kept = "RIDEAU_TEST_KILLED"

// halting is a Writer to a file that fails every other time.
type halting struct {
	f    *os.File
	odd  bool
	text []byte
}

func (h *halting) Write(_ context.Context, events [][]byte) (int, error) {
	if h.odd = !h.odd; h.odd {
		return 0, errDown
	}
	h.text = h.text[:0]
	for _, e := range events {
		h.text = append(append(h.text, e...), '\n')
	}
	if _, err := h.f.Write(h.text); err != nil {
		return 0, err
	}
	return len(events), nil
}

func (h *halting) Close() error { return h.f.Close() }

// TestKilledProcess is the process that TestKilled kills. It says how many events
// are safe: delivered, or in the spool.
func TestKilledProcess(t *testing.T) {
	dir := os.Getenv(kept)
	if dir == "" {
		t.Skip("it is started by TestKilled")
	}
	f, err := os.OpenFile(filepath.Join(dir, "delivered"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	acts := act.New()
	k := sink.New(sink.Options{Name: "test", Acts: acts, Encoder: numbers{}, Writer: &halting{f: f},
		Spool: func() (*spool.Spool, int64, error) { return spool.Open(filepath.Join(dir, "spool"), 1<<26) }})
	go k.Run(t.Context())
	for n := uint64(0); ; n += 64 {
		add(acts, 64)
		for st := k.Stats(); st.Kept+uint64(st.Waiting) < n+64; st = k.Stats() {
			time.Sleep(time.Millisecond)
		}
		fmt.Println("safe", n+64)
	}
}

// A process that is killed at any moment loses nothing of what it delivered or
// put into the spool.
func TestKilled(t *testing.T) {
	for _, after := range []int{1, 40, 200} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "spool"), 0o700); err != nil {
			t.Fatal(err)
		}
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProcess$")
		child.Env = append(os.Environ(), kept+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		safe, lines := 0, 0
		for in := bufio.NewScanner(out); in.Scan(); {
			number, ok := strings.CutPrefix(in.Text(), "safe ")
			if !ok {
				continue
			}
			if safe, err = strconv.Atoi(number); err != nil {
				t.Fatal(err)
			}
			if lines++; lines == after {
				if err := child.Process.Kill(); err != nil { // SIGKILL
					t.Fatal(err)
				}
			}
		}
		child.Wait() // it was killed
		if lines < after {
			t.Fatalf("the process ended by itself after %d lines", lines)
		}
		got := map[string]bool{}
		text, err := os.ReadFile(filepath.Join(dir, "delivered"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			got[strings.TrimSpace(line)] = true
		}
		s, _, err := spool.Open(filepath.Join(dir, "spool"), 1<<26)
		if err != nil {
			t.Fatal(err)
		}
		for s.Events() > 0 {
			events, err := s.Next(512, 1<<20)
			if err == nil {
				err = s.Delivered(events)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				got[string(e)] = true
			}
		}
		s.Close()
		for i := range safe {
			if !got[fmt.Sprint(i+1)] {
				t.Errorf("killed after %d events: event %d is lost", safe, i+1)
				break
			}
		}
	}
}

// unsure is a Writer that may lose what it took: all but the first arrived of
// the events.
type unsure struct {
	place
	sent    []string
	arrived int
	broken  bool
	settled bool
}

func (u *unsure) Write(ctx context.Context, events [][]byte) (int, error) {
	if err := u.Settle(ctx, false); err != nil {
		return 0, err
	}
	n, err := u.place.Write(ctx, events)
	for _, e := range events[:n] {
		u.sent = append(u.sent, string(e))
	}
	return n, err
}

func (u *unsure) Settle(_ context.Context, last bool) error {
	u.settled = u.settled || last
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.broken {
		return nil
	}
	u.broken = false
	back := &sink.Returned{Err: errors.New("broken")}
	for _, e := range u.sent[u.arrived:] {
		back.Events = append(back.Events, []byte(e))
	}
	u.got, u.sent = u.got[:u.arrived], u.sent[:u.arrived]
	return back
}

// Events that a Writer gives back are delivered again, before those that came
// later, and the counts stay whole.
func TestReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, err := spool.Open(t.TempDir(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		acts, u := act.New(), &unsure{arrived: 4}
		k := sink.New(sink.Options{Name: "test", Acts: acts, Encoder: numbers{}, Writer: u,
			Spool: func() (*spool.Spool, int64, error) { return s, 0, nil }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.Run(ctx) }()
		add(acts, 10)
		synctest.Wait()
		u.set(func() { u.broken = true })
		add(acts, 5) // the next Write notices
		synctest.Wait()
		if st := k.Stats(); st.Repeated != 6 || st.Waiting != 11 || st.FailingSince.IsZero() {
			t.Errorf("after a break: %+v", st)
		}
		time.Sleep(time.Minute)
		u.set(func() { u.broken, u.arrived, u.down = true, 14, true })
		time.Sleep(10 * time.Second) // nothing is written: Settle notices
		if st := k.Stats(); st.Repeated != 7 || st.Waiting != 1 || st.FailingSince.IsZero() {
			t.Errorf("after a break without a Write: %+v", st)
		}
		u.set(func() { u.down = false })
		time.Sleep(time.Minute)
		cancel()
		<-done
		if st := k.Stats(); st.Offered != 22 || st.Kept != 22 || st.Waiting != 0 || !st.FailingSince.IsZero() || !u.settled {
			t.Errorf("at the end: %+v", st)
		}
		if err := inOrder(u.got, 15); err != nil {
			t.Error(err)
		}
	})
}
