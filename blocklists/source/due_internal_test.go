package source

import (
	"errors"
	"testing"
	"time"

	"rideau/blocklists/fetch"
	"rideau/blocklists/input"
)

// TestDue: a list is due at the start, then every refresh, and earlier after a failure, but not before the time that the server asked for.
func TestDue(t *testing.T) {
	s := New(Options{ReadOnly: true})
	feed := List{List: input.List{ID: "feed"}, URL: "https://lists.example/", Refresh: time.Hour}
	p := &Plan{Lists: []List{{List: input.List{ID: "file"}, File: "x"}, feed}}
	s.current = p
	now := time.Now()
	if lists, _ := s.Due(now); len(lists) != 1 || lists[0].ID != "feed" {
		t.Fatalf("due %v", lists)
	}
	for _, c := range []struct {
		visit     Visit
		low, high time.Duration
	}{
		{Visit{Result: Unchanged}, 54 * time.Minute, 67 * time.Minute},
		{Visit{Result: Failed, Err: errors.New("no network")}, time.Minute, 67 * time.Second},
		{Visit{Result: Refused, Err: fetch.ErrEmpty}, 108 * time.Second, 133 * time.Second},
		{Visit{Result: Failed, Err: &fetch.StatusError{Code: 429, After: 30 * time.Minute}}, 27 * time.Minute, 34 * time.Minute},
		{Visit{Result: Updated}, 54 * time.Minute, 67 * time.Minute},
		{Visit{Result: Failed, Err: errors.New("no network")}, time.Minute, 67 * time.Second},
	} {
		c.visit.List = &p.Lists[1]
		s.schedule(&c.visit)
		now = time.Now()
		if lists, _ := s.Due(now.Add(c.low - time.Second)); len(lists) != 0 {
			t.Errorf("%v: due before %v", c.visit, c.low)
		}
		if lists, _ := s.Due(now.Add(c.high)); len(lists) != 1 {
			t.Errorf("%v: not due after %v", c.visit, c.high)
		}
	}
	st := s.Status()
	if len(st) != 1 || st[0].Fetches[Failed] != 3 || st[0].Fetches[Refused] != 1 || st[0].Fetches[Unchanged] != 1 || st[0].LastGood == "" {
		t.Errorf("%+v", st)
	}
	p.Lists[1].URL = "https://other.example/"
	if lists, _ := s.Due(now); len(lists) != 1 {
		t.Error("another URL, and not due")
	}
}
