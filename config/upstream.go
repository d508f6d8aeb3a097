package config

import (
	"net/netip"
	"time"
)

// Upstream says which resolvers answer what Rideau does not know.
type Upstream struct {
	// Servers are asked in this order as long as they are healthy.
	Servers []Server `key:"servers"`
	// AttemptTimeout is the time one server has before the next is asked.
	AttemptTimeout time.Duration `key:"attempt_timeout"`
	// Timeout is the time for all attempts of one query; then it fails.
	Timeout time.Duration `key:"timeout"`
	// ProbeInterval is the time between tests of a server that is down.
	ProbeInterval time.Duration `key:"probe_interval"`
	// ProbeName is the name those tests ask for, in lower case and without final dot, or the root ".".
	ProbeName string `key:"probe_name"`
}

// Server is an upstream resolver.
type Server struct {
	// System stands for the servers in the system's resolv.conf; Addr is then the zero AddrPort.
	System bool
	// Addr is where the server is asked over UDP and TCP.
	Addr netip.AddrPort
}

// String is the server as an operator writes it.
func (s Server) String() string {
	if s.System {
		return "system"
	}
	return s.Addr.String()
}

// Forward sends the names of some zones to servers of their own.
type Forward struct {
	// Zones are domain names in lower case without final dot; each covers itself and all names below it. No zone is in two rules, and of
	// two that cover a name the longer counts.
	Zones []string `key:"zones"`
	// Servers are asked in this order as long as they are healthy.
	Servers []netip.AddrPort `key:"servers"`
	// Line is where the rule begins in its file.
	Line int `key:"-"`
}

func defaultUpstream() Upstream {
	return Upstream{
		Servers:        []Server{{System: true}},
		AttemptTimeout: 2 * time.Second,
		Timeout:        5 * time.Second,
		ProbeInterval:  10 * time.Second,
		ProbeName:      ".",
	}
}

const maxServers = 32

func (u *Upstream) read(m *mapping) {
	set(m, "servers", &u.Servers, list(1, maxServers, distinct(server)))
	set(m, "attempt_timeout", &u.AttemptTimeout, duration(10*time.Millisecond, 30*time.Second))
	set(m, "timeout", &u.Timeout, duration(10*time.Millisecond, 60*time.Second))
	set(m, "probe_interval", &u.ProbeInterval, duration(50*time.Millisecond, time.Hour))
	set(m, "probe_name", &u.ProbeName, domain)
	if u.AttemptTimeout > u.Timeout {
		switch {
		case !m.has("attempt_timeout"):
			u.AttemptTimeout = u.Timeout
		case !m.has("timeout"):
			u.Timeout = u.AttemptTimeout
		default:
			m.at("attempt_timeout").problem("lower it, or raise timeout", "%s is longer than timeout, %s", short(u.AttemptTimeout), short(u.Timeout))
		}
	}
}

// server reads an address or the word system.
func server(v value) (Server, bool) {
	switch s, ok := v.scalar(); {
	case ok && s == "system":
		return Server{System: true}, true
	case ok && s != "" && isLetters(s):
		v.problem(suggest(s, []string{"system"})+", or an address", "unknown keyword %s", quote(s))
		return Server{}, false
	}
	addr, ok := serverAddress(v)
	if ok {
		v.r.finish = append(v.r.finish, func(c *Config) { v.notOurselves(c, addr) })
	}
	return Server{Addr: addr}, ok
}

// notOurselves refuses a server that is one of the addresses listened on: a query would go round until it times out.
func (v value) notOurselves(c *Config, server netip.AddrPort) {
	for _, own := range c.Listen.Addresses {
		a := own.Addr()
		all := a.IsUnspecified() && a.Is4() == server.Addr().Is4() && server.Addr().IsLoopback()
		if own.Port() == server.Port() && (a == server.Addr() || all) {
			v.problem("write the address of another resolver", "%s is Rideau's own address: queries would come back forever", server)
			return
		}
	}
}

// forwardReader reads the forward rules of one file.
func forwardReader() parse[Forward] {
	zone := distinct(func(v value) (string, bool) {
		name, ok := domain(v)
		if ok && name == "." {
			v.problem("use upstream.servers for all other names", "the root zone cannot be forwarded apart")
			return "", false
		}
		return name, ok
	})
	return func(v value) (Forward, bool) {
		m := v.mapping()
		f := Forward{Line: v.line}
		set(m, "zones", &f.Zones, list(1, 4096, zone))
		set(m, "servers", &f.Servers, list(1, maxServers, distinct(forwardServer)))
		m.done()
		m.require("zones", "list the domain names to forward")
		m.require("servers", "list the addresses of the servers that know these zones")
		return f, m.sound
	}
}

func forwardServer(v value) (netip.AddrPort, bool) {
	if s, ok := v.scalar(); ok && s == "system" {
		v.problem("write the addresses of the servers that know these zones", "the system's servers cannot be used here")
		return netip.AddrPort{}, false
	}
	addr, ok := serverAddress(v)
	if ok {
		v.r.finish = append(v.r.finish, func(c *Config) { v.notOurselves(c, addr) })
	}
	return addr, ok
}
