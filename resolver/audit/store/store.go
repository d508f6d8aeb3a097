// Package store keeps the evidence of one node in a database of SQLite: events of
// bans, counts of them by the hour, acts, and for how long each ban was in force.
//
// [Writer] takes events in our own format from a sink. Only its goroutine writes.
// [Open] gives a [Reader], of which there may be many, in other processes, too.
// They do not delay the Writer.
//
// # How long it is kept
//
// An event is searchable by client and by name for some days. Then it is reduced:
// the client and the name are removed from it and from the counts, and the time,
// the ban, the rule and the verdict stay. After more days it is removed. If the
// file would be larger than allowed, that happens earlier.
//
// # What a fault costs
//
// Events are committed in the batches in which they come, so that a kill loses
// none that was taken. They are on the disk within some seconds; a loss of power
// costs those. A file that is damaged is moved aside, and a new one begins.
//
// SQLite is modernc.org's: the same code as everywhere, translated to Go, so that
// the program stays one static file; every auditor can read the file with other
// tools; and it has the tests, the locks and the recovery that a store of our own
// would need years for.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/read"
)

// Options configure a Writer.
type Options struct {
	// Path is the file. Files beside it begin with its name.
	Path string
	// Searchable is for how many days an event can be found by client and name,
	// Days for how many it is kept at all.
	Searchable, Days int
	// MaxBytes bounds the file.
	MaxBytes int64
	// Run, Node and Version are those of the events.
	Run, Node, Version string
	// Now returns the time of the system's clock, Uptime how long the program has
	// run, by a clock that nobody sets.
	Now    func() time.Time
	Uptime func() time.Duration
	// Distrusted reports whether the system's clock is distrusted now. It may be
	// nil: it never is.
	Distrusted func() bool
	// Latest returns the latest act that says what is in force; false if there is
	// none. So the minutes in force are right also if acts were dropped. It may be
	// nil.
	Latest func() (act.Act, bool)
	// Sinks returns the counts of all sinks, this one among them. It may be nil.
	Sinks  func() []Sink
	Logger *slog.Logger
}

// Sink are the counts of a sink since the begin of the run.
type Sink struct {
	Name                                  string
	Offered, Delivered, Repeated, Waiting uint64
	Dropped                               map[string]uint64 // by reason
}

// Stats are the counts of a Writer.
type Stats struct {
	Bytes   int64     // of the file, at the last look
	Oldest  time.Time // of the oldest event, at the last look; zero if there is none
	Reduced uint64    // events from which client and name were removed
	Removed uint64    // events that were removed
	Early   uint64    // of these two, those that were early, for want of space
	Damaged uint64    // files that were moved aside
}

// Writer writes a store. It implements [rideau/resolver/audit/sink.Settler]. Its
// methods but Stats are called by one goroutine.
type Writer struct {
	o       Options
	db      *connection // nil: it is not open
	parser  read.Parser
	tracker *inforce.Tracker
	alive   bool          // the Tracker was told that the program runs
	acted   time.Duration // uptime at the last act that it was told
	written map[int]bool  // intervals of this run that are in the file

	beat    time.Duration // uptime of the last beat that was written
	keeping time.Duration // uptime of the next look at what is too old
	dirty   bool          // there is what a loss of power would take
	crowded bool          // it was told that the file is full
	remains bool          // values were removed since the last erase
	erase   time.Duration // uptime of the next one

	bytes, oldest                    atomic.Int64 // octets; Unix milliseconds, 0 for none
	reduced, removed, early, damaged atomic.Uint64
}

// connection is an open store.
type connection struct {
	db   *sql.DB
	c    *sql.Conn
	lock *lock
	file os.FileInfo
	own  int64            // the id of this run
	runs map[string]int64 // the ids of other runs

	event, hour, act, minute *sql.Stmt
}

// NewWriter makes a Writer. It opens nothing: the first Write or Settle does.
func NewWriter(o Options) *Writer {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Latest == nil {
		o.Latest = func() (act.Act, bool) { return act.Act{}, false }
	}
	if o.Distrusted == nil {
		o.Distrusted = func() bool { return false }
	}
	return &Writer{o: o, written: map[int]bool{}}
}

// source returns the name of a file for the driver.
func source(path, parameters string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: parameters}
	return u.String()
}

// open opens the store, if it is not open.
func (w *Writer) open(ctx context.Context) error {
	if w.db != nil {
		if at, err := os.Stat(w.o.Path); err == nil && os.SameFile(at, w.db.file) {
			return nil
		}
		w.o.Logger.Warn("the file of the store of evidence is gone; a new one begins", "file", w.o.Path)
		w.forget()
	}
	db, err := w.connect(ctx)
	if err != nil && isDamage(err) {
		err = w.setAside(err)
		if err == nil {
			db, err = w.connect(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.o.Path, err)
	}
	w.db = db
	w.look(ctx)
	return nil
}

// connect opens the file.
func (w *Writer) connect(ctx context.Context) (_ *connection, err error) {
	if err := os.MkdirAll(filepath.Dir(w.o.Path), 0o700); err != nil {
		return nil, err
	}
	k := &connection{runs: map[string]int64{}}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if k.lock, err = lockFile(w.o.Path + ".lock"); err != nil {
		return nil, err
	}
	// SQLite would make it with the mode of the process.
	f, err := os.OpenFile(w.o.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	k.file, err = f.Stat()
	if err = errors.Join(err, f.Chmod(0o600), f.Close()); err != nil {
		return nil, err
	}
	k.db, err = sql.Open("sqlite", source(w.o.Path, "_pragma=busy_timeout(5000)&_pragma=secure_delete(1)&_pragma=temp_store(memory)&_pragma=cache_size(-8192)"))
	if err != nil {
		return nil, err
	}
	if k.c, err = k.db.Conn(ctx); err != nil {
		return nil, err
	}
	if err = migrate(ctx, k.c); err != nil {
		return nil, err
	}
	if _, err = k.c.ExecContext(ctx, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=16777216"); err != nil {
		return nil, err
	}
	for text, to := range map[string]**sql.Stmt{insertEvent: &k.event, countHour: &k.hour, insertAct: &k.act, putMinute: &k.minute} {
		if *to, err = k.c.PrepareContext(ctx, text); err != nil {
			return nil, err
		}
	}
	return k, w.beginRun(ctx, k)
}

// beginRun finds or makes the row of this run, and what is known of the one
// before.
func (w *Writer) beginRun(ctx context.Context, k *connection) error {
	return transact(ctx, k.c, func() error {
		last, number := inforce.Last{}, 0
		run, err := k.runID(ctx, w.o.Run, w.o.Node, w.o.Version, w.o.Now())
		k.own = run
		if err == nil && w.tracker == nil {
			if last, err = lastRun(ctx, k); err == nil {
				err = k.c.QueryRowContext(ctx, "SELECT coalesce(max(number), 0) FROM minutes WHERE run = ?", run).Scan(&number)
			}
		}
		if err != nil {
			return err
		}
		if w.tracker == nil {
			w.tracker = inforce.New(last, number, true)
			if !last.At.IsZero() && w.o.Now().Sub(last.At) > longAway {
				w.keeping = w.o.Uptime() + settled
			}
		}
		_, err = k.c.ExecContext(ctx, "UPDATE runs SET ended = '' WHERE id = ?", run)
		return err
	})
}

// If the last run ended so long ago, the system's clock may be wrong: what is too
// old by it is removed only when the program has run for some time.
const (
	longAway = 30 * 24 * time.Hour
	settled  = 24 * time.Hour
)

// runID returns the id of a run, and adds the run if it is new.
func (k *connection) runID(ctx context.Context, run, node, version string, at time.Time) (int64, error) {
	if id, ok := k.runs[run]; ok { // or this run's
		return id, nil
	}
	_, err := k.c.ExecContext(ctx, "INSERT INTO runs(run, node, version, began, beat, uptime) VALUES(?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING",
		run, node, version, at.UnixMilli(), at.UnixMilli())
	if err != nil {
		return 0, err
	}
	var id int64
	if err := k.c.QueryRowContext(ctx, "SELECT id FROM runs WHERE run = ?", run).Scan(&id); err != nil {
		return 0, err
	}
	k.runs[run] = id
	return id, nil
}

// lastRun ends what the latest run left open, and returns what is known of it.
func lastRun(ctx context.Context, k *connection) (inforce.Last, error) {
	var id, beat int64
	var ended string
	err := k.c.QueryRowContext(ctx, "SELECT r.id, r.beat, r.ended FROM runs r WHERE EXISTS(SELECT 1 FROM minutes WHERE run = r.id) ORDER BY r.id DESC LIMIT 1").Scan(&id, &beat, &ended)
	if errors.Is(err, sql.ErrNoRows) {
		return inforce.Last{}, nil
	}
	if err != nil {
		return inforce.Last{}, err
	}
	last := inforce.Last{At: time.UnixMilli(beat).UTC(), Why: inforce.State(ended)}
	if ended == "" {
		last.Why = inforce.Unclean
		if _, err := k.c.ExecContext(ctx, "UPDATE runs SET ended = ? WHERE id = ?", last.Why, id); err != nil {
			return last, err
		}
	}
	if _, err := k.c.ExecContext(ctx, "UPDATE minutes SET ended = (SELECT uptime FROM runs WHERE runs.id = minutes.run) WHERE ended IS NULL"); err != nil {
		return last, err
	}
	rows, err := k.c.QueryContext(ctx, `SELECT ban FROM minutes m WHERE run = ? AND state <> 'absent'
		AND number = (SELECT max(number) FROM minutes WHERE run = m.run AND ban = m.ban) ORDER BY ban`, id)
	if err != nil {
		return last, err
	}
	defer rows.Close()
	for rows.Next() {
		var ban string
		if err := rows.Scan(&ban); err != nil {
			return last, err
		}
		last.Bans = append(last.Bans, ban)
	}
	return last, rows.Err()
}

// close closes what is open.
func (k *connection) close() error {
	var err error
	for _, s := range []*sql.Stmt{k.event, k.hour, k.act, k.minute} {
		if s != nil {
			s.Close()
		}
	}
	if k.c != nil {
		err = k.c.Close()
	}
	if k.db != nil {
		err = errors.Join(err, k.db.Close())
	}
	k.lock.close()
	return err
}

// isDamage reports whether an error says that the file is no sound database.
func isDamage(err error) bool {
	return codeOf(err) == codeCorrupt || codeOf(err) == codeNotADB
}

// maxDamaged is how many damaged files are kept.
const maxDamaged = 3

// setAside moves a damaged store away, so that a new one can begin.
func (w *Writer) setAside(cause error) error {
	to := w.o.Path + ".damaged-" + w.o.Now().UTC().Format("20060102T150405.000Z")
	err := os.Rename(w.o.Path, to)
	for _, suffix := range []string{"-wal", "-shm"} {
		if e := os.Rename(w.o.Path+suffix, to+suffix); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("it is damaged (%w) and cannot be moved away: %w", cause, err)
	}
	w.damaged.Add(1)
	w.o.Logger.Error("the store of evidence was damaged and is moved aside; a new one begins", "file", to, "error", cause)
	old, _ := filepath.Glob(w.o.Path + ".damaged-*")
	old = slices.DeleteFunc(old, func(p string) bool { return strings.HasSuffix(p, "-wal") || strings.HasSuffix(p, "-shm") })
	slices.Sort(old)
	for _, path := range old[:max(len(old)-maxDamaged, 0)] {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			os.Remove(path + suffix)
		}
		w.o.Logger.Warn("the oldest damaged store of evidence was removed", "file", path)
	}
	return nil
}

// failed handles an error of the open store, and returns it. A store that is
// damaged is opened anew by what comes next.
func (w *Writer) failed(err error) error {
	if err == nil || w.db == nil {
		return err
	}
	if slices.Contains([]int{codeIOErr, codeReadOnly, codeCantOpen}, codeOf(err)) {
		w.forget() // the next call opens it anew
	}
	if isDamage(err) {
		w.forget()
		if aside := w.setAside(err); aside != nil {
			return aside
		}
	}
	return fmt.Errorf("%s: %w", w.o.Path, err)
}

// forget closes the store, so that the next call opens it, or a new one.
func (w *Writer) forget() {
	if w.db != nil {
		w.db.close()
	}
	w.db, w.written = nil, map[int]bool{}
}

// Stats returns the counts. It may be called by any goroutine.
func (w *Writer) Stats() Stats {
	s := Stats{Bytes: w.bytes.Load(), Reduced: w.reduced.Load(), Removed: w.removed.Load(), Early: w.early.Load(), Damaged: w.damaged.Load()}
	if at := w.oldest.Load(); at != 0 {
		s.Oldest = time.UnixMilli(at)
	}
	return s
}

// Close closes the store.
func (w *Writer) Close() error {
	if w.db == nil {
		return nil
	}
	err := w.db.close()
	w.db = nil
	return err
}
