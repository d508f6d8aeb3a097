package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestReloadUnderLoad changes the policy hundreds of times while clients query
// without a pause. Every query is answered; a name that is always banned is always
// blocked; a name that is banned every other time is answered by one of the two
// policies and, once a reload is confirmed, by the new one; and memory, goroutines
// and open files do not grow.
func TestReloadUnderLoad(t *testing.T) {
	reloads := 400
	switch {
	case os.Getenv("RIDEAU_FULL") == "1":
		reloads = 1000
	case testing.Short():
		reloads = 120
	}
	w := newWorld(t)
	w.config(func(s *settings) { s.more = "cache: {max_entries: 256}" })
	base := "banned.example\n"
	for i := range 500 {
		base += fmt.Sprintf("name-%d.example.net\n", i)
	}
	versions := [2]string{base, base + "second.example\n"}
	w.write("list.txt", versions[0])
	p := start(t, w.dir)
	for _, name := range []string{"plain.example", "second.example", "alias.example"} {
		p.ask("udp", name, dns.TypeA)
	}

	load := &load{t: t, addr: p.dns[0]}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 6 {
		network := []string{"udp", "tcp"}[i%3/2] // two of three by UDP
		clients.Go(func() { load.client(network, i, stop) })
	}

	client := http.Client{Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	var usage []footprint
	began := time.Now()
	for i := 1; i <= reloads && !t.Failed(); i++ {
		load.epoch.Add(1) // odd: either policy
		w.replace("list.txt", versions[i%2])
		resp, err := client.Post(p.ops+"/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("reload %d: %d %s", i, resp.StatusCode, body)
		}
		load.epoch.Add(1) // even: the policy of version epoch/2
		time.Sleep(3 * time.Millisecond)
		if i%(reloads/40) == 0 {
			usage = append(usage, p.footprint())
		}
	}
	took := time.Since(began)
	close(stop)
	clients.Wait()
	t.Logf("%d reloads in %v; %d queries answered, %d of them under a policy that was confirmed",
		reloads, took.Round(time.Millisecond), load.answered.Load(), load.confirmed.Load())
	if load.answered.Load() < uint64(reloads) || load.confirmed.Load() == 0 {
		t.Error("too few queries to say anything")
	}
	if n := p.metric("rideau_policy_generation"); n < float64(reloads) {
		t.Errorf("generation %v after %d reloads", n, reloads)
	}
	if n := p.metric("rideau_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
	flat(t, usage)
}

// flat fails the test if the last quarter used more than the second.
func flat(t *testing.T, usage []footprint) {
	t.Helper()
	if len(usage) < 8 {
		t.Fatalf("%d measurements", len(usage))
	}
	n := len(usage) / 4
	middle := func(part []footprint, of func(footprint) float64) float64 {
		var all []float64
		for _, f := range part {
			all = append(all, of(f))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	for _, c := range []struct {
		what    string
		of      func(footprint) float64
		percent float64
		more    float64
	}{
		{"octets of heap", func(f footprint) float64 { return f.heap }, 10, 4 << 20},
		{"goroutines", func(f footprint) float64 { return f.goroutines }, 10, 20},
		{"open files", func(f footprint) float64 { return f.files }, 10, 20},
	} {
		second, last := middle(usage[n:2*n], c.of), middle(usage[3*n:], c.of)
		t.Logf("%s: %.0f in the second quarter, %.0f in the last", c.what, second, last)
		if last > second*(1+c.percent/100)+c.more {
			t.Errorf("%s: %.0f in the second quarter and %.0f in the last", c.what, second, last)
		}
	}
}

// footprint is what a process uses.
type footprint struct{ heap, goroutines, files float64 }

// footprint measures after a garbage collection.
func (p *process) footprint() footprint {
	p.t.Helper()
	code, profile := p.get("/debug/pprof/heap?gc=1&debug=1")
	m := regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`).FindStringSubmatch(profile)
	if code != http.StatusOK || m == nil {
		p.t.Fatalf("heap profile: %d", code)
	}
	heap, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return footprint{heap, p.metric("go_goroutines"), p.metric("process_open_fds")}
}

// load is clients that check their answers.
type load struct {
	t    *testing.T
	addr string
	// epoch is odd while a reload runs. Otherwise half of it is the number of
	// reloads, and if that is odd second.example is banned.
	epoch               atomic.Uint64
	answered, confirmed atomic.Uint64
}

// outstanding is a query without an answer yet.
type outstanding struct {
	name  string
	epoch uint64 // when it was sent
}

// client sends a query every two milliseconds until stop, and waits for the
// last answers. At most 32 queries are outstanding, so that no buffer can
// overflow, and only Rideau can lose a query.
func (l *load) client(network string, number int, stop <-chan struct{}) {
	c, err := net.Dial(network, l.addr)
	if err != nil {
		l.t.Error(err)
		return
	}
	conn := &dns.Conn{Conn: c, UDPSize: 1232}
	w := window{pending: map[uint16]outstanding{}, free: make(chan struct{}, 32)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.receive(network, conn, &w)
	}()
	defer func() {
		c.Close()
		<-done
	}()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			w.await(l.t, network)
			return
		case <-tick.C:
		}
		select {
		case w.free <- struct{}{}:
		case <-stop:
			w.await(l.t, network)
			return
		}
		q := new(dns.Msg).SetQuestion(l.name(number, i), dns.TypeA)
		q.SetEdns0(1232, false)
		q.Id = uint16(i)
		w.add(q.Id, outstanding{q.Question[0].Name, l.epoch.Load()})
		if err := conn.WriteMsg(q); err != nil {
			l.t.Errorf("client %d by %s: %v", number, network, err)
			return
		}
	}
}

// receive checks answers until the connection is closed.
func (l *load) receive(network string, conn *dns.Conn, w *window) {
	for {
		m, err := conn.ReadMsg()
		now := l.epoch.Load()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			l.t.Errorf("reading by %s: %v", network, err)
			return
		}
		q, ok := w.take(m.Id)
		if !ok {
			l.t.Errorf("an answer by %s that nobody waits for: %v", network, m)
			return
		}
		l.check(network, q, now, m)
		<-w.free
	}
}

// window has a client's outstanding queries.
type window struct {
	free    chan struct{} // holds a token for each
	mu      sync.Mutex    // guards pending
	pending map[uint16]outstanding
}

func (w *window) add(id uint16, q outstanding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending[id] = q
}

func (w *window) take(id uint16) (outstanding, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q, ok := w.pending[id]
	delete(w.pending, id)
	return q, ok
}

// await waits until all queries are answered, for longer than Rideau waits for
// its upstreams.
func (w *window) await(t *testing.T, network string) {
	for end := time.Now().Add(7 * time.Second); len(w.free) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.mu.Lock()
			defer w.mu.Unlock()
			t.Errorf("%d queries by %s were lost: %v", len(w.pending), network, w.pending)
			return
		}
	}
}

// name returns the next name that a client queries: banned names, names in the
// cache, and names that were never queried.
func (l *load) name(client, i int) string {
	switch i % 16 {
	case 0:
		return fmt.Sprintf("n%d-%d.fresh.example.", client, i)
	case 1:
		return fmt.Sprintf("n%d-%d.banned.example.", client, i)
	case 2, 3, 4:
		return "banned.example."
	case 5, 6:
		return "alias.example."
	case 7, 8, 9:
		return "plain.example."
	}
	return "second.example."
}

// check compares an answer with the policy of that time.
func (l *load) check(network string, q outstanding, now uint64, m *dns.Msg) {
	l.answered.Add(1)
	got := outcome(m)
	var want []string
	switch {
	case strings.HasSuffix(q.name, "banned.example.") || q.name == "alias.example.":
		want = []string{blocked}
	case q.name == "plain.example.":
		want = []string{passed}
	case strings.HasSuffix(q.name, ".fresh.example."):
		want = []string{"NOERROR"}
	case now != q.epoch || now%2 == 1:
		want = []string{passed, blocked}
	default:
		l.confirmed.Add(1)
		want = []string{passed, blocked}[now/2%2:][:1]
	}
	if !slices.Contains(want, got) {
		l.t.Errorf("%s by %s: %s, want %q (sent in epoch %d, answered in %d)", q.name, network, got, want, q.epoch, now)
	}
}
