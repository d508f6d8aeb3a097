package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestDiscoverNAT64: a banned IPv4 network is recognized behind a prefix that upstream tells (RFC 7050), in answers that are cached too; it stays when
// upstream denies it and over reloads, and goes when nothing is to be discovered.
func TestDiscoverNAT64(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rules := `
ipv4only.arpa AAAA
	answer ipv4only.arpa. 60 IN AAAA 2001:db8:64::c000:aa
behind.example AAAA
	answer behind.example. 600 IN AAAA 2001:db8:64::c633:6407
` + answers
	if err := w.upstream.Load(rules); err != nil {
		t.Fatal(err)
	}
	w.write("list.txt", "198.51.100.0/24\n")
	off := func(s *settings) { s.more = "reload: {watch: false}\n" }
	on := func(s *settings) { s.more = "reload: {watch: false}\nnat64: {discover: true}\n" }
	w.config(off)
	p := start(t, w.dir)
	is := func(when string, banned bool) {
		t.Helper()
		p.within(time.Now(), when, func() (string, bool) {
			m, err := ask("udp", p.dns[0], "behind.example", dns.TypeAAAA)
			if err != nil {
				return err.Error(), false
			}
			return outcome(m), (m.Rcode == dns.RcodeNameError) == banned
		})
	}
	is("not discovered", false)
	began := time.Now()
	w.config(on)
	if code, text := p.reload(""); code != http.StatusOK {
		t.Fatalf("%d %v", code, text)
	}
	is("discovered", true)
	p.logs(began, `msg="NAT64 prefixes were discovered" prefixes=\[2001:db8:64::/96\]`)
	p.logs(began, `msg=reloaded why="NAT64 prefixes were discovered"`)
	if err := w.upstream.Load(answers); err != nil {
		t.Fatal(err)
	}
	w.write("list.txt", "198.51.100.0/24\nother.example\n")
	p.reload("")
	is("after a reload", true)
	w.config(off)
	p.reload("")
	is("no longer asked for", false)
}
