package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// labServer is an upstream in a namespace of its own, which can be stopped and started.
// It answers at once; the answers for big names do not fit in a datagram.
type labServer struct {
	space   *space
	addr    netip.AddrPort
	cert    *tls.Certificate // not nil: it speaks TLS, and nothing else
	servers []*dns.Server
	asked   atomic.Uint64
}

func (u *labServer) start(t testing.TB) {
	t.Helper()
	u.space.do(func() {
		pc, err := net.ListenPacket("udp4", u.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp4", u.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		u.servers = []*dns.Server{{PacketConn: pc}, {Listener: l}}
		if u.cert != nil {
			pc.Close()
			u.servers = []*dns.Server{{Listener: tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*u.cert}})}}
		}
	})
	for _, s := range u.servers {
		s.IdleTimeout = func() time.Duration { return time.Minute }
		s.MaxTCPQueries = -1
		s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			u.asked.Add(1)
			_ = w.WriteMsg(labReply(q, s.PacketConn == nil))
		})
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
	}
}

func (u *labServer) stop() {
	for _, s := range u.servers {
		_ = s.Shutdown()
	}
	u.servers = nil
}

func labReply(q *dns.Msg, tcp bool) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name := q.Question[0].Name
	switch {
	case q.Question[0].Qtype == dns.TypeTXT && strings.HasPrefix(name, "big"):
		for i := range 20 {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 3600}, Txt: []string{fmt.Sprint(i, strings.Repeat("x", 200))}})
		}
		if !tcp {
			m.Answer, m.Truncated = nil, true
		}
	case q.Question[0].Qtype == dns.TypeTXT: // as long as a datagram may be
		for i := range 5 {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 3600}, Txt: []string{fmt.Sprint(i, strings.Repeat("x", 200))}})
		}
	case strings.HasSuffix(name, ".flooded.example."):
		m.Rcode = dns.RcodeNameError
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "flooded.example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 300}, Ns: "ns.flooded.example.", Mbox: "root.flooded.example.", Minttl: 300}}
	case q.Question[0].Qtype == dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 3600}, A: net.IPv4(192, 0, 2, 1)})
	}
	if o := q.IsEdns0(); o != nil {
		m.SetEdns0(1232, o.Do())
	}
	m.Compress = true
	return m
}

// labClients is the number of clients, each in a network of its own.
const labClients = 20

func labSource(i int) string { return fmt.Sprintf("10.3.%d.2", i) }

// lab is rideau in a namespace between its clients and two upstreams. A wire joins it
// to the clients, a path to each upstream.
type lab struct {
	t       testing.TB
	clients *space
	middle  *space
	dir     string // of rideau's configuration
	addr    string // of rideau
	proc    *process
	ups     [2]*labServer
	paths   [2]*path
}

// labOptions say how a lab is built.
type labOptions struct {
	wired bool // what goes upstream goes by wires too, which carry more than a path can
	tls   bool // upstreams are asked over TLS
	more  string
}

func newLab(t testing.TB, o labOptions) *lab {
	t.Helper()
	l := &lab{t: t, clients: newSpace(t, "clients"), middle: newSpace(t, "middle")}
	l.clients.wire("c0", "10.0.0.2/24", l.middle, "m0", "10.0.0.1/24")
	l.middle.ip("route", "add", "10.3.0.0/16", "via", "10.0.0.2")
	for i := range labClients {
		l.clients.ip("addr", "add", labSource(i)+"/32", "dev", "c0")
	}
	var servers []string
	for i := range l.ups {
		u := &labServer{space: newSpace(t, fmt.Sprint("upstream ", i)), addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i), 2}), 53)}
		server := fmt.Sprintf("%q", u.addr)
		device, near := fmt.Sprint("up", i), netip.AddrFrom4([4]byte{10, 1, byte(i), 1})
		if o.tls {
			cert, pin := pinned(t)
			u.cert, u.addr = cert, netip.AddrPortFrom(u.addr.Addr(), 853)
			server = fmt.Sprintf(`{server: "tls://%v", pins: [%s]}`, u.addr.Addr(), pin)
		}
		if o.wired {
			l.middle.wire(device, near.String()+"/24", u.space, "world", u.addr.Addr().String()+"/24")
		} else {
			l.paths[i] = newPath(l.middle, device, near, u.space, "world", u.addr.Addr())
		}
		u.start(t)
		t.Cleanup(u.stop)
		l.ups[i] = u
		servers = append(servers, server)
	}
	w := &world{t: t, dir: t.TempDir()}
	w.write("list.txt", "banned.example\n")
	w.write("rideau.yaml", fmt.Sprintf(`listen: {addresses: ["10.0.0.1:53"]}
clients: {allow: [10.0.0.0/8, loopback]}
upstream: {servers: [%s]}
lists: [{id: list, file: list.txt}]
bans: [{id: ban, title: {en: The ban}, lists: [list]}]
ops: {listen: "127.0.0.1:0", pprof: true}
log: {level: warn}
%s`, strings.Join(servers, ", "), o.more))
	l.dir = w.dir
	return l
}

// serve starts rideau.
func (l *lab) serve() {
	l.middle.do(func() { l.proc = start(l.t, l.dir) })
	l.addr = l.proc.dns[0]
}

// tally counts the outcomes of queries of one kind.
type tally struct {
	mu       sync.Mutex // guards what follows
	sent     int
	answered []time.Duration
	failed   map[string]int
}

func (y *tally) note(took time.Duration, why string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.sent++
	if why == "" {
		y.answered = append(y.answered, took)
		return
	}
	if y.failed == nil {
		y.failed = map[string]int{}
	}
	y.failed[why]++
}

// share returns how many queries of a hundred were answered.
func (y *tally) share() float64 { return 100 * float64(len(y.answered)) / float64(max(y.sent, 1)) }

// quantile returns the time within which a share of the answers came.
func (y *tally) quantile(q float64) time.Duration {
	if len(y.answered) == 0 {
		return 0
	}
	slices.Sort(y.answered)
	return y.answered[min(int(q*float64(len(y.answered))), len(y.answered)-1)]
}

// row returns a line of a table.
func (y *tally) row(phase, kind string) string {
	return fmt.Sprintf("| %-34s | %-6s | %7d | %8.2f | %9s | %9s | %9s | %9s | %v |", phase, kind, y.sent, y.share(),
		ms(y.quantile(.5)), ms(y.quantile(.99)), ms(y.quantile(.999)), ms(y.quantile(1)), y.failed)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }

// rows begins a table of tallies.
func rows() []string {
	return []string{"| phase                              | names  | queries | answered %| p50 ms    | p99 ms    | p99.9 ms  | max ms    | failures |",
		"|---|---|---:|---:|---:|---:|---:|---:|---|"}
}

// publish logs a table, and adds it to the file that RIDEAU_TABLES names, if any.
func publish(t testing.TB, title string, table []string) {
	t.Helper()
	text := title + "\n\n" + strings.Join(table, "\n") + "\n"
	t.Logf("%s", text)
	path := os.Getenv("RIDEAU_TABLES")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	fmt.Fprintln(f, text)
}

// labClient is a socket in a namespace with many outstanding queries at once.
type labClient struct {
	space    *space
	from, to string
	c        net.Conn

	mu   sync.Mutex // guards what follows
	next uint16
	open map[uint16]chan *dns.Msg
}

func newLabClient(t testing.TB, s *space, from, to string) *labClient {
	t.Helper()
	c, err := s.dial("udp", from, to)
	if err != nil {
		t.Fatal(err)
	}
	l := &labClient{space: s, from: from, to: to, c: c, open: map[uint16]chan *dns.Msg{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65535)
		for {
			n, err := c.Read(buf)
			if err != nil {
				if ne, ok := err.(net.Error); ok && !ne.Timeout() && strings.Contains(err.Error(), "refused") {
					continue
				}
				return
			}
			m := new(dns.Msg)
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			l.mu.Lock()
			if ch := l.open[m.Id]; ch != nil {
				ch <- m
				delete(l.open, m.Id)
			}
			l.mu.Unlock()
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return l
}

// ask sends a query once, and returns how long the answer took or what was wrong with
// it. It repeats over TCP if the answer is truncated.
func (l *labClient) ask(name string, qtype uint16) (time.Duration, string) {
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.SetEdns0(1232, false)
	ch := make(chan *dns.Msg, 1)
	l.mu.Lock()
	for l.open[l.next] != nil {
		l.next++
	}
	q.Id = l.next
	l.next++
	l.open[q.Id] = ch
	l.mu.Unlock()
	msg, err := q.Pack()
	if err != nil {
		return 0, err.Error()
	}
	began := time.Now()
	if _, err := l.c.Write(msg); err != nil {
		return 0, "not sent"
	}
	var m *dns.Msg
	timer := time.NewTimer(5 * time.Second)
	defer timer.Stop()
	select {
	case m = <-ch:
	case <-timer.C:
		l.mu.Lock()
		delete(l.open, q.Id)
		l.mu.Unlock()
		return 0, "silence"
	}
	if m.Truncated {
		c, err := l.space.dial("tcp", l.from, l.to)
		if err != nil {
			return 0, "tcp: " + err.Error()
		}
		defer c.Close()
		c.SetDeadline(began.Add(5 * time.Second))
		conn := &dns.Conn{Conn: c}
		if err := conn.WriteMsg(q); err != nil {
			return 0, "tcp"
		}
		if m, err = conn.ReadMsg(); err != nil {
			return 0, "tcp silence"
		}
	}
	took := time.Since(began)
	switch {
	case m.Rcode != dns.RcodeSuccess:
		return 0, dns.RcodeToString[m.Rcode]
	case len(m.Answer) == 0:
		return 0, "empty"
	}
	return took, ""
}

// phase sends queries at an even pace for a time, half for names in the cache and half
// for names that were never queried, and waits for the last answers. It calls middle
// after half the time.
func (l *lab) phase(number int, perSecond int, d time.Duration, big bool, middle func()) (cached, fresh *tally) {
	cached, fresh = new(tally), new(tally)
	var clients []*labClient
	for k := range labClients {
		clients = append(clients, newLabClient(l.t, l.clients, labSource(k), l.addr))
	}
	var all sync.WaitGroup
	total := int(d.Seconds() * float64(perSecond))
	began := time.Now()
	for i := range total {
		// sleeps: the queries come at an even pace
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
		if i == total/2 && middle != nil {
			middle()
		}
		all.Go(func() {
			c := clients[i/2%len(clients)]
			if i%2 == 0 {
				cached.note(c.ask(fmt.Sprintf("cached%d.lab.example.", i/2%50), dns.TypeA))
				return
			}
			name, qtype := fmt.Sprintf("new%d-%d.lab.example.", number, i), dns.TypeA
			if big && i%4 == 1 {
				name, qtype = "big"+name, dns.TypeTXT
			} else if big {
				qtype = dns.TypeTXT
			}
			fresh.note(c.ask(name, qtype))
		})
	}
	all.Wait()
	return cached, fresh
}

// pinned returns a certificate, and the pin of its key.
func pinned(t testing.TB) (*tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(public)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, base64.StdEncoding.EncodeToString(sum[:])
}

// trouble says what happens in a phase.
type trouble struct {
	name   string
	before func()
	middle func()
	big    bool
	want   float64 // of new names, in percent
}

// endure runs phases, and checks how much is answered in each.
func (l *lab) endure(title string, perSecond int, d time.Duration, phases []trouble) {
	l.serve()
	first := newLabClient(l.t, l.clients, labSource(0), l.addr)
	for i := range 50 {
		if _, why := first.ask(fmt.Sprintf("cached%d.lab.example.", i), dns.TypeA); why != "" {
			l.t.Fatalf("without any fault: %s", why)
		}
	}
	table := rows()
	for i, p := range phases {
		if p.before != nil {
			p.before()
		}
		cached, fresh := l.phase(i, perSecond, d, p.big, p.middle)
		l.both(faults{})
		table = append(table, cached.row(p.name, "cached"), fresh.row(p.name, "new"))
		if cached.share() < 99.9 {
			l.t.Errorf("%s: %.2f %% of the cached names were answered: %v", p.name, cached.share(), cached.failed)
		}
		if fresh.share() < p.want {
			l.t.Errorf("%s: %.2f %% of the new names were answered, want %.1f: %v", p.name, fresh.share(), p.want, fresh.failed)
		}
	}
	publish(l.t, title, table)
}

// notHere skips a test that takes a minute and measures time.
func notHere(t testing.TB) {
	t.Helper()
	switch {
	case testing.Short():
		t.Skip("it takes a minute")
	case raceDetector:
		t.Skip("the race detector takes time of its own; the soak is for it")
	}
}

func (l *lab) both(f faults) { l.paths[0].set(f); l.paths[1].set(f) }

// TestLab loses, delays, reorders and duplicates packets of upstreams as networks
// do, and checks how many of the clients' queries are answered. Each query is sent
// once; an answer after five seconds does not count.
func TestLab(t *testing.T) {
	notHere(t)
	t.Parallel() // a lab has networks of its own, and leaves the processors idle for most of the time
	l := newLab(t, labOptions{})
	l.endure("Faults on the way to upstream", 600, 5*time.Second, []trouble{
		{name: "nothing", want: 99.9},
		{name: "30 % loss on the way to the first", before: func() { l.paths[0].set(faults{loss: .3}) }, want: 99.5},
		{name: "30 % loss on both ways", before: func() { l.both(faults{loss: .3}) }, want: 90},
		{name: "500 ms delay of both", before: func() { l.both(faults{delay: 250 * time.Millisecond}) }, want: 99.5},
		{name: "the first is cut off half way", middle: func() { l.paths[0].set(faults{cut: true}) }, want: 99.5},
		{name: "it comes back half way", before: func() { l.paths[0].set(faults{cut: true}) }, middle: func() { l.both(faults{}) }, want: 99.5},
		{name: "MTU 1280, big answers", before: func() { l.both(faults{mtu: 1280}) }, big: true, want: 99.5},
		{name: "the first stops, and starts again", before: l.ups[0].stop, middle: func() { l.ups[0].start(t) }, want: 99.5},
		{name: "20 % out of order, 20 % twice", before: func() { l.both(faults{reorder: .2, duplicate: .2}) }, want: 99.5},
	})
}

// TestLabOverTLS is the same with upstreams over TLS.
func TestLabOverTLS(t *testing.T) {
	notHere(t)
	t.Parallel()
	l := newLab(t, labOptions{tls: true})
	l.endure("Faults on the way to upstream, over TLS", 400, 4*time.Second, []trouble{
		{name: "nothing", want: 99.9},
		{name: "30 % loss on the way to the first", before: func() { l.paths[0].set(faults{loss: .3}) }, want: 99.5},
		{name: "500 ms delay of both", before: func() { l.both(faults{delay: 250 * time.Millisecond}) }, want: 99.5},
		{name: "the first is cut off half way", middle: func() { l.paths[0].set(faults{cut: true}) }, want: 99.5},
		{name: "it comes back half way", before: func() { l.paths[0].set(faults{cut: true}) }, middle: func() { l.both(faults{}) }, want: 99.5},
		{name: "MTU 1280, big answers", before: func() { l.both(faults{mtu: 1280}) }, big: true, want: 99.5},
		{name: "the first stops, and starts again", before: l.ups[0].stop, middle: func() { l.ups[0].start(t) }, want: 99.5},
	})
}
