// Package source acquires the contents of lists: from files, folders, URLs and built-in packs, and from the last good copies of what was
// acquired before.
//
// An [Acquisition] does it for one configuration, in two phases. [Acquisition.Prepare] reads and compiles: it changes nothing on disk and
// nothing that others see. [Acquisition.Commit] cannot fail: it writes the last good copies and makes the plan the current one.
// [Acquisition.Close] without Commit leaves everything as it was.
//
// A download is a candidate first. It becomes the last good copy when a policy that was made of it is committed. If no policy can be made of
// it, it is put aside and the last good copy is read: a publisher cannot prevent an operator from changing the configuration.
package source

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/fetch"
	"rideau/blocklists/input"
)

// Plan is what one configuration says about lists. It must not be changed after Begin or Fetch.
type Plan struct {
	// Policy is made of the lists. Its own Lists are not used: Prepare makes them from the plan's.
	Policy blocklists.Policy
	// Lists are the lists to acquire, in the order of the policy.
	Lists []List
	// Protected are the names that files and downloads must not block.
	Protected []string
	// Dir is the folder of the last good copies; empty for none. A plan with a URL needs one.
	Dir string
	// Fetch says how lists are downloaded.
	Fetch fetch.Options
}

// List is a list to acquire. One of Pack, File, Folder and URL is set; if none is, the content is Text.
type List struct {
	// List says how the content is read and what it is held to: its ID, what messages call its source, its format, its bounds. Prepare
	// sets Open, Parts and Include, and the guards that depend on where the content comes from.
	input.List

	// Pack is the name of a built-in ban pack.
	Pack string
	// File is the path of a file.
	File string
	// Folder is the path of a folder, and Match the pattern of the names of its files.
	Folder, Match string
	// URL is what is downloaded, every Refresh. Insecure allows http from other machines.
	URL      string
	Refresh  time.Duration
	Insecure bool
	// Text is the content itself.
	Text string
	// SHA256 is the digest, in hex, of the only right content; empty for any.
	SHA256 string
	// PublicKey is the minisign key that signed the content; empty for none. The signature is at SignatureURL or in SignatureFile.
	PublicKey, SignatureURL, SignatureFile string
	// MayBlockProtected lets a file or a folder block protected names.
	MayBlockProtected bool
}

// origin identifies where the content comes from and what vouches for it. A copy or a download with another origin is not used. It is
// empty for a pack and for text, of which there are no copies.
func (l *List) origin() string {
	switch {
	case l.URL != "":
		return strings.Join([]string{"url", l.URL, l.PublicKey, l.SHA256}, " ")
	case l.Folder != "":
		return "folder " + filepath.Join(l.Folder, l.Match)
	case l.File != "":
		return strings.Join([]string{"file", l.File, l.PublicKey, l.SHA256}, " ")
	}
	return ""
}

// Remote returns the lists that have a URL.
func (p *Plan) Remote() []*List {
	var out []*List
	for i := range p.Lists {
		if p.Lists[i].URL != "" {
			out = append(out, &p.Lists[i])
		}
	}
	return out
}

// banned reports whether a ban uses the list.
func (p *Plan) banned(id string) bool {
	return slices.ContainsFunc(p.Policy.Bans, func(b blocklists.Ban) bool { return slices.Contains(b.Lists, id) })
}

// has reports whether one of the lists has that feed.
func (p *Plan) has(k feedKey) bool {
	return p != nil && slices.ContainsFunc(p.Lists, func(l List) bool { return l.ID == k.list && l.origin() == k.origin })
}

// hasID reports whether one of the lists has that ID.
func (p *Plan) hasID(id string) bool {
	return p != nil && slices.ContainsFunc(p.Lists, func(l List) bool { return l.ID == id })
}

// Options go with [New].
type Options struct {
	// Logger logs what happens to lists; nil for no log.
	Logger *slog.Logger
	// ReadOnly says that nothing is written to the folder of the last good copies.
	ReadOnly bool
	// Temp is the folder for downloads; empty for that of the last good copies.
	Temp string
}

// Sources acquires lists for one process: it knows what was downloaded and when the next download is due. It is safe for concurrent use.
type Sources struct {
	log      *slog.Logger
	readOnly bool
	temp     string

	// files is held from Prepare to the end of an Acquisition, and while one download replaces another, so that no file is removed while
	// it is read. It is locked before mu.
	files sync.Mutex
	// round is held during a round of downloads, so that there is one at a time.
	round sync.Mutex
	// wake has an element when there may be lists that are due.
	wake chan struct{}

	// mu guards what follows. It is held for a moment only.
	mu      sync.Mutex
	current *Plan // the plan that was committed last; nil for none
	report  compile.Report
	feeds   map[feedKey]*feed
	counts  map[string]map[string]uint64 // of downloads, by list and result
	copies  map[string]string            // the lists whose last good copy serves in place of their file, and why
}

// New makes Sources that know of no download.
func New(o Options) *Sources {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Sources{log: o.Logger, readOnly: o.ReadOnly, temp: o.Temp, wake: make(chan struct{}, 1),
		feeds: map[feedKey]*feed{}, counts: map[string]map[string]uint64{}}
}

// Due returns the lists of the current plan that are to be downloaded now, and when the next one is.
func (s *Sources) Due(now time.Time) (lists []*List, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = now.Add(time.Minute) // the clock may be set meanwhile
	for _, l := range s.remote() {
		switch due := s.known(l).due; {
		case !due.After(now):
			lists = append(lists, l)
		case due.Before(next):
			next = due
		}
	}
	return lists, next
}

// remote returns the lists of the current plan that have a URL. mu is held.
func (s *Sources) remote() []*List {
	if s.current == nil {
		return nil
	}
	return s.current.Remote()
}

// Wake returns a channel that receives when a commit may have made lists due.
func (s *Sources) Wake() <-chan struct{} { return s.wake }

// Pending reports whether a list of the current plan has a download of which no policy was made yet.
func (s *Sources) Pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.remote(), func(l *List) bool {
		c := s.known(l).newest
		return c != nil && !c.refused
	})
}

// Status is what there is to report about one list.
type Status struct {
	List string
	// Remote says that the list has a URL. LastFetch is when it was last found there, new or unchanged; Fetches counts the downloads
	// by result.
	Remote    bool
	LastFetch time.Time
	Fetches   map[string]uint64
	// LastGood is why the last good copy serves and not what the source has; empty if it does not.
	LastGood string
}

// Status reports on the lists of the current plan that have a URL or serve from their last good copy.
func (s *Sources) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil
	}
	var out []Status
	for i := range s.current.Lists {
		l := &s.current.Lists[i]
		x := Status{List: l.ID, Remote: l.URL != "", LastGood: s.copies[l.ID]}
		if x.Remote {
			f := s.known(l)
			x.LastFetch, x.Fetches = f.last, map[string]uint64{}
			for _, r := range []string{Updated, Unchanged, Failed, Refused} {
				x.Fetches[r] = s.counts[l.ID][r]
			}
			if f.err != nil {
				x.LastGood = f.err.Error()
			}
		}
		if x.Remote || x.LastGood != "" {
			out = append(out, x)
		}
	}
	return out
}

// Warn logs which lists serve from their last good copies.
func (s *Sources) Warn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, why := range s.copies {
		s.log.Warn("a list cannot be used; its last good copy serves instead. Mend the list; it is then read at once", "list", id, "folder", s.current.Dir, "problem", why)
	}
}
