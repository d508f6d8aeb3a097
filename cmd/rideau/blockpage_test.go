package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestBlockPage: a name whose ban leads to the block page has its address for the groups that are led there. The page names the ban and a reference, by which
// support finds the visit in the records, with what may be told of the client.
func TestBlockPage(t *testing.T) {
	w := newWorld(t)
	write := func(groups string) {
		w.config(func(s *settings) {
			s.extra = `, action: page, ede: censored, contact: desk@department.example`
			s.more = `groups: [{id: here, clients: [127.0.0.0/8]}, {id: there, clients: [192.0.2.0/24]}]
block_page: {http: ["127.0.0.1:0"], ipv4: 192.0.2.80, groups: [` + groups + `]}
evidence: {sinks: [{id: file, kind: file, path: evidence.json, events: acts, clients: network}]}`
		})
	}
	write("here")
	p := start(t, w.dir)
	var at []string
	p.within(time.Now(), "the log says where the page is", func() (string, bool) {
		at = regexp.MustCompile(`the block page is served.* address=(\S+)`).FindStringSubmatch(p.stderr.String())
		return "", at != nil
	})
	a := p.ask("udp", "www.banned.example", dns.TypeA)
	if len(a.Answer) != 1 || a.Answer[0].(*dns.A).A.String() != "192.0.2.80" {
		t.Fatalf("%v", a)
	}
	if a := p.ask("udp", "www.banned.example", dns.TypeAAAA); a.Rcode != dns.RcodeSuccess || len(a.Answer) > 0 {
		t.Errorf("%v", a)
	}
	if a := p.ask("udp", "www.banned.example", dns.TypeHTTPS); a.Rcode != dns.RcodeSuccess || len(a.Answer) > 0 {
		t.Errorf("%v", a)
	}
	browser := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at[1])
		}}}
	r, err := browser.Get("http://www.banned.example/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	reference := regexp.MustCompile(`<dd>([0-9A-Z]{4}-[0-9A-Z]{4})</dd>`).FindSubmatch(body)
	if err != nil || r.StatusCode != 451 || !strings.Contains(string(body), "The ban") || reference == nil {
		t.Fatalf("%s %s %v", r.Status, body, err)
	}
	p.within(time.Now(), "the visit is recorded", func() (string, bool) {
		text, _ := os.ReadFile(filepath.Join(w.dir, "evidence.json"))
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, `"event":"page_shown"`) {
				return line, strings.Contains(line, `"object":"ban"`) && strings.Contains(line, `"visit":{"reference":"`+string(reference[1])+`","client":"127.0.0.0/24"}`)
			}
		}
		return "", false
	})
	write("there")
	if status, r := p.reload(""); status != http.StatusOK {
		t.Fatalf("%d %+v", status, r)
	}
	if a := p.ask("udp", "www.banned.example", dns.TypeA); a.Rcode != dns.RcodeNameError || len(a.Answer) > 0 {
		t.Errorf("a client that is not led there: %v", a)
	}
}

// TestBlockPageKey: an authority whose key others can read is refused, by check and at a start.
func TestBlockPageKey(t *testing.T) {
	w := newWorld(t)
	w.config(func(s *settings) {
		s.extra = `, action: page`
		s.more = `block_page: {https: ["127.0.0.1:0"], ipv4: 192.0.2.80, ca_certificate: ca.pem, ca_key: ca.key}`
	})
	w.write("ca.pem", "")
	w.write("ca.key", "")
	if err := os.Chmod(filepath.Join(w.dir, "ca.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"check", "serve"} {
		out, err := rideau(t.Context(), w.dir, command, "--config", "rideau.yaml").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "block_page.ca_key") || !strings.Contains(string(out), "chmod 600 ") {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}
