package compare

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rideau/blocklists"
)

// records compares bans, exceptions and groups.
func (c *comparison) records() {
	before, after := c.before.Snapshot.Policy(), c.after.Snapshot.Policy()
	c.r.Bans = changes(before.Bans, after.Bans, func(b *blocklists.Ban) (string, [][2]string) {
		return b.ID, [][2]string{{"mode", b.Stages()}, {"action", b.Action.String()}, {"title", b.TitleEN}, {"authority", b.Authority}, {"instrument", b.Instrument},
			{"effective", instant(b.Effective)}, {"expires", instant(b.Expires)}, {"groups", strings.Join(b.Groups, ", ")}, {"lists", strings.Join(b.Lists, ", ")}, {"all_but", strings.Join(b.AllBut, ", ")},
			{"ede", fmt.Sprint(b.EDE)}, {"sub_error", fmt.Sprint(b.SubError)}, {"ttl", b.TTL.String()}, {"sinkhole", fmt.Sprint(b.Sinkhole4, " ", b.Sinkhole6)}, {"bypass", fmt.Sprint(b.Bypass)}, {"page", fmt.Sprint(b.Page)},
			{"strip_ech", fmt.Sprint(b.StripECH)}, {"canary", b.Canary}, {"unknown_types", map[bool]string{false: "allow", true: "block"}[b.UnknownTypes]}}
	})
	c.r.Exceptions = changes(before.Exceptions, after.Exceptions, func(e *blocklists.Exception) (string, [][2]string) {
		return e.ID, [][2]string{{"effective", instant(e.Effective)}, {"expires", instant(e.Expires)}, {"groups", strings.Join(e.Groups, ", ")},
			{"lists", strings.Join(e.Lists, ", ")}, {"ticket", e.Ticket}, {"approver", e.Approver}, {"reason", e.Reason}}
	})
	c.r.Groups = changes(before.Groups, after.Groups, func(g *blocklists.Group) (string, [][2]string) {
		return g.ID, [][2]string{{"clients", strings.Trim(fmt.Sprint(g.Clients), "[]")}}
	})
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// changes compares records with the same id, key by key.
func changes[T any](before, after []T, facts func(*T) (id string, keys [][2]string)) []Change {
	out := []Change{}
	find := func(in []T, id string) [][2]string {
		for i := range in {
			if have, keys := facts(&in[i]); have == id {
				return keys
			}
		}
		return nil
	}
	order := func(in []T, shared []T) (ids []string) {
		for i := range in {
			if id, _ := facts(&in[i]); find(shared, id) != nil {
				ids = append(ids, id)
			}
		}
		return ids
	}
	for i := range before {
		id, keys := facts(&before[i])
		now := find(after, id)
		if now == nil {
			out = append(out, Change{ID: id, What: "removed"})
			continue
		}
		c := Change{ID: id, What: "changed"}
		for k := range keys {
			if keys[k][1] != now[k][1] {
				c.Keys = append(c.Keys, fmt.Sprintf("%s: %s, was %s", keys[k][0], quoted(now[k][1]), quoted(keys[k][1])))
			}
		}
		if len(c.Keys) > 0 {
			out = append(out, c)
		}
	}
	for i := range after {
		if id, _ := facts(&after[i]); find(before, id) == nil {
			out = append(out, Change{ID: id, What: "added"})
		}
	}
	if !slices.Equal(order(before, after), order(after, before)) {
		out = append(out, Change{ID: "", What: "in another order"})
	}
	return out
}

func quoted(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
