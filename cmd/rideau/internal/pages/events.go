package pages

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rideau/cmd/rideau/internal/text"
	"rideau/cmd/rideau/internal/view"
	"rideau/resolver/audit/read"
	"rideau/resolver/audit/store"
	"rideau/resolver/ops/access"
)

// pageEvents is how many events a page shows.
const pageEvents = 50

// form are the fields of a search, as they were sent.
type form struct {
	Ban, Verdict, Group, Name, Device, From, To string
	Below                                       bool
	After                                       int64
}

func formOf(q url.Values) form {
	f := form{Ban: q.Get("ban"), Verdict: q.Get("verdict"), Group: q.Get("group"), Name: strings.TrimSpace(q.Get("name")), Device: strings.TrimSpace(q.Get("device")),
		From: q.Get("from"), To: q.Get("to"), Below: q.Get("below") != ""}
	f.After, _ = strconv.ParseInt(q.Get("after"), 10, 64)
	return f
}

// values are the fields that choose something.
func (f *form) values() url.Values {
	q := url.Values{}
	for k, v := range map[string]string{"ban": f.Ban, "verdict": f.Verdict, "group": f.Group, "name": f.Name, "device": f.Device, "from": f.From, "to": f.To} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if f.Below && f.Name != "" {
		q.Set("below", "1")
	}
	return q
}

// Any reports whether the form chooses something.
func (f form) Any() bool { return len(f.values()) > 0 || f.After != 0 }

// More is the address of the events after a cursor.
func (f form) More(after int64) string {
	q := f.values()
	q.Set("after", strconv.FormatInt(after, 10))
	return "/events?" + q.Encode()
}

// CSV is the address of all of them as CSV.
func (f form) CSV() string { return "/events.csv?" + f.values().Encode() }

// fault is an error of a form: the key of what is said, and what it is about.
type fault struct{ key, about string }

// Error implements error.
func (f *fault) Error() string { return f.key + ": " + f.about }

// filter returns what a form chooses. Times are those of a zone.
func (f *form) filter(zone *time.Location) (store.Filter, error) {
	out := store.Filter{Ban: f.Ban, Group: f.Group, Client: f.Device, Below: f.Below, Verdict: read.Verdict(f.Verdict), After: f.After}
	if f.Name != "" {
		name, err := text.ParseName(f.Name)
		if err != nil {
			return out, &fault{"error.name", err.Error()}
		}
		out.Name = strings.ToLower(name.String())
	}
	for _, x := range []struct {
		text string
		to   *time.Time
	}{{f.From, &out.From}, {f.To, &out.To}} {
		if x.text == "" {
			continue
		}
		var err error
		for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly, time.RFC3339} {
			if *x.to, err = time.ParseInLocation(layout, x.text, zone); err == nil {
				break
			}
		}
		if err != nil {
			return out, &fault{"error.time", strconv.Quote(clean(x.text))}
		}
	}
	return out, nil
}

func (p *Pages) events(g *page, r *http.Request) (content, error) {
	f := formOf(r.URL.Query())
	data := struct {
		Form     form
		Bans     []view.Named
		Groups   []string
		Verdicts []string
		Error    string
		Found    *view.Events
	}{Form: f, Verdicts: []string{"blocked", "monitored", "excepted", "passed", "allowed"}}
	data.Bans, data.Groups = p.o.View.Choices()
	c := content{once: f.Any()}
	filter, err := f.filter(g.zone)
	if filter.From.IsZero() {
		data.Form.From = "" // a browser warns of what is no time
	}
	if filter.To.IsZero() {
		data.Form.To = ""
	}
	if err == nil {
		filter.Limit = pageEvents
		data.Found, err = p.o.View.Events(r.Context(), filter)
	}
	var wrong *fault
	switch {
	case errors.As(err, &wrong):
		data.Error, c.status = g.T(wrong.key, wrong.about), http.StatusBadRequest
	case errors.Is(err, view.ErrNoStore):
		data.Error = g.Error(err)
	case err != nil:
		data.Error, c.status = g.Error(err), http.StatusServiceUnavailable
	}
	c.data = data
	return c, nil
}

// csv writes the events that a search finds, as they are read.
func (p *Pages) csv(w http.ResponseWriter, r *http.Request) {
	f := formOf(r.URL.Query())
	f.After = 0
	filter, err := f.filter(p.zone(r))
	if err != nil {
		access.Problem(w, http.StatusBadRequest, err.Error())
		return
	}
	begun := false
	out := csv.NewWriter(w)
	control := http.NewResponseController(w)
	err = p.o.View.Export(r.Context(), filter, func(part []view.Event) error {
		_ = control.SetWriteDeadline(time.Now().Add(p.o.WriteTimeout)) // some writers have none
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "text/csv; charset=utf-8")
			w.Header().Set("Content-Disposition", `attachment; filename="rideau-events.csv"`)
			_ = out.Write([]string{"time", "node", "event", "verdict", "ban", "group", "device", "name", "type", "transport", "rcode", "list", "rule", "in_answer", "exception", "ticket"})
		}
		for i := range part {
			e := &part[i]
			row := []string{e.Time.Format(time.RFC3339Nano), e.Node, e.ID, e.Verdict, e.Ban, e.Group, e.Client, e.Name, e.Type, e.Transport, e.Rcode, e.List, e.Rule,
				strconv.FormatBool(e.InAnswer), e.Exception, e.Ticket}
			for k := range row {
				row[k] = cell(row[k])
			}
			_ = out.Write(row)
		}
		out.Flush()
		return cmp.Or(out.Error(), r.Context().Err())
	})
	switch {
	case err == nil:
	case !begun:
		status := http.StatusServiceUnavailable
		if errors.Is(err, view.ErrNoStore) {
			status = http.StatusNotFound
		}
		access.Problem(w, status, err.Error())
	case errors.Is(err, context.Canceled):
	default:
		// What was sent looks whole otherwise.
		p.o.Logger.Warn("an export of events was not finished", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// cell writes text so that a spreadsheet takes it for text, and not for a formula.
func cell(s string) string {
	s = clean(s)
	if first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " \u00a0")); s != "" && strings.ContainsRune("=+-@\ufffd", first) {
		return "'" + s
	}
	return s
}
