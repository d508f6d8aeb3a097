package main

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestListenEverywhere changes from one address of the machine to all of them, on
// the same port, as many configurations do. No query is lost meanwhile.
func TestListenEverywhere(t *testing.T) {
	w := newWorld(t)
	one := freeAddress(t, "127.0.0.1")
	_, port, _ := net.SplitHostPort(one)
	w.config(func(s *settings) { s.listen = []string{one} })
	p := start(t, w.dir)
	for _, listen := range []string{"0.0.0.0:" + port, one, "0.0.0.0:" + port} {
		w.config(func(s *settings) { s.listen = []string{listen} })
		code, r := p.reload("")
		if code != http.StatusOK {
			t.Fatalf("to %s: %d %+v", listen, code, r)
		}
		for range 20 {
			for _, network := range []string{"udp", "tcp"} {
				m, err := ask(network, one, "plain.example", dns.TypeA)
				if err != nil || outcome(m) != passed {
					t.Fatalf("on %s by %s: %v, %v", listen, network, m, err)
				}
			}
		}
		if m, err := ask("udp", "127.0.0.2:"+port, "plain.example", dns.TypeA); listen != one && (err != nil || outcome(m) != passed) {
			t.Errorf("on 127.0.0.2: %v, %v", m, err)
		}
	}
}

// TestListenAgain: an address that is removed and added again at once is served
// again, even while a query to the old socket is pending.
func TestListenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := freeAddress(t, "127.0.0.1")
	both := func(s *settings) { s.listen = append(s.listen, second) }
	w.config(both)
	p := start(t, w.dir)
	got := make(chan string, 1)
	go func() {
		m, err := ask("udp", second, "slow.example", dns.TypeA)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- outcome(m)
	}()
	p.within(time.Now(), "asked upstream", w.asked("slow.example."))
	w.config()
	if code, r := p.reload(""); code != http.StatusOK {
		t.Fatalf("out: %d %+v", code, r)
	}
	w.config(both)
	if code, r := p.reload(""); code != http.StatusOK {
		t.Errorf("and in: %d %+v", code, r)
	}
	if s := <-got; s != passed {
		t.Errorf("the query that waited: %s", s)
	}
	for range 20 {
		for _, network := range []string{"udp", "tcp"} {
			if m, err := ask(network, second, "plain.example", dns.TypeA); err != nil || outcome(m) != passed {
				t.Fatalf("by %s: %v, %v", network, m, err)
			}
		}
	}
}

// TestTwoFreePorts: two addresses with port 0 get two ports.
func TestTwoFreePorts(t *testing.T) {
	w := newWorld(t)
	w.config(func(s *settings) { s.listen = append(s.listen, "127.0.0.1:0") })
	p := start(t, w.dir)
	if len(p.dns) != 2 || p.dns[0] == p.dns[1] {
		t.Fatalf("%q", p.dns)
	}
	for _, addr := range p.dns {
		if m, err := ask("udp", addr, "plain.example", dns.TypeA); err != nil || outcome(m) != passed {
			t.Errorf("%s: %v, %v", addr, m, err)
		}
	}
}
