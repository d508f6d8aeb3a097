package page

import (
	"cmp"
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strings"

	"rideau/cmd/rideau/internal/report"
)

//go:embed page.html
var source string

// writeHTML writes a document as one page that needs nothing else.
func writeHTML(w io.Writer, d *document) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"clean":  clean,
		"number": func(g grid, i int) bool { return g.number(i) },
		"code":   func(g grid, i int) bool { return strings.Contains(g.Code, string(rune('0'+i))) },
		"when":   func(g grid, i int) bool { return strings.Contains(g.Times, string(rune('0'+i))) },
		"top":    func(s section) bool { return s.Level == 2 },
	}).Parse(source)
	if err != nil {
		return err
	}
	return t.Execute(w, d)
}

// chart are bars of attempts by day, each in parts by group.
type chart struct {
	Text          string // what it shows, for those who do not see it
	Short         string // what it shows, in a sentence
	Width, Height int
	Left, Base    int // where the bars begin
	Parts         []part
	Lines         []line
	Labels        []label
	Legend        []legend
}

// part is a part of a bar.
type part struct {
	X, Y, Width, Height float64
	Colour              int
	Title               string
}

// line is a line of the scale.
type line struct {
	Y    float64
	Text string
}

// label is a date below the bars.
type label struct {
	X    float64
	Text string
}

// legend says which colour is which group.
type legend struct {
	Colour int
	Text   string
}

// maxGroups is how many groups have a colour and a column of their own.
const maxGroups = 4

// mainGroups are the titles of the groups with the most attempts, the most first;
// the last one stands for all others if there are more.
func (c *composer) mainGroups(b *report.Ban) []string {
	all := slices.Clone(b.Groups)
	slices.SortStableFunc(all, func(a, b report.Group) int { return cmp.Compare(b.Attempts(), a.Attempts()) })
	var out []string
	for i, g := range all {
		if i == maxGroups {
			return append(out, c.say("group.other"))
		}
		out = append(out, c.group(g.Group))
	}
	return out
}

// byGroup returns the attempts of a day by main groups.
func (c *composer) byGroup(d report.Day, groups []string) []int64 {
	out := make([]int64, len(groups))
	for _, g := range d.Groups {
		i := slices.Index(groups, c.group(g.Group))
		if i < 0 {
			i = len(groups) - 1
		}
		out[i] += g.Attempts
	}
	return out
}

// bar is what one bar of a chart shows.
type bar struct {
	date   string
	groups []int64
	all    int64
}

// bars are the bars of a chart: days, or weeks if there are many.
func (c *composer) bars(b *report.Ban, groups []string) (out []bar, weeks bool) {
	step := 1
	if weeks = len(b.Days) > 62; weeks {
		step = 7
	}
	for i, d := range b.Days {
		if i%step == 0 {
			out = append(out, bar{date: d.Date, groups: make([]int64, len(groups))})
		}
		x := &out[len(out)-1]
		for k, n := range c.byGroup(d, groups) {
			x.groups[k] += n
			x.all += n
		}
	}
	return out, weeks
}

// chart makes the chart of a ban.
func (c *composer) chart(b *report.Ban, id string) *chart {
	groups := c.mainGroups(b)
	bars, weeks := c.bars(b, groups)
	most := bars[0]
	for _, x := range bars {
		if x.all > most.all {
			most = x
		}
	}
	out := &chart{Width: 720, Height: 240, Left: 56, Base: 200, Text: c.say("chart", c.number(b.Attempts()), c.number(most.all), most.date)}
	out.Short = c.say("chart.short", c.number(b.Attempts()), c.number(most.all), most.date)
	if weeks {
		out.Text += " " + c.say("chart.weeks")
		out.Short += " " + c.say("chart.weeks")
	}
	top := scale(most.all)
	height := func(n int64) float64 { return float64(n) / float64(top) * 180 }
	for i := range int64(5) {
		if n := top * i / 4; top%4 == 0 || i == 0 || i == 4 {
			out.Lines = append(out.Lines, line{float64(out.Base) - height(n), c.number(n)})
		}
	}
	slot := float64(out.Width-out.Left-8) / float64(len(bars))
	every := max(1, (len(bars)+7)/8)
	for i, x := range bars {
		at := float64(out.Left) + 4 + slot*float64(i)
		y := float64(out.Base)
		for k, n := range x.groups {
			if n == 0 {
				continue
			}
			h := height(n)
			y -= h
			out.Parts = append(out.Parts, part{at + slot*0.1, y, slot * 0.8, h, k, x.date + ", " + groups[k] + ": " + c.number(n)})
		}
		if i%every == 0 {
			out.Labels = append(out.Labels, label{at + slot/2, x.date[5:]})
		}
	}
	for k, name := range groups {
		out.Legend = append(out.Legend, legend{k, name})
	}
	return out
}

// scale returns a round number that is at least n.
func scale(n int64) int64 {
	for unit := int64(1); ; unit *= 10 {
		for _, k := range []int64{4, 8, 20, 40} {
			if k*unit >= n {
				return k * unit
			}
		}
	}
}
