package server

import (
	"context"
	"slices"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

// RemoteLists are the lists that have a URL.
func RemoteLists(cfg *config.Config) []*config.List {
	var out []*config.List
	for i := range cfg.Lists {
		if cfg.Lists[i].URL != "" {
			out = append(out, &cfg.Lists[i])
		}
	}
	return out
}

// Accept reads a list alone, so that the others and the files of this machine do not matter, and keeps it if it is good.
func (s *Sources) Accept(ctx context.Context, cfg *config.Config, v Visit, force bool) (blocklists.ListInfo, error) {
	if v.Err != nil {
		return blocklists.ListInfo{}, v.Err
	}
	alone := *cfg
	alone.Lists, alone.Bans, alone.Exceptions = []config.List{*v.List}, nil, nil
	for _, b := range cfg.Bans {
		if slices.Contains(b.Lists, v.List.ID) {
			b.Lists = []string{v.List.ID}
			alone.Bans = append(alone.Bans, b)
		}
	}
	for _, e := range cfg.Exceptions {
		if slices.Contains(e.Lists, v.List.ID) {
			e.Lists, e.Names = []string{v.List.ID}, nil
			alone.Exceptions = append(alone.Exceptions, e)
		}
	}
	snap, report, err := s.Load(ctx, &alone, nil, new(blocklists.Slots), LoadOptions{Force: force})
	for _, e := range report.Failed {
		return blocklists.ListInfo{}, e.Err
	}
	if err != nil {
		return blocklists.ListInfo{}, err
	}
	return snap.Lists()[0], nil
}

// FetchAll is one round of downloads for a command.
func (s *Sources) FetchAll(ctx context.Context, cfg *config.Config, lists []*config.List, again bool) ([]Visit, error) {
	plan, err := setup.PlanUpstreams(cfg, nil)
	if err != nil {
		return nil, err
	}
	return s.fetch(ctx, cfg, bootstrap(cfg, plan), lists, again), nil
}
