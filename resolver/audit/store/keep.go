package store

import (
	"context"
	"time"

	"rideau/resolver/audit/act"
)

const (
	// keepEvery is how often the Writer looks for what is too old.
	keepEvery = time.Hour
	// keepRows is how many rows one step handles: some ten milliseconds.
	keepRows = 2000
	// keepFor is how long the steps of one call go on.
	keepFor = 200 * time.Millisecond
)

// keep removes what is too old, and what is too much, in small steps: what is left
// of them is done by the next calls.
func (w *Writer) keep(ctx context.Context, last bool) error {
	if last || w.o.Uptime() < w.keeping || w.o.Distrusted() {
		return nil // a wrong clock removes nothing
	}
	now := w.o.Now()
	days := func(n int) int64 { return now.AddDate(0, 0, -n).UnixMilli() }
	for begun := time.Now(); time.Since(begun) < keepFor && ctx.Err() == nil; {
		more, err := w.step(ctx, days(w.o.Searchable), days(w.o.Days), false)
		if err != nil {
			return err
		}
		if !more {
			if more, err = w.crowd(ctx); err != nil {
				return err
			}
		}
		if !more {
			w.keeping = w.o.Uptime() + keepEvery
			w.look(ctx)
			return w.eraseRemains(ctx)
		}
	}
	w.look(ctx)
	return nil
}

// maxErase is the size up to which a file is written anew to erase what was
// removed from it. A larger one would hold the Writer up for too long.
const maxErase = 128 << 20

// eraseEvery is how often that may be.
const eraseEvery = 24 * time.Hour

// eraseRemains erases what SQLite may have left of removed values: in the log of changes,
// and in parts of pages that are not in use.
func (w *Writer) eraseRemains(ctx context.Context) error {
	if !w.remains || w.o.Uptime() < w.erase {
		return nil
	}
	w.remains, w.erase = false, w.o.Uptime()+eraseEvery
	if w.bytes.Load() <= maxErase {
		if _, err := w.db.c.ExecContext(ctx, "VACUUM"); err != nil {
			return err
		}
	}
	_, err := w.db.c.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

// step reduces and removes some of what is older than these times. It reports
// whether there may be more.
func (w *Writer) step(ctx context.Context, reduce, remove int64, early bool) (more bool, err error) {
	var reduced, removed int64
	err = transact(ctx, w.db.c, func() error {
		for _, s := range []struct {
			query string
			args  []any
			count *int64
		}{
			{"DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < ? LIMIT ?)", []any{eventID(time.UnixMilli(remove), 0), keepRows}, &removed},
			{"DELETE FROM hours WHERE (hour, ban, grp, client, name, verdict, list, rule, exception, ticket, approver, bypass) IN (SELECT hour, ban, grp, client, name, verdict, list, rule, exception, ticket, approver, bypass FROM hours WHERE hour < ? LIMIT ?)", []any{hourOf(remove), keepRows}, nil},
			{"DELETE FROM acts WHERE id IN (SELECT id FROM acts WHERE id < ? LIMIT ?)", []any{eventID(time.UnixMilli(remove), 0), keepRows}, nil},
			// A visit of the block page is of use by its client alone.
			{"DELETE FROM acts WHERE id IN (SELECT id FROM acts WHERE id < ? AND kind = ? LIMIT ?)", []any{eventID(time.UnixMilli(reduce), 0), string(act.PageShown), keepRows}, nil},
			{"DELETE FROM minutes WHERE ended IS NOT NULL AND began + ended - uptime < ?", []any{remove}, nil},
			{"DELETE FROM sinks WHERE day < ?", []any{remove - int64(24*time.Hour/time.Millisecond)}, nil},
			{`DELETE FROM runs WHERE id < ? AND beat < ? AND NOT EXISTS(SELECT 1 FROM minutes WHERE run = runs.id) AND NOT EXISTS(SELECT 1 FROM sinks WHERE run = runs.id)`, []any{w.db.own, remove}, nil},
			{"UPDATE events SET client = NULL, name = NULL WHERE id IN (SELECT id FROM events WHERE id >= ? AND id < ? AND name IS NOT NULL LIMIT ?)",
				[]any{w.reducedTo(ctx), eventID(time.UnixMilli(reduce), 0), keepRows}, &reduced},
		} {
			r, err := w.db.c.ExecContext(ctx, s.query, s.args...)
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			if s.count != nil {
				*s.count = n
			}
			more = more || n == keepRows
		}
		if err := w.reduceHours(ctx, hourOf(reduce), &more); err != nil {
			return err
		}
		if reduced < keepRows { // all before are reduced
			return w.note(ctx, "reduced", eventID(time.UnixMilli(reduce), 0))
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	w.dirty = true
	w.remains = w.remains || reduced+removed > 0
	w.reduced.Add(uint64(reduced))
	w.removed.Add(uint64(removed))
	if early {
		w.early.Add(uint64(reduced + removed))
	}
	_, err = w.db.c.ExecContext(ctx, "PRAGMA incremental_vacuum(2000)")
	return more, err
}

// reduceHours joins the counts of one hour before a time that differ in the client
// and the name only.
func (w *Writer) reduceHours(ctx context.Context, before int64, more *bool) error {
	from := w.noted(ctx, "reduced_hours")
	var hour *int64
	if err := w.db.c.QueryRowContext(ctx, "SELECT min(hour) FROM hours WHERE hour >= ? AND hour < ?", from, before).Scan(&hour); err != nil {
		return err
	}
	if hour == nil {
		return w.note(ctx, "reduced_hours", max(before, from))
	}
	*more = true
	const some = "hour = ? AND (client <> '' OR name <> '')"
	for _, query := range []string{
		`INSERT INTO hours SELECT hour, ban, grp, '', '', verdict, list, rule, exception, ticket, approver, bypass, sum(events), min(first), max(last)
			FROM hours WHERE ` + some + ` GROUP BY ban, grp, verdict, list, rule, exception, ticket, approver, bypass
			ON CONFLICT DO UPDATE SET events = events + excluded.events, first = min(first, excluded.first), last = max(last, excluded.last)`,
		"DELETE FROM hours WHERE " + some,
	} {
		if _, err := w.db.c.ExecContext(ctx, query, *hour); err != nil {
			return err
		}
	}
	return w.note(ctx, "reduced_hours", *hour+1)
}

// reducedTo is the id before which all events are reduced.
func (w *Writer) reducedTo(ctx context.Context) int64 { return w.noted(ctx, "reduced") }

// note keeps a number under a name, noted returns it; 0 if there is none.
func (w *Writer) note(ctx context.Context, key string, n int64) error {
	_, err := w.db.c.ExecContext(ctx, "INSERT INTO notes VALUES(?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", key, n)
	return err
}

func (w *Writer) noted(ctx context.Context, key string) (n int64) {
	w.db.c.QueryRowContext(ctx, "SELECT value FROM notes WHERE key = ?", key).Scan(&n)
	return n
}

// crowd reduces and then removes the oldest events while the file is too large.
// It reports whether it did.
func (w *Writer) crowd(ctx context.Context) (bool, error) {
	size, err := w.size(ctx)
	if err != nil || size <= w.o.MaxBytes {
		w.crowded = w.crowded && size > w.o.MaxBytes*9/10
		return false, err
	}
	if !w.crowded {
		w.crowded = true
		w.o.Logger.Warn("the store of evidence has its largest size: its oldest events are reduced and removed early; raise evidence.store.max_bytes or lower its days",
			"file", w.o.Path, "max_bytes", w.o.MaxBytes)
	}
	// A fiftieth of what is there, in time.
	var first, last *int64
	if err := w.db.c.QueryRowContext(ctx, "SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events)").Scan(&first, &last); err != nil || first == nil {
		return false, err
	}
	remove := timeOf(*first+(*last-*first)/50).UnixMilli() + 1
	more, err := w.step(ctx, remove, remove, true)
	if err != nil {
		return false, err
	}
	after, err := w.size(ctx)
	return after > w.o.MaxBytes && (more || after < size), err
}

// size is the size of what the file holds.
func (w *Writer) size(ctx context.Context) (int64, error) {
	var pages, free, octets int64
	err := w.db.c.QueryRowContext(ctx, "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").Scan(&pages, &free, &octets)
	return (pages - free) * octets, err
}

// look notes the size and the age of what there is.
func (w *Writer) look(ctx context.Context) {
	if n, err := w.size(ctx); err == nil {
		w.bytes.Store(n)
	}
	var first *int64
	if w.db.c.QueryRowContext(ctx, "SELECT min(id) FROM events").Scan(&first) == nil {
		w.oldest.Store(0)
		if first != nil {
			w.oldest.Store(timeOf(*first).UnixMilli())
		}
	}
}
