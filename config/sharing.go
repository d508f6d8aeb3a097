package config

import "rideau/config/node"

// Strategy says which of several servers is asked first.
type Strategy string

// Strategies.
const (
	StrategyOrdered  Strategy = "ordered"  // the first one that is up
	StrategyWeighted Strategy = "weighted" // each in its turn, by its weight
	StrategyFastest  Strategy = "fastest"  // the one that answered fastest lately
)

// sharing has the fields of a section that say how its servers share the requests.
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

// inherit copies everything but the weights, which belong to the servers of the other section.
func (s sharing) inherit(o sharing) {
	*s.strategy, *s.hedge, *s.maxInFlight = *o.strategy, *o.hedge, *o.maxInFlight
}

// read reads the keys of a section with a number of servers. system says that one of them stands for those of the system.
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
		at.Problem("write strategy: weighted, or remove weights", "weights have no effect with the strategy %s", *s.strategy)
	case system:
		at.Problem("list the servers themselves, or remove weights", "it is not known how many servers system stands for")
	case len(*s.weights) != servers:
		at.Problem("write one for each server, in their order", "%d weights for %d servers", len(*s.weights), servers)
	}
}
