package source

import (
	"maps"
	"os"
	"time"

	"rideau/blocklists/fetch"
)

// Results of the download of a list, as metrics name them.
const (
	Updated   = "updated"   // a new version, of which a policy was made
	Unchanged = "unchanged" // the server has what is here
	Failed    = "failed"    // nothing came
	Refused   = "refused"   // what came is not used
)

// feedKey identifies what is downloaded for a list. A list whose URL or key changes has another feed.
type feedKey struct{ list, origin string }

func (l *List) feed() feedKey { return feedKey{l.ID, l.origin()} }

// feed is what is known about the downloads of a list. The mu of its Sources guards it.
type feed struct {
	newest   *candidate // the newest download that is not the last good copy; nil for none
	err      error      // why the newest download failed or was refused
	failures int        // downloads that failed since one succeeded
	due      time.Time  // when the next download begins
	last     time.Time  // when the list was last found at its URL, new or unchanged
}

// candidate is a download that passed every check that does not need its entries.
type candidate struct {
	file    string
	facts   fetch.Facts
	refused bool  // it is used only if it is forced when its URL still has it
	why     error // why it was refused
}

// known returns the feed of a list; the zero feed if nothing is known. mu is held.
func (s *Sources) known(l *List) feed {
	if f := s.feeds[l.feed()]; f != nil {
		return *f
	}
	return feed{}
}

// newest returns the newest download of a list, nil if there is none, and why the last attempt failed, if it did.
func (s *Sources) newest(l *List) (*candidate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.known(l)
	return f.newest, f.err
}

// change returns the feed of a list, to be changed, and makes it if there is none. mu is held.
func (s *Sources) change(l *List) *feed {
	k := l.feed()
	if s.feeds[k] == nil {
		s.feeds[k] = &feed{}
	}
	return s.feeds[k]
}

// count adds one to the downloads of a list with a result. mu is held.
func (s *Sources) count(list, result string) {
	if s.counts[list] == nil {
		s.counts[list] = map[string]uint64{}
	}
	s.counts[list][result]++
}

// drop removes the download.
func (f *feed) drop() {
	if f.newest != nil {
		os.Remove(f.newest.file)
		f.newest = nil
	}
}

// forget removes the feeds for which gone reports true, with their downloads. files and mu are held.
func (s *Sources) forget(gone func(feedKey) bool) {
	for k, f := range s.feeds {
		if gone(k) {
			f.drop()
		}
	}
	maps.DeleteFunc(s.feeds, func(k feedKey, _ *feed) bool { return gone(k) })
}
