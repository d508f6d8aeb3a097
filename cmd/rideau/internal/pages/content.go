package pages

import (
	"context"
	"errors"
	"net/http"
	"time"

	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/view"
)

func (p *Pages) now(g *page, _ *http.Request) (content, error) {
	n := p.o.View.Now()
	return content{data: struct {
		Now           *view.Now
		Rate, Latency *chart
	}{n, g.rateChart(n), g.latencyChart(n)}}, nil
}

// banRow is a ban in the table of all.
type banRow struct {
	Ban        view.Ban
	Day, Month int64
	Spark      string
}

func attempts(all []view.Bar) (n int64) {
	for _, b := range all {
		n += b.Attempts()
	}
	return n
}

func (p *Pages) bans(g *page, r *http.Request) (content, error) {
	all := p.o.View.Bans(r.Context(), "", g.zone)
	var rows []banRow
	for _, b := range all.Bans {
		rows = append(rows, banRow{b, attempts(b.Hours[len(b.Hours)/2:]), attempts(b.Days), spark(b.Days)})
	}
	return content{data: struct {
		Bans *view.Bans
		Rows []banRow
	}{all, rows}}, nil
}

func (p *Pages) ban(g *page, r *http.Request) (content, error) {
	all := p.o.View.Bans(r.Context(), r.PathValue("id"), g.zone)
	if len(all.Bans) == 0 {
		return content{}, notFound("problem.ban")
	}
	b := all.Bans[0]
	return content{title: g.Title2(b.Named), data: struct {
		Ban         view.Ban
		History     view.History
		Days, Hours *chart
	}{b, all.History, g.bars("days", b.Days, "01-02"), g.bars("hours", b.Hours, "01-02 15:04")}}, nil
}

func (p *Pages) lists(*page, *http.Request) (content, error) {
	return content{data: p.o.View.Lists()}, nil
}

func (p *Pages) clients(g *page, r *http.Request) (content, error) {
	all, err := p.o.View.Clients(r.Context(), g.Analyst())
	var fault string
	if err != nil && !errors.Is(err, view.ErrNoStore) {
		fault = g.Error(err)
	}
	return content{data: struct {
		Clients *view.Clients
		Error   string
	}{all, fault}}, nil
}

func (p *Pages) exceptions(_ *page, r *http.Request) (content, error) {
	return content{data: p.o.View.Exceptions(r.Context())}, nil
}

func (p *Pages) system(*page, *http.Request) (content, error) {
	return content{data: p.o.View.System(true)}, nil
}

func (p *Pages) explain(g *page, r *http.Request) (content, error) {
	q := r.URL.Query()
	data := struct {
		Name, Client, Type string
		Error, Field       string
		Found              *reason.Explanation
	}{Name: q.Get("name"), Client: q.Get("client"), Type: q.Get("type")}
	c := content{}
	if q.Has("name") {
		var err error
		data.Found, err = p.o.View.Explain(r.Context(), data.Name, data.Type, data.Client)
		var invalid *view.Invalid
		switch {
		case errors.As(err, &invalid):
			data.Error, data.Field, c.status = err.Error(), invalid.Field, http.StatusBadRequest
		case err != nil:
			return content{}, err
		}
	}
	c.data = data
	return c, nil
}

// changed is what the page of changes shows.
type changed struct {
	Done  *view.Reload
	Error string
	Would *view.Changes
}

// alone runs f unless a reload or a dry run of the pages goes on.
func (p *Pages) alone(f func()) bool {
	select {
	case p.reloading <- struct{}{}:
		defer func() { <-p.reloading }()
		f()
		return true
	default:
		return false
	}
}

func (p *Pages) changes(g *page, r *http.Request) (content, error) {
	var data changed
	var err error
	if !p.alone(func() { data.Would, err = p.o.View.Changes(r.Context()) }) {
		return content{status: http.StatusServiceUnavailable, data: changed{Error: g.T("error.reload")}}, nil
	}
	return content{data: data}, err
}

// apply reloads, and shows what that changed.
func (p *Pages) apply(g *page, r *http.Request) (content, error) {
	if p.o.Reload == nil {
		return content{}, notFound("problem.none")
	}
	done := &view.Reload{At: time.Now()}
	var err error
	ok := p.alone(func() {
		// A browser that goes away does not undo what its viewer asked for.
		result, failed := p.o.Reload(context.WithoutCancel(r.Context()))
		done.OK, done.Changed, done.Problems, done.Changes, done.Restart = failed == nil, result.Changed, result.Problems, result.Changes, result.Restart
		err = failed
	})
	switch {
	case !ok:
		return content{status: http.StatusServiceUnavailable, data: changed{Error: g.T("error.reload")}}, nil
	case err != nil && len(done.Problems) == 0:
		done.Error = err.Error()
	}
	c := content{data: changed{Done: done}}
	if err != nil {
		c.status = http.StatusUnprocessableEntity
	}
	return c, nil
}
