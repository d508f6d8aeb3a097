package view

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"rideau/blocklists"
	"rideau/resolver/audit/store"
)

// Clients are the groups of clients, and what they tried.
type Clients struct {
	At      time.Time `json:"at"`
	Groups  []Group   `json:"groups"`
	History History   `json:"history"`
	// Devices are those with the most attempts in the last 7 days, Around those that
	// tried ways round the resolver most often. Both are nil unless they were asked
	// for. Clients are told as the store tells them: by pseudonym, network or address.
	Devices []Device `json:"devices,omitempty"`
	Around  []Device `json:"ways_round,omitempty"`
}

// Group is a group of clients. Attempts are those of the last 30 days.
type Group struct {
	ID string `json:"id"`
	// Prefixes are the addresses of its clients; none for GroupAll.
	Prefixes []string `json:"prefixes"`
	// Bans are those that stop its queries now.
	Bans     []string `json:"bans"`
	Attempts Counts   `json:"attempts"`
	Around   Counts   `json:"ways_round"`
	// Bypass is how often its devices tried a way round the resolver since the start,
	// and Devices how many did in the last 24 hours.
	Bypass  uint64 `json:"ways_round_since_start"`
	Devices int    `json:"ways_round_devices"`
}

// Device is a client and what it tried.
type Device struct {
	Client string    `json:"client"`
	Group  string    `json:"group"`
	Events int64     `json:"attempts"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

const (
	maxDevices = 50
	deviceDays = 7
)

// Clients returns the groups, and with devices also single clients. An error is about
// the devices; the groups are there nevertheless.
func (v *View) Clients(ctx context.Context, devices bool) (*Clients, error) {
	out := &Clients{At: v.o.Now(), Groups: []Group{}, History: v.past.History(ctx)}
	p := v.policy()
	if p == nil {
		return out, nil
	}
	out.Groups = append(out.Groups, v.group(p, &out.History, blocklists.GroupAll))
	for _, g := range p.Policy().Groups {
		x := v.group(p, &out.History, g.ID)
		for _, prefix := range g.Clients {
			x.Prefixes = append(x.Prefixes, prefix.String())
		}
		out.Groups = append(out.Groups, x)
	}
	if v.o.Sources.Bypass != nil {
		for _, b := range v.o.Sources.Bypass() {
			if i := slices.IndexFunc(out.Groups, func(g Group) bool { return g.ID == b.Group }); i >= 0 {
				out.Groups[i].Bypass, out.Groups[i].Devices = b.Attempts, b.Devices
			}
		}
	}
	if !devices {
		return out, nil
	}
	return out, v.devices(ctx, out)
}

// group returns what is known of a group.
func (v *View) group(p *blocklists.Snapshot, h *History, id string) Group {
	x := Group{ID: id, Prefixes: []string{}, Bans: []string{}}
	for _, b := range p.Bans() {
		mode, ok := b.Ban.Modes[id]
		if !ok {
			mode = b.Ban.Mode
		}
		all := slices.Contains(b.Ban.Groups, blocklists.GroupAll)
		if b.Active && mode == blocklists.Enforce && (all || slices.Contains(b.Ban.Groups, id)) {
			x.Bans = append(x.Bans, b.Ban.ID)
		}
	}
	x.Attempts, x.Around = h.Groups(id)
	if id == blocklists.GroupAll { // the store may write no group for clients of none
		all, around := h.Groups("")
		x.Attempts.Plus(all)
		x.Around.Plus(around)
	}
	return x
}

func (v *View) devices(ctx context.Context, out *Clients) error {
	from, to := out.At.AddDate(0, 0, -deviceDays), out.At.Add(time.Hour)
	return v.task(ctx, func(ctx context.Context) error {
		r, err := v.past.Store(ctx)
		if err != nil {
			return err
		}
		for _, x := range []struct {
			bypass bool
			to     *[]Device
		}{{false, &out.Devices}, {true, &out.Around}} {
			all, err := r.Devices(ctx, from, to, x.bypass, maxDevices)
			if err != nil {
				return err
			}
			*x.to = []Device{}
			for _, d := range all {
				*x.to = append(*x.to, Device(d))
			}
		}
		return nil
	})
}

// Event is the event of a query that a ban decided.
type Event struct {
	Time      time.Time `json:"time"`
	Node      string    `json:"node"`
	ID        string    `json:"event"`
	Verdict   string    `json:"verdict"`
	Ban       string    `json:"ban"`
	Group     string    `json:"group"`
	Client    string    `json:"client"`
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	Transport string    `json:"transport"`
	Rcode     string    `json:"rcode"`
	List      string    `json:"list"`
	Rule      string    `json:"rule"`
	InAnswer  bool      `json:"in_answer"`
	Exception string    `json:"exception,omitempty"`
	Ticket    string    `json:"ticket,omitempty"`
	Reduced   bool      `json:"reduced"` // client and name were removed by age
	Cursor    int64     `json:"cursor"`
}

// Events are the events that a search found, the latest first.
type Events struct {
	At     time.Time `json:"at"`
	Events []Event   `json:"events"`
	// Next is the Filter's After for more; 0: there are no more.
	Next int64 `json:"next"`
}

// Events returns the events that a filter chooses; at most MaxEvents.
func (v *View) Events(ctx context.Context, f store.Filter) (*Events, error) {
	out := &Events{At: v.o.Now(), Events: []Event{}}
	if f.Limit <= 0 || f.Limit > MaxEvents {
		f.Limit = MaxEvents
	}
	limit := f.Limit
	f.Limit++ // whether there are more
	err := v.task(ctx, func(ctx context.Context) error {
		r, err := v.past.Store(ctx)
		if err != nil {
			return err
		}
		all, err := r.Events(ctx, f)
		for i := range all {
			if i == limit {
				out.Next = all[i-1].Cursor
				break
			}
			out.Events = append(out.Events, eventOf(&all[i]))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Bounds of an export.
const (
	MaxExport     = 1_000_000 // events
	MaxExportTime = 10 * time.Minute
)

// Export calls f with the events that a filter chooses, the latest first, some at a
// time, until f returns an error. One export runs at a time; another one gets ErrBusy.
// Between two parts others may search.
func (v *View) Export(ctx context.Context, filter store.Filter, f func([]Event) error) error {
	select {
	case v.export <- struct{}{}:
		defer func() { <-v.export }()
	default:
		return ErrBusy
	}
	ctx, cancel := context.WithTimeout(ctx, MaxExportTime)
	defer cancel()
	filter.Limit = MaxEvents
	for n := 0; n < MaxExport; {
		part, err := v.Events(ctx, filter)
		if errors.Is(err, ErrBusy) && n > 0 { // what was begun goes on when there is space
			select {
			case <-time.After(maxWait):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			return err
		}
		n += len(part.Events)
		if err := f(part.Events); err != nil || part.Next == 0 {
			return err
		}
		filter.After = part.Next
	}
	return nil
}

func eventOf(e *store.Event) Event {
	return Event{Time: e.Time, Node: e.Node, ID: e.Run + "-q" + itoa(e.Number), Verdict: string(e.Verdict), Ban: e.Ban, Group: cmp.Or(e.Group, blocklists.GroupAll), Client: e.Client, Name: e.Name, Type: e.Type,
		Transport: e.Transport, Rcode: e.Rcode, List: e.List, Rule: e.Rule, InAnswer: e.InAnswer, Exception: e.Exception, Ticket: e.Ticket, Reduced: e.Reduced, Cursor: e.Cursor}
}
