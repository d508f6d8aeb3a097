package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/read"
	"rideau/resolver/audit/store"
)

// banData is what is counted for a ban.
type banData struct {
	state   act.Ban   // the latest
	stated  time.Time // when
	total   Counts
	days    map[string]*Counts
	dayOf   map[dayGroup]int64
	groups  map[string]*Counts
	names   map[string]*Top
	clients map[string]*Top
	rules   map[[2]string]*Rule
	unnamed int64
	reduced bool
}

type dayGroup struct{ day, group string }

// exData is what is counted for an exception.
type exData struct {
	Exception
	bans map[string]bool
}

// ban returns what is counted for a ban; nil if the report is not about it.
func (g *gather) ban(id string) *banData {
	if len(g.Bans) > 0 && !slices.Contains(g.Bans, id) {
		return nil
	}
	b := g.bans[id]
	if b == nil {
		b = &banData{days: map[string]*Counts{}, dayOf: map[dayGroup]int64{}, groups: map[string]*Counts{}, names: map[string]*Top{}, clients: map[string]*Top{},
			rules: map[[2]string]*Rule{}}
		g.bans[strings.Clone(id)] = b
	}
	return b
}

// date returns the day of a time, in the zone of the report.
func (g *gather) date(t time.Time) string {
	if s := t.Unix(); s < g.begun || s >= g.day {
		y, m, d := t.In(g.From.Location()).Date()
		begin := time.Date(y, m, d, 0, 0, 0, 0, g.From.Location())
		g.begun, g.day, g.date_ = begin.Unix(), time.Date(y, m, d+1, 0, 0, 0, 0, g.From.Location()).Unix(), begin.Format(time.DateOnly)
	}
	return g.date_
}

// add adds n queries.
func (c *Counts) add(v read.Verdict, n int64) {
	switch v {
	case read.Blocked:
		c.Blocked += n
	case read.Monitored:
		c.Monitored += n
	case read.Excepted:
		c.Excepted += n
	case read.Passed:
		c.Passed += n
	}
}

// count returns the value of a key, which it makes.
func count[K comparable, V any](m map[K]*V, k K) *V {
	v := m[k]
	if v == nil {
		v = new(V)
		m[k] = v
	}
	return v
}

// top adds n queries to a name or a client.
func top(m map[string]*Top, text string, h *store.Hour) {
	t := m[text]
	if t == nil {
		t = &Top{Text: text, First: h.First, Last: h.Last}
		m[text] = t
	}
	t.Attempts += h.Events
	t.First, t.Last = earlier(t.First, h.First), later(t.Last, h.Last)
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// hour counts queries.
func (g *gather) hour(h *store.Hour) {
	if h.Ban == "" {
		return
	}
	b := g.ban(h.Ban)
	if b == nil {
		return
	}
	b.total.add(h.Verdict, h.Events)
	day := g.date(h.Hour)
	count(b.days, day).add(h.Verdict, h.Events)
	count(b.groups, h.Group).add(h.Verdict, h.Events)
	if h.Verdict != read.Passed {
		b.dayOf[dayGroup{day, h.Group}] += h.Events
		if h.Name != "" {
			top(b.names, h.Name, h)
		} else {
			b.reduced = true
		}
		if h.Client != "" {
			top(b.clients, h.Client, h)
		} else {
			b.unnamed += h.Events
		}
	}
	r := count(b.rules, [2]string{h.List, h.Rule})
	r.List, r.Rule, r.Count = h.List, h.Rule, r.Count+h.Events
	r.First, r.Last = earlier(r.First, h.First), later(r.Last, h.Last)
	if h.Exception != "" {
		x := g.exception(h.Exception)
		x.Ticket, x.Approver = cmp.Or(x.Ticket, h.Ticket), cmp.Or(x.Approver, h.Approver)
		x.Count += h.Events
		x.First, x.Last = earlier(x.First, h.First), later(x.Last, h.Last)
		x.bans[h.Ban] = true
	}
}

func (g *gather) exception(id string) *exData {
	x := g.exs[id]
	if x == nil {
		x = &exData{Exception: Exception{ID: id}, bans: map[string]bool{}}
		g.exs[id] = x
	}
	return x
}

// act takes note of an act. It reports whether it is new.
func (g *gather) act(a *read.Act) bool {
	if g.acts[a.ID] {
		return false
	}
	g.acts[a.ID] = true
	if !a.Time.Before(g.To) {
		return true
	}
	for i := range a.Bans {
		if b := g.ban(a.Bans[i].ID); b != nil && !a.Time.Before(b.stated) {
			b.state, b.stated = a.Bans[i], a.Time
		}
	}
	if a.Time.Before(g.From) {
		return true
	}
	if e := a.Exception; e != nil {
		x := g.exception(e.ID)
		x.Ticket, x.Approver, x.Reason = cmp.Or(e.Ticket, x.Ticket), cmp.Or(e.Approver, x.Approver), cmp.Or(e.Reason, x.Reason)
		x.Effective, x.Expires = e.Effective, e.Expires
	}
	if a.Kind == act.Seal || a.Kind == act.ExceptionUsed {
		return true
	}
	if len(g.out.Acts) == maxActs {
		g.out.Omitted++
		return true
	}
	g.out.Acts = append(g.out.Acts, Act{At: a.Time, Node: a.Node, Kind: string(a.Kind), Object: a.Object, Who: who(a.Actor), Failed: a.Failed, What: what(&a.Act)})
	return true
}

// who says who asked for an act.
func who(a act.Actor) string {
	out := []string{string(a.Way)}
	for _, s := range []string{a.Address, a.User} {
		if s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, " ")
}

// what says what an act changed.
func what(a *act.Act) string {
	var out []string
	if a.Reason != "" {
		out = append(out, a.Reason)
	}
	for i, c := range a.Changes {
		if i == 20 {
			out = append(out, "…")
			break
		}
		out = append(out, c.Key+": "+cmp.Or(c.Before, "∅")+" → "+cmp.Or(c.After, "∅"))
	}
	return strings.Join(out, "; ")
}

// finish makes the report of what was counted.
func (g *gather) finish() {
	r := g.out
	around := map[string]*Top{}
	devices := map[string]*Top{}
	known := map[string]bool{}
	for _, n := range g.nodes {
		for _, m := range n.minutes {
			if m.To().After(g.From) {
				known[m.Ban] = true
			}
		}
	}
	for id := range known {
		g.ban(id)
	}
	for _, id := range slices.Sorted(maps.Keys(g.bans)) {
		b := g.bans[id]
		if !known[id] && b.total == (Counts{}) {
			continue // only acts from before the span know it
		}
		r.Bans = append(r.Bans, g.finishBan(id, b))
		if b.state.Bypass {
			r.Around.Bans = append(r.Around.Bans, id)
			r.Around.Attempts += b.total.Attempts()
			join(around, b.names)
			join(devices, b.clients)
		}
	}
	slices.SortStableFunc(r.Bans, func(a, b Ban) int {
		return cmp.Or(boolean(a.Bypass)-boolean(b.Bypass), boolean(b.inForce())-boolean(a.inForce()))
	})
	r.Around.Devices = len(devices)
	r.Around.Names, r.Around.Clients = g.first(around), g.first(devices)
	for _, id := range slices.Sorted(maps.Keys(g.exs)) {
		x := g.exs[id]
		x.Bans = slices.Sorted(maps.Keys(x.bans))
		r.Exceptions = append(r.Exceptions, x.Exception)
	}
	for _, name := range slices.Sorted(maps.Keys(g.nodes)) {
		n := g.nodes[name]
		if len(n.runs) > 0 {
			r.Nodes = append(r.Nodes, Node{Name: name, Versions: slices.Sorted(maps.Keys(n.versions)), Runs: len(n.runs)})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(g.cover)) {
		c := g.cover[k]
		r.Coverage = append(r.Coverage, *c)
		if c.Lost > 0 {
			g.note(Lost, c.Node)
		}
	}
	slices.SortStableFunc(r.Acts, func(a, b Act) int { return a.At.Compare(b.At) })
	r.Notes = slices.SortedFunc(maps.Keys(g.notes), func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.Note, b.Note), cmp.Compare(a.Object, b.Object))
	})
}

// inForce reports whether the ban was in force at all.
func (b *Ban) inForce() bool {
	return slices.ContainsFunc(b.Nodes, func(n BanNode) bool { return n.InForce > 0 })
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

func join(to, from map[string]*Top) {
	for k, t := range from {
		x := to[k]
		if x == nil {
			x = &Top{Text: t.Text, First: t.First, Last: t.Last}
			to[k] = x
		}
		x.Attempts += t.Attempts
		x.First, x.Last = earlier(x.First, t.First), later(x.Last, t.Last)
	}
}

// first returns those with the most attempts.
func (g *gather) first(m map[string]*Top) []Top {
	out := []Top{}
	for _, t := range m {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Top) int { return cmp.Or(cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(a.Text, b.Text)) })
	return out[:min(len(out), g.Top)]
}

// finishBan makes what a report says of a ban.
func (g *gather) finishBan(id string, d *banData) Ban {
	s := &d.state
	b := Ban{ID: id, TitleEN: s.TitleEN, TitleFR: s.TitleFR, Authority: s.Authority, Instrument: s.Instrument, URL: s.URL, Effective: s.Effective, Expires: s.Expires,
		Mode: s.Mode, Bypass: s.Bypass, Counts: d.total, Devices: len(d.clients), Unnamed: d.unnamed, Names: g.first(d.names), Clients: g.first(d.clients),
		Nodes: []BanNode{}, Days: []Day{}, Groups: []Group{}, Rules: []Rule{}}
	if d.reduced {
		g.note(Reduced, id)
	}
	groups := slices.Sorted(maps.Keys(d.groups))
	for _, name := range groups {
		b.Groups = append(b.Groups, Group{name, *d.groups[name]})
	}
	for at := g.From; at.Before(g.To); {
		y, m, day := at.Date()
		date := g.date(at)
		x := Day{Date: date, Groups: []GroupCount{}}
		if c := d.days[date]; c != nil {
			x.Counts = *c
		}
		for _, name := range groups {
			if n := d.dayOf[dayGroup{date, name}]; n > 0 {
				x.Groups = append(x.Groups, GroupCount{name, n})
			}
		}
		b.Days = append(b.Days, x)
		at = time.Date(y, m, day+1, 0, 0, 0, 0, at.Location())
	}
	for _, r := range d.rules {
		b.Rules = append(b.Rules, *r)
	}
	slices.SortFunc(b.Rules, func(a, c Rule) int {
		return cmp.Or(cmp.Compare(c.Count, a.Count), cmp.Compare(a.List, c.List), cmp.Compare(a.Rule, c.Rule))
	})
	for _, name := range slices.Sorted(maps.Keys(g.nodes)) {
		if n, ok := g.banNode(name, id); ok {
			b.Nodes = append(b.Nodes, n)
		}
	}
	return b
}

// banNode makes what a report says of a ban on a node.
func (g *gather) banNode(name, id string) (BanNode, bool) {
	out := BanNode{Node: name, States: []State{}, Gaps: []Gap{}, Lists: []List{}}
	states := map[inforce.State]time.Duration{}
	var all []inforce.Interval
	for _, m := range g.nodes[name].minutes {
		if m.Ban == id {
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b inforce.Interval) int { return a.From.Compare(b.From) })
	sum, distrusted, in := time.Duration(0), time.Duration(0), time.Duration(0)
	for i := range all {
		m := &all[i]
		if m.State.InForce() && m.Elapsed() > 0 {
			out.Since = earlier(out.Since, m.From)
		}
		from, to := later(m.From, g.From), earlier(m.To(), g.To)
		length := to.Sub(from)
		if length <= 0 {
			continue
		}
		states[m.State] += length
		if sum += length; m.Distrusted {
			distrusted += length
		}
		if m.Jump != 0 && !m.From.Before(g.From) {
			out.Jumps = append(out.Jumps, Jump{m.From, m.Jump.Seconds()})
			g.note(ClockSet, name)
		}
		if !m.State.InForce() {
			if n := len(out.Gaps); n > 0 && out.Gaps[n-1].State == m.State && out.Gaps[n-1].To.Equal(from) {
				out.Gaps[n-1].To, out.Gaps[n-1].Minutes = to, out.Gaps[n-1].Minutes+length.Minutes()
			} else {
				out.Gaps = append(out.Gaps, Gap{m.State, from, to, length.Minutes()})
			}
			continue
		}
		in += length
		out.addLists(m, from, to)
	}
	if sum == 0 {
		return out, false
	}
	for _, s := range inforce.States() {
		if states[s] > 0 {
			out.States = append(out.States, State{s, states[s].Minutes()})
		}
	}
	end := earlier(g.To, later(g.From, g.Now))
	unknown := max(end.Sub(g.From)-sum, 0)
	if unknown < time.Second { // between a start and its first act
		unknown = 0
	}
	if unknown > 0 {
		g.note(Unknown, name)
	}
	if distrusted > 0 {
		g.note(ClockDoubted, name)
	}
	out.InForce, out.NotInForce, out.Unknown, out.Distrusted = in.Minutes(), (sum - in).Minutes(), unknown.Minutes(), distrusted.Minutes()
	return out, true
}

// addLists adds the lists of an interval.
func (n *BanNode) addLists(m *inforce.Interval, from, to time.Time) {
	for _, l := range m.Lists {
		i := slices.IndexFunc(n.Lists, func(x List) bool { return x.ID == l.ID && x.Hash == l.Hash && x.Entries == l.Entries })
		if i < 0 {
			n.Lists = append(n.Lists, List{l.ID, l.Hash, l.Entries, from, to})
			continue
		}
		n.Lists[i].To = later(n.Lists[i].To, to)
	}
}
