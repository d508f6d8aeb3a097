package config_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"rideau/config"
)

// An IPv6 address with a zone stands wherever an address may, with a port and without, and in URLs in either form (RFC 6874).
func TestZones(t *testing.T) {
	for text, want := range map[string]string{
		"fe80::1%eth0":                                           "[fe80::1%eth0]:53",
		"[fe80::1%eth0]":                                         "[fe80::1%eth0]:53",
		"[fe80::1%eth0]:5353":                                    "[fe80::1%eth0]:5353",
		"[FE80::1%2]:5353":                                       "[fe80::1%2]:5353",
		"[fe80::1%br-lan.10]:5353":                               "[fe80::1%br-lan.10]:5353",
		"fe80::1%Wan25":                                          "[fe80::1%Wan25]:53",
		"udp://[fe80::1%eth0]:5353":                              "[fe80::1%eth0]:5353",
		"tcp://[fe80::1%eth0]":                                   "tcp://[fe80::1%eth0]:53",
		"tcp://[fe80::1%eth0]:5353":                              "tcp://[fe80::1%eth0]:5353",
		"tcp://[fe80::1%25eth0]:5353":                            "tcp://[fe80::1%eth0]:5353",
		"tcp://[fe80::1%25]:5353":                                "tcp://[fe80::1%25]:5353",
		"tcp://fe80::1%eth0":                                     "tcp://[fe80::1%eth0]:53",
		"tls://[fe80::1%eth0]#dns.example":                       "tls://[fe80::1%eth0]:853",
		"tls://[fe80::1%eth0]:8853#a.example":                    "tls://[fe80::1%eth0]:8853",
		"quic://[fe80::1%Eth0]:8853#a.example":                   "quic://[fe80::1%Eth0]:8853",
		"https://[fe80::1%Eth0]:8443/q":                          "https://[fe80::1%Eth0]:8443/q [fe80::1%Eth0]:8443",
		"https://[FE80::1%25Eth0]/q":                             "https://[fe80::1%Eth0]/q [fe80::1%Eth0]:443",
		"h3://[fe80::1%25eth0]:443":                              "h3://[fe80::1%eth0]/dns-query [fe80::1%eth0]:443",
		"https://dns.example/q#[fe80::1%eth0]:8443,fe80::2%eth0": "https://dns.example/q [fe80::1%eth0]:8443 [fe80::2%eth0]:443",
		"https://[2001:db8::1]:8443/q":                           "https://[2001:db8::1]:8443/q [2001:db8::1]:8443",
		"https://192.0.2.1:8443/q":                               "https://192.0.2.1:8443/q 192.0.2.1:8443",
		"[192.0.2.1]":                                            "192.0.2.1:53",
		"[2001:db8::1]":                                          "[2001:db8::1]:53",
	} {
		c := parse(t, minimal+fmt.Sprintf("upstream: {servers: [%q]}\n", text))
		s := c.Upstream.Servers[0]
		got := s.Server
		if s.URL != "" {
			got += " " + strings.Trim(fmt.Sprint(s.Addresses), "[]")
			if len(s.Addresses) == 1 {
				got = s.Server + " " + s.Addresses[0].String()
			} else {
				got = fmt.Sprintf("%s %s %s", s.Server, s.Addresses[0], s.Addresses[1])
			}
		}
		if got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	c := parse(t, minimal+`
listen: {addresses: ["[fe80::1%eth0]:53", "[fe80::1%eth1]:53"]}
ops: {listen: "[fe80::1%eth0]:8080"}
fetch: {bootstrap: ["[fe80::2%eth0]:5353", "fe80::3%eth0"]}
upstream: {servers: ["[fe80::1%eth0]:5353", "[fe80::1%eth1]:5353"], allowed: ["fe80::/10"]}
forward: [{zones: [corp.example], servers: ["tcp://[fe80::4%eth0]:5353"]}]
`)
	equal(t, c.Listen.Addresses, addrPorts("[fe80::1%eth0]:53", "[fe80::1%eth1]:53"))
	equal(t, c.Ops.Listen, "[fe80::1%eth0]:8080")
	equal(t, c.Fetch.Bootstrap, []netip.AddrPort{netip.MustParseAddrPort("[fe80::2%eth0]:5353"), netip.MustParseAddrPort("[fe80::3%eth0]:53")})
	equal(t, c.Forward[0].Servers[0].Server, "tcp://[fe80::4%eth0]:5353")
	if c = parse(t, minimal+`upstream: {servers: ["[fe80::1]:5353"]}`); len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Remedy, "[fe80::1%eth0]") {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

// What is no zone or port is refused, with what to write.
func TestBadZones(t *testing.T) {
	for text, want := range map[string]string{
		"fe80::1%eth0:5353":           `write "[fe80::1%eth0]:5353"`,
		"tcp://fe80::1%eth0:5353":     `write "[fe80::1%eth0]:5353"`,
		"[fe80::1%eth0]:":             "write a port",
		"[fe80::1%eth0]:dns":          "write a port",
		"[fe80::1%eth0]:0":            "port 0",
		"[fe80::1%eth0]:65536":        "write a port",
		"[fe80::1%eth0]5353":          "is not an IP address",
		"[fe80::1%eth0":               "is not an IP address",
		"fe80::1%eth0]":               "after the %",
		"[fe80::1%]:53":               "is not an IP address",
		"[fe80::1%et/h0]":             "after the %",
		"https://[fe80::1%eth0]:x/":   "is not the URL",
		"https://[fe80::1%et%h0]/":    "%",
		"[192.0.2.1%eth0]:53":         "is not an IP address",
		"h3://[fe80::1%eth0:443]/abc": "write",
	} {
		_, err := config.Parse("rideau.yaml", []byte(minimal+fmt.Sprintf("upstream: {servers: [%q]}\n", text)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	_, err := config.Parse("rideau.yaml", []byte(minimal+`listen: {addresses: ["fe80::1%eth0", "fe80::1%eth0:53", "[fe80::1%eth0]"]}`))
	for _, want := range []string{`"fe80::1%eth0" has no port; write "[fe80::1%eth0]:53"`, `"fe80::1%eth0:53" is not an address with a port; write "[fe80::1%eth0]:53"`, `"[fe80::1%eth0]" has no port`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
