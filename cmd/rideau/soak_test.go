package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// soakTime returns how long the soak lasts: RIDEAU_SOAK, or 30 seconds in continuous
// integration. Otherwise it skips the test.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("RIDEAU_SOAK")
	if text == "" && os.Getenv("RIDEAU_CI") == "1" {
		text = "30s"
	}
	if text == "" {
		t.Skip("RIDEAU_SOAK says for how long it runs, such as 2m")
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSoak runs rideau while everything goes wrong at once: upstreams that send forged
// answers, fall silent and come back, reloads of good and broken configurations,
// floods of random names, clients that stall. After each such storm there is a calm, in
// which memory, goroutines and open files go back to what they were. No client ever
// gets a forged answer, and a banned name is always blocked.
func TestSoak(t *testing.T) {
	length := soakTime(t)
	storm := 2 * time.Second
	if length < time.Minute {
		storm = time.Second // so that there are enough to tell whether anything grows
	}
	s := &soak{t: t, w: &world{t: t, dir: t.TempDir()}, failed: map[string]int{}}
	for range 3 {
		s.liars = append(s.liars, newLiar(t))
	}
	s.w.write("list.txt", "banned.example\n")
	s.w.write("rideau.yaml", s.config(0))
	s.p = start(t, s.w.dir)

	var usage []footprint
	var resident []float64
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); {
		s.storm(storm)
		s.calm()
		usage = append(usage, s.p.footprint())
		resident = append(resident, s.p.metric("process_resident_memory_bytes"))
	}
	s.settle()
	t.Logf("%d storms, %d reloads, %d of them refused; %d queries answered, %d with failures %v",
		len(usage), s.reloads.Load(), s.refused.Load(), s.answered.Load(), s.failures.Load(), s.failed)
	if s.answered.Load() == 0 || s.reloads.Load() == 0 || s.refused.Load() == 0 || s.blocked.Load() == 0 {
		t.Error("too little has happened to say anything")
	}
	if n := s.p.metric("rideau_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
	if len(usage) < 8 {
		t.Skipf("%d storms are too few to tell whether anything grows", len(usage))
	}
	flat(t, usage)
	n := len(resident)
	second, last := mean(resident[n/4:n/2]), mean(resident[n-n/4:])
	t.Logf("octets of resident memory: %.0f in the second quarter, %.0f in the last", second, last)
	if last > 1.25*second+32<<20 && !raceDetector { // that one's shadow of memory is never given back
		t.Errorf("octets of resident memory: %.0f in the second quarter, %.0f in the last", second, last)
	}
}

// soak is a rideau with hostile clients and upstreams.
type soak struct {
	t     *testing.T
	w     *world
	p     *process
	liars []*liar
	round int

	reloads, refused            atomic.Uint64
	answered, blocked, failures atomic.Uint64
	mu                          sync.Mutex     // guards failed
	failed                      map[string]int // by what they were
}

// config returns the n-th configuration: the upstreams change places, and one name is
// banned every other time.
func (s *soak) config(n int) string {
	var servers []string
	for i := range 2 + n%2 {
		servers = append(servers, s.liars[(n+i)%len(s.liars)].addr)
	}
	return fmt.Sprintf(`listen: {addresses: ["127.0.0.1:0"], max_pending: 512, tcp: {idle_timeout: 1s}}
upstream: {servers: ["%s"], attempt_timeout: 200ms, timeout: 1s, probe_interval: 1s}
lists: [{id: list, file: list.txt}, {id: more, names: [name-%d.example]}]
bans: [{id: ban, title: {en: The ban}, lists: [list, more]}]
cache: {max_entries: 2000}
ops: {listen: "127.0.0.1:0", pprof: true}
log: {level: error}
reload: {watch: false}
`, strings.Join(servers, `", "`), n%5)
}

// storm causes all the trouble at once, for a time.
func (s *soak) storm(d time.Duration) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	every := func(pause time.Duration, f func(i int)) {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(pause):
					f(i)
				}
			}
		})
	}
	every(150*time.Millisecond, func(i int) { // moods change, one upstream at a time
		s.liars[i%len(s.liars)].mood.Store(int32(rand.IntN(int(moods))))
	})
	every(200*time.Millisecond, func(i int) { s.reload(i) })
	for k := range 6 {
		network := []string{"udp", "udp", "tcp"}[k%3]
		all.Go(func() { s.client(network, k, stop) })
	}
	all.Go(func() { s.flood(stop) })
	every(20*time.Millisecond, func(i int) { s.stall(i, stop, &all) })
	every(5*time.Millisecond, func(int) { s.nonsense() })
	time.Sleep(d) // sleeps: the storm lasts so long
	close(stop)
	all.Wait()
	for _, u := range s.liars {
		u.mood.Store(int32(honest))
	}
	s.round++
}

// calm waits until no client, no query and no request is left over from a storm.
func (s *soak) calm() {
	time.Sleep(time.Second) // sleeps: requests to silent upstreams end by themselves, after upstream.timeout
	s.p.within(time.Now(), "no query waits, and no client is connected", func() (string, bool) {
		pending, conns := s.p.metric("rideau_pending_queries"), s.p.metric("rideau_tcp_connections")
		return fmt.Sprintf("%v queries, %v connections", pending, conns), pending == 0 && conns == 0
	})
}

// reload changes the configuration: every third is broken, and must be refused.
func (s *soak) reload(i int) {
	broken := i%3 == 2
	text := s.config(s.round + i)
	if broken {
		text = []string{"listen: [", text + "\nnonsense: 1\n", strings.Replace(text, "127.0.0.1", "nowhere", 1), ""}[i/3%4]
	}
	broken = broken && text != ""
	s.w.replace("rideau.yaml", text)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.Post(s.p.ops+"/reload", "", nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	switch {
	case broken == (resp.StatusCode == http.StatusOK) && text != "":
		s.t.Errorf("broken is %v and the reload said %d: %s", broken, resp.StatusCode, body)
	case resp.StatusCode == http.StatusOK:
		s.reloads.Add(1)
	default:
		s.refused.Add(1)
	}
}

// client sends different queries, one after the other.
func (s *soak) client(network string, k int, stop <-chan struct{}) {
	c := dns.Client{Net: network, Timeout: 3 * time.Second}
	var conn *dns.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(2 * time.Millisecond):
		}
		name := []string{fmt.Sprintf("c%d.lab.example.", rand.IntN(3000)), fmt.Sprintf("nx-%d.lab.example.", rand.IntN(3000)), "x.banned.example.", "popular.lab.example."}[i%4]
		q := new(dns.Msg).SetQuestion(name, dns.TypeA)
		q.SetEdns0(1232, i%3 == 0)
		if conn == nil {
			var err error
			if conn, err = c.Dial(s.p.dns[0]); err != nil {
				s.fail("dial " + network)
				continue
			}
		}
		m, _, err := c.ExchangeWithConn(q, conn)
		if err != nil {
			conn.Close()
			conn = nil
			s.fail(network + " " + kindOf(err))
			continue
		}
		s.check(name, m)
	}
}

func kindOf(err error) string {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return "silence"
	case errors.Is(err, io.EOF):
		return "closed"
	}
	return "error"
}

func (s *soak) fail(what string) {
	s.failures.Add(1)
	s.mu.Lock()
	s.failed[what]++
	s.mu.Unlock()
}

// check compares an answer with the true one.
func (s *soak) check(name string, m *dns.Msg) {
	s.answered.Add(1)
	got := outcome(m)
	if strings.HasSuffix(name, ".banned.example.") {
		s.blocked.Add(1)
		if got != blocked {
			s.t.Errorf("%s: %s", name, got)
		}
		return
	}
	if strings.Contains(m.String(), lie) {
		s.t.Errorf("a lie reached a client: %v", m)
	}
	if m.Rcode == dns.RcodeServerFailure {
		s.fail("SERVFAIL")
	}
}

// flood sends queries for random names below one zone, and waits for no answers.
func (s *soak) flood(stop <-chan struct{}) {
	c, err := net.Dial("udp", s.p.dns[0])
	if err != nil {
		s.t.Error(err)
		return
	}
	defer c.Close()
	for {
		select {
		case <-stop:
			return
		default:
		}
		for range 20 {
			q := new(dns.Msg).SetQuestion(fmt.Sprintf("%x.flooded.example.", rand.Uint64()), dns.TypeA)
			if msg, err := q.Pack(); err == nil {
				_, _ = c.Write(msg)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// stall opens a connection, and stops in the middle of a message.
func (s *soak) stall(i int, stop <-chan struct{}, all *sync.WaitGroup) {
	c, err := net.DialTimeout("tcp", s.p.dns[0], time.Second)
	if err != nil {
		s.fail("dial tcp")
		return
	}
	q, err := new(dns.Msg).SetQuestion("popular.lab.example.", dns.TypeA).Pack()
	if err != nil {
		s.t.Error(err)
	}
	q = append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
	switch i % 5 {
	case 0: // nothing at all
	case 1:
		_, _ = c.Write(q[:1])
	case 2:
		_, _ = c.Write(q[:len(q)/2])
	case 3: // many queries whose answers are never read
		c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for range 200 {
			_, _ = c.Write(q)
		}
	case 4:
		_, _ = c.Write(q)
		c.(*net.TCPConn).CloseWrite()
	}
	all.Go(func() {
		select {
		case <-stop:
		case <-time.After(time.Duration(rand.IntN(2000)) * time.Millisecond):
		}
		if i%2 == 0 {
			c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
	})
}

// nonsense sends octets that are unlikely to be a query.
func (s *soak) nonsense() {
	c, err := net.Dial("udp", s.p.dns[0])
	if err != nil {
		return
	}
	defer c.Close()
	msg := make([]byte, rand.IntN(80))
	for i := range msg {
		msg[i] = byte(rand.IntN(256))
	}
	if len(msg) > 5 && rand.IntN(2) == 0 {
		copy(msg[2:], []byte{1, 0, 0, 1})
	}
	_, _ = c.Write(msg)
}

// settle waits until everything works again, and fails the test if that takes long.
func (s *soak) settle() {
	for _, u := range s.liars {
		u.mood.Store(int32(honest))
	}
	s.w.replace("rideau.yaml", s.config(0))
	if code, r := s.p.reload(""); code != http.StatusOK {
		s.t.Fatalf("the good configuration is refused: %d %v", code, r)
	}
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		m, err := ask("udp", s.p.dns[0], fmt.Sprintf("end%d.lab.example.", rand.IntN(1<<30)), dns.TypeA)
		if err == nil && outcome(m) == "NOERROR "+truth {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("after the last storm: %v %v", m, err)
		}
	}
}

func mean(all []float64) float64 {
	sum := 0.0
	for _, x := range all {
		sum += x
	}
	return sum / float64(max(len(all), 1))
}
