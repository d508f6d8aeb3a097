package pages

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"rideau/cmd/rideau/internal/view"
)

// chart is a drawing in a square of 100 by 100, which the page stretches, with its
// labels as text beside it, and its figures as a table.
type chart struct {
	ID     string
	Text   string   // what it shows, for those who do not see it
	Y, X   []string // labels, from top to bottom and from left to right
	Areas  []string
	Lines  []shape
	Bars   []shape
	Legend []key

	Caption string
	Head    []string
	Rows    [][]string
}

// shape is an SVG path. key is a colour and what it stands for.
type shape struct {
	Path   string
	Colour int
}

type key struct {
	Colour int
	Text   string
}

// top returns a round number that is at least x.
func top(x float64) float64 {
	if x <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(x)))
	for _, k := range []float64{1, 2, 4, 6, 8, 10} {
		if k*unit >= x {
			return k * unit
		}
	}
	return x
}

// line draws values as a line, and with area as what is below it. Negative values are
// gaps.
func line(values []float64, most float64, area bool) string {
	var b strings.Builder
	step := 100 / float64(max(len(values)-1, 1))
	begin, last := -1.0, -1.0
	end := func() {
		if area && begin >= 0 {
			fmt.Fprintf(&b, "L%.2f 100L%.2f 100Z", last, begin)
		}
		begin = -1
	}
	for i, v := range values {
		if v < 0 {
			end()
			continue
		}
		x, y := step*float64(i), 100-99*v/most
		if begin < 0 {
			begin = x
			fmt.Fprintf(&b, "M%.2f %.2f", x, y)
		} else {
			fmt.Fprintf(&b, "L%.2f %.2f", x, y)
		}
		last = x
	}
	end()
	return b.String()
}

// ticks are the labels of points: the first, the last, and some between them.
func ticks(labels []string) []string {
	const n = 5
	if len(labels) <= n {
		return labels
	}
	var out []string
	for i := range n {
		out = append(out, labels[i*(len(labels)-1)/(n-1)])
	}
	return out
}

// clock writes the hour and the minute of points, and reads their values.
func (p *page) points(all []view.Point, values ...func(*view.Point) float64) (labels []string, series [][]float64, most float64) {
	series = make([][]float64, len(values))
	for i := range all {
		labels = append(labels, all[i].At.In(p.zone).Format("15:04"))
		for k, f := range values {
			v := f(&all[i])
			series[k] = append(series[k], v)
			most = max(most, v)
		}
	}
	return labels, series, most
}

// axis writes a round number without digits that say nothing.
func (p *page) axis(x float64) string {
	digits := 0
	for ; digits < 4 && math.Abs(x*math.Pow10(digits)-math.Round(x*math.Pow10(digits))) > 1e-9; digits++ {
	}
	return p.decimal(x, digits)
}

// rateChart draws the queries of the last hour; nil if there are no points yet.
func (p *page) rateChart(n *view.Now) *chart {
	if len(n.Hour) < 2 {
		return nil
	}
	labels, series, most := p.points(n.Hour, func(x *view.Point) float64 { return x.Rate }, func(x *view.Point) float64 { return x.Blocked }, func(x *view.Point) float64 { return x.Failed })
	high := top(most)
	c := &chart{ID: "rate", Text: p.T("chart.rate", p.Rate(most), p.Rate(series[0][len(labels)-1])), X: ticks(labels), Y: []string{p.axis(high), p.axis(high / 2), "0"},
		Areas: []string{line(series[0], high, true)}, Lines: []shape{{line(series[0], high, false), 0}, {line(series[1], high, false), 1}},
		Legend: []key{{0, p.T("chart.all")}, {1, p.T("chart.blocked")}}, Caption: p.T("caption.rate"),
		Head: []string{p.T("time"), p.T("chart.all"), p.T("chart.blocked"), p.T("chart.failed")}}
	for i := len(labels) - 1; i >= 0; i-- {
		c.Rows = append(c.Rows, []string{labels[i], p.Rate(series[0][i]), p.Rate(series[1][i]), p.Rate(series[2][i])})
	}
	return c
}

// latencyChart draws the times of the last hour; nil if there are no points yet.
func (p *page) latencyChart(n *view.Now) *chart {
	if len(n.Hour) < 2 {
		return nil
	}
	labels, series, most := p.points(n.Hour, func(x *view.Point) float64 { return x.P99 }, func(x *view.Point) float64 { return x.Median })
	if most <= 0 {
		most = 1
	}
	high := top(most)
	c := &chart{ID: "latency", Text: p.T("chart.latency", p.Milli(most), p.Milli(series[0][len(labels)-1])), X: ticks(labels), Y: []string{p.Milli(high), p.Milli(high / 2), "0"},
		Areas: []string{line(series[0], high, true)}, Lines: []shape{{line(series[0], high, false), 0}, {line(series[1], high, false), 1}},
		Legend: []key{{0, p.T("chart.p99")}, {1, p.T("chart.median")}}, Caption: p.T("caption.latency"),
		Head: []string{p.T("time"), p.T("chart.p99"), p.T("chart.median")}}
	for i := len(labels) - 1; i >= 0; i-- {
		c.Rows = append(c.Rows, []string{labels[i], p.Milli(series[0][i]), p.Milli(series[1][i])})
	}
	return c
}

// bars draws attempts by day or by hour: blocked ones, and on them those that were
// only observed.
func (p *page) bars(id string, all []view.Bar, layout string) *chart {
	c := &chart{ID: id, Text: p.T("chart.none"), Caption: p.T("caption." + id), Legend: []key{{0, p.T("blocked")}, {1, p.T("monitored")}},
		Head: []string{p.T(map[string]string{"days": "day", "hours": "hour"}[id]), p.T("blocked"), p.T("monitored"), p.T("excepted")}}
	var labels []string
	var sum, most int64
	at := 0
	for i, b := range all {
		sum += b.Attempts()
		if b.Attempts() > most {
			most, at = b.Attempts(), i
		}
		labels = append(labels, b.From.In(p.zone).Format(layout))
	}
	if sum > 0 {
		c.Text = p.T("chart.attempts", p.Int64(sum), p.Int64(most), labels[at])
	}
	high := max(top(float64(most)), 2)
	c.Y, c.X = []string{p.Int64(int64(high)), p.Int64(int64(high / 2)), "0"}, ticks(labels)
	var blocked, monitored strings.Builder
	slot := 100 / float64(max(len(all), 1))
	for i, b := range all {
		x, h, g := slot*float64(i)+slot*0.12, 99*float64(b.Blocked)/high, 99*float64(b.Monitored)/high
		if b.Blocked > 0 {
			fmt.Fprintf(&blocked, "M%.2f 100v%.2fh%.2fv%.2fz", x, -h, slot*0.76, h)
		}
		if b.Monitored > 0 {
			fmt.Fprintf(&monitored, "M%.2f %.2fv%.2fh%.2fv%.2fz", x, 100-h, -g, slot*0.76, g)
		}
	}
	c.Bars = []shape{{blocked.String(), 0}, {monitored.String(), 1}}
	for i, b := range slices.Backward(all) {
		c.Rows = append(c.Rows, []string{labels[i], p.Int64(b.Blocked), p.Int64(b.Monitored), p.Int64(b.Excepted)})
	}
	return c
}

// spark draws attempts as small bars, 100 wide and 20 high.
func spark(all []view.Bar) string {
	var most int64 = 1
	for _, b := range all {
		most = max(most, b.Attempts())
	}
	var out strings.Builder
	slot := 100 / float64(max(len(all), 1))
	for i, b := range all {
		if n := b.Attempts(); n > 0 {
			h := 19*float64(n)/float64(most) + 1
			fmt.Fprintf(&out, "M%.1f 20v%.1fh%.1fv%.1fz", slot*float64(i), -h, slot*0.8, h)
		}
	}
	return out.String()
}
