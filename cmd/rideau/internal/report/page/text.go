package page

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rideau/cmd/rideau/internal/report"
)

// writeMarkdown writes a document as Markdown.
func writeMarkdown(w io.Writer, d *document) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n%s\n", mark(d.Title), mark(d.Period), mark(d.Made))
	for _, s := range d.Sections {
		fmt.Fprintf(&b, "\n%s %s\n", strings.Repeat("#", s.Level), mark(s.Title))
		for _, f := range s.Facts {
			fmt.Fprintf(&b, "\n- %s: %s", mark(f.Label), mark(f.Text))
		}
		if len(s.Facts) > 0 {
			b.WriteString("\n")
		}
		for _, p := range s.Texts {
			fmt.Fprintf(&b, "\n%s\n", mark(p))
		}
		for _, t := range s.Tables {
			b.WriteString("\n|")
			for _, h := range t.Head {
				b.WriteString(" " + mark(h) + " |")
			}
			b.WriteString("\n|")
			for i := range t.Head {
				if t.number(i) {
					b.WriteString("---:|")
				} else {
					b.WriteString("---|")
				}
			}
			b.WriteString("\n")
			for _, row := range t.Rows {
				b.WriteString("|")
				for _, c := range row {
					b.WriteString(" " + mark(c) + " |")
				}
				b.WriteString("\n")
			}
		}
		for _, p := range s.After {
			fmt.Fprintf(&b, "\n%s\n", mark(p))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mark writes text so that Markdown changes nothing of it.
func mark(s string) string {
	var b strings.Builder
	for _, r := range clean(s) {
		switch r {
		case '\\', '`', '*', '_', '[', ']', '|', '#', '~', '!':
			b.WriteByte('\\')
			b.WriteRune(r)
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '&':
			b.WriteString("&amp;")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// table is a CSV file of rows that all have the same columns.
type table struct{ w *csv.Writer }

// columns of the CSV format. They only ever grow in number, at the end.
func columns() []string {
	return []string{"section", "ban", "node", "item", "detail", "group", "from", "to", "queries", "minutes", "blocked", "monitored", "excepted"}
}

// row is one row, by its columns.
type row struct {
	section, ban, node, item, detail, group string
	from, to                                time.Time
	queries                                 int64
	minutes                                 float64
	counts                                  *report.Counts
}

func (t table) put(r row) {
	date := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.Format(time.RFC3339)
	}
	out := []string{r.section, r.ban, r.node, r.item, r.detail, r.group, date(r.from), date(r.to), strconv.FormatInt(r.queries, 10),
		strconv.FormatFloat(r.minutes, 'f', -1, 64), "", "", ""}
	if c := r.counts; c != nil {
		out[8], out[10], out[11], out[12] = strconv.FormatInt(c.Attempts(), 10), strconv.FormatInt(c.Blocked, 10), strconv.FormatInt(c.Monitored, 10), strconv.FormatInt(c.Excepted, 10)
	}
	for i := range out {
		out[i] = cell(out[i])
	}
	t.w.Write(out)
}

// cell writes text so that a spreadsheet takes it for text.
func cell(s string) string {
	s = clean(s)
	if s != "" && strings.ContainsRune("=+-@\t\r\ufffd", rune0(s)) {
		return "'" + s
	}
	return s
}

func rune0(s string) rune {
	for _, r := range strings.TrimLeft(s, " \u00a0") {
		return r
	}
	return 0
}

// writeCSV writes a report as rows.
func writeCSV(w io.Writer, r *report.Report) error {
	t := table{csv.NewWriter(w)}
	t.w.Write(columns())
	t.put(row{section: "report", item: r.Schema, detail: r.By + ", " + r.Zone, from: r.From, to: r.To})
	for _, s := range r.Sources {
		t.put(row{section: "source", item: s.Name, detail: s.Kind, queries: s.Queries})
	}
	for i := range r.Bans {
		csvBan(t, &r.Bans[i])
	}
	for _, x := range r.Exceptions {
		t.put(row{section: "exception", ban: strings.Join(x.Bans, " "), item: x.ID, detail: strings.Trim(strings.Join([]string{x.Ticket, x.Approver, x.Reason}, "; "), "; "), from: x.First, to: x.Last, queries: x.Count})
	}
	for _, n := range r.Around.Names {
		t.put(row{section: "way_round_name", item: n.Text, from: n.First, to: n.Last, queries: n.Attempts})
	}
	for _, n := range r.Around.Clients {
		t.put(row{section: "way_round_device", item: n.Text, from: n.First, to: n.Last, queries: n.Attempts})
	}
	for _, a := range r.Acts {
		t.put(row{section: "act", node: a.Node, item: a.Kind, detail: strings.Trim(strings.Join([]string{a.Object, a.Who, a.What}, "; "), "; "), from: a.At, to: a.At})
	}
	for _, c := range r.Coverage {
		t.put(row{section: "offered", node: c.Node, item: c.Sink, queries: int64(c.Offered)})
		t.put(row{section: "delivered", node: c.Node, item: c.Sink, queries: int64(c.Delivered)})
		for _, reason := range slices.Sorted(maps.Keys(c.Dropped)) {
			t.put(row{section: "dropped", node: c.Node, item: c.Sink, detail: reason, queries: int64(c.Dropped[reason])})
		}
	}
	for _, n := range r.Notes {
		t.put(row{section: "note", item: string(n.Note), detail: n.Object})
	}
	t.w.Flush()
	return t.w.Error()
}

func csvBan(t table, b *report.Ban) {
	t.put(row{section: "ban", ban: b.ID, item: b.TitleEN, detail: b.TitleFR, from: b.Effective, to: b.Expires, counts: &b.Counts})
	t.put(row{section: "basis", ban: b.ID, item: b.Authority, detail: strings.Trim(b.Instrument+"; "+b.URL, "; ")})
	for _, n := range b.Nodes {
		for _, s := range n.States {
			t.put(row{section: "state", ban: b.ID, node: n.Node, item: string(s.State), minutes: s.Minutes})
		}
		if n.Unknown > 0 {
			t.put(row{section: "state", ban: b.ID, node: n.Node, item: "unknown", minutes: n.Unknown})
		}
		for _, g := range n.Gaps {
			t.put(row{section: "gap", ban: b.ID, node: n.Node, item: string(g.State), from: g.From, to: g.To, minutes: g.Minutes})
		}
		for _, l := range n.Lists {
			t.put(row{section: "list", ban: b.ID, node: n.Node, item: l.ID, detail: l.Hash, from: l.From, to: l.To, queries: int64(l.Entries)})
		}
	}
	for _, d := range b.Days {
		if d.Attempts() > 0 {
			t.put(row{section: "day", ban: b.ID, item: d.Date, counts: &d.Counts})
		}
		for _, g := range d.Groups {
			t.put(row{section: "day_group", ban: b.ID, item: d.Date, group: g.Group, queries: g.Attempts})
		}
	}
	for _, n := range b.Names {
		t.put(row{section: "name", ban: b.ID, item: n.Text, from: n.First, to: n.Last, queries: n.Attempts})
	}
	for _, n := range b.Clients {
		t.put(row{section: "device", ban: b.ID, item: n.Text, from: n.First, to: n.Last, queries: n.Attempts})
	}
	for _, x := range b.Rules {
		t.put(row{section: "rule", ban: b.ID, item: x.Rule, detail: x.List, from: x.First, to: x.Last, queries: x.Count})
	}
}
