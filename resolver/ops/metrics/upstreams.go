package metrics

import (
	"slices"
)

func (s scrape) upstreams(all []Upstream) {
	for _, u := range joined(all) {
		s.put(upstreamRequests, float64(u.Requests), u.Name)
		for _, f := range u.Failures {
			s.put(upstreamFailures, float64(f.Count), u.Name, f.Reason)
		}
		s.put(upstreamMismatches, float64(u.Mismatches), u.Name)
		s.put(upstreamHealthy, truth(u.Healthy), u.Name)
		s.put(upstreamLastAnswer, seconds(u.LastAnswer), u.Name)
		s.upstreamGroup(u)
		s.histogram(upstreamDuration, u.Duration, u.Name)
	}
}

// upstreamGroup sends the metrics of an upstream as a member of its group.
func (s scrape) upstreamGroup(u Upstream) {
	s.put(upstreamState, truth(u.Healthy && !u.Trying), u.Name, "up")
	s.put(upstreamState, truth(u.Healthy && u.Trying), u.Name, "trying")
	s.put(upstreamState, truth(!u.Healthy), u.Name, "down")
	s.put(upstreamLoop, truth(u.Loop), u.Name)
	if u.RTT > 0 {
		s.put(upstreamRTT, u.RTT.Seconds(), u.Name)
	}
	if u.P95 > 0 {
		s.put(upstreamP95, u.P95.Seconds(), u.Name)
	}
	s.put(upstreamInFlight, float64(u.InFlight), u.Name)
	for _, f := range u.Busy {
		s.put(upstreamBusy, float64(f.Count), u.Name, f.Reason)
	}
	s.put(upstreamHedges, float64(u.Hedges), u.Name)
	s.put(upstreamHedgeWins, float64(u.HedgeWins), u.Name)
	for _, use := range u.Uses {
		s.put(upstreamUses, truth(use.Used), u.Name, use.What)
	}
	if u.ConnectionAnswers > 0 {
		s.put(upstreamAnswers, float64(u.ConnectionAnswers), u.Name)
	}
}

// joined adds up upstreams with the same name, as a server has that more than
// one route uses. All must have the same buckets.
func joined(all []Upstream) []Upstream {
	var out []Upstream
	for _, u := range all {
		at := slices.IndexFunc(out, func(o Upstream) bool { return o.Name == u.Name })
		if at < 0 {
			u.Duration.Counts = slices.Clone(u.Duration.Counts)
			u.Failures, u.Busy, u.Uses = slices.Clone(u.Failures), slices.Clone(u.Busy), slices.Clone(u.Uses)
			out = append(out, u)
			continue
		}
		o := &out[at]
		o.Requests += u.Requests
		o.Mismatches += u.Mismatches
		up := o.Healthy && !o.Trying || u.Healthy && !u.Trying
		o.Healthy = o.Healthy || u.Healthy
		o.Trying = o.Healthy && !up
		o.Loop = o.Loop || u.Loop
		o.RTT, o.P95 = max(o.RTT, u.RTT), max(o.P95, u.P95)
		o.InFlight += u.InFlight
		o.Busy = sum(o.Busy, u.Busy)
		o.Hedges += u.Hedges
		o.HedgeWins += u.HedgeWins
		for i := range min(len(o.Uses), len(u.Uses)) { // less, if one group has learnt it
			o.Uses[i].Used = o.Uses[i].Used && u.Uses[i].Used
		}
		o.ConnectionAnswers = max(o.ConnectionAnswers, u.ConnectionAnswers)
		if u.LastAnswer.After(o.LastAnswer) {
			o.LastAnswer = u.LastAnswer
		}
		o.Failures = sum(o.Failures, u.Failures)
		for i := range min(len(o.Duration.Counts), len(u.Duration.Counts)) {
			o.Duration.Counts[i] += u.Duration.Counts[i]
		}
		o.Duration.Sum += u.Duration.Sum
	}
	return out
}

// sum adds more to all, reason by reason.
func sum(all, more []Failure) []Failure {
	for _, f := range more {
		i := slices.IndexFunc(all, func(x Failure) bool { return x.Reason == f.Reason })
		if i < 0 {
			all = append(all, f)
			continue
		}
		all[i].Count += f.Count
	}
	return all
}
