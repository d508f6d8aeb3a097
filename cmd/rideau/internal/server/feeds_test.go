package server

import (
	"errors"
	"testing"
	"time"

	"rideau/blocklists/fetch"
	"rideau/config"
)

// TestDue: a list is due at the start, then when its time has come, and sooner after a failure, but not before the server wants it.
func TestDue(t *testing.T) {
	s := NewSources(nil, false, "")
	l := config.List{ID: "feed", URL: "https://lists.example/", Refresh: time.Hour}
	cfg := &config.Config{Lists: []config.List{{ID: "file", File: "x"}, l}}
	now := time.Now()
	if lists, _ := s.due(cfg, now); len(lists) != 1 || lists[0].ID != "feed" {
		t.Fatalf("due %v", lists)
	}
	for _, c := range []struct {
		visit     Visit
		low, high time.Duration
	}{
		{Visit{Result: fetchUnchanged}, 54 * time.Minute, 67 * time.Minute},
		{Visit{Result: fetchFailed, Err: errors.New("no network")}, time.Minute, 67 * time.Second},
		{Visit{Result: fetchRefused, Err: fetch.ErrEmpty}, 108 * time.Second, 133 * time.Second},
		{Visit{Result: fetchFailed, Err: &fetch.StatusError{Code: 429, After: 30 * time.Minute}}, 27 * time.Minute, 34 * time.Minute},
		{Visit{Result: fetchUpdated}, 54 * time.Minute, 67 * time.Minute},
		{Visit{Result: fetchFailed, Err: errors.New("no network")}, time.Minute, 67 * time.Second},
	} {
		s.looked(&cfg.Lists[1], &c.visit)
		now = time.Now()
		if lists, _ := s.due(cfg, now.Add(c.low-time.Second)); len(lists) != 0 {
			t.Errorf("%v: due before %v", c.visit, c.low)
		}
		if lists, _ := s.due(cfg, now.Add(c.high)); len(lists) != 1 {
			t.Errorf("%v: not due after %v", c.visit, c.high)
		}
	}
	facts := s.facts(cfg)
	if len(facts) != 1 || facts[0].Fetches[fetchFailed] != 3 || facts[0].Fetches[fetchRefused] != 1 || facts[0].Fetches[fetchUnchanged] != 1 || facts[0].LastGood == "" {
		t.Errorf("%+v", facts)
	}
	cfg.Lists[1].URL = "https://other.example/"
	if lists, _ := s.due(cfg, now); len(lists) != 1 {
		t.Error("another URL, and not due")
	}
}
