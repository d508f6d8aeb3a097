package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"rideau/resolver/audit/spool"
)

func open(t *testing.T, dir string, max int64) *spool.Spool {
	t.Helper()
	s, cut, err := spool.Open(dir, max)
	if err != nil || cut != 0 {
		t.Fatalf("open: %d octets cut, %v", cut, err)
	}
	return s
}

func event(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%d ", i), 1+i%700) }

// Against a model: events are delivered in order, each at least once, whatever is
// appended, read, delivered and opened again in between.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		s := open(t, dir, 64<<20)
		appended, delivered := 0, 0
		for range 400 {
			switch r.IntN(5) {
			case 0, 1:
				var batch [][]byte
				for range r.IntN(40) {
					batch = append(batch, event(appended+len(batch)))
				}
				n, err := s.Append(batch)
				if err != nil || n != len(batch) {
					t.Fatal(n, err)
				}
				appended += n
			case 2, 3:
				got, err := s.Next(1+r.IntN(60), 1+r.IntN(1<<16))
				if err != nil || len(got) == 0 && delivered < appended {
					t.Fatalf("%d of %d delivered, nothing is next, %v", delivered, appended, err)
				}
				for i, e := range got {
					if !bytes.Equal(e, event(delivered+i)) {
						t.Fatalf("event %d is %.20q", delivered+i, e)
					}
				}
				n := r.IntN(len(got) + 1)
				if err := s.Delivered(got[:n]); err != nil {
					t.Fatal(err)
				}
				delivered += n
			case 4:
				if r.IntN(8) == 0 {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s = open(t, dir, 64<<20)
				}
			}
			if s.Events() != appended-delivered {
				t.Fatalf("%d events wait, want %d", s.Events(), appended-delivered)
			}
		}
		s.Close()
	}
}

// A segment that ends within an event is cut off there; what comes after it is
// kept, and new events follow.
func TestTornEnd(t *testing.T) {
	whole := t.TempDir()
	s := open(t, whole, 1<<20)
	for i := range 5 {
		if _, err := s.Append([][]byte{event(i)}); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	text, err := os.ReadFile(filepath.Join(whole, "0000000001.spool"))
	if err != nil {
		t.Fatal(err)
	}
	for length := range text {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "0000000001.spool"), text[:length], 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := spool.Open(dir, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		n := s.Events()
		if _, err := s.Append([][]byte{event(n)}); err != nil {
			t.Fatal(err)
		}
		got, err := s.Next(100, 1<<20)
		if err != nil || len(got) != n+1 {
			t.Fatalf("cut at %d: %d events, %v", length, len(got), err)
		}
		for i, e := range got {
			if !bytes.Equal(e, event(i)) {
				t.Fatalf("cut at %d: event %d is %.20q", length, i, e)
			}
		}
		s.Close()
	}
}

// Beyond the bound events are refused, and what is delivered makes space.
func TestBound(t *testing.T) {
	s := open(t, t.TempDir(), 10<<20)
	defer s.Close()
	e := make([]byte, 1000)
	batch := make([][]byte, 20000)
	for i := range batch {
		batch[i] = e
	}
	n, err := s.Append(batch)
	if !errors.Is(err, spool.ErrFull) || n != 10<<20/1008 || s.Bytes() > 10<<20 {
		t.Fatalf("%d events, %d octets, %v", n, s.Bytes(), err)
	}
	for left := n; left > 0; {
		got, err := s.Next(1000, 1<<20)
		if err != nil || len(got) == 0 {
			t.Fatal(err)
		}
		if err := s.Delivered(got); err != nil {
			t.Fatal(err)
		}
		left -= len(got)
	}
	if s.Bytes() != 0 || s.Events() != 0 {
		t.Errorf("%d octets and %d events are left", s.Bytes(), s.Events())
	}
	if n, err := s.Append(batch[:100]); n != 100 || err != nil {
		t.Error(n, err)
	}
}

// A full disk is an error, and nothing that was kept is lost.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, "0000000001.spool")); err != nil {
		t.Skip(err)
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	s, _, err := spool.Open(dir, 1<<20)
	if err != nil {
		t.Skip(err)
	}
	defer s.Close()
	if n, err := s.Append([][]byte{event(1)}); n != 0 || err == nil {
		t.Errorf("%d events kept on a full disk, %v", n, err)
	}
	if s.Events() != 0 {
		t.Errorf("%d events wait", s.Events())
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00a"), "1 0")
	f.Add([]byte{}, "2 77")
	f.Fuzz(func(t *testing.T, segment []byte, cursor string) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "0000000001.spool"), segment, 0o600)
		os.WriteFile(filepath.Join(dir, "delivered"), []byte(cursor), 0o600)
		s, _, err := spool.Open(dir, 1<<20)
		if err != nil {
			return
		}
		defer s.Close()
		n := s.Events()
		if _, err := s.Append([][]byte{[]byte("new")}); err != nil {
			t.Fatal(err)
		}
		for i := 0; i <= n; i++ {
			got, err := s.Next(1, 1)
			if err != nil || len(got) != 1 {
				t.Fatalf("event %d of %d: %v", i, n+1, err)
			}
			if err := s.Delivered(got); err != nil {
				t.Fatal(err)
			}
			if i == n && string(got[0]) != "new" {
				t.Fatalf("the last one is %q", got[0])
			}
		}
	})
}
