package metrics

import (
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rideau/blocklists"
	"rideau/resolver"
	"rideau/resolver/qtype"
)

// Collector converts what the Sources return into metrics. It holds no number
// itself. It is safe for concurrent use.
type Collector struct {
	src   Sources
	descs [ids]*prometheus.Desc
}

// NewCollector returns a Collector. It calls no function of the Sources.
func NewCollector(src Sources) *Collector {
	c := &Collector{src: src}
	for i, m := range table {
		c.descs[i] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := scrape{c, ch}
	// Read the counts before the policy, so that the policy knows every ban
	// that the counts name.
	var totals *resolver.Totals
	if c.src.Totals != nil {
		totals = c.src.Totals()
		s.queries(totals)
	}
	if p := c.src.Snapshot(); p != nil {
		s.policy(p)
		if totals != nil {
			s.blocks(totals, p)
		}
	}
	if c.src.Bypass != nil {
		s.bypass(c.src.Bypass(), c.src.Snapshot())
	}
	if c.src.Cache != nil {
		s.cache(c.src.Cache())
	}
	if c.src.Refreshes != nil {
		ahead, again := c.src.Refreshes()
		s.put(cacheRefreshes, float64(ahead), "prefetch")
		s.put(cacheRefreshes, float64(again), "retry")
	}
	if c.src.Unrelated != nil {
		s.put(unrelatedRecords, float64(c.src.Unrelated()))
	}
	if c.src.Upstreams != nil {
		s.upstreams(c.src.Upstreams())
	}
	if c.src.Listener != nil {
		s.listener(c.src.Listener())
	}
	if c.src.Encrypted != nil {
		s.encrypted(c.src.Encrypted())
	}
	if c.src.Lists != nil {
		s.listSources(c.src.Lists())
	}
	if c.src.Reloads != nil {
		s.reloads(c.src.Reloads.read())
	}
	if c.src.SelfTest != nil {
		if last, failed := c.src.SelfTest(); !last.IsZero() {
			s.put(selftestFailed, float64(failed))
			s.put(selftestLast, seconds(last))
		}
	}
	if c.src.Distrusted != nil {
		s.put(clockDistrusted, truth(c.src.Distrusted() != ""))
	}
	if c.src.Panics != nil {
		s.put(panicsTotal, float64(c.src.Panics()))
	}
	if c.src.OpsDenied != nil {
		s.put(opsDenied, float64(c.src.OpsDenied()))
	}
	if c.src.EventsDropped != nil {
		s.put(eventsDropped, float64(c.src.EventsDropped()))
	}
	if c.src.EventsCounted != nil {
		s.put(eventsCounted, float64(c.src.EventsCounted()))
	}
	if c.src.QueriesLost != nil {
		s.put(queriesLost, float64(c.src.QueriesLost()))
	}
	if c.src.Alerts != nil {
		s.alerts(c.src.Alerts())
	}
	if c.src.Sinks != nil {
		s.sinks(c.src.Sinks())
	}
	if c.src.Store != nil {
		s.store(c.src.Store())
	}
	s.put(buildInfo, 1, c.src.Build.Version, c.src.Build.Revision, runtime.Version())
}

// scrape is one collection in progress.
type scrape struct {
	*Collector
	ch chan<- prometheus.Metric
}

// put sends a counter or gauge. A value that cannot be exposed, such as a label
// that is not UTF-8, is reported as an error of the scrape and affects no
// other.
func (s scrape) put(i id, v float64, labels ...string) {
	kind := prometheus.GaugeValue
	if table[i].Type == counter {
		kind = prometheus.CounterValue
	}
	m, err := prometheus.NewConstMetric(s.descs[i], kind, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(s.descs[i], err)
	}
	s.ch <- m
}

var errBuckets = errors.New("histogram: it needs one more count than bounds")

func (s scrape) histogram(i id, h Histogram, labels ...string) {
	if len(h.Bounds) == 0 && len(h.Counts) == 0 {
		return
	}
	if len(h.Counts) != len(h.Bounds)+1 {
		s.ch <- prometheus.NewInvalidMetric(s.descs[i], errBuckets)
		return
	}
	buckets := make(map[float64]uint64, len(h.Bounds))
	var n uint64
	for b, bound := range h.Bounds {
		n += h.Counts[b]
		buckets[bound.Seconds()] = n
	}
	n += h.Counts[len(h.Bounds)]
	m, err := prometheus.NewConstHistogram(s.descs[i], n, h.Sum.Seconds(), buckets, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(s.descs[i], err)
	}
	s.ch <- m
}

// queries sends the counters that are not zero.
func (s scrape) queries(t *resolver.Totals) {
	for transport := range t.Queries {
		for class := range t.Queries[transport] {
			for kind, n := range t.Queries[transport][class] {
				if n > 0 {
					s.put(queriesTotal, float64(n), resolver.Transport(transport).String(),
						qtype.Class(class).String(), resolver.Kind(kind).String())
				}
			}
		}
	}
	for kind := range t.Latency {
		l := &t.Latency[kind]
		if l.Counts != [len(l.Counts)]uint64{} {
			s.histogram(answerDuration, Histogram{resolver.Bounds[:], l.Counts[:], l.Sum}, resolver.Kind(kind).String())
		}
	}
}

// blocks sends the counters of each ban that ever counted, and of each ban that
// is configured now, so that an alert finds a series even before the first
// count.
func (s scrape) blocks(t *resolver.Totals, p *blocklists.Snapshot) {
	type series struct{ ban, action string }
	blocks, would, excepted := map[series]uint64{}, map[string]uint64{}, map[string]uint64{}
	for _, b := range p.Bans() {
		modes := map[blocklists.Mode]bool{b.Ban.Mode: true}
		for _, m := range b.Ban.Modes {
			modes[m] = true
		}
		if modes[blocklists.Enforce] && b.Ban.Action != blocklists.Given {
			blocks[series{b.Ban.ID, b.Ban.Action.String()}] = 0
		}
		if modes[blocklists.Monitor] {
			would[b.Ban.ID] = 0
		}
	}
	ids := p.SlotIDs()
	for slot := range t.Blocks {
		ban := blocklists.OtherBans
		if slot < len(ids) {
			ban = ids[slot]
		}
		for action, n := range t.Blocks[slot] {
			if n > 0 {
				blocks[series{ban, blocklists.Action(action).String()}] += n
			}
		}
		if n := t.Monitor[slot]; n > 0 {
			would[ban] += n
		}
		if n := t.Allowed[slot]; n > 0 {
			excepted[ban] += n
		}
	}
	for k, n := range blocks {
		s.put(blocksTotal, float64(n), k.ban, k.action)
	}
	for ban, n := range would {
		s.put(wouldBlockTotal, float64(n), ban)
	}
	for ban, n := range excepted {
		s.put(exceptedTotal, float64(n), ban)
	}
}

// bypass sends the counters of each group that was ever seen and, if a ban on
// bypasses is configured, of each group of the policy.
func (s scrape) bypass(all []Bypass, p *blocklists.Snapshot) {
	known := map[string]bool{}
	for _, b := range all {
		known[b.Group] = true
	}
	if p != nil && slices.ContainsFunc(p.Policy().Bans, func(b blocklists.Ban) bool { return b.Bypass && b.Mode != blocklists.Off }) {
		for g := range len(p.Policy().Groups) + 1 {
			if id := p.GroupName(blocklists.GroupID(g)); !known[id] {
				all = append(all, Bypass{Group: id})
			}
		}
	}
	for _, b := range all {
		s.put(bypassAttempts, float64(b.Attempts), b.Group)
		s.put(bypassDevices, float64(b.Devices), b.Group)
		s.put(bypassOverflow, float64(b.Overflow), b.Group)
	}
}

func (s scrape) policy(p *blocklists.Snapshot) {
	for _, b := range p.Bans() {
		s.put(banActive, truth(b.Active), b.Ban.ID, b.Ban.Mode.String())
	}
	for _, l := range p.Lists() {
		s.put(listEntries, float64(l.Entries), l.ID)
		s.put(listSkipped, float64(l.Skipped), l.ID)
		s.put(listLastSuccess, seconds(l.LoadedAt), l.ID)
		if l.Serial.Kind != "" {
			s.put(listSerial, float64(l.Serial.Value), l.ID)
		}
	}
	s.put(policyGeneration, float64(p.Generation()))
	s.put(policyMemory, float64(p.Memory()))
	if next := p.NextChange(); !next.IsZero() {
		s.put(policyNextChange, seconds(next))
	}
}

func (s scrape) listSources(all []ListSource) {
	for _, l := range all {
		s.put(listLastGood, truth(l.LastGood != ""), l.List)
		if !l.URL {
			continue
		}
		s.put(listLastFetch, seconds(l.LastFetch), l.List)
		for result, n := range l.Fetches {
			s.put(listFetches, float64(n), l.List, result)
		}
	}
}

func (s scrape) reloads(t reloadTotals) {
	s.put(reloadsTotal, float64(t.success), "success")
	s.put(reloadsTotal, float64(t.failure), "failure")
	s.put(reloadLastSuccess, seconds(t.lastSuccess))
	s.put(reloadLastFailed, truth(t.lastFailed))
	for list, n := range t.lists {
		s.put(listReloads, float64(n.success), list, "success")
		s.put(listReloads, float64(n.failure), list, "failure")
	}
}

func (s scrape) cache(c Cache) {
	s.put(cacheHits, float64(c.Hits))
	s.put(cacheMisses, float64(c.Misses))
	s.put(cacheStale, float64(c.Stale))
	s.put(cacheEntries, float64(c.Entries))
	s.put(cacheBytes, float64(c.Bytes))
	s.put(cacheCuts, float64(c.Cuts))
	s.put(cacheEvictions, float64(c.Evictions))
	s.put(cacheCollisions, float64(c.Collisions))
}

func (s scrape) listener(l Listener) {
	s.put(pendingQueries, float64(l.Pending))
	s.put(tcpConnections, float64(l.Connections))
	s.put(tcpRefused, float64(l.Refused))
	s.put(udpSendErrors, float64(l.UDPSendErrors))
	s.put(udpLost, float64(l.UDPLost))
	s.put(flooded, truth(l.Flooded))
	for _, t := range l.TurnedAway {
		s.put(turnedAway, float64(t.Count), t.Reason)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds returns a time as Unix time in seconds, as Prometheus expects it; 0
// for the zero time.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}
