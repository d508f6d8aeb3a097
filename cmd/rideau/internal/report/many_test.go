package report_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"rideau/cmd/rideau/internal/report"
	"rideau/cmd/rideau/internal/report/reporttest"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/store"
)

// TestManyEvents measures, for as many events as RIDEAU_EVENTS says, how fast the store
// takes them, how long a report from the store and from a file takes, and how fast the
// events of the rarest ban are found. RIDEAU_EVENTS_DIR keeps the store for the next run.
func TestManyEvents(t *testing.T) {
	events, _ := strconv.Atoi(os.Getenv("RIDEAU_EVENTS"))
	if events == 0 {
		t.Skip("RIDEAU_EVENTS is not set")
	}
	dir := os.Getenv("RIDEAU_EVENTS_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	path, lines := filepath.Join(dir, "evidence.db"), filepath.Join(dir, "events.json")
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	if _, err := os.Stat(path); err != nil {
		n := reporttest.New(t, dir, "ottawa-1", from)
		n.Act(act.Start, reporttest.Ban("no-chat", "enforce"), reporttest.Ban("rare", "enforce"))
		seed := rand.New(rand.NewPCG(1, 2))
		begun, took := time.Now(), time.Duration(0)
		for i := range events {
			ban := "no-chat"
			if i%(events/50) == 7 {
				ban = "rare"
			}
			client, name := seed.ExpFloat64()*300, seed.ExpFloat64()*15 // some ask much more than others
			n.Query(ban, fmt.Sprintf("10.%d.%d.%d", int(client)>>16&255, int(client)>>8&255, int(client)&255), fmt.Sprintf("h%d.chat.example", int(name)),
				func(r *audit.Record) { r.Group = []string{"staff", "guests", "labs"}[i%3] })
			if i%(events/720+1) == 0 {
				took += time.Since(begun)
				n.Until(from.Add(30 * 24 * time.Hour * time.Duration(i) / time.Duration(events)))
				begun = time.Now()
			}
		}
		n.Flush()
		took += time.Since(begun)
		t.Logf("%d events were written in %v: %.0f a second", events, took, float64(events)/took.Seconds())
		n.Close()
		if err := os.WriteFile(lines, n.Lines.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the store has %d MiB, %d octets an event", info.Size()>>20, info.Size()/int64(events))
	for _, p := range []string{path, lines} {
		begun := time.Now()
		r, err := report.Make(t.Context(), report.Options{Paths: []string{p}, From: from, To: from.AddDate(0, 1, 0), Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("a report of %d attempts from %s: %v", r.Bans[0].Attempts(), filepath.Base(p), time.Since(begun))
	}
	r, err := store.Open(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, f := range []store.Filter{{Ban: "rare"}, {Ban: "rare", From: from.Add(24 * time.Hour), To: from.Add(20 * 24 * time.Hour), Oldest: true}, {Client: "10.0.7.3"}, {Ban: "no-chat", Limit: 100}} {
		begun := time.Now()
		e, err := r.Events(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d events of %+v: %v", len(e), f, time.Since(begun))
	}
}
