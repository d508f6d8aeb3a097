package evidence

import (
	"net/netip"
	"slices"
	"time"

	config "rideau/config/evidence"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/alert"
	"rideau/resolver/ops/metrics"
)

// alerts finds out what alerts are about. It is for one goroutine, but for counts.
type alerts struct {
	e      *Evidence
	record func(act.Act)
	config config.Alerts
	on     bool // some sink is for alerts
	board  *alert.Board
	reader *audit.Reader
	acts   *act.Reader

	enforced map[string]bool // bans that were enforced in this run, and whether they are now
	devices  *alert.Seen[device]
	level    alert.Level
	minute   time.Time // when the minute that is counted began
	banned   uint64    // in that minute
	lost     uint64    // of the reader, when that minute began
	bypasses []time.Time
	stale    map[string]bool // lists of which there was an act
}

// device is a client that asked for what a ban names.
type device struct {
	client netip.Addr
	ban    string
}

// newAlerts makes what looks for alerts. It reads the records and the acts of e until close is called.
func newAlerts(e *Evidence, record func(act.Act)) *alerts {
	a := &alerts{e: e, record: record, enforced: map[string]bool{}, stale: map[string]bool{}, reader: e.o.Records.NewReader(1 << 14), acts: e.acts.NewReader(256)}
	a.board = alert.New(e.node.Run, a.tell)
	e.mu.Lock()
	last := e.last
	e.mu.Unlock()
	a.sawAct(time.Now(), &last) // which bans are enforced
	return a
}

func (a *alerts) close() {
	a.reader.Close()
	a.acts.Close()
}

// tell records an alert, and logs it.
func (a *alerts) tell(x act.Act) {
	if x.Kind == act.AlertRaised {
		a.e.o.Logger.Warn("alert", "condition", x.Alert.Condition, "object", x.Object, "severity", x.Alert.Severity, "what", x.Alert.English, "again", x.Alert.Again)
	} else {
		a.e.o.Logger.Info("an alert is resolved", "condition", x.Alert.Condition, "object", x.Object, "what", x.Alert.English)
	}
	a.record(x)
}

// use takes the configuration in force.
func (a *alerts) use(now time.Time) {
	a.e.mu.Lock()
	cfg := a.e.alerts
	on := slices.ContainsFunc(a.e.running, func(r *running) bool { return r.config.Events == config.OnlyAlerts })
	a.e.mu.Unlock()
	if a.devices == nil || cfg.Devices != a.config.Devices {
		a.devices = alert.NewSeen[device](cfg.Devices)
	}
	o := alert.Options{Repeat: cfg.Repeat, PerHour: cfg.PerHour}
	for _, c := range cfg.Urgent {
		o.Urgent = append(o.Urgent, alert.Condition(c))
	}
	for _, c := range cfg.Off {
		o.Off = append(o.Off, alert.Condition(c))
	}
	if !on {
		o.Off = alert.Conditions()
	}
	if len(cfg.Quiet) > 0 {
		o.Quiet = func(t time.Time) bool {
			return slices.ContainsFunc(cfg.Quiet, func(q config.Quiet) bool { return q.Contains(t.Local()) })
		}
	}
	a.board.Use(o)
	if on && !a.on {
		a.reader.Want(resolver.Banned | resolver.WouldBlock | resolver.Bypass)
		a.minute, a.banned, a.lost, a.level = now, 0, a.reader.Lost(), alert.Level{}
	} else if !on && a.on {
		a.reader.Want(0)
	}
	a.config, a.on = cfg, on
}

// look looks at everything that does not tell by itself. It is called once a second.
func (a *alerts) look(now time.Time, lists []metrics.ListSource) {
	a.use(now)
	a.lookAtLists(now, lists)
	for _, x := range a.acts.Read() {
		a.sawAct(now, x)
	}
	if !a.on {
		return
	}
	a.lookAtSinks(now)
	for now.Sub(a.minute) >= time.Minute {
		a.endMinute(now)
	}
	a.board.Look(now)
	a.e.mu.Lock()
	a.e.alertTotals = a.board.Totals()
	a.e.mu.Unlock()
}

// sawAct looks at an act: what it says of reloads and of bans.
func (a *alerts) sawAct(now time.Time, x *act.Act) {
	switch x.Kind {
	case act.ReloadRefused:
		a.board.Raise(now, alert.Event{Condition: alert.ReloadRefused, Count: 1, Text: alert.Sentence("A configuration was refused, and the one before stays in force: %s",
			"Une configuration a été refusée; la précédente reste en vigueur : %s", x.Reason)})
	case act.Reload:
		a.board.Clear(now, alert.ReloadRefused, "", alert.Sentence("A configuration was accepted again.", "Une configuration est de nouveau acceptée."))
	case act.Stop:
		return
	}
	if x.Bans == nil {
		return
	}
	is := map[string]*act.Ban{}
	for i := range x.Bans {
		is[x.Bans[i].ID] = &x.Bans[i]
	}
	for id := range a.enforced {
		if is[id] == nil && a.enforced[id] {
			a.enforced[id] = false
			a.board.Raise(now, alert.Event{Condition: alert.BanNotEnforced, Object: id, Hold: a.config.Hold, Text: alert.Sentence(
				"The ban %s is not enforced any more: it was removed.", "L’interdiction %s n’est plus appliquée : elle a été retirée.", id)})
		}
	}
	for id, b := range is {
		was := a.enforced[id]
		if b.Enforced {
			a.enforced[id] = true
			a.board.Clear(now, alert.BanNotEnforced, id, alert.Sentence("The ban %s is enforced again.", "L’interdiction %s est de nouveau appliquée.", id))
			continue
		}
		if !was {
			continue
		}
		a.enforced[id] = false
		text, hold := alert.Sentence("The ban %s is not enforced any more: it is in mode %s.", "L’interdiction %s n’est plus appliquée : elle est en mode %s.", id, b.Mode), time.Duration(0)
		if b.Mode == "enforce" {
			text, hold = alert.Sentence("The ban %s is not enforced any more: its dates or its groups leave it out.", "L’interdiction %s n’est plus appliquée : ses dates ou ses groupes l’excluent.", id), a.config.Hold
		}
		a.board.Raise(now, alert.Event{Condition: alert.BanNotEnforced, Object: id, Text: text, Hold: hold})
	}
}

// lookAtLists looks for lists that were not confirmed for too long. That is an act, too.
func (a *alerts) lookAtLists(now time.Time, lists []metrics.ListSource) {
	is := map[string]bool{}
	for _, l := range lists {
		if !l.URL || l.LastFetch.IsZero() || now.Sub(l.LastFetch) < a.config.ListStale {
			continue
		}
		is[l.List] = true
		since := l.LastFetch.UTC().Format("2006-01-02 15:04 MST")
		if !a.stale[l.List] {
			a.record(act.Act{Kind: act.ListStale, Actor: act.Actor{Way: act.ByItself}, Object: l.List, Reason: "it was last found at its URL at " + since})
		}
		a.board.Raise(now, alert.Event{Condition: alert.ListStale, Object: l.List, Text: alert.Sentence("The list %s was last found at its URL at %s.",
			"La liste %s a été trouvée à son URL pour la dernière fois le %s.", l.List, since)})
	}
	for id := range a.stale {
		if !is[id] {
			a.board.Clear(now, alert.ListStale, id, alert.Sentence("The list %s was found at its URL again, or is gone.", "La liste %s a de nouveau été trouvée à son URL, ou n’existe plus.", id))
		}
	}
	a.stale = is
}

// lookAtSinks looks for places that take no events, and for spools that fill.
func (a *alerts) lookAtSinks(now time.Time) {
	a.e.mu.Lock()
	running := a.e.running
	a.e.mu.Unlock()
	there := map[string]bool{}
	for _, r := range running {
		id, s := r.config.ID, r.sink.Stats()
		there[id] = true
		switch {
		case s.FailingSince.IsZero():
			a.board.Clear(now, alert.SinkDown, id, alert.Sentence("The sink %s takes events again.", "La destination %s accepte de nouveau les événements.", id))
		case now.Sub(s.FailingSince) >= a.config.SinkDown:
			a.board.Raise(now, alert.Event{Condition: alert.SinkDown, Object: id, Text: alert.Sentence("The sink %s takes no events.", "La destination %s n’accepte aucun événement.", id)})
		}
		if r.config.Spool == 0 {
			continue
		}
		switch share := float64(s.SpoolBytes) / float64(r.config.Spool); {
		case share >= a.config.SpoolShare:
			a.board.Raise(now, alert.Event{Condition: alert.SpoolFilling, Object: id, Text: alert.Sentence("The spool of the sink %s is filled to %.0f %%.",
				"La file d’attente de la destination %s est remplie à %.0f %%.", id, 100*share)})
		case share < a.config.SpoolShare/2:
			a.board.Clear(now, alert.SpoolFilling, id, alert.Sentence("The spool of the sink %s has space again.", "La file d’attente de la destination %s a de nouveau de la place.", id))
		}
	}
	for _, c := range []alert.Condition{alert.SinkDown, alert.SpoolFilling} {
		for _, id := range a.board.Open(c) {
			if !there[id] {
				a.board.Clear(now, c, id, alert.Sentence("The sink %s is not configured any more.", "La destination %s n’est plus configurée.", id))
			}
		}
	}
}

// query looks at a query that a ban names, or by which a device tried to go round Rideau.
func (a *alerts) query(r *audit.Record) {
	now := time.Now()
	if r.Marks&resolver.Bypass != 0 {
		a.bypass(now, r)
	}
	if r.Ban == "" || r.Exception != nil {
		return
	}
	a.banned++
	if a.board.Watches(alert.FirstAttempt) && a.devices.First(device{r.Client, r.Ban}) {
		a.board.Raise(now, alert.Event{Condition: alert.FirstAttempt, Object: r.Ban, Client: r.Client, Count: 1, Hold: a.config.Hold, Text: alert.Sentence(
			"A device asked for the first time for what the ban %s names; the count is of all such devices since this alert began.",
			"Un appareil a demandé pour la première fois ce que vise l’interdiction %s; le compte est celui de tous ces appareils depuis le début de cette alerte.", r.Ban)})
	}
}

// bypass notes an attempt to go round Rideau.
func (a *alerts) bypass(now time.Time, r *audit.Record) {
	// As many as are told are enough to remember.
	a.bypasses = append(a.bypasses, now)
	if n := len(a.bypasses) - a.config.Bypass; n > 0 {
		a.bypasses = append(a.bypasses[:0], a.bypasses[n:]...)
	}
	if len(a.bypasses) < a.config.Bypass || now.Sub(a.bypasses[0]) > a.config.Hold {
		return
	}
	a.board.Raise(now, alert.Event{Condition: alert.BypassAttempt, Object: r.Group, Client: r.Client, Count: 1, Hold: a.config.Hold, Text: alert.Sentence(
		"A device of the group %s tried to go round Rideau.", "Un appareil du groupe %s a tenté de contourner Rideau.", r.Group)})
}

// endMinute ends the minute that is counted. Queries that were lost count as banned: the reader gets no others.
func (a *alerts) endMinute(now time.Time) {
	lost := a.reader.Lost()
	n := a.banned + lost - a.lost
	a.minute, a.banned, a.lost = a.minute.Add(time.Minute), 0, lost
	if now.Sub(a.minute) > 5*time.Minute {
		a.minute = now // the machine slept
	}
	usual := a.level.Usual()
	if a.level.Minute(n, float64(a.config.SpikeFactor), uint64(a.config.SpikeAtLeast)) {
		a.board.Raise(now, alert.Event{Condition: alert.Spike, Count: n, Text: alert.Sentence("%d queries of the last minute were banned; %.0f are usual.",
			"%d requêtes de la dernière minute étaient interdites, contre %.0f d’habitude.", n, usual)})
		return
	}
	a.board.Clear(now, alert.Spike, "", alert.Sentence("No more queries than usual are banned: %d in the last minute.", "Il n’y a pas plus de requêtes interdites que d’habitude : %d dans la dernière minute.", n))
}

// Alerts returns what became of alerts, for metrics.
func (e *Evidence) Alerts() metrics.Alerts {
	e.mu.Lock()
	t := e.alertTotals
	e.mu.Unlock()
	out := metrics.Alerts{Suppressed: t.Suppressed}
	for _, c := range alert.Conditions() {
		out.Conditions = append(out.Conditions, metrics.Alert{Condition: string(c), Told: t.Told[c], Open: t.Open[c]})
	}
	return out
}
