package do53

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// Port is the port of DNS over UDP and TCP.
const Port = 53

// SystemServers parses the servers in a resolv.conf, in order and each once.
// IPv6 addresses may have a zone. Lines that the system's own resolver would
// ignore are ignored. The error names them, or says that there is no server;
// the servers that could be parsed are returned with it.
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
		if server := netip.AddrPortFrom(a.Unmap(), Port); !slices.Contains(servers, server) {
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
