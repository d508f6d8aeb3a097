package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// from returns a socket of one of this machine's addresses, which is as good as a
// forged one: its owner sends nothing by it.
func from(t testing.TB, client, server string) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(client), 0)), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(server)))
	if err != nil {
		t.Skipf("%s: %v", client, err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetReadBuffer(4 << 20)
	return c
}

// packed returns a query as a message.
func packed(t testing.TB, name string, qtype uint16, size uint16, cookie string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(size, false)
	if cookie != "" {
		o := m.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// received is what came to an address.
type received struct{ answers, large, truncated, octets atomic.Int64 }

// count counts what comes on a socket until it is closed.
func (r *received) count(c net.Conn) {
	buf := make([]byte, 65536)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		r.answers.Add(1)
		r.octets.Add(int64(n))
		if n > 512 {
			r.large.Add(1)
		}
		if n > 2 && buf[2]&2 != 0 {
			r.truncated.Add(1)
		}
	}
}

// pour sends a message from a socket as fast as it can until stop.
func pour(c net.Conn, msg []byte, stop <-chan struct{}) (sent int) {
	for {
		select {
		case <-stop:
			return sent
		default:
		}
		for range 64 {
			_, _ = c.Write(msg)
			sent++
		}
	}
}

// asker is a client's figures: how many of its queries were answered, and in what
// time.
type asker struct {
	asked, answered int
	took            []time.Duration
}

func (h *asker) note(began time.Time, ok bool) {
	h.asked++
	if ok {
		h.answered++
		h.took = append(h.took, time.Since(began))
	}
}

// String is the share that was answered, and the 50th and 99th percentiles.
func (h *asker) String() string {
	if len(h.took) == 0 {
		return fmt.Sprintf("0 %% of %d", h.asked)
	}
	slices.Sort(h.took)
	at := func(p int) time.Duration { return h.took[len(h.took)*p/100].Round(10 * time.Microsecond) }
	return fmt.Sprintf("%.1f %% | %v | %v", 100*float64(h.answered)/float64(h.asked), at(50), at(99))
}

// largeWorld is a world with TXT records of about size octets at tSIZE.example.
func largeWorld(t testing.TB, sizes ...int) *world {
	w := newWorld(t)
	text := answers
	for _, size := range sizes {
		text = strings.Replace(text, "* *\n", "", 1)
		text += fmt.Sprintf("t%d.example TXT\n", size)
		for i := 0; i < size-60; i += 200 {
			text += fmt.Sprintf("    answer t%d.example. 3000 IN TXT \"%s%d\"\n", size, strings.Repeat("x", 180), i)
		}
	}
	if err := w.upstream.Load(text + "* *\n"); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestForgedRate: somebody who sends queries with the address of a client uses up the
// client's queries_per_second without cookie, and not those with its cookie or over TCP.
func TestForgedRate(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes the time that is shared here")
	}
	w := newWorld(t)
	w.config(func(s *settings) { s.more = "limits: {queries_per_second: 100}\n" })
	p := start(t, w.dir)
	p.ask("udp", "plain.example", dns.TypeA)
	const victim = "127.0.0.77"
	c := from(t, victim, p.dns[0])
	buf := make([]byte, 4096)
	// The client has a cookie from before.
	c.Write(packed(t, "plain.example.", dns.TypeA, 1232, "0102030405060708"))
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := c.Read(buf)
	m := new(dns.Msg)
	if err != nil || m.Unpack(buf[:n]) != nil || m.IsEdns0() == nil || len(m.IsEdns0().Option) == 0 {
		t.Fatalf("no cookie: %v %v", err, m)
	}
	cookie := m.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
	if b, err := hex.DecodeString(cookie); err != nil || len(b) != 24 {
		t.Fatalf("cookie %q", cookie)
	}

	stop := make(chan struct{})
	var forger sync.WaitGroup
	forger.Go(func() { pour(from(t, victim, p.dns[0]), packed(t, "plain.example.", dns.TypeA, 1232, ""), stop) })
	defer forger.Wait()
	defer close(stop)
	p.within(time.Now(), "the forger has used up the rate", func() (string, bool) {
		return "", p.metric(`rideau_turned_away_total{reason="rate"}`) > 1000
	})
	var byCookie, byTCP asker
	asking := time.NewTicker(20 * time.Millisecond) // half of the rate
	defer asking.Stop()
	with := packed(t, "plain.example.", dns.TypeA, 1232, cookie)
	tcp := dns.Client{Net: "tcp", Timeout: 5 * time.Second, Dialer: &net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(victim)}}}
	for i := range 60 {
		<-asking.C
		began := time.Now()
		if i%3 == 0 {
			m, _, err := tcp.Exchange(new(dns.Msg).SetQuestion("plain.example.", dns.TypeA), p.dns[0])
			byTCP.note(began, err == nil && outcome(m) == passed)
			continue
		}
		c.SetDeadline(began.Add(5 * time.Second))
		_, _ = c.Write(with)
		n, err := c.Read(buf)
		byCookie.note(began, err == nil && m.Unpack(buf[:n]) == nil && outcome(m) == passed)
	}
	publish(t, "A forger uses up a client's rate", []string{
		"| the client's queries | answered | p50 | p99 |", "|---|---:|---:|---:|", "| with its cookie | " + byCookie.String() + " |", "| over TCP | " + byTCP.String() + " |"})
	// Other tests may run beside this one.
	if byCookie.answered*10 < byCookie.asked*9 || byTCP.answered*10 < byTCP.asked*9 {
		t.Errorf("with the cookie %v, over TCP %v", &byCookie, &byTCP)
	}
}

// TestForgedLarge: queries for large answers in the name of somebody else have little
// sent there, however large the answers are. The many clients behind one address get
// all of theirs, and the client whose address was forged gets them over TCP.
func TestForgedLarge(t *testing.T) {
	if raceDetector {
		t.Skip("with the race detector datagrams are lost that are all counted here")
	}
	sizes := []int{600, 1000, 1200, 4000}
	w := largeWorld(t, sizes...)
	w.config(func(s *settings) { s.moreListen = ", udp_size: 4096" })
	p := start(t, w.dir)
	table := []string{"| Answers | queries a second | truncated | octets a second to the address | for each octet of the queries |", "|---|---:|---:|---:|---:|"}
	for i, size := range sizes {
		name := fmt.Sprintf("t%d.example.", size)
		p.ask("tcp", name, dns.TypeTXT)
		victim := fmt.Sprintf("127.0.0.%d", 80+i)
		c := from(t, victim, p.dns[0])
		query := packed(t, name, dns.TypeTXT, 4096, "")
		var got received
		var both sync.WaitGroup
		both.Go(func() { got.count(c) })
		stop := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(stop) }) // sleeps: how long the flood lasts is what is measured
		began := time.Now()
		sent := pour(c, query, stop)
		elapsed := time.Since(began).Seconds()
		m, err := ask("tcp", p.dns[0], name, dns.TypeTXT)
		if err != nil || m.Truncated || len(m.Answer) == 0 {
			t.Errorf("over TCP: %v %v", err, m)
		}
		c.Close()
		both.Wait()
		octets := got.octets.Load()
		table = append(table, fmt.Sprintf("| %d octets | %.0f | %d of %d | %.0f | %.2f |", size, float64(sent)/elapsed,
			got.truncated.Load(), got.answers.Load(), float64(octets)/elapsed, float64(octets)/float64(sent*len(query))))
		// A second's worth at once, then what a second has; each answer has 256 octets more.
		if most := int64(250_000 * (elapsed + 1.2)); got.large.Load()*int64(size-256) > 2*most {
			t.Errorf("%d answers of %d octets in %.1f s", got.large.Load(), size, elapsed)
		}
		if got.truncated.Load() == 0 && sent > 10000 {
			t.Errorf("of %d answers of %d octets none is truncated", got.answers.Load(), size)
		}
	}
	publish(t, "A forger has large answers sent to an address", table)

	// A resolver, or the clients of a network, behind one address: 2,000 queries a
	// second, of which one in ten has a large answer.
	c := from(t, "127.0.0.90", p.dns[0])
	var got received
	var both sync.WaitGroup
	both.Go(func() { got.count(c) })
	small, large := packed(t, "plain.example.", dns.TypeA, 1232, ""), packed(t, "t1000.example.", dns.TypeTXT, 1232, "")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	const rounds = 150
	for range rounds {
		<-tick.C
		for i := range 20 {
			if i%10 == 0 {
				_, _ = c.Write(large)
				continue
			}
			_, _ = c.Write(small)
		}
	}
	p.within(time.Now(), "all are answered", func() (string, bool) {
		return fmt.Sprintf("%d", got.answers.Load()), got.answers.Load() == 20*rounds
	})
	if got.truncated.Load() != 0 || got.large.Load() != 2*rounds {
		t.Errorf("behind one address: %d large answers of %d, %d truncated", got.large.Load(), 2*rounds, got.truncated.Load())
	}
	c.Close()
	both.Wait()
}
