package setup

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"rideau/config"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/upstream/encrypted"
	"rideau/resolver/upstream/member"
)

// newUpstream makes the upstream for one server.
func newUpstream(cfg *config.Config, s config.Server, log *slog.Logger) (member.Server, error) {
	switch s.Transport {
	case config.Do53, config.TCP:
		return do53.New(s.Addresses[0], do53.Options{TrustAD: s.TrustAD, Stream: s.Transport == config.TCP,
			Cookies: cfg.Upstream.Cookies, MixCase: cfg.Upstream.MixCase}), nil
	}
	o := encrypted.Options{Addrs: s.Addresses, Name: s.Name, TrustAD: s.TrustAD, Logger: log}
	for _, text := range s.Pins {
		p, err := encrypted.ParsePin(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %v: %w", cfg.File, s.Line, s, err)
		}
		o.Pins = append(o.Pins, p)
	}
	if s.CAFile != "" {
		text, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %v: ca_file: %w; put the certificate of the authority there, or correct the path", cfg.File, s.Line, s, err)
		}
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s:%d: %v: ca_file: %s has no certificate; it must be in PEM form", cfg.File, s.Line, s, s.CAFile)
		}
	}
	switch s.Transport {
	case config.DoT:
		return encrypted.NewDoT(o), nil
	case config.DoQ:
		return encrypted.NewDoQ(o), nil
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %v: %w", cfg.File, s.Line, s, err)
	}
	return encrypted.NewDoH(u, s.Transport == config.DoH3, o), nil
}

// serversKey is the same for equal servers alone: equal settings, and equal
// content of their files. The saved cache is stored under it, so that it must be
// the same in the next process, too: it holds no pointers.
func serversKey(servers []config.Server) string {
	var b strings.Builder
	for _, s := range servers {
		s.Line = 0
		text, err := json.Marshal(s)
		if err != nil {
			panic(err) // a server is made of texts, numbers and addresses
		}
		fmt.Fprintf(&b, "%s %s\n", text, certificates(s))
	}
	return b.String()
}

// certificates returns the content of a server's ca_file; nil if it has none.
func certificates(s config.Server) []byte {
	if s.CAFile == "" {
		return nil
	}
	text, _ := os.ReadFile(s.CAFile)
	return text
}

// Plain returns the addresses of the servers without encryption.
func Plain(servers []config.Server) []netip.AddrPort {
	return AddrsOf(slices.DeleteFunc(slices.Clone(servers), func(s config.Server) bool { return s.Transport.Encrypted() }))
}

// ServerList returns servers as text, with spaces between them.
func ServerList(servers []config.Server) string {
	text := fmt.Sprint(servers)
	return text[1 : len(text)-1] // not Trim: an address of IPv6 begins with a bracket of its own
}
