package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"rideau/blocklists"
	"rideau/blocklists/prefix"
	"rideau/blocklists/suffix"
	"rideau/resolver/cookie"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// Route sends the names at and below its zones to an upstream of their own
// (conditional forwarding).
type Route struct {
	Zones    []string
	Upstream upstream.Upstream
}

// StateOptions are what a State is made of. What it is given is not written
// afterwards.
type StateOptions struct {
	// Policy is required.
	Policy *blocklists.Snapshot
	// Clients are the ranges that are answered; all others are refused.
	Clients []netip.Prefix
	// Upstream takes what no route takes. nil: such queries fail.
	Upstream upstream.Upstream
	Routes   []Route
	// UDPSize is the EDNS payload size announced, and the largest answer by
	// UDP (RFC 6891 section 6.2.3, RFC 9715).
	UDPSize uint16
	// Cookies makes and checks server cookies; nil if clients get none.
	Cookies *cookie.Jar
	// NSID is what clients are told that ask which server this is (RFC 5001),
	// of MaxNSID octets at most; empty: they are told nothing.
	NSID string
	// Amplification is how many times as long as a query its answer by UDP may
	// be, unless the client has shown by a cookie that the address is its own;
	// 0 sets no bound.
	Amplification int
}

// MaxNSID is how long an NSID may be.
const MaxNSID = 64

// State is everything a query depends on that a reload may change. It is
// immutable; the Resolver swaps it by one pointer, so that a query sees all
// of a reload or nothing.
type State struct {
	policy    *blocklists.Snapshot
	names     *Names // of policy and of the routes
	clients   *prefix.Table
	upstreams []*target // by what zone calls the route; 0 is the default
	zones     *suffix.Trie
	udpSize   uint16
	cookies   *cookie.Jar
	nsid      []byte // the option
	// amplification is as in StateOptions.
	amplification int
}

// target is an upstream with an identity of its own, by which pending queries are told apart.
type target struct {
	upstream.Upstream
	heard atomic.Int64 // about when it last answered, in nanoseconds
}

// hear notes that an answer came. Many come at a time, and write seldom.
func (t *target) hear(now int64) {
	const often = 1e8
	if now-t.heard.Load() > often {
		t.heard.Store(now)
	}
}

// NewState makes a State.
func NewState(o StateOptions) (*State, error) {
	if o.Policy == nil {
		return nil, errors.New("state: no policy")
	}
	s := &State{policy: o.Policy, udpSize: max(o.UDPSize, wire.MinUDP), upstreams: []*target{{Upstream: o.Upstream}},
		cookies: o.Cookies, amplification: o.Amplification}
	if len(o.NSID) > MaxNSID {
		return nil, fmt.Errorf("state: an NSID of %d octets; %d at most", len(o.NSID), MaxNSID)
	}
	if o.NSID != "" {
		s.nsid = wire.AppendOptionBytes(nil, wire.OptionNSID, []byte(o.NSID))
	}
	var clients []prefix.Entry
	for _, p := range o.Clients {
		clients = append(clients, prefix.Entry{Prefix: p, Value: 1})
	}
	s.clients = prefix.New(clients)
	var b suffix.Builder
	if err := addSpecial(&b); err != nil {
		return nil, err
	}
	for i, r := range o.Routes {
		s.upstreams = append(s.upstreams, &target{Upstream: r.Upstream})
		for _, z := range r.Zones {
			w, err := wire.AppendName(nil, []byte(z))
			if err != nil {
				return nil, fmt.Errorf("state: forward zone %q: %w", z, err)
			}
			if len(w) == 1 {
				return nil, errors.New("state: the root is no forward zone; it is what Upstream takes")
			}
			if err := b.Add(w, firstRoute+uint16(i)); err != nil {
				return nil, fmt.Errorf("state: forward zone %q: %w", z, err)
			}
		}
	}
	s.names = newNames(o.Policy, o.Routes)
	// A route takes a special-use zone's place, and a later one a former's.
	var err error
	s.zones, err = b.Trie(func(_, later uint16) (uint16, error) { return later, nil })
	return s, err
}

// WithPolicy is the State with another policy.
func (s *State) WithPolicy(p *blocklists.Snapshot) *State {
	n := *s
	n.policy = p
	n.names = s.names.withPolicy(p)
	return &n
}

// Policy is the State's policy.
func (s *State) Policy() *blocklists.Snapshot { return s.policy }

// Serves reports whether a client's address is in the ranges that are
// answered.
func (s *State) Serves(client netip.Addr) bool { return s.clients.Lookup(client) != 0 }

// Zone says what serves a question when no ban does: a special-use zone answered
// here, given by its text, or the index of the route that takes it, where 0 is the default upstream.
func (s *State) Zone(name *wire.Name, t wire.Type) (special string, route int) {
	sp, _, rt := s.zone(name, t)
	if sp != notSpecial {
		return specials[sp].zone, 0
	}
	return "", int(rt)
}

// Values of the zones trie: first the special-use zones, then the routes.
const (
	notSpecial = 0
	firstRoute = 1 << 10
)

// zone finds the special-use zone or the route that holds a name; labels is
// its zone's length, 0 for the default route. A route overrides every special-use zone: whoever
// configures one has servers that know better.
//
// The DS records of a route's zone are in the zone above (RFC 4035 section
// 3.1.4.1), and those who know that one are asked for them: the zone's own servers deny them, which
// makes the zone bogus to whoever checks signatures. What is known of the name's other types
// comes from others and does not count, so that labels is one more than the name has.
// Below a special-use zone the route takes them too: nobody else knows of the cut.
func (s *State) zone(name *wire.Name, t wire.Type) (special uint16, labels int, route uint16) {
	cut := 0 // how many labels the zone that is passed over has
	if t == wire.TypeDS {
		cut = name.Labels()
	}
	passed := uint16(0)
	for m := s.zones.Match(name); ; {
		k, v, ok := m.Next()
		if !ok {
			break
		}
		switch {
		case v >= firstRoute && k == cut:
			passed = v - firstRoute + 1
		case v >= firstRoute:
			route, labels = v-firstRoute+1, k
		case route == 0:
			special, labels = v, k
		}
	}
	switch {
	case passed != 0 && (route != 0 || special == notSpecial):
		return notSpecial, cut + 1, route
	case passed != 0:
		return notSpecial, cut, passed
	case route != 0:
		return notSpecial, labels, route
	}
	return special, labels, 0
}
