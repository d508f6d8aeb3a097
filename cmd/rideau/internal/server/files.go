package server

import (
	"time"

	"rideau/cmd/rideau/internal/access"
	"rideau/cmd/rideau/internal/certificates"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

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
	out = append(append(out, certificates.Files(cfg)...), access.Files(cfg)...)
	if b := cfg.BlockPage; b.Certificate != "" && b.Key != "" {
		out = append(out, b.Certificate, b.Key)
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
