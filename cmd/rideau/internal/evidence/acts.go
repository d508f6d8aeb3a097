package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/enforced"
	"rideau/blocklists/fingerprint"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/names"
	"rideau/resolver/ops"
)

// Moment is what is in force when an act ends.
type Moment struct {
	Now        time.Time
	Distrusted bool // the clock is
	Policy     *blocklists.Snapshot
	// LastGood reports whether a list is its last good copy. It may be nil.
	LastGood func(list string) bool
	// Config is the text of the configuration.
	Config []byte
}

// Add records an act at a moment. It sets Time, Uptime, Distrusted, Policy,
// Bans and Config of it.
func (e *Evidence) Add(a act.Act, m Moment) {
	a.Time, a.Distrusted, a.Uptime = m.Now, m.Distrusted, e.o.Uptime()
	a.Policy = names.Policy{Generation: m.Policy.Generation(), Fingerprint: fingerprint.Of(m.Policy)}
	a.Bans = bans(m)
	sum := sha256.Sum256(m.Config)
	a.Config = hex.EncodeToString(sum[:])
	e.mu.Lock()
	e.last = a
	e.mu.Unlock()
	e.acts.Add(a)
}

// bans returns the states of the bans of a policy.
func bans(m Moment) []act.Ban {
	lists := map[string]act.List{}
	for _, l := range m.Policy.Lists() {
		lists[l.ID] = act.List{ID: l.ID, Hash: hex.EncodeToString(l.SHA256[:]), Entries: l.Entries, LastGood: m.LastGood != nil && m.LastGood(l.ID)}
	}
	var out []act.Ban
	for _, b := range m.Policy.Bans() {
		groups := enforced.Groups(m.Policy, b.Ban.ID)
		s := act.Ban{ID: b.Ban.ID, Mode: b.Ban.Mode.String(), Enforced: len(groups) > 0, Groups: groups, TitleEN: b.Ban.TitleEN, TitleFR: b.Ban.TitleFR,
			Authority: b.Ban.Authority, Instrument: b.Ban.Instrument, URL: b.Ban.URL, Effective: b.Ban.Effective, Expires: b.Ban.Expires, Bypass: b.Ban.Bypass}
		for _, id := range b.Ban.Uses() {
			if l, ok := lists[id]; ok {
				s.Lists = append(s.Lists, l)
			}
		}
		out = append(out, s)
	}
	return out
}

// Reloaded returns the acts that a reload was. asked says that somebody asked for it: it is an act then even if nothing changed.
func Reloaded(actor act.Actor, why string, asked bool, result ops.ReloadResult, err error) []act.Act {
	if err != nil {
		return []act.Act{{Kind: act.ReloadRefused, Actor: actor, Failed: true, Reason: err.Error()}}
	}
	var out []act.Act
	for _, id := range result.Refused {
		out = append(out, act.Act{Kind: act.ListRefused, Actor: actor, Object: id, Failed: true, Reason: "what was in force before goes on serving"})
	}
	for _, f := range result.Forced {
		out = append(out, act.Act{Kind: act.Force, Actor: actor, Object: f.ID, Reason: f.String()})
	}
	if !result.Changed && !asked {
		return out
	}
	a := act.Act{Kind: act.Reload, Actor: actor, Reason: why}
	for _, c := range result.Changes {
		a.Changes = append(a.Changes, act.Change{File: c.File, Line: c.Line, Key: c.Key, Before: c.Before, After: c.After})
	}
	return append(out, a)
}

// ByDate returns the acts of bans that began or ended by date between two policies.
func ByDate(before, after *blocklists.Snapshot) []act.Act {
	was := map[string]bool{}
	for _, b := range before.Bans() {
		was[b.Ban.ID] = b.Active
	}
	var out []act.Act
	for _, b := range after.Bans() {
		kind := act.BanEnded
		if b.Active {
			kind = act.BanBegan
		}
		if b.Active != was[b.Ban.ID] {
			out = append(out, act.Act{Kind: kind, Actor: act.Actor{Way: act.ByDate}, Object: b.Ban.ID})
		}
	}
	return out
}
