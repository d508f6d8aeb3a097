package view

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/enforced"
	"rideau/cmd/rideau/internal/reason"
)

// Bans are the bans of the policy.
type Bans struct {
	At time.Time `json:"at"`
	// NextChange is when a ban or an exception begins or ends next; zero: never.
	NextChange time.Time `json:"next_change,omitzero"`
	Enforced   bool      `json:"enforced"` // at least one ban is
	Bans       []Ban     `json:"bans"`
	History    History   `json:"history"`
}

// Ban is a ban, what it rests on, and what it did.
type Ban struct {
	Named
	Authority  string    `json:"authority"`
	Instrument string    `json:"instrument"`
	URL        string    `json:"url"`
	Contact    string    `json:"contact"`
	Effective  time.Time `json:"effective,omitzero"`
	Expires    time.Time `json:"expires,omitzero"`
	Mode       string    `json:"mode"`
	// Modes are those of groups that have another one.
	Modes  []GroupMode `json:"modes"`
	Action string      `json:"action"`
	// Active: within its dates, and not off. Why says why it is not.
	Active bool        `json:"active"`
	Why    reason.Near `json:"why,omitempty"`
	// Groups are those it is for, Enforced those for which it stops queries now.
	Groups   []string  `json:"groups"`
	Enforced []string  `json:"enforced_for"`
	Bypass   bool      `json:"bypass"` // it is about ways round the resolver
	Names    int       `json:"names"`
	Lists    []ListUse `json:"lists"`
	// Next is when it begins or ends; zero: no date is to come.
	Next     time.Time `json:"next_change,omitzero"`
	NextEnds bool      `json:"next_change_ends"`
	// Since is since when it is in force without a break, zero: it is not, or that is
	// not known. Share is the share of the time on record in the last 30 days in which
	// it was in force; negative if nothing is on record.
	Since time.Time `json:"in_force_since,omitzero"`
	Share float64   `json:"in_force_share"`
	// Tested is what the last test of the bans found: passed, failed, or empty if this
	// ban was not tested.
	Tested string `json:"tested,omitempty"`
	// Running are the counts since the server started.
	Running Counts `json:"since_start"`
	Hours   []Bar  `json:"hours"` // the last 48
	Days    []Bar  `json:"days"`  // the last 30, in the zone that was asked for
}

// GroupMode is the mode of a ban for a group.
type GroupMode struct {
	Group string `json:"group"`
	Mode  string `json:"mode"`
}

// ListUse is a list as a ban uses it.
type ListUse struct {
	ID       string    `json:"id"`
	Entries  int       `json:"entries"`
	SHA256   string    `json:"sha256"`
	LoadedAt time.Time `json:"loaded_at"`
	LastGood string    `json:"last_good,omitempty"` // why the last good copy serves
}

// How far back the counts of a ban go.
const (
	banHours = 48
	banDays  = 30
)

// Bans returns the bans, with days of a time zone. An id chooses one ban; empty: all.
func (v *View) Bans(ctx context.Context, id string, zone *time.Location) *Bans {
	out := &Bans{At: v.o.Now(), Bans: []Ban{}, History: v.past.History(ctx)}
	p := v.policy()
	if p == nil {
		return out
	}
	out.NextChange, out.Enforced = p.NextChange(), enforced.Any(p)
	running := map[string]BanNow{}
	for _, b := range v.bansNow(v.o.Sources.Totals()) {
		running[b.ID] = b
	}
	tested, lists := v.tested(), map[string]blocklists.ListInfo{}
	for _, l := range p.Lists() {
		lists[l.ID] = l
	}
	good := v.lastGood()
	for _, s := range p.Bans() {
		if id != "" && s.Ban.ID != id {
			continue
		}
		b := banOf(s, out.At)
		b.Enforced = append([]string{}, enforced.Groups(p, b.ID)...)
		for _, l := range s.Ban.Uses() {
			info := lists[l]
			b.Lists = append(b.Lists, ListUse{l, info.Entries, hex.EncodeToString(info.SHA256[:]), info.LoadedAt, good[l]})
		}
		n := running[b.ID]
		b.Running = Counts{Blocked: int64(n.Blocked), Monitored: int64(n.Monitored), Excepted: int64(n.Excepted)}
		b.Since, b.Share = out.History.InForce(b.ID)
		if !b.Active {
			b.Since = time.Time{}
		}
		b.Hours, b.Days = out.History.Hours(b.ID, banHours), out.History.Days(b.ID, banDays, zone)
		b.Tested = tested[b.ID]
		out.Bans = append(out.Bans, b)
	}
	return out
}

// banOf returns what the policy says of a ban.
func banOf(s blocklists.BanStatus, now time.Time) Ban {
	k := s.Ban
	b := Ban{Named: Named{k.ID, k.TitleEN, k.TitleFR}, Authority: k.Authority, Instrument: k.Instrument, URL: k.URL, Contact: k.Contact,
		Effective: k.Effective, Expires: k.Expires, Mode: k.Mode.String(), Modes: []GroupMode{}, Action: k.Action.String(), Active: s.Active,
		Groups: append([]string{}, k.Groups...), Bypass: k.Bypass, Names: s.Names, Lists: []ListUse{}}
	for _, g := range slices.Sorted(maps.Keys(k.Modes)) {
		b.Modes = append(b.Modes, GroupMode{g, k.Modes[g].String()})
	}
	b.Next, b.NextEnds = next(k.Effective, k.Expires, now)
	b.Why = why(s, now)
	return b
}

// why says why a ban is not active; empty if it is.
func why(s blocklists.BanStatus, now time.Time) reason.Near {
	switch {
	case s.Active:
		return ""
	case !s.Ban.InUse():
		return reason.NearOff
	case now.Before(s.Ban.Effective):
		return reason.NearNotYet
	}
	return reason.NearExpired
}

// next returns the date that comes next, and whether it is an end.
func next(effective, expires, now time.Time) (time.Time, bool) {
	switch {
	case now.Before(effective):
		return effective, false
	case now.Before(expires):
		return expires, true
	}
	return time.Time{}, false
}

// tested says of each ban that was tested whether it passed.
func (v *View) tested() map[string]string {
	out := map[string]string{}
	if v.o.SelfTest == nil {
		return out
	}
	if r := v.o.SelfTest(); r != nil {
		for _, x := range r.Results {
			if x.Problem != "" {
				out[x.Ban] = "failed"
			} else if out[x.Ban] == "" {
				out[x.Ban] = "passed"
			}
		}
	}
	return out
}

// lastGood says of each list whose last good copy serves why.
func (v *View) lastGood() map[string]string {
	out := map[string]string{}
	if v.o.Sources.Lists != nil {
		for _, l := range v.o.Sources.Lists() {
			out[l.List] = l.LastGood
		}
	}
	return out
}
