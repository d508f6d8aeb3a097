package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/read"
)

const (
	// maxReaders is how many queries of a Reader run at a time; others wait.
	maxReaders = 2
	// MaxEvents is the largest number of events that Events returns.
	MaxEvents = 1000
)

// Reader reads a store. It never writes to it. It is safe for concurrent use.
type Reader struct {
	db  *sql.DB
	max time.Duration
}

// Open opens a store for reading, whether a Writer writes it or not. No query
// takes longer than max; 0: there is no such bound.
func Open(ctx context.Context, path string, max time.Duration) (*Reader, error) {
	db, err := sql.Open("sqlite", source(path, "mode=ro&_pragma=busy_timeout(2000)&_pragma=query_only(1)&_pragma=cache_size(-16384)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxReaders)
	r := &Reader{db, max}
	var app, version int
	err = db.QueryRowContext(ctx, "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version").Scan(&app, &version)
	switch {
	case err != nil:
	case app != applicationID:
		err = errForeign
	case version > len(migrations()):
		err = errNewer
	case version == 0:
		err = errors.New("the store is not complete yet")
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Close closes the Reader.
func (r *Reader) Close() error { return r.db.Close() }

// each calls f for each row of a query.
func (r *Reader) each(ctx context.Context, f func(*sql.Rows) error, query string, args ...any) error {
	if r.max > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.max)
		defer cancel()
	}
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Filter chooses events. Empty fields choose all.
type Filter struct {
	From, To time.Time // To is not part of it
	Ban      string
	Group    string
	Client   string // as the store tells it
	// Name is a name with its final dot. With Below, the names below it, too.
	Name    string
	Below   bool
	Verdict read.Verdict
	Rule    string
	// After is the Cursor of the last event that was seen; 0 is the begin. Events
	// come the latest first; with Oldest, the oldest first.
	After  int64
	Oldest bool
	// Limit is how many events are returned at most; 0 is MaxEvents.
	Limit int
}

// Event is the event of a query.
type Event struct {
	read.Query
	// Verdict is what became of it by the policy.
	Verdict read.Verdict
	// Reduced says that its client and its name were removed by age.
	Reduced bool
	// Distrusted says that the clock was distrusted.
	Distrusted bool
	// Cursor is the Filter's After for what comes next.
	Cursor int64
}

const eventColumns = `e.id, r.run, e.number, r.node, e.verdict, e.ban, e.grp, e.client, e.name, e.type, e.transport, e.outcome, e.rcode, e.action, e.list, e.rule,
	e.in_answer, e.bypass, e.exception, e.ticket, e.approver, e.policy, e.distrusted`

// query returns the SQL of a Filter.
func (f *Filter) query() (string, []any) {
	where, args := []string{"1"}, []any{}
	add := func(term string, value any) { where, args = append(where, term), append(args, value) }
	if !f.From.IsZero() {
		add("e.id >= ?", eventID(f.From, 0))
	}
	if !f.To.IsZero() {
		add("e.id < ?", eventID(f.To, 0))
	}
	for _, t := range []struct{ term, value string }{{"e.ban = ?", f.Ban}, {"e.client = ?", f.Client}, {"e.rule = ?", f.Rule},
		{"e.verdict = ?", string(f.Verdict)}, {"e.grp = ?", f.Group}} {
		if t.value != "" {
			add(t.term, t.value)
		}
	}
	if f.Rule != "" {
		where = append(where, "e.rule <> ''")
	}
	switch {
	case f.Name != "" && f.Below:
		add("(e.name = ? OR substr(e.name, -length(?)) = ?)", f.Name)
		args = append(args, "."+f.Name, "."+f.Name)
	case f.Name != "":
		add("e.name = ?", f.Name)
	}
	order, than := "DESC", "<"
	if f.Oldest {
		order, than = "ASC", ">"
	}
	if f.After != 0 {
		add("e.id "+than+" ?", f.After)
	}
	limit := f.Limit
	if limit <= 0 || limit > MaxEvents {
		limit = MaxEvents
	}
	args = append(args, limit)
	return "SELECT " + eventColumns + " FROM events e JOIN runs r ON r.id = e.run WHERE " + strings.Join(where, " AND ") + " ORDER BY e.id " + order + " LIMIT ?", args
}

// Events returns the events that a Filter chooses.
func (r *Reader) Events(ctx context.Context, f Filter) ([]Event, error) {
	var out []Event
	query, args := f.query()
	err := r.each(ctx, func(rows *sql.Rows) error {
		var e Event
		var client, name sql.NullString
		q := &e.Query
		err := rows.Scan(&e.Cursor, &q.Run, &q.Number, &q.Node, &e.Verdict, &q.Ban, &q.Group, &client, &name, &q.Type, &q.Transport, &q.Outcome, &q.Rcode, &q.Action,
			&q.List, &q.Rule, &q.InAnswer, &q.Bypass, &q.Exception, &q.Ticket, &q.Approver, &q.Fingerprint, &e.Distrusted)
		q.Client, q.Name, q.Time, e.Reduced = client.String, name.String, timeOf(e.Cursor), !name.Valid
		q.Monitored = e.Verdict == read.Monitored
		out = append(out, e)
		return err
	}, query, args...)
	return out, err
}

// Hour are the counts of equal events of one hour.
type Hour struct {
	Hour                                    time.Time
	Ban, Group, Client, Name                string // Client and Name are empty once they are reduced
	Verdict                                 read.Verdict
	List, Rule, Exception, Ticket, Approver string
	Bypass                                  bool
	Events                                  int64
	First, Last                             time.Time
}

// Hours calls f for the counts of the hours that begin from from on and before to,
// in no order. The Hour is valid until f returns.
func (r *Reader) Hours(ctx context.Context, from, to time.Time, f func(*Hour)) error {
	var h Hour
	texts := map[string]string{}
	share := func(b []byte) string {
		t, ok := texts[string(b)]
		if !ok {
			t = string(b)
			texts[t] = t
		}
		return t
	}
	var raw [10]sql.RawBytes
	return r.each(ctx, func(rows *sql.Rows) error {
		var hour, first, last int64
		if err := rows.Scan(&hour, &raw[0], &raw[1], &raw[2], &raw[3], &raw[4], &raw[5], &raw[6], &raw[7], &raw[8], &raw[9], &h.Bypass, &h.Events, &first, &last); err != nil {
			return err
		}
		for i, to := range []*string{&h.Ban, &h.Group, &h.Client, &h.Name, (*string)(&h.Verdict), &h.List, &h.Rule, &h.Exception, &h.Ticket, &h.Approver} {
			*to = share(raw[i])
		}
		h.Hour, h.First, h.Last = time.UnixMilli(hour).UTC(), time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
		f(&h)
		return nil
	}, `SELECT hour, ban, grp, client, name, verdict, list, rule, exception, ticket, approver, bypass, events, first, last FROM hours WHERE hour >= ? AND hour < ?`,
		hourOf(from.UnixMilli()), to.UnixMilli())
}

// Minutes is an interval of a run.
type Minutes struct {
	Node, Run, Version string
	inforce.Interval
}

// Minutes returns the intervals that reach into the time from from to to, in the
// order in which they began.
func (r *Reader) Minutes(ctx context.Context, from, to time.Time) ([]Minutes, error) {
	var out []Minutes
	err := r.each(ctx, func(rows *sql.Rows) error {
		var m Minutes
		var began, up, ended, jump int64
		var lists []byte
		if err := rows.Scan(&m.Node, &m.Run, &m.Version, &m.Number, &m.Ban, &m.State, &m.Distrusted, &lists, &m.Config, &m.Policy, &began, &up, &ended, &m.Open, &jump); err != nil {
			return err
		}
		var all []list
		if err := json.Unmarshal(lists, &all); err != nil {
			return err
		}
		for _, l := range all {
			m.Lists = append(m.Lists, act.List(l))
		}
		m.From, m.Jump = time.UnixMilli(began).UTC(), time.Duration(jump)*time.Millisecond
		m.Begun, m.Ended = time.Duration(up)*time.Millisecond, time.Duration(ended)*time.Millisecond
		out = append(out, m)
		return nil
	}, `SELECT r.node, r.run, r.version, m.number, m.ban, m.state, m.distrusted, m.lists, m.config, m.policy, m.began, m.uptime, coalesce(m.ended, r.uptime) AS finish, m.ended IS NULL, m.jump
		FROM minutes m JOIN runs r ON r.id = m.run WHERE m.began < ? AND m.began + coalesce(m.ended, r.uptime) - m.uptime > ? ORDER BY m.began, m.run, m.number`,
		to.UnixMilli(), from.UnixMilli())
	return out, err
}

// Acts calls f for the acts from from on and before to, in the order of time. The
// Act is valid until f returns. Acts that cannot be read are left out.
func (r *Reader) Acts(ctx context.Context, from, to time.Time, f func(*read.Act)) error {
	var p read.Parser
	return r.each(ctx, func(rows *sql.Rows) error {
		var line sql.RawBytes
		if err := rows.Scan(&line); err != nil {
			return err
		}
		if _, a, err := p.Parse(line); err == nil && a != nil {
			f(a)
		}
		return nil
	}, "SELECT event FROM acts WHERE id >= ? AND id < ? ORDER BY id", eventID(from, 0), eventID(to, 0))
}

// Counts are the counts of a sink on one day, since the begin of its run.
type Counts struct {
	Node, Run string
	Day, At   time.Time
	Sink
}

// Sinks returns the counts of all sinks on the days from the day before from until
// to, in the order of runs, sinks and days.
func (r *Reader) Sinks(ctx context.Context, from, to time.Time) ([]Counts, error) {
	var out []Counts
	err := r.each(ctx, func(rows *sql.Rows) error {
		var c Counts
		var day, at int64
		var dropped []byte
		if err := rows.Scan(&c.Node, &c.Run, &c.Name, &day, &at, &c.Offered, &c.Delivered, &c.Repeated, &c.Waiting, &dropped); err != nil {
			return err
		}
		c.Day, c.At = time.UnixMilli(day).UTC(), time.UnixMilli(at).UTC()
		out = append(out, c)
		return json.Unmarshal(dropped, &c.Dropped)
	}, `SELECT r.node, r.run, s.sink, s.day, s.at, s.offered, s.delivered, s.repeated, s.waiting, s.dropped FROM sinks s JOIN runs r ON r.id = s.run
		WHERE s.day >= ? AND s.day < ? ORDER BY r.id, s.sink, s.day`, from.Add(-24*time.Hour).Truncate(24*time.Hour).UnixMilli(), to.UnixMilli())
	return out, err
}

// Run is a run of the program that the store knows of.
type Run struct {
	ID                   string
	Node, Version, Ended string // Ended as in inforce.State; empty while it goes on
	Began, Beat          time.Time
}

// Runs returns all runs.
func (r *Reader) Runs(ctx context.Context) ([]Run, error) {
	var out []Run
	err := r.each(ctx, func(rows *sql.Rows) error {
		var u Run
		var began, beat int64
		err := rows.Scan(&u.ID, &u.Node, &u.Version, &u.Ended, &began, &beat)
		u.Began, u.Beat = time.UnixMilli(began).UTC(), time.UnixMilli(beat).UTC()
		out = append(out, u)
		return err
	}, "SELECT run, node, version, ended, began, beat FROM runs ORDER BY id")
	return out, err
}

// IDs calls f for the id of each query from from on and before to.
func (r *Reader) IDs(ctx context.Context, from, to time.Time, f func(read.ID)) error {
	texts := map[string]string{}
	return r.each(ctx, func(rows *sql.Rows) error {
		var raw sql.RawBytes
		var id read.ID
		if err := rows.Scan(&raw, &id.Number); err != nil {
			return err
		}
		run, ok := texts[string(raw)]
		if !ok {
			run = string(raw)
			texts[run] = run
		}
		id.Run = run
		f(id)
		return nil
	}, "SELECT r.run, e.number FROM events e JOIN runs r ON r.id = e.run WHERE e.id >= ? AND e.id < ?", eventID(from, 0), eventID(to, 0))
}
