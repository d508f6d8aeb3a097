package changes

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"rideau/blocklists/fingerprint"
	"rideau/resolver/ops"
)

// Log logs reloads. It is safe for concurrent use.
type Log struct {
	refused atomic.Pointer[time.Time] // since when reloads are refused; nil if the last one was accepted
}

// Reload logs the result of a reload, and why there was one. asked says that somebody asked for it, and so is told, too, that nothing has
// changed.
func (l *Log) Reload(log *slog.Logger, why string, asked bool, result ops.ReloadResult, err error) {
	if err != nil {
		if now := time.Now(); !errors.Is(err, context.Canceled) && !errors.Is(err, ErrUnknown) {
			l.refused.CompareAndSwap(nil, &now)
		}
		headline := []any{"why", why}
		if len(result.Problems) == 0 {
			headline = append(headline, "error", err)
		}
		log.Error("reload refused; the old policy goes on serving", headline...)
		for _, p := range result.Problems {
			log.Error("reload refused because of", "problem", p.String())
		}
		return
	}
	if since := l.refused.Swap(nil); since != nil {
		asked = true
		log.Info("the reload is accepted again", "why", why, "refused_since", since.Format(time.RFC3339))
	}
	for _, f := range result.Forced {
		log.Warn("taken by force", "why", why, f.Kind, f.ID, "what", f.String())
	}
	logChanges(log, result.Changes)
	bans := 0
	entries := 0
	for _, b := range result.Policy.Bans() {
		if b.Active {
			bans++
		}
	}
	for _, info := range result.Policy.Lists() {
		entries += info.Entries
	}
	level, message := slog.LevelInfo, "reloaded"
	if !result.Changed {
		message = "reloaded, and nothing changed"
		if !asked {
			level = slog.LevelDebug
		}
	}
	log.Log(context.Background(), level, message, "why", why, "generation", result.Policy.Generation(), "bans_in_force", bans,
		"entries", entries, "fingerprint", fingerprint.Of(result.Policy)[:12])
	for _, k := range result.Restart {
		log.Warn("this change takes effect at the next start", "key", k)
	}
}

// mostChanges is how many changes of one reload are logged.
const mostChanges = 100

// logChanges logs what a reload changed.
func logChanges(log *slog.Logger, all []ops.Change) {
	for _, c := range all[:min(len(all), mostChanges)] {
		where := []any{"file", c.File}
		if c.Line > 0 {
			where = append(where, "line", c.Line)
		}
		log.Info("changed", append(where, "key", c.Key, "before", c.Before, "after", c.After, "applies", c.Applies)...)
	}
	if len(all) > mostChanges {
		log.Info("changed, and not logged", "keys", len(all)-mostChanges)
	}
}
