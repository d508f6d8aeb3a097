package server

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"rideau/blocklists/source"
	"rideau/cmd/rideau/internal/nat64"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/audit/act"
	"rideau/resolver/ops"
)

// refresh downloads lists whenever they are due, and reloads when there is a new version. It ends with ctx.
func (s *Server) refresh(ctx context.Context) {
	for {
		due, next := s.sources.Due(time.Now())
		if len(due) > 0 {
			cfg, ups := s.current()
			if plan, err := setup.PlanUpstreams(cfg, ups.System); err == nil {
				s.sources.Fetch(ctx, s.listPlan(cfg, plan), due, nil)
				if s.sources.Pending() && ctx.Err() == nil {
					s.reloadAndLog(ctx, act.ByItself, "a list has a new version")
				}
			}
			_, next = s.sources.Due(time.Now())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(time.Until(next), time.Second)):
		case <-s.sources.Wake():
		}
	}
}

// translators returns the prefixes by which the network's translators reach IPv4: those of a configuration, and those that were discovered for it.
func (s *Server) translators(cfg *config.Config) []netip.Prefix {
	if !cfg.NAT64.Discover {
		return cfg.NAT64.Prefixes
	}
	return s.nat64.With(cfg.NAT64.Prefixes)
}

// asksTranslators returns the upstream that is asked for such prefixes; nil if none is.
func (s *Server) asksTranslators() nat64.Exchanger {
	if cfg, ups := s.current(); cfg.NAT64.Discover && len(ups.Groups[0].Stats()) > 0 {
		return ups.Groups[0]
	}
	return nil
}

// fetch downloads lists with a URL, because somebody asked for it, and notes what failed: those that are forced, whether or not they have
// changed, or all. A version that was refused before is no failure if it is forced.
func (c *change) fetch(ctx context.Context, o ops.ReloadOptions) {
	wanted := func(l *source.List) bool { return o.Fetch || o.Force.Has(l.ID) }
	for _, v := range c.lists.Fetch(ctx, wanted, o.Force) {
		var still *source.StillRefused
		if v.Err == nil || o.Force.Has(v.List.ID) && errors.As(v.Err, &still) {
			continue
		}
		message, remedy := v.Err.Error(), ""
		if i := strings.LastIndex(message, "; "); i >= 0 {
			message, remedy = message[:i], message[i+2:]
		}
		c.unfetched = append(c.unfetched, ops.Problem{List: v.List.ID, File: v.List.Source, Message: message, Remedy: remedy})
	}
}
