// Package alert keeps which alerts of a server are open, and decides when they are
// told: when one is raised, again while it lasts, and when it is resolved.
//
// A [Board] is told what is wrong by Raise and what is well again by Clear, as
// often as its owner looks; it tells each alert once. It tells nothing in quiet
// times but what is urgent: what is still open at their end is told then. It
// tells at most so many alerts an hour, and counts the others. Its memory is
// bounded.
package alert

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"rideau/resolver/audit/act"
)

// Condition is what is watched. Its text is part of the formats that others read,
// and never changes.
type Condition string

// Conditions.
const (
	BanNotEnforced Condition = "ban_not_enforced" // a ban that was enforced is not any more
	ReloadRefused  Condition = "reload_refused"   // a configuration was refused, and none accepted since
	ListStale      Condition = "list_stale"       // a list was not confirmed for too long
	FirstAttempt   Condition = "first_attempt"    // a device asked for what a ban names, for the first time
	Spike          Condition = "spike"            // far more is banned than usual
	BypassAttempt  Condition = "bypass_attempt"   // a device tried to go round Rideau
	SinkDown       Condition = "sink_down"        // a place takes no evidence
	SpoolFilling   Condition = "spool_filling"    // what waits for a place has little space left
	Tried          Condition = "test"             // somebody tries out whether alerts arrive
)

// Conditions are those that can be watched, in the order of the documentation.
func Conditions() []Condition {
	return []Condition{BanNotEnforced, ReloadRefused, ListStale, FirstAttempt, Spike, BypassAttempt, SinkDown, SpoolFilling}
}

// severity is how much a condition matters.
func (c Condition) severity() string {
	switch c {
	case BanNotEnforced:
		return "critical"
	case ReloadRefused, SinkDown, SpoolFilling:
		return "high"
	case FirstAttempt:
		return "low"
	}
	return "medium"
}

// Text is a sentence in both languages.
type Text struct{ English, French string }

// Sentence formats a sentence of which both languages take the same values.
func Sentence(english, french string, values ...any) Text {
	return Text{fmt.Sprintf(english, values...), fmt.Sprintf(french, values...)}
}

// maxOpen bounds the alerts that are open at a time. More are counted as
// suppressed.
const maxOpen = 256

// Options are how a Board tells alerts. They may be changed by Use.
type Options struct {
	// Repeat is how often an alert is told again while it is open; 0: never.
	Repeat time.Duration
	// PerHour is how many alerts are told in an hour. Those that are resolved are
	// told beside them if they were told.
	PerHour int
	// Quiet reports whether alerts wait that are not urgent. nil: never.
	Quiet  func(time.Time) bool
	Urgent []Condition
	// Off are conditions that are not watched.
	Off []Condition
}

// key is one alert.
type key struct {
	condition Condition
	object    string
}

// open is an alert that is not resolved.
type open struct {
	number uint64
	id     string
	text   Text
	since  time.Time
	told   time.Time // zero: not yet
	last   time.Time // when Raise was called last
	hold   time.Duration
	count  uint64
	client netip.Addr
}

// Board is the alerts that are open. Use New. It is for one goroutine.
type Board struct {
	o          Options
	run        string
	tell       func(act.Act)
	open       map[key]*open
	number     uint64
	recent     []time.Time // when alerts were told within the last hour
	suppressed uint64      // since the last alert that was told
	totals     Totals
}

// Totals are what a Board did, for metrics.
type Totals struct {
	Told       map[Condition]uint64
	Open       map[Condition]int
	Suppressed uint64
}

// New makes a Board. run makes the ids of its alerts different from those of other
// runs. tell is called with each act; it must not wait.
func New(run string, tell func(act.Act)) *Board {
	return &Board{run: run, tell: tell, open: map[key]*open{}, totals: Totals{Told: map[Condition]uint64{}}}
}

// Use changes the options. Alerts of conditions that are off now are forgotten.
func (b *Board) Use(o Options) {
	b.o = o
	for k := range b.open {
		if slices.Contains(o.Off, k.condition) {
			delete(b.open, k)
		}
	}
}

// Watches reports whether a condition is watched.
func (b *Board) Watches(c Condition) bool { return !slices.Contains(b.o.Off, c) }

// Event is something that is wrong.
type Event struct {
	Condition Condition
	Object    string // the ban, the list or the sink; empty if there is none
	Text      Text
	// Client is the device, where there is one.
	Client netip.Addr
	// Count is how often it happened since the last call.
	Count uint64
	// Hold is how long the alert is open after the last call of Raise; 0: until
	// Clear is called.
	Hold time.Duration
}

// Raise says that something is wrong. If it was said before, only its count and
// its text change.
func (b *Board) Raise(now time.Time, e Event) {
	if !b.Watches(e.Condition) {
		return
	}
	k := key{e.Condition, e.Object}
	a := b.open[k]
	if a == nil {
		if len(b.open) >= maxOpen {
			b.suppress()
			return
		}
		b.number++
		a = &open{number: b.number, id: fmt.Sprintf("%s-%d", b.run, b.number), since: now, client: e.Client}
		b.open[k] = a
	}
	a.text, a.last, a.hold = e.Text, now, e.Hold
	a.count += e.Count
	if a.told.IsZero() {
		b.say(now, k, a)
	}
}

// Clear says that something is well again.
func (b *Board) Clear(now time.Time, c Condition, object string, text Text) {
	k := key{c, object}
	a := b.open[k]
	if a == nil {
		return
	}
	delete(b.open, k)
	if a.told.IsZero() {
		return
	}
	a.text = text
	b.tell(b.act(act.AlertResolved, now, k, a))
}

// Open returns the objects of the alerts of a condition.
func (b *Board) Open(c Condition) []string {
	var out []string
	for k := range b.open {
		if k.condition == c {
			out = append(out, k.object)
		}
	}
	slices.Sort(out)
	return out
}

// Look tells what is due: alerts that waited for the end of a quiet time or of an
// hour, those that are told again, and those that end by themselves.
func (b *Board) Look(now time.Time) {
	var keys []key
	for k := range b.open {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y key) int { return cmp.Compare(b.open[x].number, b.open[y].number) })
	for _, k := range keys {
		a := b.open[k]
		switch {
		case a.hold > 0 && now.Sub(a.last) >= a.hold:
			b.Clear(now, k.condition, k.object, Sentence("It has not happened again for %v: %s", "Cela ne s’est pas reproduit depuis %v : %s", a.hold, "").with(a.text))
		case a.told.IsZero():
			b.say(now, k, a)
		case b.o.Repeat > 0 && now.Sub(a.told) >= b.o.Repeat:
			b.say(now, k, a)
		}
	}
}

// with appends another sentence in each language.
func (t Text) with(o Text) Text { return Text{t.English + o.English, t.French + o.French} }

// say tells an alert, unless it has to wait.
func (b *Board) say(now time.Time, k key, a *open) {
	urgent := slices.Contains(b.o.Urgent, k.condition)
	if b.o.Quiet != nil && !urgent && b.o.Quiet(now) {
		return
	}
	b.recent = slices.DeleteFunc(b.recent, func(t time.Time) bool { return now.Sub(t) >= time.Hour })
	if len(b.recent) >= b.o.PerHour {
		if a.told.IsZero() && now.Equal(a.last) {
			b.suppress()
		}
		return
	}
	b.recent = append(b.recent, now)
	again := !a.told.IsZero()
	a.told = now
	x := b.act(act.AlertRaised, now, k, a)
	x.Alert.Again, x.Alert.Suppressed = again, b.suppressed
	b.suppressed = 0
	b.totals.Told[k.condition]++
	b.tell(x)
}

func (b *Board) suppress() {
	b.suppressed++
	b.totals.Suppressed++
}

func (b *Board) act(kind act.Kind, now time.Time, k key, a *open) act.Act {
	return act.Act{Kind: kind, Time: now, Actor: act.Actor{Way: act.ByItself}, Object: k.object, Alert: &act.Alert{
		ID: a.id, Condition: string(k.condition), Severity: k.condition.severity(), English: a.text.English, French: a.text.French,
		Since: a.since, Count: a.count, Client: a.client}}
}

// Totals returns what the Board did.
func (b *Board) Totals() Totals {
	t := Totals{Told: map[Condition]uint64{}, Open: map[Condition]int{}, Suppressed: b.totals.Suppressed}
	for _, c := range Conditions() {
		t.Told[c] = b.totals.Told[c]
	}
	for k := range b.open {
		t.Open[k.condition]++
	}
	return t
}

// Test returns an act by which somebody tries out whether alerts arrive.
func Test(run string, now time.Time) act.Act {
	return act.Act{Kind: act.AlertRaised, Time: now, Actor: act.Actor{Way: act.ByItself}, Alert: &act.Alert{ID: run + "-test", Condition: string(Tried),
		Severity: "low", English: "This is a test: alerts of Rideau arrive here.", French: "Ceci est un essai : les alertes de Rideau arrivent ici.", Since: now, Test: true}}
}
