package server

import (
	"context"
	"maps"
	"os"
	"time"

	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

// settleTime is how long a file that is written in place must be unchanged before
// it is read: a file must not be read half written.
const settleTime = 200 * time.Millisecond

// watch compares the files that paths names every interval, and calls changed when
// they have changed: at once if complete files were renamed into place, else when
// they were unchanged for an interval and for settleTime. It ends with ctx. seen
// has their stamps from before they were last read.
//
// It compares stamps instead of waiting for events. That works alike for a file
// written in place, renamed into place, or replaced by a symbolic link anywhere in
// its path, on a network file system and on a volume in a container; and a few
// hundred stat calls take less than a millisecond. changed is called once for each
// new set of stamps, so that a broken file is not read again and again.
func watch(ctx context.Context, interval func() time.Duration, paths func() []string, seen map[string]fileStamp, changed func()) {
	done, last := seen, seen // the stamps of the last call of changed, and the newest
	since := time.Now()      // when last was first seen
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval()):
		}
		p := paths()
		if len(p) == 0 {
			continue // there is nothing to watch now
		}
		now := stampFiles(p)
		if !maps.Equal(now, last) {
			last, since = now, time.Now()
			if !whole(done, now) {
				continue
			}
		} else if time.Since(since) < settleTime {
			continue
		}
		if !maps.Equal(now, done) {
			// A file that is written while changed reads it has a new stamp.
			done = now
			changed()
		}
	}
}

// fileStamp differs if a file was changed or replaced. The zero fileStamp is that
// of a file that does not exist.
type fileStamp struct {
	size, modified, changed int64
	device, inode           uint64
}

// whole reports whether all files that differ from done were complete when they
// were put in place: each is another file than before, and its inode changed after
// the last write, as a rename does. A file that is being written differs from
// that, and so does a deleted one. An empty file may be about to be written.
func whole(done, now map[string]fileStamp) bool {
	for path, s := range now {
		old, known := done[path]
		if s == old {
			continue
		}
		if !known || s.device == old.device && s.inode == old.inode || s.changed <= s.modified || s.size == 0 {
			return false
		}
	}
	return true
}

// stampFiles returns the stamps of files.
func stampFiles(paths []string) map[string]fileStamp {
	stamps := make(map[string]fileStamp, len(paths))
	for _, p := range paths {
		var s fileStamp
		if info, err := os.Stat(p); err == nil {
			s = stampOf(info)
		}
		stamps[p] = s
	}
	return stamps
}

// watched returns the files whose change causes a reload; none if reload.watch is
// off.
func (s *Server) watched() []string {
	cfg, _ := s.current()
	if !cfg.Reload.Watch {
		return nil
	}
	out := s.files(cfg)
	snap := s.resolver.State().Policy()
	for i := range snap.Lists() {
		l := &snap.Policy().Lists[i]
		files, _ := l.AllFiles(snap.Lists()[i].Included)
		for _, f := range files[max(len(files)-len(snap.Lists()[i].Included), 0):] {
			out = append(out, f.Name)
		}
	}
	return out
}

// files returns the files that a configuration names, and its own. cfg may be nil.
func (s *Server) files(cfg *config.Config) []string {
	var out []string
	if s.path != "" {
		out = append(out, s.path)
	}
	if cfg == nil {
		return out
	}
	out = append(out, setup.WatchedFiles(cfg)...)
	if f := cfg.Listen.Cookies.SecretsFile; f != "" {
		out = append(out, f)
	}
	for _, u := range cfg.Upstream.Servers {
		if u.Transport == config.System {
			out = append(out, setup.ResolvConf)
		}
		if u.CAFile != "" {
			out = append(out, u.CAFile)
		}
	}
	return out
}

// interval returns the time between two comparisons of the watched files.
func (s *Server) interval() time.Duration {
	cfg, _ := s.current()
	return cfg.Reload.Interval
}
