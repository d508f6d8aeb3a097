package store

import (
	"context"
	"encoding/json"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/read"
	"rideau/resolver/audit/sink"
)

const (
	insertEvent = `INSERT INTO events(id, run, number, verdict, ban, grp, client, name, type, transport, outcome, rcode, action, list, rule, in_answer,
		bypass, exception, ticket, approver, policy, distrusted) VALUES(?, ?, ?, ?, ?, ?, nullif(?, ''), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	countHour = `INSERT INTO hours(hour, ban, grp, client, name, verdict, list, rule, exception, ticket, approver, bypass, events, first, last)
		VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET events = events + excluded.events, first = min(first, excluded.first), last = max(last, excluded.last)`
	insertAct = `INSERT INTO acts(id, run, number, kind, object, failed, event) VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	putMinute = `INSERT INTO minutes(run, number, ban, state, distrusted, lists, config, policy, began, uptime, ended, jump) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET ended = excluded.ended`
)

// hourKey is what a row of hours counts.
type hourKey struct {
	hour                                                                       int64
	ban, group, client, name, verdict, list, rule, exception, ticket, approver string
	bypass                                                                     bool
}

type hourCount struct{ events, first, last int64 }

// hourOf returns the begin of the hour of a time, both in Unix milliseconds.
func hourOf(ms int64) int64 {
	const hour = int64(time.Hour / time.Millisecond)
	if ms < 0 {
		return (ms - hour + 1) / hour * hour
	}
	return ms / hour * hour
}

// idBits are the bits of an id below its time.
const idBits = 10

// eventID returns the id of an event of that time and number.
func eventID(t time.Time, number uint64) int64 {
	const most = 1 << (62 - idBits) // years 1898 to 2041 and more: 143 years around 1970
	return min(max(t.UnixMicro(), -most), most)<<idBits | int64(number&(1<<idBits-1))
}

// timeOf returns the time of an id.
func timeOf(id int64) time.Time { return time.UnixMicro(id >> idBits).UTC() }

// Write implements sink.Writer. All events are committed, or none.
func (w *Writer) Write(ctx context.Context, events [][]byte) (int, error) {
	if err := w.open(ctx); err != nil {
		return 0, err
	}
	// Batches are short. A context that can end costs a goroutine for each statement.
	ctx = context.WithoutCancel(ctx)
	n, refused := len(events), error(nil)
	err := transact(ctx, w.db.c, func() error {
		hours := map[hourKey]*hourCount{}
		for i, line := range events {
			q, a, err := w.parser.Parse(line)
			if err != nil {
				n, refused = i, err
				break
			}
			if a != nil {
				err = w.act(ctx, a)
			} else {
				err = w.query(ctx, q, hours)
			}
			if err != nil {
				return err
			}
		}
		for k, c := range hours {
			if _, err := w.db.hour.ExecContext(ctx, k.hour, k.ban, k.group, k.client, k.name, k.verdict, k.list, k.rule, k.exception, k.ticket, k.approver,
				k.bypass, c.events, c.first, c.last); err != nil {
				return err
			}
		}
		return w.track(ctx)
	})
	if err != nil {
		w.db.runs = map[string]int64{w.o.Run: w.db.own} // others may be rolled back
		return 0, w.failed(err)
	}
	w.dirty = true
	w.committed()
	if refused != nil {
		return n, &sink.Refused{Err: refused}
	}
	return n, nil
}

// query writes the event of a query.
func (w *Writer) query(ctx context.Context, q *read.Query, hours map[hourKey]*hourCount) error {
	verdict := string(q.Verdict())
	run, err := w.db.runID(ctx, q.Run, q.Node, "", q.Time)
	if err != nil {
		return err
	}
	id, err := w.insert(ctx, "events", run, q.Number, eventID(q.Time, q.Number), func(id int64) (int64, error) {
		r, err := w.db.event.ExecContext(ctx, id, run, q.Number, verdict, q.Ban, q.Group, q.Client, q.Name, q.Type, q.Transport, q.Outcome, q.Rcode,
			q.Action, q.List, q.Rule, q.InAnswer, q.Bypass, q.Exception, q.Ticket, q.Approver, q.Fingerprint, w.o.Distrusted())
		if err != nil {
			return 0, err
		}
		return r.RowsAffected()
	})
	if err != nil || id == 0 {
		return err
	}
	ms := q.Time.UnixMilli()
	k := hourKey{hourOf(ms), q.Ban, q.Group, q.Client, q.Name, verdict, q.List, q.Rule, q.Exception, q.Ticket, q.Approver, q.Bypass}
	c := hours[k]
	if c == nil {
		c = &hourCount{first: ms, last: ms}
		hours[k] = c
	}
	c.events, c.first, c.last = c.events+1, min(c.first, ms), max(c.last, ms)
	return nil
}

// insert inserts a row with an id, or with the next one that is free. It returns 0
// if the table has the event already, which was delivered twice then.
func (w *Writer) insert(ctx context.Context, table string, run int64, number uint64, id int64, put func(id int64) (int64, error)) (int64, error) {
	for {
		added, err := put(id)
		if err != nil || added > 0 {
			return id, err
		}
		// The id is taken: look at all events of this microsecond.
		begin := id >> idBits << idBits
		var last int64
		var twice bool
		if err := w.db.c.QueryRowContext(ctx, "SELECT max(id), max(run = ? AND number = ?) FROM "+table+" WHERE id >= ? AND id < ?",
			run, int64(number), begin, begin+1<<idBits).Scan(&last, &twice); err != nil {
			return 0, err
		}
		if twice {
			return 0, nil
		}
		id = last + 1
	}
}

// act writes an act, and tells the Tracker.
func (w *Writer) act(ctx context.Context, a *read.Act) error {
	run, err := w.db.runID(ctx, a.ID.Run, a.Node, a.Version, a.Time)
	if err != nil {
		return err
	}
	id, err := w.insert(ctx, "acts", run, a.Number, eventID(a.Time, a.Number), func(id int64) (int64, error) {
		r, err := w.db.act.ExecContext(ctx, id, run, a.Number, string(a.Kind), a.Object, a.Failed, string(a.Line))
		if err != nil {
			return 0, err
		}
		return r.RowsAffected()
	})
	if err != nil || id == 0 {
		return err
	}
	if a.ID.Run == w.o.Run { // and not what waited for this since an earlier run
		w.follow(&a.Act)
	}
	return nil
}

// follow tells the Tracker an act, unless it knows of a later one.
func (w *Writer) follow(a *act.Act) {
	if a.Uptime >= w.acted {
		w.acted = a.Uptime
		w.tracker.Act(a, w.o.Uptime())
	}
}

// Tick tells that the program runs. Settle does it, too, and writes it down.
func (w *Writer) Tick() {
	if w.tracker == nil {
		return
	}
	if a, ok := w.o.Latest(); ok && a.Uptime > w.acted {
		w.follow(&a)
	}
	if now, up := w.o.Now(), w.o.Uptime(); w.alive {
		w.tracker.Now(now, up)
	} else {
		w.tracker.Alive(now, up) // the file could not be opened until now
	}
	w.alive = w.tracker.Begun()
}

// track writes what the Tracker found. A transaction is open. What is written
// counts as written after it: see committed.
func (w *Writer) track(ctx context.Context) error {
	if !w.tracker.Begun() {
		return nil
	}
	put := func(i *inforce.Interval) error {
		lists, err := json.Marshal(listsOf(i.Lists))
		if err != nil {
			return err
		}
		var end any
		if !i.Open {
			end = i.Ended.Milliseconds()
		}
		_, err = w.db.minute.ExecContext(ctx, w.db.own, i.Number, i.Ban, string(i.State), i.Distrusted, string(lists), i.Config, i.Policy,
			i.From.UnixMilli(), i.Begun.Milliseconds(), end, i.Jump.Milliseconds())
		return err
	}
	ended := w.tracker.Ended()
	for i := range ended {
		if err := put(&ended[i]); err != nil {
			return err
		}
	}
	for _, i := range w.tracker.Open() {
		if !w.written[i.Number] {
			if err := put(i); err != nil {
				return err
			}
		}
	}
	at, up := w.tracker.At()
	_, err := w.db.c.ExecContext(ctx, "UPDATE runs SET beat = ?, uptime = ?, ended = ? WHERE id = ?", at.UnixMilli(), up.Milliseconds(), w.ended(false), w.db.own)
	return err
}

// committed notes what the file holds.
func (w *Writer) committed() {
	w.tracker.Done()
	clear(w.written)
	for _, i := range w.tracker.Open() {
		w.written[i.Number] = true
	}
	_, w.beat = w.tracker.At()
}

// ended is what the file says of how the run ended. last says that nothing is
// written after this.
func (w *Writer) ended(last bool) string {
	switch {
	case w.tracker.Stopped():
		return string(inforce.Stopped)
	case last:
		return string(inforce.Unrecorded)
	}
	return ""
}

// list is how a list of an interval is written.
type list struct {
	ID       string `json:"id"`
	Hash     string `json:"hash"`
	Entries  int    `json:"entries"`
	LastGood bool   `json:"last_good,omitempty"`
}

func listsOf(all []act.List) []list {
	out := []list{}
	for _, l := range all {
		out = append(out, list(l))
	}
	return out
}

// Settle implements sink.Settler: it writes a heartbeat once a minute, and removes
// what is too old.
func (w *Writer) Settle(ctx context.Context, last bool) error {
	w.Tick()
	if err := w.open(ctx); err != nil {
		return err
	}
	w.Tick()
	_, up := w.tracker.At()
	if w.tracker.Begun() && (last || up-w.beat >= inforce.Beat) {
		if err := w.writeBeat(ctx, last); err != nil {
			return w.failed(err)
		}
	}
	if err := w.keep(ctx, last); err != nil {
		return w.failed(err)
	}
	if !w.dirty {
		return nil
	}
	w.dirty = false
	// What was committed is on the disk then: a loss of power cannot take it.
	_, err := w.db.c.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
	return w.failed(err)
}

// writeBeat writes that the run goes on, and the counts of sinks.
func (w *Writer) writeBeat(ctx context.Context, last bool) error {
	err := transact(ctx, w.db.c, func() error {
		if err := w.track(ctx); err != nil {
			return err
		}
		if last {
			if _, err := w.db.c.ExecContext(ctx, "UPDATE minutes SET ended = ? WHERE run = ? AND ended IS NULL", w.upMilli(), w.db.own); err != nil {
				return err
			}
			if _, err := w.db.c.ExecContext(ctx, "UPDATE runs SET ended = ? WHERE id = ?", w.ended(true), w.db.own); err != nil {
				return err
			}
		}
		return w.sinks(ctx)
	})
	if err != nil {
		return err
	}
	w.dirty = true
	w.committed()
	return nil
}

func (w *Writer) upMilli() int64 {
	_, up := w.tracker.At()
	return up.Milliseconds()
}

// sinks writes the counts of sinks.
func (w *Writer) sinks(ctx context.Context) error {
	if w.o.Sinks == nil {
		return nil
	}
	const day = int64(24 * time.Hour / time.Millisecond)
	now := w.o.Now().UnixMilli()
	for _, s := range w.o.Sinks() {
		dropped, err := json.Marshal(s.Dropped)
		if err != nil {
			return err
		}
		if _, err := w.db.c.ExecContext(ctx, `INSERT INTO sinks(run, sink, day, at, offered, delivered, repeated, waiting, dropped) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET at = excluded.at, offered = excluded.offered, delivered = excluded.delivered, repeated = excluded.repeated,
			waiting = excluded.waiting, dropped = excluded.dropped`,
			w.db.own, s.Name, hourOf(now)/day*day, now, int64(s.Offered), int64(s.Delivered), int64(s.Repeated), int64(s.Waiting), string(dropped)); err != nil {
			return err
		}
	}
	return nil
}

var _ sink.Settler = (*Writer)(nil)
