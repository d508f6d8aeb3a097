package view

import (
	"time"

	"rideau/blocklists/enforced"
	"rideau/blocklists/fingerprint"
	"rideau/cmd/rideau/internal/reason"
	"rideau/resolver"
)

// Now is what the server does at this moment.
type Now struct {
	At      time.Time `json:"at"`
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`

	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why it is not
	// Enforced says that at least one ban is enforced.
	Enforced bool     `json:"enforced"`
	Notes    []string `json:"notes"` // what an operator should know nevertheless

	// Lately is the last half minute, Hour the last hour, minute by minute.
	Lately Point   `json:"lately"`
	Hour   []Point `json:"hour"`
	// Kinds are all queries since the start, by how they ended.
	Kinds   []Kind `json:"kinds"`
	Queries uint64 `json:"queries"`

	Cache     Cache      `json:"cache"`
	Upstreams []Upstream `json:"upstreams"`
	Bans      []BanNow   `json:"bans"`

	Pending     int  `json:"pending"`     // queries that wait for upstream
	Connections int  `json:"connections"` // of clients
	Flooded     bool `json:"flooded"`
	// Tested is when the bans were tested last, zero: never, and TestFailed how many
	// questions failed.
	Tested     time.Time `json:"tested,omitzero"`
	TestFailed int       `json:"test_failed"`
	OpenAlerts int       `json:"open_alerts"`
	Sinks      []Sink    `json:"sinks"`
	Policy     string    `json:"policy"` // its fingerprint
}

// Kind is a number of queries that ended alike.
type Kind struct {
	Kind string `json:"kind"`
	N    uint64 `json:"queries"`
}

// Cache is the state of the cache. HitShare is of the queries of the last half
// minute that it or an upstream answered; negative if there were none.
type Cache struct {
	HitShare  float64 `json:"hit_share"`
	Entries   int     `json:"entries"`
	Bytes     int64   `json:"bytes"`
	Hits      uint64  `json:"hits"`
	Misses    uint64  `json:"misses"`
	Stale     uint64  `json:"stale"`
	Evictions uint64  `json:"evictions"`
}

// Upstream is the state of a server that is asked. Times are in milliseconds, 0
// while unknown.
type Upstream struct {
	Name       string    `json:"name"`
	State      string    `json:"state"` // up, trying, down or loop
	Requests   uint64    `json:"requests"`
	Failures   uint64    `json:"failures"`
	RTT        float64   `json:"rtt_ms"`
	P95        float64   `json:"p95_ms"`
	InFlight   int       `json:"in_flight"`
	LastAnswer time.Time `json:"last_answer,omitzero"`
}

// BanNow is what a ban did since the start.
type BanNow struct {
	Named
	Mode      string      `json:"mode"`
	Active    bool        `json:"active"`
	Why       reason.Near `json:"why,omitempty"` // why it is not
	Blocked   uint64      `json:"blocked"`
	Monitored uint64      `json:"monitored"`
	Excepted  uint64      `json:"excepted"`
}

// Sink is the state of a place that evidence goes to.
type Sink struct {
	Name      string `json:"name"`
	Delivered uint64 `json:"delivered"`
	Dropped   uint64 `json:"dropped"`
	Waiting   int    `json:"waiting"`
	Failing   bool   `json:"failing"`
}

// Now returns what the server does now.
func (v *View) Now() *Now {
	src := &v.o.Sources
	n := &Now{At: v.o.Now(), Node: v.Node(), Version: src.Build.Version, Started: v.started}
	reasons, notes := v.o.Readiness()
	n.Ready, n.Reasons, n.Notes = len(reasons) == 0, append([]string{}, reasons...), append([]string{}, notes...)
	n.Lately, n.Hour = v.samples.now(src, time.Now())
	n.Hour = append([]Point{}, n.Hour...)
	t := src.Totals()
	var by [kinds]uint64
	for i := range t.Queries {
		for j := range t.Queries[i] {
			for k, c := range t.Queries[i][j] {
				by[k] += c
				n.Queries += c
			}
		}
	}
	n.Kinds = []Kind{}
	for k, c := range by {
		if c > 0 {
			n.Kinds = append(n.Kinds, Kind{resolver.Kind(k).String(), c})
		}
	}
	n.Cache = v.cache(n.Lately)
	n.Upstreams = v.upstreams()
	n.Bans = v.bansNow(t)
	n.Sinks = v.sinks()
	if src.Listener != nil {
		l := src.Listener()
		n.Pending, n.Connections, n.Flooded = l.Pending, l.Connections, l.Flooded
	}
	if src.Encrypted != nil {
		for _, c := range src.Encrypted().Connections {
			n.Connections += c.Open
		}
	}
	if src.SelfTest != nil {
		n.Tested, n.TestFailed = src.SelfTest()
	}
	if src.Alerts != nil {
		for _, a := range src.Alerts().Conditions {
			n.OpenAlerts += a.Open
		}
	}
	if p := v.policy(); p != nil {
		n.Policy, n.Enforced = fingerprint.Of(p), enforced.Any(p)
	}
	return n
}

func (v *View) cache(lately Point) Cache {
	out := Cache{HitShare: -1}
	if v.o.Sources.Cache != nil {
		c := v.o.Sources.Cache()
		out = Cache{HitShare: -1, Entries: c.Entries, Bytes: c.Bytes, Hits: c.Hits, Misses: c.Misses, Stale: c.Stale, Evictions: c.Evictions}
	}
	if all := lately.hits + lately.misses; all > 0 {
		out.HitShare = float64(lately.hits) / float64(all)
	}
	return out
}

func (v *View) upstreams() []Upstream {
	out := []Upstream{}
	if v.o.Sources.Upstreams == nil {
		return out
	}
	for _, u := range v.o.Sources.Upstreams() {
		x := Upstream{Name: u.Name, State: "up", Requests: u.Requests, RTT: float64(u.RTT) / float64(time.Millisecond), P95: float64(u.P95) / float64(time.Millisecond),
			InFlight: u.InFlight, LastAnswer: u.LastAnswer}
		switch {
		case u.Loop:
			x.State = "loop"
		case u.Trying:
			x.State = "trying"
		case !u.Healthy:
			x.State = "down"
		}
		for _, f := range u.Failures {
			x.Failures += f.Count
		}
		out = append(out, x)
	}
	return out
}

// bansNow returns the counts of the bans of the policy.
func (v *View) bansNow(t *resolver.Totals) []BanNow {
	out := []BanNow{}
	p := v.policy()
	if p == nil {
		return out
	}
	slots := map[string]int{}
	for slot, id := range p.SlotIDs() {
		slots[id] = slot
	}
	for _, b := range p.Bans() {
		x := BanNow{Named: Named{b.Ban.ID, b.Ban.TitleEN, b.Ban.TitleFR}, Mode: b.Ban.Mode.String(), Active: b.Active, Why: why(b, v.o.Now())}
		if slot, ok := slots[b.Ban.ID]; ok {
			for _, n := range t.Blocks[slot] {
				x.Blocked += n
			}
			x.Monitored, x.Excepted = t.Monitor[slot], t.Allowed[slot]
		}
		out = append(out, x)
	}
	return out
}

func (v *View) sinks() []Sink {
	out := []Sink{}
	if v.o.Sources.Sinks == nil {
		return out
	}
	for _, s := range v.o.Sources.Sinks() {
		x := Sink{Name: s.Name, Delivered: s.Delivered, Waiting: s.Waiting, Failing: s.Failing}
		for _, d := range s.Dropped {
			x.Dropped += d.Count
		}
		out = append(out, x)
	}
	return out
}
