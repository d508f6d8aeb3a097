package report

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/read"
	"rideau/resolver/audit/seal"
	"rideau/resolver/audit/store"
)

// Options say what a report is about.
type Options struct {
	// Paths are stores and files of events, also compressed ones.
	Paths []string
	// From and To bound the time; To is not part of it. Days are those of their
	// location.
	From, To time.Time
	// Bans are those that matter; none: all.
	Bans []string
	// Top is how many names, clients and rules are told of each ban; 0: 20.
	Top int
	// By is the program, and Now the time at which the report is made.
	By  string
	Now time.Time
}

// maxActs bounds the acts of a report.
const maxActs = 2000

// gather collects what sources hold.
type gather struct {
	Options
	out   *Report
	seen  seen
	bans  map[string]*banData
	nodes map[string]*nodeData
	runs  map[string]*fileRun // runs that no store has
	known map[string]bool     // runs that a store has
	cover map[string]*Coverage
	exs   map[string]*exData
	acts  map[read.ID]bool
	notes map[Note]bool
	day   int64 // Unix seconds at which the day dayText ends; see date
	begun int64
	date_ string
}

// nodeData is what is known of a node.
type nodeData struct {
	versions map[string]bool
	runs     map[string]bool
	stored   bool
	minutes  []inforce.Interval
}

// fileRun is what files know of a run.
type fileRun struct {
	node, version string
	acts          []act.Act
	last          time.Time
}

// Make makes a report.
func Make(ctx context.Context, o Options) (*Report, error) {
	if o.Top == 0 {
		o.Top = 20
	}
	g := &gather{Options: o, seen: seen{}, bans: map[string]*banData{}, nodes: map[string]*nodeData{}, runs: map[string]*fileRun{}, known: map[string]bool{},
		cover: map[string]*Coverage{}, exs: map[string]*exData{}, acts: map[read.ID]bool{}, notes: map[Note]bool{},
		out: &Report{Schema: Version, From: o.From, To: o.To, Zone: zoneName(o.From, o.To), Made: o.Now, By: o.By,
			Sources: []Source{}, Nodes: []Node{}, Bans: []Ban{}, Exceptions: []Exception{}, Acts: []Act{}, Coverage: []Coverage{}, Notes: []Note{}}}
	stores, files, err := g.sort()
	if err != nil {
		return nil, err
	}
	if err := g.readStores(ctx, stores, len(files) > 0); err != nil {
		return nil, err
	}
	for _, path := range files {
		if err := g.readFile(ctx, path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	g.foldRuns()
	g.finish()
	return g.out, nil
}

// sort tells stores from files of events.
func (g *gather) sort() (stores, files []string, err error) {
	for _, path := range g.Paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, err
		}
		var head [16]byte
		n, err := io.ReadFull(f, head[:])
		f.Close()
		if err != nil && n == 0 && err != io.EOF {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		if string(head[:]) == "SQLite format 3\x00" {
			stores = append(stores, path)
		} else {
			files = append(files, path)
		}
	}
	return stores, files, nil
}

func (g *gather) note(k NoteKind, object string) { g.notes[Note{k, object}] = true }

// node returns what is known of a node.
func (g *gather) node(name string) *nodeData {
	n := g.nodes[name]
	if n == nil {
		n = &nodeData{versions: map[string]bool{}, runs: map[string]bool{}}
		g.nodes[name] = n
	}
	return n
}

// opened is a store that is being read.
type opened struct {
	path string
	r    *store.Reader
	runs []store.Run
}

// readStores reads all stores. Of two copies of one the later one counts.
func (g *gather) readStores(ctx context.Context, paths []string, ids bool) error {
	var all []opened
	defer func() {
		for _, s := range all {
			s.r.Close()
		}
	}()
	for _, path := range paths {
		r, err := store.Open(ctx, path, 0)
		if err != nil {
			return err
		}
		runs, err := r.Runs(ctx)
		if err != nil {
			r.Close()
			return fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, opened{path, r, runs})
	}
	latest := func(s opened) (t time.Time) {
		for _, u := range s.runs {
			if u.Beat.After(t) {
				t = u.Beat
			}
		}
		return t
	}
	order := slices.Clone(all)
	slices.SortStableFunc(order, func(a, b opened) int { return latest(b).Compare(latest(a)) })
	for _, s := range order {
		if slices.ContainsFunc(s.runs, func(u store.Run) bool { return g.known[u.ID] }) {
			g.note(SameStore, s.path)
			continue
		}
		if err := g.readStore(ctx, s, ids); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
	}
	return nil
}

// readStore reads one store.
func (g *gather) readStore(ctx context.Context, s opened, ids bool) error {
	src := Source{Name: s.path, Kind: "store"}
	for _, u := range s.runs {
		g.known[u.ID] = true
		n := g.node(u.Node)
		n.stored = true
	}
	minutes, err := s.r.Minutes(ctx, time.UnixMilli(0), g.To)
	if err != nil {
		return err
	}
	for _, m := range minutes {
		n := g.node(m.Node)
		n.minutes = append(n.minutes, m.Interval)
		if m.To().After(g.From) {
			n.runs[m.Run], n.versions[m.Version] = true, true
		}
	}
	if err := s.r.Hours(ctx, g.From, g.To, func(h *store.Hour) { src.Queries += h.Events; g.hour(h) }); err != nil {
		return err
	}
	// What is in force is told by acts from before the span, too.
	if err := s.r.Acts(ctx, time.UnixMilli(0), g.To, func(a *read.Act) {
		if g.act(a) {
			src.Acts++
		}
	}); err != nil {
		return err
	}
	if err := g.readSinks(ctx, s.r); err != nil {
		return err
	}
	if ids {
		if err := s.r.IDs(ctx, g.From, g.To, func(id read.ID) { g.seen.add(id) }); err != nil {
			return err
		}
	}
	g.out.Sources = append(g.out.Sources, src)
	return nil
}

// readSinks adds what sinks were offered: the counts at the end of the span without
// those of the day before it.
func (g *gather) readSinks(ctx context.Context, r *store.Reader) error {
	all, err := r.Sinks(ctx, g.From, g.To)
	if err != nil {
		return err
	}
	for i, c := range all {
		last := i+1 == len(all) || all[i+1].Run != c.Run || all[i+1].Name != c.Name
		before := c.At.Before(g.From)
		if !last && !(before && !all[i+1].At.Before(g.From)) || last && before {
			continue
		}
		k := c.Node + "\x00" + c.Name
		x := g.cover[k]
		if x == nil {
			x = &Coverage{Node: c.Node, Sink: c.Name, Dropped: map[string]uint64{}}
			g.cover[k] = x
		}
		add := func(to *uint64, n uint64) {
			if before {
				*to -= n
			} else {
				*to += n
			}
		}
		add(&x.Offered, c.Offered)
		add(&x.Delivered, c.Delivered)
		add(&x.Repeated, c.Repeated)
		if !before {
			x.Waiting = c.Waiting
		}
		for reason, n := range c.Dropped {
			d := x.Dropped[reason]
			add(&d, n)
			x.Dropped[reason] = d
			add(&x.Lost, n)
		}
	}
	return nil
}

// readFile reads a file of events.
func (g *gather) readFile(ctx context.Context, path string) error {
	r, done, err := seal.Open(path)
	if err != nil {
		return err
	}
	defer done()
	src := Source{Name: path, Kind: "events"}
	var p read.Parser
	var h store.Hour
	err = eachLine(ctx, r, func(line []byte) {
		q, a, err := p.Parse(line)
		switch {
		case err != nil:
			if !bytes.Contains(line, []byte(`"schema":"rideau-seal/`)) && len(bytes.TrimSpace(line)) > 0 {
				src.Foreign++
			}
		case a != nil:
			if !g.fileAct(a) {
				src.Twice++
			} else if !a.Time.Before(g.From) && a.Time.Before(g.To) {
				src.Acts++
			}
		default:
			g.alive(q.Run, q.Node, q.Time)
			if q.Time.Before(g.From) || !q.Time.Before(g.To) || q.Ban == "" {
				return
			}
			if !g.seen.add(q.ID) {
				src.Twice++
				return
			}
			src.Queries++
			at := q.Time.Truncate(time.Millisecond) // as in a store
			h = store.Hour{Hour: at, Ban: q.Ban, Group: q.Group, Client: q.Client, Name: q.Name, Verdict: q.Verdict(), List: q.List, Rule: q.Rule,
				Exception: q.Exception, Ticket: q.Ticket, Approver: q.Approver, Bypass: q.Bypass, Events: 1, First: at, Last: at}
			g.hour(&h)
		}
	})
	if src.Foreign > 0 {
		g.note(ForeignLines, path)
	}
	g.out.Sources = append(g.out.Sources, src)
	return err
}

// alive notes that a run went on at a time.
func (g *gather) alive(run, node string, at time.Time) {
	if g.known[run] {
		return
	}
	u := g.runs[run]
	if u == nil {
		u = &fileRun{node: node}
		g.runs[run] = u
		g.note(NoCoverage, node)
	}
	if at.After(u.last) {
		u.last = at
	}
}

// fileAct adds an act of a file. It reports whether it is new.
func (g *gather) fileAct(a *read.Act) bool {
	g.alive(a.ID.Run, a.Node, a.Time)
	if !g.act(a) {
		return false
	}
	if u := g.runs[a.ID.Run]; u != nil {
		u.version = cmp.Or(u.version, a.Version)
		if a.Bans != nil || a.Kind == act.Stop || a.Kind == act.NotReady || a.Kind == act.Ready {
			u.acts = append(u.acts, a.Act)
		}
	}
	return true
}

// foldRuns makes the minutes in force of runs that only files know.
func (g *gather) foldRuns() {
	byNode := map[string][]*fileRun{}
	for run, u := range g.runs {
		slices.SortStableFunc(u.acts, func(a, b act.Act) int { return cmp.Compare(a.Number, b.Number) })
		byNode[u.node] = append(byNode[u.node], u)
		n := g.node(u.node)
		n.runs[run] = true
		n.versions[u.version] = true
	}
	for _, name := range slices.Sorted(maps.Keys(byNode)) {
		runs, n := byNode[name], g.nodes[name]
		slices.SortFunc(runs, func(a, b *fileRun) int { return a.last.Compare(b.last) })
		last := inforce.Last{}
		for _, u := range runs {
			t := inforce.New(last, 0, false)
			for i := range u.acts {
				a := &u.acts[i]
				up := a.Uptime
				if up == 0 {
					up = a.Time.Sub(u.acts[0].Time) // of a version that does not tell it
				}
				t.Act(a, up)
			}
			if wall, up := t.At(); t.Begun() && !t.Stopped() {
				t.Alive(u.last, up+max(u.last.Sub(wall), 0))
			}
			n.minutes = append(n.minutes, t.Ended()...)
			for _, i := range t.Open() {
				n.minutes = append(n.minutes, *i)
			}
			if !t.Begun() || n.stored { // a store has the time between runs itself
				continue
			}
			wall, _ := t.At()
			last = inforce.Last{At: wall, Why: inforce.Unclean}
			if t.Stopped() {
				last.Why = inforce.Stopped
			}
			for _, b := range u.acts[len(u.acts)-1].Bans {
				last.Bans = append(last.Bans, b.ID)
			}
		}
		if !n.stored {
			g.note(NoBeats, name)
		}
	}
}
