package reason

import (
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/cmd/rideau/internal/text"
	"rideau/resolver/wire"
)

// BanReport is a ban as it is in force at this moment.
type BanReport struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Mode  string `json:"mode"`
	// Modes has the groups with another mode.
	Modes  map[string]string `json:"modes,omitempty"`
	Action string            `json:"action"`
	Active bool              `json:"active"`
	// Why says why the ban is not Active: NearOff, NearNotYet or NearExpired.
	Why       Near     `json:"why,omitempty"`
	Groups    []string `json:"groups"`
	Effective string   `json:"effective,omitempty"`
	Expires   string   `json:"expires,omitempty"`
	Names     int      `json:"names"`
	// Repeated is how many of Names are there more than once, beyond the first time,
	// in the same list or in another one of the ban; as far as it was counted.
	Repeated int `json:"repeated,omitempty"`
	// AllBut are the lists of names that the ban is not on, while it is on all others.
	AllBut []string `json:"all_but,omitempty"`
	// Stages are the modes in words.
	Stages string `json:"-"`
}

// ExceptionReport is an exception as it is at this moment.
type ExceptionReport struct {
	ID        string   `json:"id"`
	Active    bool     `json:"active"`
	Why       Near     `json:"why,omitempty"` // why it is not
	Groups    []string `json:"groups"`
	Effective string   `json:"effective,omitempty"`
	Expires   string   `json:"expires,omitempty"`
	Names     int      `json:"names"`
}

// Bans returns the bans of a policy at a moment.
func Bans(s *blocklists.Snapshot, now time.Time) []BanReport {
	var out []BanReport
	for _, b := range s.Bans() {
		r := BanReport{ID: b.Ban.ID, Title: b.Ban.TitleEN, Mode: b.Ban.Mode.String(), Action: b.Ban.Action.String(), Active: b.Active, Names: b.Names,
			Groups: b.Ban.Groups, Effective: text.Date(b.Ban.Effective), Expires: text.Date(b.Ban.Expires), Stages: b.Ban.Stages(), AllBut: b.Ban.AllBut}
		switch {
		case b.Active:
		case !b.Ban.InUse():
			r.Why = NearOff
		default:
			r.Why = NearExpired
			if now.Before(b.Ban.Effective) {
				r.Why = NearNotYet
			}
		}
		for g, m := range b.Ban.Modes {
			if r.Modes == nil {
				r.Modes = map[string]string{}
			}
			r.Modes[g] = m.String()
		}
		out = append(out, r)
	}
	return out
}

// countRepeated reads the lists of each ban again to count the names that are there
// more than once. An entry that says more than that a name is listed repeats none.
func countRepeated(s *blocklists.Snapshot, bans []BanReport) {
	seed := maphash.MakeSeed()
	for i, b := range s.Bans() {
		seen := map[uint64]bool{}
		for j := range s.Policy().Lists {
			l := &s.Policy().Lists[j]
			if !slices.Contains(b.Ban.Uses(), l.ID) {
				continue
			}
			// The error only ends the reading: whoever loaded the list has told it.
			_ = l.Each(func(_ string, x *entry.Entry) error {
				if x.Rule != nil {
					return nil
				}
				key := maphash.Bytes(seed, append(append([]byte{byte(x.Match)}, x.Name...), x.Prefix.String()...))
				if seen[key] {
					bans[i].Repeated++
				}
				seen[key] = true
				return nil
			})
		}
	}
}

// Exceptions returns the exceptions of a policy at a moment.
func Exceptions(s *blocklists.Snapshot, now time.Time) []ExceptionReport {
	entries := map[string]int{}
	for _, l := range s.Lists() {
		entries[l.ID] = l.Entries
	}
	var out []ExceptionReport
	for i, x := range s.Policy().Exceptions {
		r := ExceptionReport{ID: x.ID, Active: s.Excepts(i), Groups: x.Groups, Effective: text.Date(x.Effective), Expires: text.Date(x.Expires)}
		switch {
		case r.Active:
		case now.Before(x.Effective):
			r.Why = NearNotYet
		case !x.Expires.IsZero() && !now.Before(x.Expires):
			r.Why = NearExpired
		default: // the clock is distrusted, and the exception is not in force by another time
			r.Why = NearNotYet
		}
		for _, l := range x.Lists {
			r.Names += entries[l]
		}
		out = append(out, r)
	}
	return out
}

// Example returns a name that a client is blocked from, for people to try: first if it is one, or else one of a list. It is empty if there is
// none among the first names of the lists.
func Example(s *blocklists.Snapshot, ask blocklists.Ask, first string) string {
	blocked := func(name string) bool {
		n, err := text.ParseName(name)
		if err != nil {
			return false
		}
		q := ask
		q.Name = n
		v := s.Question(&q)
		return v.Kind == blocklists.Block && !v.Wait
	}
	if blocked(first) {
		return first
	}
	p := s.Policy()
	for i := range p.Lists {
		found, left := "", 100
		// The error only ends the reading.
		_ = p.Lists[i].Each(func(_ string, x *entry.Entry) error {
			if left--; left == 0 {
				return errFound
			}
			if x.Name == nil || x.Match == entry.Below || x.Rule != nil {
				return nil
			}
			name := strings.TrimSuffix(wire.NameString(x.Name), ".")
			if !blocked(name) {
				return nil
			}
			found = name
			return errFound
		})
		if found != "" {
			return found
		}
	}
	return ""
}
