package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// silentServer is an upstream that never answers names with a label that begins
// with "silent", and answers others late or not always.
type silentServer struct {
	conn  *net.UDPConn
	delay time.Duration
	loss  float64
}

func startSilent(t *testing.T, delay time.Duration, loss float64) *silentServer {
	conn, tcp := listenBoth(t)
	conn.SetReadBuffer(4 << 20)
	s := &silentServer{conn: conn, delay: delay, loss: loss}
	var running sync.WaitGroup
	running.Go(s.run)
	running.Go(func() { s.runTCP(tcp, &running) })
	t.Cleanup(func() {
		tcp.Close()
		conn.Close()
		running.Wait()
	})
	return s
}

// listenBoth listens on a port of 127.0.0.1 that is free for UDP and TCP.
func listenBoth(t *testing.T) (*net.UDPConn, *net.TCPListener) {
	t.Helper()
	for range 100 {
		tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Addr().(*net.TCPAddr).Port})
		if err == nil {
			return conn, tcp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil, nil
}

func (s *silentServer) run() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if neverAnswered(buf[:n]) || rand.Float64() < s.loss {
			continue
		}
		out := addressFor(buf[:n])
		send := func() { s.conn.WriteToUDPAddrPort(out, from) }
		if s.delay == 0 {
			send()
			continue
		}
		time.AfterFunc(s.delay, send)
	}
}

// neverAnswered reports whether a query is for a name that gets no answer. Rideau
// sends names in letters of random case.
func neverAnswered(query []byte) bool { return bytes.Contains(bytes.ToLower(query), []byte("silent")) }

// addressFor is a response with one address; nil if there is none.
func addressFor(query []byte) []byte {
	var q dns.Msg
	if q.Unpack(query) != nil {
		return nil
	}
	m := new(dns.Msg).SetReply(&q)
	m.RecursionAvailable = true
	if q.Question[0].Qtype == dns.TypeA {
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}}
	}
	out, _ := m.Pack()
	return out
}

// runTCP answers over TCP, where nothing is lost.
func (s *silentServer) runTCP(l net.Listener, running *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			defer c.Close()
			for {
				var head [2]byte
				c.SetReadDeadline(time.Now().Add(5 * time.Second))
				if _, err := io.ReadFull(c, head[:]); err != nil {
					return
				}
				q := make([]byte, binary.BigEndian.Uint16(head[:]))
				if _, err := io.ReadFull(c, q); err != nil {
					return
				}
				if out := addressFor(q); !neverAnswered(q) {
					c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
				}
			}
		})
	}
}

// askers are clients of 127.0.0.0/8 that ask for A records of names that no
// cache has, evenly spread over time.
type askers struct {
	t       *testing.T
	to      string
	sources []netip.Addr
	perSec  int
	name    func(i int) string
	sent    atomic.Int64

	mu     sync.Mutex
	took   []time.Duration
	failed map[string]int
}

// run asks until stop is closed, and returns when all is answered or given up.
func (a *askers) run(stop <-chan struct{}) {
	var all sync.WaitGroup
	a.failed = map[string]int{}
	for i, source := range a.sources {
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: source.AsSlice()}, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(a.to)))
		if err != nil {
			a.t.Error(err)
			return
		}
		all.Go(func() { a.client(i, conn, stop) })
	}
	all.Wait()
}

func (a *askers) client(i int, conn *net.UDPConn, stop <-chan struct{}) {
	defer conn.Close()
	every := time.Second * time.Duration(len(a.sources)) / time.Duration(a.perSec)
	var mu sync.Mutex
	asked := map[uint16]time.Time{}
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if n < 12 {
				continue
			}
			id := binary.BigEndian.Uint16(buf)
			mu.Lock()
			began, ok := asked[id]
			delete(asked, id)
			mu.Unlock()
			if ok {
				a.answered(time.Since(began), int(buf[3]&0xF))
			}
		}
	})
	tick := time.NewTicker(every) // sleeps: the rate of queries is the subject
	defer tick.Stop()
	for n := i; ; n += len(a.sources) {
		select {
		case <-stop:
			conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				mu.Lock()
				left := len(asked)
				mu.Unlock()
				if left == 0 {
					break
				}
			}
			conn.SetReadDeadline(time.Now())
			reading.Wait()
			a.mu.Lock()
			a.failed["no answer"] += len(asked)
			a.mu.Unlock()
			return
		case <-tick.C:
		}
		m := new(dns.Msg).SetQuestion(a.name(n), dns.TypeA)
		b, err := m.Pack()
		if err != nil {
			a.t.Error(err)
			return
		}
		mu.Lock()
		asked[m.Id] = time.Now()
		mu.Unlock()
		a.sent.Add(1)
		conn.Write(b)
	}
}

func (a *askers) answered(took time.Duration, code int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if code != dns.RcodeSuccess {
		a.failed[dns.RcodeToString[code]]++
		return
	}
	a.took = append(a.took, took)
}

// row is the share that was answered, in percent, and the percentiles.
func (a *askers) row() (share float64, p50, p99 time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	failed := 0
	for _, n := range a.failed {
		failed += n
	}
	n := len(a.took)
	if n == 0 {
		return 0, 0, 0
	}
	slices.Sort(a.took)
	return 100 * float64(n) / float64(n+failed), a.took[n/2], a.took[n*99/100]
}

func loopbacks(second byte, n int) []netip.Addr {
	var all []netip.Addr
	for i := range n {
		all = append(all, netip.AddrFrom4([4]byte{127, second, byte(i >> 8), byte(i) + 1}))
	}
	return all
}

// TestSilence: clients ask for names that upstream never answers. Others, who
// ask for names of other zones, are answered as if nothing were.
func TestSilence(t *testing.T) {
	notHere(t)
	table := []string{
		"| Hostile clients | Upstreams | Honest: answered | p50 | p99 | Memory |",
		"|---|---|---:|---:|---:|---:|",
	}
	full := os.Getenv("RIDEAU_TABLES") != ""
	for _, hostile := range []int{1, 300, 1000} {
		for _, ups := range []int{1, 2} {
			for _, how := range []struct {
				name  string
				delay time.Duration
				loss  float64
			}{{"silent", 0, 0}, {"silent, slow (300 ms)", 300 * time.Millisecond, 0}, {"silent, lossy (20 %)", 0, .2}} {
				if !full && (hostile != 300 || how.delay == 0 == (ups == 1)) {
					continue // TestSilentZones of package upstream has the others, under a fake clock
				}
				t.Run(fmt.Sprintf("%d/%d %s", hostile, ups, how.name), func(t *testing.T) {
					honest, memory := silence(t, hostile, ups, how.delay, how.loss)
					share, p50, p99 := honest.row()
					table = append(table, fmt.Sprintf("| %d | %d, %s | %.1f %% | %.1f ms | %.0f ms | %d MiB |",
						hostile, ups, how.name, share, millis(p50), millis(p99), memory>>20))
					if share < 99.5 {
						t.Errorf("%.2f %% of %d honest queries were answered: %v", share, honest.sent.Load(), honest.failed)
					}
				})
			}
		}
	}
	publish(t, "Names that upstream never answers", table)
}

// silence returns the honest clients, and the memory that Rideau had at most, in octets.
func silence(t *testing.T, hostile, ups int, delay time.Duration, loss float64) (honest *askers, memory int) {
	dir := t.TempDir()
	var servers []string
	for range ups {
		servers = append(servers, fmt.Sprintf("%q", startSilent(t, delay, loss).conn.LocalAddr()))
	}
	conf := fmt.Sprintf("listen: {addresses: [\"127.0.0.1:0\"]}\nops: {listen: \"127.0.0.1:0\"}\nclients: {allow: [127.0.0.0/8]}\nupstream: {servers: [%s]}\n",
		strings.Join(servers, ", "))
	if err := os.WriteFile(filepath.Join(dir, "rideau.yaml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir)
	// Some zones of both have the parent in common, as those of a registry do.
	parent := func(i int) string {
		if i%2 == 0 {
			return "shared.example."
		}
		return "example."
	}
	honest = &askers{t: t, to: p.dns[0], sources: loopbacks(3, 20), perSec: 200,
		name: func(i int) string { return fmt.Sprintf("n%d.zone%d.%s", i, i%40, parent(i)) }}
	evil := &askers{t: t, to: p.dns[0], sources: loopbacks(2, hostile), perSec: 1500, name: func(i int) string {
		z := i % hostile
		return fmt.Sprintf("x%d.silent%d.%s", i, z, parent(z))
	}}
	var all sync.WaitGroup
	stop, stopHonest := make(chan struct{}), make(chan struct{})
	all.Go(func() { evil.run(stop) })
	for end := time.Now().Add(patienceOfSilence); evil.sent.Load() < 2500 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	all.Go(func() { honest.run(stopHonest) })
	for end := time.Now().Add(patienceOfSilence); honest.sent.Load() < 900 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	close(stopHonest)
	close(stop)
	all.Wait()
	_, text := p.get("/metrics")
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "rideau_turned_away") || strings.HasPrefix(l, "rideau_upstream_") && !strings.Contains(l, "seconds") && !strings.Contains(l, " 0\n") {
			t.Log(strings.TrimSpace(l))
		}
	}
	t.Logf("hostile: %d sent, %v; honest: %d sent, %v", evil.sent.Load(), evil.failed, honest.sent.Load(), honest.failed)
	if n := evil.failed["no answer"]; int64(n) > evil.sent.Load()/20 {
		t.Skipf("the machine is too busy: %d of %d queries had no response within five seconds, not even SERVFAIL", n, evil.sent.Load())
	}
	return honest, p.status("VmHWM")
}

// patienceOfSilence is how long the load may take to build up.
const patienceOfSilence = 20 * time.Second

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
