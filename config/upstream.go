package config

import (
	"net/netip"
	"slices"
	"time"

	"rideau/config/node"
	"rideau/config/server"
	"rideau/config/value"
)

// Upstream says which resolvers are asked, and how.
type Upstream struct {
	// Servers are the resolvers.
	Servers []Server `key:"servers" applies:"live"`
	// Strategy says which of them is asked first.
	Strategy Strategy `key:"strategy" applies:"live"`
	// Weights are the shares of the servers with StrategyWeighted, in their order; empty for equal shares.
	Weights []int `key:"weights" applies:"live"`
	// Hedge says whether a second server is asked when the first is slower than usual.
	Hedge bool `key:"hedge" applies:"live"`
	// MaxInFlight is the number of pending requests to one server.
	MaxInFlight int `key:"max_in_flight" applies:"live"`
	// Allowed are the blocks in which every server must be, also those of Forward and Fetch.Bootstrap and those that the system names; empty
	// if they may be anywhere. Host bits are zero.
	Allowed []netip.Prefix `key:"allowed" applies:"live"`
	// Cookies says whether cookies are sent to servers that offer them (RFC 7873), and MixCase whether names are sent in random letter case
	// (0x20). Both are for servers that are asked over UDP, also those of Forward.
	Cookies bool `key:"cookies" applies:"live"`
	MixCase bool `key:"mix_case" applies:"live"`
	// LoopCheck says whether servers, also those of Forward, are asked for a name that nobody else knows, to find those that forward to this
	// Rideau.
	LoopCheck bool `key:"loop_check" applies:"live"`
	// AttemptTimeout is how long one server has at most before the next is asked.
	AttemptTimeout time.Duration `key:"attempt_timeout" applies:"live"`
	// Timeout is the time for all attempts of one query; then it fails.
	Timeout time.Duration `key:"timeout" applies:"live"`
	// ProbeInterval is the time between probes of a server that is down.
	ProbeInterval time.Duration `key:"probe_interval" applies:"live"`
	// ProbeName is the name that probes ask for, in lower case and without final dot, or the root ".".
	ProbeName string `key:"probe_name" applies:"live"`
}

// Forward says which servers are asked for the names of some zones.
type Forward struct {
	// Zones are domain names in lower case without final dot. Each covers itself and all names below it. No zone is in two rules. If two
	// zones cover a name, the longer one decides.
	Zones []string `key:"zones"`
	// Servers are asked for these zones.
	Servers []Server `key:"servers"`
	// Strategy, Weights, Hedge and MaxInFlight are as in Upstream. All but Weights have the values there by default.
	Strategy    Strategy `key:"strategy"`
	Weights     []int    `key:"weights"`
	Hedge       bool     `key:"hedge"`
	MaxInFlight int      `key:"max_in_flight"`
	// Line is the line where the rule begins.
	Line int `key:"-"`
}

func defaultUpstream() Upstream {
	return Upstream{
		Servers:        []Server{{Server: "system", Transport: System}},
		Strategy:       StrategyOrdered,
		Hedge:          true,
		MaxInFlight:    2000,
		Cookies:        true,
		MixCase:        true,
		LoopCheck:      true,
		AttemptTimeout: 2 * time.Second,
		Timeout:        4500 * time.Millisecond,
		ProbeInterval:  10 * time.Second,
		ProbeName:      ".",
	}
}

const maxServers = 32

// Server is an upstream resolver, and Transport the protocol by which it is asked.
type (
	Server    = server.Server
	Transport = server.Transport
)

// Transports.
const (
	Do53   = server.Do53
	TCP    = server.TCP
	DoT    = server.DoT
	DoH    = server.DoH
	DoH3   = server.DoH3
	DoQ    = server.DoQ
	System = server.System
)

// Plain returns the server at an address that is asked over UDP and TCP.
func Plain(a netip.AddrPort) Server { return server.Plain(a) }

func (c *Config) readUpstream(m *node.Mapping) {
	u := &c.Upstream
	node.Set(m, "servers", &u.Servers, node.List(1, maxServers, server.Reader(true, c.checkServer)))
	u.sharing().read(m, len(u.Servers), slices.ContainsFunc(u.Servers, func(s Server) bool { return s.Transport == System }))
	node.Set(m, "allowed", &u.Allowed, node.List(0, 4096, value.Block))
	node.Set(m, "cookies", &u.Cookies, node.Boolean)
	node.Set(m, "mix_case", &u.MixCase, node.Boolean)
	node.Set(m, "loop_check", &u.LoopCheck, node.Boolean)
	node.Set(m, "attempt_timeout", &u.AttemptTimeout, node.Duration(10*time.Millisecond, 30*time.Second))
	node.Set(m, "timeout", &u.Timeout, node.Duration(10*time.Millisecond, 60*time.Second))
	node.Set(m, "probe_interval", &u.ProbeInterval, node.Duration(50*time.Millisecond, time.Hour))
	node.Set(m, "probe_name", &u.ProbeName, value.Domain)
	if u.AttemptTimeout > u.Timeout {
		switch {
		case !m.Has("attempt_timeout"):
			u.AttemptTimeout = u.Timeout
		case !m.Has("timeout"):
			u.Timeout = u.AttemptTimeout
		default:
			m.At("attempt_timeout").Problem("lower it, or raise timeout", "%s is longer than timeout, %s", node.Short(u.AttemptTimeout), node.Short(u.Timeout))
		}
	}
}

// checkServer refuses the address of a server that is not in upstream.allowed, or that Rideau listens on: a query would come back until it
// times out.
func (c *Config) checkServer(v node.Value, addr netip.AddrPort) {
	for _, own := range c.Listen.Addresses {
		a := own.Addr()
		all := a.IsUnspecified() && a.Is4() == addr.Addr().Is4() && addr.Addr().IsLoopback()
		if own.Port() == addr.Port() && (a == addr.Addr() || all) {
			v.Problem("write the address of another resolver", "%s is Rideau's own address: queries would come back again and again", addr)
			break
		}
	}
	if !c.Upstream.Allows(addr.Addr()) {
		v.Problem("use a server that is, or add it there", "%s is not in upstream.allowed", addr.Addr())
	}
}

// Allows reports whether a server at an address may be asked.
func (u *Upstream) Allows(a netip.Addr) bool {
	return len(u.Allowed) == 0 || slices.ContainsFunc(u.Allowed, func(p netip.Prefix) bool { return p.Contains(a.Unmap().WithZone("")) })
}

// forwardReader returns a parser of the forward rules of one file.
func (c *Config) forwardReader() node.Parse[Forward] {
	zone := node.Distinct(func(v node.Value) (string, bool) {
		name, ok := value.Domain(v)
		if ok && name == "." {
			v.Problem("use upstream.servers for all other names", "the root zone cannot be forwarded apart")
			return "", false
		}
		return name, ok
	})
	return func(v node.Value) (Forward, bool) {
		m := v.Mapping()
		f := Forward{Line: v.Line()}
		f.sharing().inherit(c.Upstream.sharing())
		node.Set(m, "zones", &f.Zones, node.List(1, 4096, zone))
		node.Set(m, "servers", &f.Servers, node.List(1, maxServers, server.Reader(false, c.checkServer)))
		f.sharing().read(m, len(f.Servers), false)
		m.Done()
		m.Require("zones", "list the domain names to forward")
		m.Require("servers", "list the addresses of the servers that know these zones")
		return f, m.Sound()
	}
}
