package server

import (
	"context"
	"maps"
	"os"
	"time"

	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

// stillness is how long files that are written in place have to stand still
// before they are read, or they would be read by halves.
const stillness = 200 * time.Millisecond

// watch looks at the files that paths names every interval, and calls changed
// once they changed: at once if new files were put in place whole, else when
// they have stood still for an interval and for stillness. It ends with ctx.
// seen is what they looked like before they were last read.
//
// It asks for each file's state rather than for events: that is the same for
// a file written in place, renamed into place, or swapped by a symbolic link
// anywhere on the way to it, on a network file system and on a volume bound
// into a container; and a few hundred stat calls cost less than a millisecond.
// Every state that is seen is acted on once, so that a file which is broken is
// not read again and again.
func watch(ctx context.Context, interval func() time.Duration, paths func() []string, seen map[string]fileState, changed func()) {
	done, last := seen, seen // what was acted on, and what was seen last
	since := time.Now()      // when last was first seen
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval()):
		}
		p := paths()
		if len(p) == 0 {
			continue // nothing is to be watched for now
		}
		now := look(p)
		if !maps.Equal(now, last) {
			last, since = now, time.Now()
			if !whole(done, now) {
				continue
			}
		} else if time.Since(since) < stillness {
			continue
		}
		if !maps.Equal(now, done) {
			// What is written while changed reads is a new state.
			done = now
			changed()
		}
	}
}

// fileState is what tells that a file is another one than before. The zero
// fileState is a file that is not there.
type fileState struct {
	size, modified, changed int64
	device, inode           uint64
}

// whole reports whether all that is new since done is files that were put in
// place when they had been written: other files than before, to which
// something was done, as a rename is, after the last write. A file that is
// being written looks otherwise, and so does one that was deleted; one that
// is empty may have been made this moment, to be written.
func whole(done, now map[string]fileState) bool {
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

func look(paths []string) map[string]fileState {
	states := make(map[string]fileState, len(paths))
	for _, p := range paths {
		var s fileState
		if info, err := os.Stat(p); err == nil {
			s = stateOf(info)
		}
		states[p] = s
	}
	return states
}

// watched are the files whose change calls for a reload.
func (s *Server) watched() []string {
	cfg, _ := s.now()
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

func (s *Server) files(cfg *config.Config) []string {
	var out []string
	if s.path != "" {
		out = append(out, s.path)
	}
	if cfg == nil {
		return out
	}
	lists := setup.Lists(cfg).Lists
	for i := range lists {
		out = append(out, lists[i].Watched()...)
	}
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

func (s *Server) interval() time.Duration {
	cfg, _ := s.now()
	return cfg.Reload.Interval
}
