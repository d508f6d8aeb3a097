package page

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rideau/cmd/rideau/internal/report"
)

// What is shown of long tables; all of it is in the formats for programs.
const (
	maxGaps  = 50
	maxRules = 50
	maxActs  = 200
)

// document is a report in the words of one language.
type document struct {
	Lang                                string
	Title, Period, Made, Skip, Contents string
	Sections                            []section
}

// section is a heading and what is below it, in this order.
type section struct {
	ID    string // unique
	Level int    // 2 to 4
	Title string
	Facts []fact
	Texts []string
	Chart *chart
	// Tables follow the chart, and After follows them.
	Tables []grid
	After  []string
}

// fact is a thing and what it is. Link is its address, if it has one.
type fact struct{ Label, Text, Link string }

// grid is a table. The first column names the row.
type grid struct {
	ID      string
	Caption string
	Head    []string
	Numbers string // the columns that hold numbers, such as "34"
	Times   string // the columns that hold times
	Code    string // the columns that hold what programs read
	Rows    [][]string
}

func (g *grid) number(i int) bool { return strings.Contains(g.Numbers, strconv.Itoa(i)) }

// composer makes a document.
type composer struct {
	language
	r *report.Report
	d *document
}

func compose(r *report.Report, l language) *document {
	c := &composer{l, r, &document{Lang: string(l), Title: l.say("title"), Skip: l.say("skip"), Contents: l.say("contents")}}
	last := r.To.Add(-time.Second)
	c.d.Period = l.say("period", l.day(r.From), l.day(last))
	if r.From.Hour() != 0 || r.To.Hour() != 0 || r.From.Minute() != 0 || r.To.Minute() != 0 {
		c.d.Period = l.say("period", c.time(r.From), c.time(r.To))
	}
	c.d.Made = l.say("made", l.day(r.Made.In(r.From.Location())), r.By, r.Zone)
	c.brief()
	for i := range r.Bans {
		c.ban(i)
	}
	c.exceptions()
	c.around()
	c.acts()
	c.coverage()
	c.sources()
	return c.d
}

// time writes a time in the zone of the report.
func (c *composer) time(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.In(c.r.From.Location()).Format("2006-01-02 15:04")
}

func (c *composer) add(s section) { c.d.Sections = append(c.d.Sections, s) }

// heads are the texts of keys.
func (c *composer) heads(keys ...string) []string {
	var out []string
	for _, k := range keys {
		out = append(out, c.say(k))
	}
	return out
}

// title is the title of a ban in the language.
func (c *composer) title(b *report.Ban) string {
	if c.language == "fr" {
		return cmp.Or(b.TitleFR, b.TitleEN, b.ID)
	}
	return cmp.Or(b.TitleEN, b.TitleFR, b.ID)
}

// force returns the time in force on all servers, that of which there is a record,
// and all the time.
func force(b *report.Ban) (in, recorded, all float64) {
	for _, n := range b.Nodes {
		in += n.InForce
		recorded += n.InForce + n.NotInForce
		all += n.InForce + n.NotInForce + n.Unknown
	}
	return in, recorded, all
}

func (c *composer) brief() {
	s := section{ID: "brief", Level: 2, Title: c.say("summary")}
	g := grid{ID: "brief-t", Caption: c.say("caption.brief"), Head: c.heads("summary.ban", "summary.force", "summary.record", "summary.nodes", "blocked", "monitored", "excepted", "devices"), Numbers: "1234567"}
	for i := range c.r.Bans {
		b := &c.r.Bans[i]
		in, recorded, all := force(b)
		g.Rows = append(g.Rows, []string{c.title(b), c.share(in, recorded), c.share(recorded, all), c.number(int64(len(b.Nodes))), c.number(b.Blocked), c.number(b.Monitored), c.number(b.Excepted), c.number(int64(b.Devices))})
	}
	if len(g.Rows) == 0 {
		s.Texts = append(s.Texts, c.say("summary.none"))
	} else {
		s.Tables = append(s.Tables, g)
	}
	if len(c.r.Notes) > 0 {
		s.After = append(s.After, c.say("notes")+" :")
		if c.language != "fr" {
			s.After[0] = c.say("notes") + ":"
		}
	}
	for _, n := range c.r.Notes {
		s.After = append(s.After, "• "+c.say("note."+string(n.Note), c.object(n)))
	}
	c.add(s)
}

// object is what a note is about: a ban by its title, others as they are.
func (c *composer) object(n report.Note) string {
	for i := range c.r.Bans {
		if c.r.Bans[i].ID == n.Object && n.Note == report.Reduced {
			return c.title(&c.r.Bans[i])
		}
	}
	return n.Object
}

func (c *composer) ban(i int) {
	b := &c.r.Bans[i]
	id := fmt.Sprint("ban", i+1)
	date := func(t time.Time, none string) string {
		if t.IsZero() {
			return c.say(none)
		}
		return c.day(t.In(c.r.From.Location()))
	}
	in, recorded, _ := force(b)
	s := section{ID: id, Level: 2, Title: c.title(b), Facts: []fact{
		{c.say("id"), b.ID, ""},
		{c.say("authority"), cmp.Or(b.Authority, c.say("unstated")), ""},
		{c.say("instrument"), cmp.Or(b.Instrument, c.say("unstated")), ""},
	}}
	if u, err := url.Parse(b.URL); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		s.Facts = append(s.Facts, fact{c.say("document"), b.URL, u.String()})
	}
	s.Facts = append(s.Facts, fact{c.say("effective"), date(b.Effective, "unstated"), ""}, fact{c.say("expires"), date(b.Expires, "no.end"), ""})
	if has("mode." + b.Mode) {
		s.Facts = append(s.Facts, fact{c.say("mode"), c.say("mode." + b.Mode), ""})
	}
	s.Facts = append(s.Facts, fact{c.say("summary.force"), c.share(in, recorded), ""}, fact{c.say("attempts"), c.number(b.Attempts()), ""})
	c.add(s)
	c.where(b, id)
	c.attempts(b, id)
}

// where says on which servers a ban was in force, and when not.
func (c *composer) where(b *report.Ban, id string) {
	s := section{ID: id + "-where", Level: 3, Title: c.say("where")}
	g := grid{ID: id + "-where-t", Caption: c.say("caption.where"), Head: c.heads("server", "since", "minutes.in", "minutes.out", "minutes.no", "share"), Numbers: "2345", Times: "1"}
	lists := grid{ID: id + "-lists-t", Caption: c.say("caption.lists"), Head: c.heads("list", "server", "hash", "entries", "from", "to"), Numbers: "3", Times: "45", Code: "2"}
	gaps := grid{ID: id + "-gaps-t", Caption: c.say("caption.gaps"), Head: c.heads("from", "to", "server", "reason", "minutes"), Numbers: "4", Times: "01"}
	in := 0.0
	for _, n := range b.Nodes {
		since := c.say("never")
		if !n.Since.IsZero() {
			since = c.time(n.Since)
		}
		in += n.InForce
		g.Rows = append(g.Rows, []string{n.Node, since, c.minutes(n.InForce), c.minutes(n.NotInForce), c.minutes(n.Unknown), c.share(n.InForce, n.InForce+n.NotInForce)})
		for _, l := range n.Lists {
			lists.Rows = append(lists.Rows, []string{l.ID, n.Node, l.Hash, c.number(int64(l.Entries)), c.time(l.From), c.time(l.To)})
		}
		for _, x := range n.Gaps {
			gaps.Rows = append(gaps.Rows, []string{c.time(x.From), c.time(x.To), n.Node, c.say("state." + string(x.State)), c.minutes(x.Minutes)})
		}
	}
	if len(g.Rows) > 0 {
		s.Tables = append(s.Tables, g)
	}
	if len(lists.Rows) > 0 {
		s.Tables = append(s.Tables, lists)
	}
	c.add(s)
	t := section{ID: id + "-gaps", Level: 3, Title: c.say("gaps")}
	switch {
	case len(gaps.Rows) > 0:
		if more := len(gaps.Rows) - maxGaps; more > 0 {
			t.After = append(t.After, c.say("more.gaps", c.number(int64(more))))
			gaps.Rows = gaps.Rows[:maxGaps]
		}
		t.Tables = append(t.Tables, gaps)
	case in > 0:
		t.Texts = append(t.Texts, c.say("no.gaps"))
	default:
		t.Texts = append(t.Texts, c.say("never.in"))
	}
	c.add(t)
}

func (c *composer) group(id string) string {
	if id == "all" {
		return c.say("group.all")
	}
	return id
}

// attempts says what a ban stopped.
func (c *composer) attempts(b *report.Ban, id string) {
	s := section{ID: id + "-days", Level: 3, Title: c.say("days")}
	if b.Attempts() == 0 {
		s.Texts = append(s.Texts, c.say("no.attempts"))
		c.add(s)
		return
	}
	s.Chart = c.chart(b, id)
	s.Texts = append(s.Texts, s.Chart.Short)
	groups := c.mainGroups(b)
	g := grid{ID: id + "-days-t", Caption: c.say("caption.days"), Head: c.heads("day"), Numbers: "123456789", Times: "0"}
	g.Head = append(g.Head, groups...)
	g.Head = append(g.Head, c.heads("blocked", "monitored", "excepted")...)
	for _, d := range b.Days {
		if d.Attempts() == 0 {
			continue
		}
		cells := []string{d.Date}
		for _, n := range c.byGroup(d, groups) {
			cells = append(cells, c.number(n))
		}
		g.Rows = append(g.Rows, append(cells, c.number(d.Blocked), c.number(d.Monitored), c.number(d.Excepted)))
	}
	s.Tables = append(s.Tables, g)
	c.add(s)
	tops := func(kind, head string, all []report.Top) {
		if len(all) == 0 {
			return
		}
		g := grid{ID: id + "-" + kind + "-t", Caption: c.say("caption." + kind), Head: c.heads(head, "attempts", "first", "last"), Numbers: "1", Times: "23", Code: "0"}
		for _, t := range all {
			g.Rows = append(g.Rows, []string{t.Text, c.number(t.Attempts), c.time(t.First), c.time(t.Last)})
		}
		s := section{ID: id + "-" + kind, Level: 3, Title: c.say(kind), Tables: []grid{g}}
		if kind == "clients" {
			s.Facts = []fact{{c.say("devices"), c.number(int64(b.Devices)), ""}}
			if b.Unnamed > 0 {
				s.Facts = append(s.Facts, fact{c.say("unnamed"), c.number(b.Unnamed), ""})
			}
		}
		c.add(s)
	}
	tops("names", "name", b.Names)
	tops("clients", "device", b.Clients)
	r := section{ID: id + "-rules", Level: 3, Title: c.say("rules")}
	rules := grid{ID: id + "-rules-t", Caption: c.say("caption.rules"), Head: c.heads("rule", "list", "queries", "first", "last"), Numbers: "2", Times: "34", Code: "0"}
	for i, x := range b.Rules {
		if i == maxRules {
			r.After = append(r.After, c.say("more.rules", c.number(int64(len(b.Rules)-i))))
			break
		}
		rules.Rows = append(rules.Rows, []string{cmp.Or(x.Rule, c.say("rule.answer")), x.List, c.number(x.Count), c.time(x.First), c.time(x.Last)})
	}
	r.Tables = append(r.Tables, rules)
	c.add(r)
}

func (c *composer) exceptions() {
	s := section{ID: "exceptions", Level: 2, Title: c.say("exceptions")}
	g := grid{ID: "exceptions-t", Caption: c.say("caption.exceptions"), Head: c.heads("exception", "ticket", "approver", "bans", "uses", "first", "last"), Numbers: "4", Times: "56"}
	for _, x := range c.r.Exceptions {
		g.Rows = append(g.Rows, []string{x.ID, cmp.Or(x.Ticket, "–"), cmp.Or(x.Approver, "–"), cmp.Or(strings.Join(x.Bans, ", "), "–"), c.number(x.Count), c.time(x.First), c.time(x.Last)})
	}
	if len(g.Rows) == 0 {
		s.Texts = append(s.Texts, c.say("no.exceptions"))
	} else {
		s.Tables = append(s.Tables, g)
	}
	c.add(s)
}

func (c *composer) around() {
	a := &c.r.Around
	s := section{ID: "around", Level: 2, Title: c.say("around"), Texts: []string{c.say("around.text")}}
	if len(a.Bans) == 0 {
		s.Texts = []string{c.say("around.none")}
	} else {
		s.Texts = append(s.Texts, c.say("around.count", c.number(a.Attempts), c.number(int64(a.Devices))))
	}
	for kind, all := range map[string][]report.Top{"name": a.Names, "device": a.Clients} {
		if len(all) == 0 {
			continue
		}
		g := grid{ID: "around-" + kind, Caption: c.say("caption." + map[string]string{"name": "names", "device": "clients"}[kind]), Head: c.heads(kind, "attempts", "first", "last"), Numbers: "1", Times: "23", Code: "0"}
		for _, t := range all {
			g.Rows = append(g.Rows, []string{t.Text, c.number(t.Attempts), c.time(t.First), c.time(t.Last)})
		}
		s.Tables = append(s.Tables, g)
	}
	slices.SortFunc(s.Tables, func(a, b grid) int { return cmp.Compare(b.ID, a.ID) })
	c.add(s)
}

func (c *composer) acts() {
	s := section{ID: "acts", Level: 2, Title: c.say("acts")}
	g := grid{ID: "acts-t", Caption: c.say("caption.acts"), Head: c.heads("when", "server", "act", "object", "who", "what"), Times: "0"}
	more := c.r.Omitted
	for i, a := range c.r.Acts {
		if i == maxActs {
			more += len(c.r.Acts) - i
			break
		}
		kind := c.say("act." + a.Kind)
		if a.Failed && !strings.HasSuffix(a.Kind, "refused") && !strings.HasSuffix(a.Kind, "denied") {
			kind += " (" + c.say("failed") + ")"
		}
		way, rest, _ := strings.Cut(a.Who, " ")
		g.Rows = append(g.Rows, []string{c.time(a.At), a.Node, kind, cmp.Or(a.Object, "–"), strings.TrimSpace(c.say("way."+way) + " " + rest), cmp.Or(shorten(a.What), "–")})
	}
	if len(g.Rows) == 0 {
		s.Texts = append(s.Texts, c.say("no.acts"))
	} else {
		s.Tables = append(s.Tables, g)
	}
	if more > 0 {
		s.After = append(s.After, c.say("more.acts", c.number(int64(more))))
	}
	c.add(s)
}

// shorten cuts a long text.
func shorten(s string) string {
	const most = 300
	for i := range s {
		if i > most {
			return s[:i] + "…"
		}
	}
	return s
}

func (c *composer) coverage() {
	s := section{ID: "coverage", Level: 2, Title: c.say("coverage")}
	g := grid{ID: "coverage-t", Caption: c.say("caption.coverage"), Head: c.heads("server", "sink", "offered", "delivered", "dropped", "repeated", "waiting"), Numbers: "23456"}
	for _, x := range c.r.Coverage {
		lost := c.number(int64(x.Lost))
		var why []string
		for _, reason := range slices.Sorted(maps.Keys(x.Dropped)) {
			if n := x.Dropped[reason]; n > 0 {
				why = append(why, reason+" "+c.number(int64(n)))
			}
		}
		if len(why) > 0 {
			lost += " (" + strings.Join(why, ", ") + ")"
		}
		g.Rows = append(g.Rows, []string{x.Node, x.Sink, c.number(int64(x.Offered)), c.number(int64(x.Delivered)), lost, c.number(int64(x.Repeated)), c.number(int64(x.Waiting))})
	}
	if len(g.Rows) == 0 {
		s.Texts = append(s.Texts, c.say("coverage.none"))
	} else {
		s.Tables = append(s.Tables, g)
	}
	c.add(s)
}

func (c *composer) sources() {
	g := grid{ID: "sources-t", Caption: c.say("caption.sources"), Head: c.heads("source", "kind", "queries", "twice", "foreign"), Numbers: "234"}
	for _, x := range c.r.Sources {
		g.Rows = append(g.Rows, []string{x.Name, c.say("kind." + x.Kind), c.number(x.Queries), c.number(x.Twice), c.number(x.Foreign)})
	}
	n := grid{ID: "nodes-t", Caption: c.say("caption.nodes"), Head: c.heads("server", "versions", "runs"), Numbers: "2"}
	for _, x := range c.r.Nodes {
		n.Rows = append(n.Rows, []string{x.Name, strings.Join(x.Versions, ", "), c.number(int64(x.Runs))})
	}
	s := section{ID: "sources", Level: 2, Title: c.say("sources"), Tables: []grid{g}}
	if len(n.Rows) > 0 {
		s.Tables = append(s.Tables, n)
	}
	c.add(s)
	c.add(section{ID: "how", Level: 2, Title: c.say("how"), Texts: []string{c.say("how.minutes"), c.say("how.attempts")}})
}
