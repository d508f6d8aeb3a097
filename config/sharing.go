package config

import "rideau/config/node"

// Strategy is which of several servers is asked first.
type Strategy string

// Strategies.
const (
	StrategyOrdered  Strategy = "ordered"
	StrategyWeighted Strategy = "weighted"
	StrategyFastest  Strategy = "fastest"
)

// sharing is how servers of one section share the work, in the fields of that section.
type sharing struct {
	strategy    *Strategy
	weights     *[]int
	hedge       *bool
	maxInFlight *int
}

func (u *Upstream) sharing() sharing {
	return sharing{&u.Strategy, &u.Weights, &u.Hedge, &u.MaxInFlight}
}

func (f *Forward) sharing() sharing {
	return sharing{&f.Strategy, &f.Weights, &f.Hedge, &f.MaxInFlight}
}

// inherit takes over all but the weights, which belong to their own servers.
func (s sharing) inherit(o sharing) {
	*s.strategy, *s.hedge, *s.maxInFlight = *o.strategy, *o.hedge, *o.maxInFlight
}

// read reads the keys of a section with so many servers, one of which may stand for those of the system.
func (s sharing) read(m *node.Mapping, servers int, system bool) {
	node.Set(m, "strategy", s.strategy, node.Word("a strategy", StrategyOrdered, StrategyWeighted, StrategyFastest))
	node.Set(m, "weights", s.weights, node.List(0, maxServers, node.Integer(1, 100)))
	node.Set(m, "hedge", s.hedge, node.Boolean)
	node.Set(m, "max_in_flight", s.maxInFlight, node.Integer(1, 65536))
	if !m.Has("weights") || len(*s.weights) == 0 {
		return
	}
	switch at := m.At("weights"); {
	case *s.strategy != StrategyWeighted:
		at.Problem("write strategy: weighted, or remove weights", "weights mean nothing with the strategy %s", *s.strategy)
	case system:
		at.Problem("list the servers themselves, or remove weights", "nobody knows how many servers system stands for")
	case len(*s.weights) != servers:
		at.Problem("write one for each server, in their order", "%d weights for %d servers", len(*s.weights), servers)
	}
}
