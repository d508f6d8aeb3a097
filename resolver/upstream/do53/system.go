package do53

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Port is the port of DNS over UDP and TCP.
const Port = 53

// SystemServers parses the servers in a resolv.conf, in order and each once.
// IPv6 addresses may have a zone, and an address in brackets may have a port
// behind it. Lines that the system's own resolver would
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
		server, ok := parseServer(f[1])
		if !ok {
			bad = errors.Join(bad, fmt.Errorf("line %d: nameserver %q is not an IP address; correct or delete the line", line, f[1]))
			continue
		}
		if !slices.Contains(servers, server) {
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

// parseServer parses ADDRESS, [ADDRESS] or [ADDRESS]:PORT.
func parseServer(s string) (netip.AddrPort, bool) {
	host, port := s, uint64(Port)
	if inside, bracket := strings.CutPrefix(s, "["); bracket {
		var behind string
		if host, behind, bracket = strings.Cut(inside, "]"); !bracket {
			return netip.AddrPort{}, false
		}
		if number, ported := strings.CutPrefix(behind, ":"); ported {
			var err error
			if port, err = strconv.ParseUint(number, 10, 16); err != nil || port == 0 {
				return netip.AddrPort{}, false
			}
		} else if behind != "" {
			return netip.AddrPort{}, false
		}
	}
	a, err := netip.ParseAddr(host)
	if err != nil || strings.ContainsAny(a.Zone(), "[]:%/") {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), true
}
