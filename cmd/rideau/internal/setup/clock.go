package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"rideau/blocklists/fetch"
	"rideau/blocklists/pack"
	"rideau/cmd/rideau/internal/clock"
	"rideau/config"
)

// NewClock returns a clock that knows when the program was made.
func NewClock(o clock.Options) *clock.Clock {
	c := clock.New(o)
	c.Made(clock.Evidence{At: pack.Newest(), What: "the newest pack inside the program"})
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if at, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				c.Made(clock.Evidence{At: at, What: "the program's source"})
			}
		}
	}
	if path, err := os.Executable(); err == nil {
		c.Recorded(written("the program's file", path))
	}
	return c
}

// Records returns when the files were written that an earlier process left: last good copies, the cache's snapshot, the log of queries.
func Records(cfg *config.Config) []clock.Evidence {
	var out []clock.Evidence
	if dir := cfg.State.Dir; dir != "" {
		kept, _ := filepath.Glob(filepath.Join(dir, "*"))
		out = append(out, written("", kept...)...)
		for i := range cfg.Lists {
			// What the facts say outlives a copy of the folder.
			if f, err := fetch.NewStore(dir).Facts(cfg.Lists[i].ID); err == nil {
				what := fmt.Sprintf("the last good copy of list %s", cfg.Lists[i].ID)
				out = append(out, clock.Evidence{At: f.Fetched, What: what}, clock.Evidence{At: f.Accepted, What: what})
			}
		}
	}
	return append(out, written("", cfg.Cache.Snapshot, cfg.Log.Queries)...)
}

// FileTimes returns when the files that a configuration names, and its own, were written.
func FileTimes(cfg *config.Config) []clock.Evidence {
	paths := append(WatchedFiles(cfg), cfg.File, cfg.Listen.Cookies.SecretsFile, cfg.Ops.TokenFile, cfg.Ops.UsersFile, cfg.Fetch.CAFile)
	for _, u := range cfg.Upstream.Servers {
		paths = append(paths, u.CAFile)
	}
	return written("", paths...)
}

// written returns when regular files were last written. what is for messages; empty for the path. Paths that are empty or lead nowhere are
// left out.
func written(what string, paths ...string) []clock.Evidence {
	var out []clock.Evidence
	for _, p := range paths {
		info, err := os.Stat(p)
		if p == "" || err != nil || !info.Mode().IsRegular() {
			continue
		}
		e := clock.Evidence{At: info.ModTime(), What: what}
		if what == "" {
			e.What = p
		}
		out = append(out, e)
	}
	return out
}

// ReadClock reads the clock as a start with this configuration does, for commands that serve nothing.
func ReadClock(cfg *config.Config) clock.Reading {
	c := NewClock(clock.Options{})
	c.Recorded(Records(cfg))
	c.Files(FileTimes(cfg))
	return c.Read()
}
