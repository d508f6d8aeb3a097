package setup

import (
	"fmt"

	"rideau/config"
	"rideau/resolver/upstream"
)

// sharing is how the servers of one group share the work.
type sharing struct {
	strategy    config.Strategy
	weights     []int
	hedge       bool
	maxInFlight int
}

func sharingOf(u *config.Upstream) sharing {
	return sharing{u.Strategy, u.Weights, u.Hedge, u.MaxInFlight}
}

func sharingOfForward(f *config.Forward) sharing {
	return sharing{f.Strategy, f.Weights, f.Hedge, f.MaxInFlight}
}

// options are o for such a group.
func (s sharing) options(o upstream.Options) upstream.Options {
	o.Strategy = upstream.Ordered
	switch s.strategy {
	case config.StrategyWeighted:
		o.Strategy = upstream.Weighted
	case config.StrategyFastest:
		o.Strategy = upstream.Fastest
	}
	o.Weights = nil
	if len(s.weights) > 0 {
		o.Weights = s.weights
	}
	o.NoHedge, o.MaxInFlight = !s.hedge, s.maxInFlight
	return o
}

// key tells one way from others.
func (s sharing) key() string { return fmt.Sprint(s.strategy, s.weights, s.hedge, s.maxInFlight) }
