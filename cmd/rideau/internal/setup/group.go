package setup

import (
	"fmt"

	"rideau/config"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/choice"
)

// groupOptions are the settings of a group: how its servers are chosen, and how
// many queries each may have at once.
type groupOptions struct {
	strategy    config.Strategy
	weights     []int
	hedge       bool
	maxInFlight int
}

func groupOptionsOf(u *config.Upstream) groupOptions {
	return groupOptions{u.Strategy, u.Weights, u.Hedge, u.MaxInFlight}
}

func groupOptionsOfForward(f *config.Forward) groupOptions {
	return groupOptions{f.Strategy, f.Weights, f.Hedge, f.MaxInFlight}
}

// apply returns o with these settings.
func (s groupOptions) apply(o upstream.Options) upstream.Options {
	o.Strategy = choice.Ordered
	switch s.strategy {
	case config.StrategyWeighted:
		o.Strategy = choice.Weighted
	case config.StrategyFastest:
		o.Strategy = choice.Fastest
	}
	o.Weights = nil
	if len(s.weights) > 0 {
		o.Weights = s.weights
	}
	o.NoHedge, o.MaxInFlight = !s.hedge, s.maxInFlight
	return o
}

// key is the same for equal settings alone.
func (s groupOptions) key() string { return fmt.Sprint(s.strategy, s.weights, s.hedge, s.maxInFlight) }
