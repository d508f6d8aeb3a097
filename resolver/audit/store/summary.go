package store

import (
	"context"
	"database/sql"
	"time"

	"rideau/resolver/audit/read"
)

// Attempts are the events of one hour, summed up without clients and names.
type Attempts struct {
	Hour                  time.Time
	Ban, Group, Exception string
	Verdict               read.Verdict
	Bypass                bool
	Events                int64
}

// Attempts calls f for the sums of the hours that begin from from on and before to,
// in no order.
func (r *Reader) Attempts(ctx context.Context, from, to time.Time, f func(Attempts)) error {
	return r.each(ctx, func(rows *sql.Rows) error {
		var a Attempts
		var hour int64
		err := rows.Scan(&hour, &a.Ban, &a.Group, &a.Exception, &a.Verdict, &a.Bypass, &a.Events)
		a.Hour = time.UnixMilli(hour).UTC()
		f(a)
		return err
	}, `SELECT hour, ban, grp, exception, verdict, bypass, sum(events) FROM hours WHERE hour >= ? AND hour < ? GROUP BY hour, ban, grp, exception, verdict, bypass`,
		hourOf(from.UnixMilli()), to.UnixMilli())
}

// Device is what a client did in a span of time.
type Device struct {
	Client, Group string
	Events        int64
	First, Last   time.Time
}

// Devices returns the clients with the most attempts in the hours that begin from
// from on and before to, the most first; with bypass, of those on bans of ways round
// the resolver alone. Limit bounds their number.
func (r *Reader) Devices(ctx context.Context, from, to time.Time, bypass bool, limit int) ([]Device, error) {
	var out []Device
	err := r.each(ctx, func(rows *sql.Rows) error {
		var d Device
		var first, last int64
		err := rows.Scan(&d.Client, &d.Group, &d.Events, &first, &last)
		d.First, d.Last = time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
		out = append(out, d)
		return err
	}, `SELECT client, grp, sum(events) AS n, min(first), max(last) FROM hours WHERE hour >= ? AND hour < ? AND client <> '' AND bypass >= ? AND verdict IN ('blocked', 'monitored')
		GROUP BY client, grp ORDER BY n DESC, client LIMIT ?`, hourOf(from.UnixMilli()), to.UnixMilli(), bypass, limit)
	return out, err
}
