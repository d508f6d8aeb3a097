package config

import (
	_ "embed"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rideau/config/node"
	"rideau/config/policy"
	"rideau/config/value"
)

// State says where data is kept from one start to the next.
type State struct {
	// Dir is the folder for the last good copies of lists, relative as List.File is; empty to keep none. If a list has a URL, which needs a
	// copy, Load sets an empty Dir to "state" beside the configuration file.
	Dir string `key:"dir" applies:"lists"`
}

// Fetch says how lists are fetched.
type Fetch struct {
	// Bootstrap are the resolvers that are asked for the addresses of the lists' servers; if it is empty, those of Upstream.
	Bootstrap []netip.AddrPort `key:"bootstrap" applies:"live"`
	// Proxy is the URL of an HTTP proxy; empty for none.
	Proxy string `key:"proxy" applies:"live"`
	// CAFile is the path of a file with certificates to trust beside the system's, relative as List.File is; empty for none.
	CAFile string `key:"ca_file" applies:"live"`
	// Timeout is the time for one download.
	Timeout time.Duration `key:"timeout" applies:"live"`
	// StartTimeout is how long a start tries to fetch lists of which there is no copy.
	StartTimeout time.Duration `key:"start_timeout" applies:"live"`
}

// Protected are the names that lists from elsewhere must not block.
type Protected struct {
	// Defaults says whether the built-in names are among them.
	Defaults bool `key:"defaults" applies:"lists"`
	// Names are further names, in lower case and without final dot. Each stands for itself and all names below it.
	Names []string `key:"names" applies:"lists"`
}

// NAT64 says how the network's translators write IPv4 addresses as IPv6 addresses (RFC 6052).
type NAT64 struct {
	// Prefixes are the prefixes of the network's translators. Addresses of IPv4 that are banned are also recognized behind them.
	Prefixes []netip.Prefix `key:"prefixes" applies:"lists"`
	// Discover says whether Upstream is asked for further ones (RFC 7050).
	Discover bool `key:"discover" applies:"lists"`
}

func (n *NAT64) read(m *node.Mapping) {
	node.Set(m, "prefixes", &n.Prefixes, node.List(0, maxNAT64, node.Distinct(value.NAT64)))
	node.Set(m, "discover", &n.Discover, node.Boolean)
}

// maxNAT64 is how many prefixes there may be. Each address in an answer is compared with all of them.
const maxNAT64 = 16

// protectedText has the names that are protected by default.
//
//go:embed protected.txt
var protectedText string

// All returns the names, the built-in ones first.
func (p *Protected) All() []string {
	var out []string
	if p.Defaults {
		for line := range strings.Lines(protectedText) {
			name, _, _ := strings.Cut(line, "#")
			if name = strings.TrimSpace(name); name != "" {
				out = append(out, name)
			}
		}
	}
	return append(out, p.Names...)
}

func defaultFetch() Fetch {
	return Fetch{Timeout: 2 * time.Minute, StartTimeout: 30 * time.Second}
}

func defaultProtected() Protected { return Protected{Defaults: true} }

func (s *State) read(m *node.Mapping) { node.Set(m, "dir", &s.Dir, value.FileOrNone) }

func (c *Config) readFetch(m *node.Mapping) {
	f := &c.Fetch
	node.Set(m, "bootstrap", &f.Bootstrap, node.List(0, maxServers, node.Distinct(c.bootstrap)))
	node.Set(m, "proxy", &f.Proxy, value.ProxyURL)
	node.Set(m, "ca_file", &f.CAFile, value.FileOrNone)
	node.Set(m, "timeout", &f.Timeout, node.Duration(time.Second, time.Hour))
	node.Set(m, "start_timeout", &f.StartTimeout, node.Duration(0, time.Hour))
}

// bootstrap parses the address of a resolver that is asked in plain text.
func (c *Config) bootstrap(v node.Value) (netip.AddrPort, bool) {
	if s, ok := v.Scalar(); ok && s == "system" {
		v.Problem("write the addresses of resolvers", "the system's servers cannot be used here")
		return netip.AddrPort{}, false
	}
	addr, ok := value.ServerAddress(v)
	if ok {
		v.Finally(func() { c.checkServer(v, addr) })
	}
	return addr, ok
}

func (p *Protected) read(m *node.Mapping) {
	node.Set(m, "defaults", &p.Defaults, node.Boolean)
	node.Set(m, "names", &p.Names, node.List(0, 10_000, node.Distinct(value.Domain)))
}

// Remote reports whether a list has a URL.
func (c *Config) Remote() bool {
	return slices.ContainsFunc(c.Lists, func(l policy.List) bool { return l.URL != "" })
}
