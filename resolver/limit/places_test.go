package limit

import (
	"fmt"
	"net/netip"
	"testing"

	"rideau/resolver/wire"
)

// shareOf is the share of a client's query for a name.
func shareOf(t *testing.T, w *WaitLimit, client, name string) *Share {
	t.Helper()
	var n wire.Name
	if err := n.SetText(name); err != nil {
		t.Fatal(err)
	}
	var p Permit
	if _, ok := w.Acquire(&p, netip.MustParseAddr(client), &n); !ok {
		t.Fatal("no permit")
	}
	defer w.Release(&p)
	s := w.Share(&p, &n)
	return &s
}

// TestPlacesOfSilentZones: zones that are silent leave half of the places to
// others, and an answer ends it.
func TestPlacesOfSilentZones(t *testing.T) {
	const limit = 2000
	w, p := NewWaitLimit(4096), NewPlaces()
	silent := shareOf(t, w, "192.0.2.2", "n.silent0.example")
	for range silentAtFirst {
		if p.Silent(silent) {
			t.Fatal("it is silent too soon")
		}
		p.Unanswered(silent)
	}
	if !p.Silent(silent) {
		t.Fatal("it is not silent")
	}
	taken := 0
	for p.Take(limit, silent, false) {
		taken++
	}
	if taken == 0 || taken > limit/4 { // a quarter is not divided
		t.Errorf("one silent zone has %d places", taken)
	}
	if p.Take(limit, silent, true) {
		t.Error("a request for a silent zone is repeated")
	}
	for z := range 3000 {
		s := shareOf(t, w, fmt.Sprintf("198.51.%d.%d", z/250, z%250), fmt.Sprintf("n.silent%d.example", 1+z))
		for range silentAtFirst {
			p.Unanswered(s)
		}
		for range 4 {
			p.Take(limit, s, false)
		}
	}
	var good *Share
	for i, known := 0, false; !known; i++ { // one that shares no cell with a silent zone
		good = shareOf(t, w, "192.0.2.1", fmt.Sprintf("www.good%d.example", i))
		p.Answered(good)
		_, known = p.standing(good)
	}
	if n := p.Taken(); n > limit/2+limit/8 { // some share a cell
		t.Errorf("silent zones have %d places", n)
	}
	for range 100 {
		if !p.Take(limit, good, false) {
			t.Fatal("no place for a zone that is answered")
		}
	}
	for range 8 {
		p.Answered(silent)
	}
	if p.Silent(silent) {
		t.Error("it is silent though it is answered")
	}
	for range 100 {
		p.Give(good)
	}
}

// TestPlacesBelowSilent: a zone that is answered is not silent since its parent
// is, and the parent is not since one zone below is.
func TestPlacesBelowSilent(t *testing.T) {
	w, p := NewWaitLimit(4096), NewPlaces()
	evil := shareOf(t, w, "192.0.2.2", "n.evil.co.example")
	for range 100 {
		p.Unanswered(evil)
	}
	if other := shareOf(t, w, "192.0.2.3", "n.other.co.example"); p.Silent(other) || !p.Take(2000, other, false) {
		t.Error("one silent zone makes others below its parent silent")
	}
	for z := range 100 {
		s := shareOf(t, w, "192.0.2.2", fmt.Sprintf("n.evil%d.co.example", z))
		for range silentAtFirst {
			p.Unanswered(s)
		}
	}
	good := shareOf(t, w, "192.0.2.1", "n.good.co.example")
	if !p.Take(2000, good, false) {
		t.Error("no place below a silent parent")
	}
	p.Answered(good)
	if p.Silent(good) || !p.Take(2000, good, true) {
		t.Error("a zone that is answered is silent")
	}
}

// TestPlacesAlloc: places are taken and given back without garbage.
func TestPlacesAlloc(t *testing.T) {
	w, p := NewWaitLimit(4096), NewPlaces()
	s := shareOf(t, w, "192.0.2.1", "www.good.example")
	if n := testing.AllocsPerRun(100, func() {
		p.Take(2000, s, false)
		p.Answered(s)
		p.Unanswered(s)
		p.Give(s)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if p.Taken() != 0 {
		t.Errorf("%d places are taken in the end", p.Taken())
	}
}

// TestPlacesOfUnknownZones: zones of which nothing is known, as the silent ones are at
// first, leave places to a new one, also below the parent that they have in common.
func TestPlacesOfUnknownZones(t *testing.T) {
	const limit = 2000
	for _, parent := range []string{"example", "shared.example", "a.shared.example"} {
		w, p := NewWaitLimit(4096), NewPlaces()
		for i := range 20000 {
			p.Take(limit, shareOf(t, w, fmt.Sprintf("198.51.%d.%d", i%300/200, i%200), fmt.Sprintf("n%d.silent%d.%s", i, i%300, parent)), false)
		}
		if n := p.Taken(); n < limit/2 {
			t.Fatalf("%s: only %d places are taken", parent, n)
		}
		given := 0
		for z := range 40 {
			if p.Take(limit, shareOf(t, w, fmt.Sprintf("192.0.2.%d", z/2), fmt.Sprintf("www.good%d.%s", z, parent)), false) {
				given++
			}
		}
		if given < 37 { // some share a cell
			t.Errorf("%s: %d of 40 new zones have a place, while %d of %d are taken", parent, given, p.Taken(), limit)
		}
	}
}
