package forward

import (
	"errors"
	"fmt"
	"sync/atomic"

	"rideau/blocklists"
	"rideau/blocklists/suffix"
	"rideau/resolver/special"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// Route sends the names at and below its zones to an upstream of their own
// (conditional forwarding).
type Route struct {
	Zones    []string
	Upstream upstream.Upstream
}

// Options are what a Routing is made of. What it is given is not written
// afterwards.
type Options struct {
	// Policy is required.
	Policy *blocklists.Snapshot
	// Upstream takes what no route takes. nil: such queries fail.
	Upstream upstream.Upstream
	Routes   []Route
	// UDPSize is the EDNS payload size that upstreams are told.
	UDPSize uint16
}

// Routing says which upstream takes a question, and under which policy its
// response is stored. It is immutable.
type Routing struct {
	policy  *blocklists.Snapshot
	targets []*target // by route; 0 is the default
	zones   *suffix.Trie
	udpSize uint16
}

// target is an upstream of one Routing.
type target struct {
	upstream.Upstream
	heard atomic.Int64 // about when it last answered, in nanoseconds
}

// noteAnswer notes that a response came. Many come at a time, and few of them
// write.
func (t *target) noteAnswer(now int64) {
	const often = 1e8
	if now-t.heard.Load() > often {
		t.heard.Store(now)
	}
}

// same reports whether two targets are the same upstream.
func (t *target) same(o *target) bool {
	if t == o {
		return true
	}
	if t.Upstream == nil || o.Upstream == nil {
		return false
	}
	id := t.Identity()
	return id != nil && id == o.Identity()
}

// firstRoute is the value of the first route in zones. Below are the indexes of
// special-use zones.
const firstRoute = 1 << 10

// NewRouting makes a Routing.
func NewRouting(o Options) (*Routing, error) {
	var b suffix.Builder
	if err := special.Add(&b); err != nil {
		return nil, err
	}
	r := &Routing{policy: o.Policy, udpSize: o.UDPSize, targets: []*target{{Upstream: o.Upstream}}}
	for i, route := range o.Routes {
		r.targets = append(r.targets, &target{Upstream: route.Upstream})
		for _, z := range route.Zones {
			w, err := wire.AppendName(nil, []byte(z))
			if err != nil {
				return nil, fmt.Errorf("forward zone %q: %w", z, err)
			}
			if len(w) == 1 {
				return nil, errors.New("the root is no forward zone; it is what Upstream takes")
			}
			if err := b.Add(w, firstRoute+uint16(i)); err != nil {
				return nil, fmt.Errorf("forward zone %q: %w", z, err)
			}
		}
	}
	// A route replaces a special-use zone of the same name, and a later route an
	// earlier one.
	var err error
	r.zones, err = b.Trie(func(_, later uint16) (uint16, error) { return later, nil })
	return r, err
}

// WithPolicy is the Routing with another policy.
func (r *Routing) WithPolicy(p *blocklists.Snapshot) *Routing {
	n := *r
	n.policy = p
	return &n
}

// Zone returns the special-use zone (see package special) or the route that has
// a name. labels is
// the number of labels of its zone, 0 for the default route. A route overrides
// every special-use zone: whoever configures one has servers that know better.
//
// The DS records of a route's zone are in the zone above (RFC 4035 section
// 3.1.4.1), so that the servers of that one are asked for them. The zone's own
// servers would deny them, which makes the zone bogus to a validating client.
// What is known of the name's other types comes from other servers and does not
// count, so that labels is one more than the name has. Below a special-use zone
// the route takes DS too: nobody else knows of the cut.
func (r *Routing) Zone(name *wire.Name, t wire.Type) (zone uint16, labels int, route uint16) {
	cut := 0 // the number of labels of the zone that is passed over
	if t == wire.TypeDS {
		cut = name.Labels()
	}
	passed := uint16(0)
	for m := r.zones.Match(name); ; {
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
			zone, labels = v, k
		}
	}
	switch {
	case passed != 0 && (route != 0 || zone == special.None):
		return special.None, cut + 1, route
	case passed != 0:
		return special.None, cut, passed
	case route != 0:
		return special.None, labels, route
	}
	return zone, labels, 0
}
