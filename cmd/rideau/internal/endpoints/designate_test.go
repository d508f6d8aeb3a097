package endpoints_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rideau/cmd/rideau/internal/endpoints"
	"rideau/config"
	"rideau/resolver/limit"
	"rideau/resolver/listener"
	"rideau/resolver/listener/secure/securetest"
)

// TestDesignated: clients are told of a listener only if they can verify its certificate for the address that they ask in
// plain text; and otherwise an operator is told why not.
func TestDesignated(t *testing.T) {
	dir := t.TempDir()
	ca := securetest.NewAuthority(t)
	ca.Write(dir, "both", ca.Issue(time.Hour, "dns.example", "192.0.2.1", "2001:db8::1"))
	ca.Write(dir, "one", ca.Issue(time.Hour, "dns.example", "192.0.2.1"))
	ca.Write(dir, "local", ca.Issue(time.Hour, "dns.example", "127.0.0.1"))
	ca.Write(dir, "name", ca.Issue(time.Hour, "dns.example"))
	ca.Write(dir, "address", ca.Issue(time.Hour, "127.0.0.1"))
	ca.Write(dir, "star", ca.Issue(time.Hour, "*.example", "127.0.0.1"))
	ca.Write(dir, "old", ca.Issue(-time.Minute, "dns.example", "127.0.0.1"))
	root := filepath.Base(ca.WriteRoot(dir))
	const local, all = "127.0.0.1:0", ":0"
	for name, c := range map[string]struct {
		plain, address, certificate, more string
		want                              string // services, or a part of the reason
	}{
		"one address":         {local, local, "local", "", "1 dns.example h2 127.0.0.1 /dns-query, 1 dns.example h3 127.0.0.1 /dns-query, 2 dns.example dot 127.0.0.1, 3 dns.example doq 127.0.0.1"},
		"all addresses":       {all, all, "both", "", "1 dns.example h2 192.0.2.1 /dns-query, 1 dns.example h2 2001:db8::1 /dns-query, 1 dns.example h3 192.0.2.1 /dns-query, 1 dns.example h3 2001:db8::1 /dns-query, 2 dns.example dot 192.0.2.1, 2 dns.example dot 2001:db8::1, 3 dns.example doq 192.0.2.1, 3 dns.example doq 2001:db8::1"},
		"some of them":        {all, "0.0.0.0:0", "one", ", path: /q", "1 dns.example h2 192.0.2.1 /q, 1 dns.example h3 192.0.2.1 /q, 2 dns.example dot 192.0.2.1, 3 dns.example doq 192.0.2.1"},
		"another address":     {local, local, "one", "", "is not for the address 127.0.0.1"},
		"no address":          {all, all, "name", "", "is for no address of this machine"},
		"another listener":    {all, local, "one", "", "is for none of its addresses"},
		"no name":             {local, local, "address", "", "is for no name"},
		"a pattern":           {local, local, "star", "", "is for no name"},
		"expired":             {local, local, "old", "", "is not valid now"},
		"client certificates": {local, local, "local", ", client_ca: " + root + ", client_certificates: required", "wants a certificate from each client"},
		"asked not to":        {local, local, "local", ", designate: false", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "rideau.yaml")
			text := fmt.Sprintf("listen:\n  addresses: [%q]\n  encrypted:\n    - {addresses: [%q], protocols: [dot, doh, doh3, doq], certificates: [{certificate: %s.pem, key: %s.key}]%s}\n",
				c.plain, c.address, c.certificate, c.certificate, c.more)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			set := endpoints.New(endpoints.Options{Log: slog.New(slog.DiscardHandler), Waits: limit.NewWaitLimit(1), Connections: listener.NewConnections(listener.Options{}), Most: 10,
				Clock: time.Now, Machine: func() []netip.Addr {
					return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.IPv6Loopback()}
				}})
			change, err := set.Prepare(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer change.Close()
			services, reasons := change.Designated()
			var got []string
			for _, s := range services {
				if s.Port == 0 {
					t.Errorf("%+v has no port", s)
				}
				line := fmt.Sprint(s.Priority, " ", s.Target, " ", strings.Join(s.ALPN, "+"))
				for _, a := range append(s.IPv4, s.IPv6...) {
					line += " " + a.String()
				}
				if s.Path != "" {
					line += " " + s.Path
				}
				got = append(got, line)
			}
			text = strings.Join(append(got, reasons...), ", ")
			if isReason := len(reasons) > 0; isReason && !strings.Contains(text, c.want) || !isReason && text != c.want {
				t.Errorf("%s\nwant %s", text, c.want)
			}
		})
	}
}
