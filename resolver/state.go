package resolver

import (
	"errors"
	"fmt"
	"net/netip"

	"rideau/blocklists"
	"rideau/blocklists/prefix"
	"rideau/resolver/audit/names"
	"rideau/resolver/cookie"
	"rideau/resolver/designation"
	"rideau/resolver/forward"
	"rideau/resolver/special"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// Route sends the names at and below its zones to an upstream of their own.
type Route = forward.Route

// StateOptions are what a State is made of. What they point to must not be
// written afterwards.
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
	// NSID goes to clients that ask which server this is (RFC 5001). It has
	// MaxNSID octets at most; empty: there is none.
	NSID string
	// Amplification is how many times as long as its query an answer by UDP may
	// be, unless a cookie shows that the address is the client's own; 0 sets no
	// bound.
	Amplification int
	// Designated are the encrypted services that clients are told of; nil for none.
	Designated *designation.Set
	// Presence is the name by which clients recognize this resolver; nil for none.
	Presence *special.Presence
}

// MaxNSID is how long an NSID may be.
const MaxNSID = 64

// State is everything that a query depends on and a reload may change. It is
// immutable. The Resolver swaps it by one pointer, so that a query sees all of
// a reload or nothing; a response that comes later is stored under what holds
// then (see forward.Exchanges.SetRouting).
type State struct {
	policy  *blocklists.Snapshot
	names   *names.Table // of policy and of the routes
	clients *prefix.Table
	routing *forward.Routing // under the same policy
	udpSize uint16
	cookies *cookie.Jar
	nsid    []byte // the option
	// designated is as in StateOptions.
	designated *designation.Set
	presence   *special.Presence
	// amplification is as in StateOptions.
	amplification int
}

// NewState makes a State.
func NewState(o StateOptions) (*State, error) {
	if o.Policy == nil {
		return nil, errors.New("state: no policy")
	}
	s := &State{policy: o.Policy, udpSize: max(o.UDPSize, wire.MinUDP), cookies: o.Cookies, amplification: o.Amplification, designated: o.Designated, presence: o.Presence}
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
	var routes []string // a route is called by its first zone
	servers := [][]string{serversOf(o.Upstream)}
	for _, r := range o.Routes {
		servers = append(servers, serversOf(r.Upstream))
		name := ""
		if len(r.Zones) > 0 {
			name = r.Zones[0]
		}
		routes = append(routes, name)
	}
	s.names = names.New(o.Policy, routes, servers)
	var err error
	s.routing, err = forward.NewRouting(forward.Options{Policy: s.policy, Upstream: o.Upstream, Routes: o.Routes, UDPSize: s.udpSize})
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return s, nil
}

// serversOf are what operators call the servers of an upstream, if it tells.
func serversOf(u upstream.Upstream) []string {
	if s, ok := u.(upstream.Several); ok {
		return s.Servers()
	}
	return nil
}

// WithPolicy is the State with another policy.
func (s *State) WithPolicy(p *blocklists.Snapshot) *State {
	n := *s
	n.policy, n.routing = p, s.routing.WithPolicy(p)
	n.names = s.names.WithPolicy(p)
	return &n
}

// Policy is the State's policy.
func (s *State) Policy() *blocklists.Snapshot { return s.policy }

// Serves reports whether a client's address is in the ranges that are
// answered.
func (s *State) Serves(client netip.Addr) bool { return s.clients.Lookup(client) != 0 }

// Zone returns what answers a question when no ban does: a special-use zone
// answered here, as text, or the index of the route that takes it, where 0 is
// the default upstream.
func (s *State) Zone(name *wire.Name, t wire.Type) (specialZone string, route int) {
	zone, _, rt := s.routing.Zone(name, t)
	if zone != special.None {
		return special.Zone(zone), 0
	}
	return "", int(rt)
}
