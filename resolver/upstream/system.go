package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// Do53Port is the port of DNS over UDP and TCP.
const Do53Port = 53

// SystemServers reads the servers out of a resolv.conf, in order and each
// once. Addresses of IPv6 may have a zone. What the system's own resolver
// would pass over is passed over here; then, and if there is no server at all,
// the error says so, and the servers that could be read are returned with it.
func SystemServers(resolvConf io.Reader) ([]netip.AddrPort, error) {
	var servers []netip.AddrPort
	var bad error
	s := bufio.NewScanner(resolvConf)
	for line := 1; s.Scan(); line++ {
		f := strings.Fields(s.Text())
		if len(f) == 0 || f[0] != "nameserver" {
			continue
		}
		if len(f) == 1 {
			bad = errors.Join(bad, fmt.Errorf("line %d: nameserver without an address; add one or delete the line", line))
			continue
		}
		a, err := netip.ParseAddr(f[1])
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("line %d: nameserver %q is not an IP address; correct or delete the line", line, f[1]))
			continue
		}
		if server := netip.AddrPortFrom(a.Unmap(), Do53Port); !slices.Contains(servers, server) {
			servers = append(servers, server)
		}
	}
	if err := s.Err(); err != nil {
		bad = errors.Join(bad, fmt.Errorf("resolv.conf: %w", err))
	}
	if len(servers) == 0 && bad == nil {
		bad = errors.New("no nameserver line")
	}
	return servers, bad
}
