package server

import (
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/fetch"
	"rideau/blocklists/input"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/ops/metrics"
)

// feed is what is known of a list with a URL. Its sources' mu guards it.
type feed struct {
	origin string
	// newest is the newest download, while it is not the last good copy.
	newest *candidate
	// err is why the newest look failed, or its content was refused.
	err      error
	failures int
	due      time.Time
	counts   map[string]uint64 // by result
	last     time.Time         // of the newest look that found the list, new or unchanged
}

// Results of looks at a list's URL, for metrics.
const (
	fetchUpdated   = "updated"
	fetchUnchanged = "unchanged"
	fetchFailed    = "failed"
	fetchRefused   = "refused"
)

func fetchResults() []string {
	return []string{fetchUpdated, fetchUnchanged, fetchFailed, fetchRefused}
}

// feed is that of a list; a new one if the list was another before. mu is held.
func (s *Sources) feed(l *config.List) *feed {
	f := s.feeds[l.ID]
	if f != nil && f.origin == origin(l) {
		return f
	}
	n := &feed{origin: origin(l), counts: map[string]uint64{}}
	if f != nil {
		n.counts = f.counts
		f.drop()
	}
	s.feeds[l.ID] = n
	return n
}

// drop removes the download.
func (f *feed) drop() {
	if f.newest != nil {
		os.Remove(f.newest.file)
		f.newest = nil
	}
}

// newest is the newest download of a list, if there is one, and why the newest look failed, if it did.
func (s *Sources) newest(l *config.List) (*candidate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feed(l)
	return f.newest, f.err
}

// refuse puts a download aside. It stays, so that force can take it and the
// server is not asked for it again.
func (s *Sources) refuse(l *config.List, c *candidate, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feed(l)
	if f.newest != c || c.refused {
		return
	}
	c.refused, c.why = true, err
	f.err = err
	f.counts[fetchRefused]++
	f.due = time.Now().Add(fetch.Schedule{Refresh: l.Refresh}.Next(rand.Float64()))
	s.log.Error("the new version of a list is refused; the last good one goes on serving", "list", l.ID, "error", err)
}

// keep makes what a policy was made of the last good copies. What cannot be
// kept is logged: it serves all the same.
func (s *Sources) keep(p *prepared, snap *blocklists.Snapshot, copied map[string]string) {
	s.mu.Lock()
	s.copies = copied
	s.mu.Unlock()
	if p.store == nil || !s.write {
		return
	}
	for i := range p.cfg.Lists {
		l, c, info := &p.cfg.Lists[i], &p.from[i], &snap.Lists()[i]
		f := fetch.Facts{Origin: origin(l), Options: info.Options, Entries: info.Entries, Serial: fetch.Serial(info.Serial),
			Digest: hex.EncodeToString(info.SHA256[:]), Accepted: time.Now().UTC()}
		var err error
		switch {
		case f.Origin == "" || c.copied:
		case c.candidate != nil:
			err = s.commit(p.store, l, c.candidate, f)
		case c.known && c.facts.Digest == f.Digest:
			old := c.facts
			old.Options, old.Entries, old.Serial = f.Options, f.Entries, f.Serial
			if old.Options != c.facts.Options || old.Entries != c.facts.Entries || old.Serial != c.facts.Serial {
				err = p.store.Note(l.ID, old)
			}
		case l.URL == "":
			f.Fetched = f.Accepted
			f.Included = info.Included
			err = keepFiles(p.store, &p.policy.Lists[i], f)
		}
		if err != nil && !errors.Is(err, fetch.ErrChanged) { // then the next reload keeps it
			s.log.Warn("the last good copy of a list cannot be written; the old one stays", "list", l.ID, "folder", p.store.Dir(), "error", err)
		}
	}
}

// commit makes a download the last good copy.
func (s *Sources) commit(st *fetch.Store, l *config.List, c *candidate, f fetch.Facts) error {
	f.SHA256, f.ETag, f.LastModified, f.Fetched = c.facts.SHA256, c.facts.ETag, c.facts.LastModified, c.facts.Fetched
	if s.Temp != "" {
		return nil // the folder is not ours to write
	}
	if err := st.Commit(l.ID, c.file, f); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fd := s.feed(l)
	fd.counts[fetchUpdated]++
	fd.err = nil
	if fd.newest == c {
		fd.newest = nil
	}
	return nil
}

// keepFiles copies the files of a list.
func keepFiles(st *fetch.Store, b *input.List, f fetch.Facts) error {
	files, err := b.AllFiles(f.Included)
	if err != nil {
		return err
	}
	var from []fetch.Source
	for _, p := range files {
		from = append(from, fetch.Source(p))
	}
	return st.Keep(b.ID, from, f, b.Parts != nil || len(files) > 1, func(sums [][32]byte) string {
		d := input.DigestOf(files, sums, b.Parts != nil)
		return hex.EncodeToString(d[:])
	})
}

// Visit is what came of a look at a list's URL.
type Visit struct {
	List   *config.List
	Result string // updated means that there is a candidate
	Err    error
}

// fetch looks at lists, some at a time. again takes what the server has
// though it did not change.
func (s *Sources) fetch(ctx context.Context, cfg *config.Config, servers []netip.AddrPort, lists []*config.List, again bool) []Visit {
	s.round.Lock()
	defer s.round.Unlock()
	out := make([]Visit, len(lists))
	st, err := s.OpenStore(cfg)
	var client *fetch.Client
	if err == nil {
		client, err = s.newFetcher(cfg, servers)
	}
	if err == nil {
		defer client.Close()
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, 4)
	for i, l := range lists {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			out[i] = Visit{l, fetchFailed, err}
			if err == nil {
				out[i].Result, out[i].Err = s.look(ctx, client, st, l, again)
			}
			s.looked(l, &out[i])
		})
	}
	all.Wait()
	return out
}

// newFetcher makes the client of a round of downloads, so that each uses the certificates that are there now.
func (s *Sources) newFetcher(cfg *config.Config, servers []netip.AddrPort) (*fetch.Client, error) {
	o := fetch.Options{Bootstrap: servers, CAFile: cfg.Fetch.CAFile, UserAgent: s.agent, Timeout: cfg.Fetch.Timeout}
	if cfg.Fetch.Proxy != "" {
		u, err := url.Parse(cfg.Fetch.Proxy)
		if err != nil {
			return nil, errors.New("fetch.proxy is no URL; correct it")
		}
		o.Proxy = u
	}
	return fetch.New(o)
}

// bootstrap are the resolvers to ask for the addresses of lists' servers, and never ourselves.
func bootstrap(cfg *config.Config, plan setup.UpstreamPlan) []netip.AddrPort {
	servers := cfg.Fetch.Bootstrap
	if len(servers) == 0 {
		servers = setup.Plain(plan.Servers) // nobody is asked in plain text who was not meant to be
	}
	return slices.DeleteFunc(slices.Clone(servers), func(a netip.AddrPort) bool { return a.Addr() != setup.ContainerDNS && setup.IsSelf(cfg, a) })
}

// looked counts a look, and says when the next is due.
func (s *Sources) looked(l *config.List, x *Visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feed(l)
	now := time.Now()
	wait := fetch.Schedule{Refresh: l.Refresh}
	switch {
	case x.Result == fetchUpdated: // counted when it is known whether it is used
		f.last, f.failures = now, 0
	case x.Result == fetchUnchanged:
		f.counts[fetchUnchanged]++
		f.last, f.failures = now, 0
		if f.newest == nil {
			f.err = nil
		}
	default:
		f.counts[x.Result]++
		f.err = x.Err
		f.failures++
		wait.Failures = f.failures
		var status *fetch.StatusError
		if errors.As(x.Err, &status) {
			wait.After = status.After
		}
	}
	f.due = now.Add(wait.Next(rand.Float64()))
	switch {
	case x.Err == nil:
		s.log.Debug("looked at a list", "list", l.ID, "url", l.Name(), "result", x.Result)
	default:
		message := "a list could not be fetched; the last good copy goes on serving"
		if s.copies == nil { // nothing serves yet
			message = "a list could not be fetched"
		}
		s.log.Warn(message, "list", l.ID, "url", l.Name(), "result", x.Result,
			"error", x.Err, "next", f.due.Round(time.Second))
	}
}

// due are the lists to be looked at, and when the next one is.
func (s *Sources) due(cfg *config.Config, now time.Time) (lists []*config.List, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = now.Add(time.Minute) // a clock may be set
	for i := range cfg.Lists {
		l := &cfg.Lists[i]
		if l.URL == "" {
			continue
		}
		switch f := s.feed(l); {
		case !f.due.After(now):
			lists = append(lists, l)
		case f.due.Before(next):
			next = f.due
		}
	}
	return lists, next
}

// pending reports whether there is a download that no policy was made of.
func (s *Sources) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.feeds {
		if f.newest != nil && !f.newest.refused {
			return true
		}
	}
	return false
}

// facts are what the operators' HTTP tells of the sources.
func (s *Sources) facts(cfg *config.Config) []metrics.ListSource {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []metrics.ListSource
	for i := range cfg.Lists {
		l := &cfg.Lists[i]
		x := metrics.ListSource{List: l.ID}
		if why, copied := s.copies[l.ID]; copied {
			x.LastGood = why
		}
		if l.URL != "" {
			f := s.feed(l)
			x.URL, x.LastFetch = true, f.last
			x.Fetches = map[string]uint64{}
			for _, r := range fetchResults() {
				x.Fetches[r] = f.counts[r]
			}
			if f.err != nil {
				x.LastGood = f.err.Error()
			}
		}
		if l.URL != "" || x.LastGood != "" {
			out = append(out, x)
		}
	}
	return out
}
