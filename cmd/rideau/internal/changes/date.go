package changes

import (
	"log/slog"
	"time"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/text"
)

// ByDate logs which bans and exceptions begin or end from one policy to the next, which differ by nothing but the time. What lets more names
// through is a warning: a ban that ends, and an exception that begins.
func ByDate(log *slog.Logger, before, after *blocklists.Snapshot, now time.Time) {
	was := before.Bans()
	for i, b := range after.Bans() {
		switch {
		case b.Active == was[i].Active:
		case b.Active:
			log.Info("a ban is in force from now on", "ban", b.Ban.ID, "effective", text.Date(b.Ban.Effective))
		case now.Before(b.Ban.Effective): // the clock was set back
			log.Warn("a ban is not yet in force", "ban", b.Ban.ID, "effective", text.Date(b.Ban.Effective))
		default:
			log.Warn("a ban has ended: its names are resolved", "ban", b.Ban.ID, "expires", text.Date(b.Ban.Expires))
		}
	}
	for i := range after.Policy().Exceptions {
		x := &after.Policy().Exceptions[i]
		switch is := after.Excepts(i); {
		case is == before.Excepts(i):
		case is:
			log.Warn("an exception is in force from now on", "exception", x.ID, "effective", text.Date(x.Effective))
		case now.Before(x.Effective):
			log.Info("an exception is not yet in force", "exception", x.ID, "effective", text.Date(x.Effective))
		default:
			log.Info("an exception has ended", "exception", x.ID, "expires", text.Date(x.Expires))
		}
	}
}
