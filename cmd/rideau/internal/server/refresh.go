package server

import (
	"context"
	"errors"
	"rideau/resolver/audit/act"
	"strings"
	"time"

	"rideau/blocklists/source"
	"rideau/cmd/rideau/internal/setup"
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
