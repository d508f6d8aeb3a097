package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestOnNetwork: the name by which clients recognize this server has its records, whatever bans say; names above and below it are as usual.
func TestOnNetwork(t *testing.T) {
	w := newWorld(t)
	w.config(func(s *settings) {
		s.more = `on_network: {name: Here.banned.example, text: "Ottawa, étage 3", ipv4: 192.0.2.81}`
	})
	p := start(t, w.dir)
	for _, network := range []string{"udp", "tcp"} {
		a := p.ask(network, "hERE.banned.example.", dns.TypeTXT)
		if len(a.Answer) != 1 || a.Answer[0].Header().Ttl != 30 || a.Answer[0].Header().Name != "hERE.banned.example." || strings.Join(a.Answer[0].(*dns.TXT).Txt, "") != `Ottawa, \195\169tage 3` {
			t.Errorf("%v", a)
		}
		if a := p.ask(network, "here.banned.example.", dns.TypeA); len(a.Answer) != 1 || a.Answer[0].(*dns.A).A.String() != "192.0.2.81" {
			t.Errorf("%v", a)
		}
		for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeHTTPS, dns.TypeANY} {
			if a := p.ask(network, "here.banned.example.", qtype); a.Rcode != dns.RcodeSuccess || len(a.Answer) > 0 || len(a.Ns) != 1 {
				t.Errorf("%v", a)
			}
		}
		for _, name := range []string{"below.here.banned.example.", "banned.example."} {
			if got := outcome(p.ask(network, name, dns.TypeA)); got != blocked {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	eachClient(t, func(t *testing.T, path string) {
		if got := client(t, path, p.dns[0], "here.banned.example", "-t", "TXT"); got.status != "NOERROR" || !strings.Contains(got.text, `"Ottawa, `) {
			t.Errorf("%s", got.text)
		}
	})
	w.config(func(s *settings) { s.more = `on_network: {name: here.banned.example}` })
	if status, r := p.reload(""); status == http.StatusOK || !strings.Contains(r.Problems[0].Message, "no record") {
		t.Errorf("%d %+v", status, r)
	}
	w.config()
	p.reload("")
	if got := outcome(p.ask("udp", "here.banned.example.", dns.TypeA)); got != blocked {
		t.Errorf("taken out: %s", got)
	}
}
