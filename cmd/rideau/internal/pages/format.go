package pages

import (
	"cmp"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rideau/cmd/rideau/internal/pages/words"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/view"
	"rideau/resolver/ops/access"
)

// format writes values for a language and a time zone.
type format struct {
	Lang string
	zone *time.Location
	now  time.Time
}

// T returns a text.
func (f *format) T(key string, args ...any) string { return words.Say(f.Lang, key, args...) }

// Int writes a whole number.
func (f *format) Int(n int) string { return f.Int64(int64(n)) }

// Uint writes a whole number.
func (f *format) Uint(n uint64) string { return f.Int64(int64(min(n, math.MaxInt64))) }

// Int64 writes a whole number.
func (f *format) Int64(n int64) string {
	digits, sign := strconv.FormatInt(n, 10), ""
	if n < 0 {
		digits, sign = digits[1:], "−"
	}
	between := ","
	if f.Lang == "fr" {
		between = "\u202f"
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteString(between)
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// decimal writes a number with so many digits after the point.
func (f *format) decimal(x float64, digits int) string {
	whole, frac, _ := strings.Cut(strconv.FormatFloat(x, 'f', digits, 64), ".")
	n, _ := strconv.ParseInt(whole, 10, 64)
	out := f.Int64(n)
	if frac == "" {
		return out
	}
	if f.Lang == "fr" {
		return out + "," + frac
	}
	return out + "." + frac
}

// Rate writes a number of things per second.
func (f *format) Rate(x float64) string {
	switch {
	case x >= 100 || x == 0:
		return f.decimal(x, 0)
	case x >= 10:
		return f.decimal(x, 1)
	}
	return f.decimal(x, 2)
}

// Milli writes a time in milliseconds; negative: there is none.
func (f *format) Milli(ms float64) string {
	switch {
	case ms < 0:
		return "–"
	case ms < 1:
		return f.decimal(ms*1000, 0) + "\u00a0µs"
	case ms < 10:
		return f.decimal(ms, 1) + "\u00a0ms"
	case ms < 10000:
		return f.decimal(ms, 0) + "\u00a0ms"
	}
	return f.decimal(ms/1000, 1) + "\u00a0s"
}

// Milli0 is Milli of a time of which 0 is none.
func (f *format) Milli0(ms float64) string {
	if ms == 0 {
		return "–"
	}
	return f.Milli(ms)
}

// Share writes a part of one in per cent, never rounded up to all; negative: there is
// none.
func (f *format) Share(x float64) string {
	if x < 0 {
		return "–"
	}
	out := "100"
	if x < 1 {
		out = f.decimal(math.Floor(x*1000)/10, 1)
	}
	if f.Lang == "fr" {
		return out + "\u00a0%"
	}
	return out + "%"
}

// Part writes a part of a whole in per cent.
func (f *format) Part(n, all uint64) string {
	if all == 0 {
		return "–"
	}
	return f.Share(float64(n) / float64(all))
}

// Bytes writes a size.
func (f *format) Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	if f.Lang == "fr" {
		units = []string{"o", "Kio", "Mio", "Gio", "Tio"}
	}
	x, i := float64(n), 0
	for x >= 1024 && i < len(units)-1 {
		x, i = x/1024, i+1
	}
	digits := 0
	if i > 0 && x < 100 {
		digits = 1
	}
	return f.decimal(x, digits) + "\u00a0" + units[i]
}

// Difference writes by how much a number grew.
func (f *format) Difference(before, after int) string {
	if after < before {
		return f.Int(after - before)
	}
	return "+" + f.Int(after-before)
}

// Time writes a time as text.
func (f *format) Time(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.In(f.zone).Format("2006-01-02 15:04")
}

func (f *format) time(t time.Time, layout string) template.HTML {
	if t.IsZero() {
		return "–"
	}
	// Both texts are digits and punctuation alone.
	return template.HTML(`<time datetime="` + t.UTC().Format("2006-01-02T15:04:05Z") + `">` + t.In(f.zone).Format(layout) + `</time>`)
}

// When writes a time: its day and its minute, or the day alone if it is midnight, as
// that of a date in a configuration.
func (f *format) When(t time.Time) template.HTML {
	if u := t.UTC(); u.Hour() == 0 && u.Minute() == 0 && u.Second() == 0 && u.Nanosecond() == 0 && !t.IsZero() {
		return template.HTML(`<time datetime="` + u.Format(time.DateOnly) + `">` + u.Format(time.DateOnly) + `</time>`)
	}
	return f.time(t, "2006-01-02 15:04")
}

// WhenText is When of a time in text.
func (f *format) WhenText(s string) template.HTML {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return template.HTML(template.HTMLEscapeString(clean(s)))
	}
	return f.When(t)
}

// Exact writes a time with its seconds.
func (f *format) Exact(t time.Time) template.HTML { return f.time(t, "2006-01-02 15:04:05") }

// Age says how long ago a time was.
func (f *format) Age(t time.Time) string {
	d := f.now.Sub(t)
	switch {
	case t.IsZero():
		return f.T("never")
	case d < 2*time.Minute:
		return f.T("ago.seconds", f.Int64(max(int64(d/time.Second), 0)))
	case d < 2*time.Hour:
		return f.T("ago.minutes", f.Int64(int64(d/time.Minute)))
	case d < 48*time.Hour:
		return f.T("ago.hours", f.Int64(int64(d/time.Hour)))
	}
	return f.T("ago.days", f.Int64(int64(d/(24*time.Hour))))
}

// Until says in how long a time is.
func (f *format) Until(t time.Time) string {
	d := t.Sub(f.now)
	switch {
	case d < 0:
		return f.T("in.past")
	case d < 48*time.Hour:
		return f.T("in.hours", f.Int64(int64(d/time.Hour)))
	}
	return f.T("in.days", f.Int64(int64(d/(24*time.Hour))))
}

// ZoneName is the name of the time zone.
func (f *format) ZoneName() string {
	if name := f.zone.String(); name != "Local" {
		return name
	}
	name, _ := f.now.In(f.zone).Zone()
	return name
}

// ZoneOffset is how far the zone is from UTC now.
func (f *format) ZoneOffset() string {
	out := f.now.In(f.zone).Format("-07:00")
	return strings.Replace(out, "-", "−", 1)
}

// Or writes a text, or that there is none.
func (f *format) Or(s string) string { return cmp.Or(clean(s), f.T("unstated")) }

// TitleOf is the title of something in the language.
func (f *format) TitleOf(en, fr, id string) string {
	if f.Lang == "fr" {
		return clean(cmp.Or(fr, en, id))
	}
	return clean(cmp.Or(en, fr, id))
}

// Title2 is the title of something in the language.
func (f *format) Title2(n view.Named) string { return f.TitleOf(n.TitleEN, n.TitleFR, n.ID) }

// Role names a role.
func (f *format) Role(r access.Role) string { return f.T("role." + r.String()) }

// Group names a group of clients.
func (f *format) Group(id string) string {
	if id == "all" || id == "" {
		return f.T("group.all")
	}
	return clean(id)
}

// GroupText is Group.
func (f *format) GroupText(id string) string { return f.Group(id) }

// Groups names the groups that something is for.
func (f *format) Groups(ids []string) string {
	var out []string
	for _, id := range ids {
		switch id {
		case "all":
			out = append(out, f.T("everybody"))
		case "":
			out = append(out, f.T("group.all"))
		case "enforced":
			out = append(out, f.T("group.enforced"))
		default:
			out = append(out, clean(id))
		}
	}
	return strings.Join(out, ", ")
}

// badge is a word with a colour.
func badge(kind, word string) template.HTML {
	return template.HTML(`<span class="badge ` + kind + `">` + template.HTMLEscapeString(word) + `</span>`)
}

// BanState says whether a ban is in force.
func (f *format) BanState(active bool, mode string, why reason.Near) template.HTML {
	switch {
	case active && mode == "enforce":
		return badge("good", f.T("state.good"))
	case active:
		return badge("warn", f.T("mode."+mode))
	case why != "":
		return badge("", f.T("why."+string(why)))
	}
	return badge("", f.T("mode.off"))
}

// ExceptionState says whether an exception is in force.
func (f *format) ExceptionState(active bool, why reason.Near) template.HTML {
	if active {
		return badge("warn", f.T("state.good"))
	}
	return badge("", f.T("why."+string(why)))
}

// UpstreamState says whether a server answers.
func (f *format) UpstreamState(state string) template.HTML {
	kind := map[string]string{"up": "good", "trying": "warn"}[state]
	return badge(cmp.Or(kind, "bad"), f.T("upstream."+state))
}

// Verdict says what became of a query.
func (f *format) Verdict(v string) template.HTML {
	kind := map[string]string{"blocked": "bad", "monitored": "warn", "excepted": "warn"}[v]
	return badge(kind, f.T("verdict."+v))
}

// Near says why a ban or an exception does not decide.
func (f *format) Near(n reason.NearMiss) string {
	var why string
	switch n.Code {
	case reason.NearOff:
		if why = f.T("nearwhy.off"); n.ForGroup {
			why = f.T("nearwhy.off.group")
		}
	case reason.NearOtherGroup:
		why = f.T("nearwhy.other-group", f.Groups(n.Groups))
	case reason.NearTier:
		why = f.T("nearwhy.tier", clean(n.Tier))
	default:
		date, _, _ := strings.Cut(n.Date, "T")
		why = f.T("nearwhy."+string(n.Code), clean(date))
	}
	at := ""
	if n.Rule != nil {
		at = clean(n.Rule.Entry)
	}
	if n.Exception != "" {
		return f.T("near.exception", clean(n.Exception), at, why)
	}
	return f.T("near.ban", clean(n.Ban), at, why)
}

// clean replaces what is not to be seen, or changes how the rest is seen.
func clean(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if hidden(r) {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// hidden reports whether a rune is a control or formatting character.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}
