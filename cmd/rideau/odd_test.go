//go:build linux

package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest/odd"
)

// place is where among its upstreams a resolver has the odd one.
type place int

const (
	alone  place = iota
	first        // of two, which are asked in order
	second       // of three, which are asked in turn
	both         // the first and the second of three, which are asked in order
	places
)

func (p place) String() string {
	return [...]string{"alone", "first of two", "second of three", "two of three"}[p]
}

// oddRow is a way in which upstreams are odd, and how much is to be answered with it.
// The other upstreams are right in all.
type oddRow struct {
	name   string
	server func() *odd.Server
	over   []odd.Transport                         // nil: UDP, with TCP beside it
	zone   func(q *dns.Msg) *dns.Msg               // the right answers; nil: odd.Plain
	ask    func(i int) (name string, qtype uint16) // what the i-th query is for; nil: the address of a new name
	right  func(m *dns.Msg) bool                   // nil: NOERROR with an answer
	more   string                                  // keys of the section upstream, each with a comma before it
	inside string                                  // a zone that a server of its own is asked for, which is right in all; none if empty

	// Clients ask in two rounds. Before the second one, between is called if it is
	// not nil, and so much time passes.
	between func(s *odd.Server)
	pause   time.Duration

	// want is the share of queries that is to be answered, by place; 1 where it says
	// nothing. Where it is 0, the row is played for the table only.
	want map[place]float64
	// within is the time in which half of the second round is answered, by place; 800
	// ms, for a machine that has other work, where it says nothing, and 1.2 s behind
	// two odd upstreams, each of which has 400 ms.
	within map[place]time.Duration
}

// The clients of a row.
const (
	oddRound    = 10                    // queries of a round
	oddPace     = 20 * time.Millisecond // from one to the next
	oddPatience = 5 * time.Second
)

// played is what a resolver made of a row.
type played struct {
	tally
	second tally  // of it, the second round
	state  string // of the odd upstream, as Rideau's metrics have it
}

func (p *played) String() string {
	if len(p.answered) == 0 {
		return fmt.Sprintf("0 %% %v", p.failed)
	}
	return fmt.Sprintf("%.0f %%, %s, %s", p.share(), brief(p.quantile(.5)), brief(p.quantile(1)))
}

func brief(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", millis(d))
	}
	return fmt.Sprintf("%.1f ms", millis(d))
}

// oddUpstreams are the started upstreams of a row: the odd ones, and all in order.
type oddUpstreams struct {
	odd, all []*odd.Server
	over     odd.Transport
	inTurn   bool
	inside   *odd.Server // of the zone; nil if there is none
	zone     string
}

func (row *oddRow) start(t *testing.T, over odd.Transport, at place) *oddUpstreams {
	u := &oddUpstreams{over: over, inTurn: at == second}
	strange := func() {
		s := row.server()
		s.Over, s.Zone = over, row.zone
		u.odd, u.all = append(u.odd, s), append(u.all, s)
	}
	good := func() { u.all = append(u.all, &odd.Server{Over: over, Zone: row.zone}) }
	switch at {
	case alone:
		strange()
	case first:
		strange()
		good()
	case second:
		good()
		strange()
		good()
	case both:
		strange()
		strange()
		good()
	}
	for _, s := range u.all {
		s.Start(t)
	}
	if u.zone = row.inside; u.zone != "" {
		u.inside = &odd.Server{}
		u.inside.Start(t)
	}
	return u
}

// startRideau runs Rideau with these upstreams. Its configuration is the one of
// config/rideau.example.yaml in all but what more says.
func (u *oddUpstreams) startRideau(t *testing.T, more string) *process {
	var servers []string
	for _, s := range u.all {
		switch u.over {
		case odd.UDP:
			servers = append(servers, fmt.Sprintf("%q", s.Addr()))
		case odd.TCP:
			servers = append(servers, fmt.Sprintf("\"tcp://%v\"", s.Addr()))
		case odd.TLS:
			servers = append(servers, fmt.Sprintf(`{server: "tls://%v", pins: [%q]}`, s.Addr(), s.Pin()))
		case odd.QUIC:
			servers = append(servers, fmt.Sprintf(`{server: "quic://%v", pins: [%q]}`, s.Addr(), s.Pin()))
		case odd.HTTP3:
			servers = append(servers, fmt.Sprintf(`{server: "h3://%v/dns-query", pins: [%q]}`, s.Addr(), s.Pin()))
		case odd.HTTPS:
			servers = append(servers, fmt.Sprintf(`{server: "https://%v/dns-query", pins: [%q]}`, s.Addr(), s.Pin()))
		}
	}
	strategy := "ordered"
	if u.inTurn {
		strategy = "weighted"
	}
	route := ""
	if u.inside != nil {
		route = fmt.Sprintf("forward: [{zones: [%s], servers: [%q]}]\n", u.zone, u.inside.Addr())
	}
	w := &world{t: t, dir: t.TempDir()}
	w.write("rideau.yaml", fmt.Sprintf(`listen: {addresses: ["127.0.0.1:0"]}
upstream: {servers: [%s], strategy: %s%s}
%sops: {listen: "127.0.0.1:0"}
log: {level: error}
`, strings.Join(servers, ", "), strategy, more, route))
	return start(t, w.dir)
}

// stateOf is the state of an upstream by the metrics.
func (p *process) stateOf(s *odd.Server) string {
	_, text := p.get("/metrics")
	m := regexp.MustCompile(`(?m)^rideau_upstream_state\{state="([a-z]+)",upstream="[^"]*` + regexp.QuoteMeta(s.Addr().String()) + `[^"]*"\} 1$`).FindStringSubmatch(text)
	if m == nil {
		return "unknown"
	}
	return m[1]
}

// play has clients ask the resolver at addr, and counts in y.
func (row *oddRow) play(addr string, u *oddUpstreams, y *played) {
	began := time.Now()
	for round := range 2 {
		if round == 1 {
			if row.between != nil {
				for _, s := range u.odd {
					row.between(s)
				}
			}
			time.Sleep(row.pause) // sleeps: what happens in a pause is the subject of the row
		}
		var all sync.WaitGroup
		for i := range oddRound {
			time.Sleep(oddPace) // sleeps: clients ask at an even pace
			all.Go(func() {
				name, qtype := fmt.Sprintf("n%d.%d.example.", round*oddRound+i, began.UnixMicro()), dns.TypeA
				if row.ask != nil {
					name, qtype = row.ask(round*oddRound + i)
				}
				took, why := askOnce(addr, name, qtype, row.right)
				y.note(took, why)
				if round == 1 {
					y.second.note(took, why)
				}
			})
		}
		all.Wait()
	}
}

// askOnce sends a query once, as a stub does with EDNS, and over TCP if the answer is
// truncated. It returns how long that took, or what was wrong.
func askOnce(addr, name string, qtype uint16, right func(*dns.Msg) bool) (time.Duration, string) {
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.SetEdns0(1232, false)
	began := time.Now()
	c := dns.Client{Timeout: oddPatience, UDPSize: 4096}
	m, _, err := c.Exchange(q, addr)
	if err == nil && m.Truncated {
		c = dns.Client{Net: "tcp", Timeout: max(oddPatience-time.Since(began), time.Millisecond)}
		m, _, err = c.Exchange(q, addr)
	}
	took := time.Since(began)
	if err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			return 0, "silence"
		}
		return 0, err.Error()
	}
	if right == nil {
		right = func(m *dns.Msg) bool { return m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 }
	}
	switch {
	case right(m):
		return took, ""
	case m.Rcode == dns.RcodeSuccess:
		return 0, "not the answer"
	}
	return 0, cmp.Or(dns.RcodeToString[m.Rcode], fmt.Sprint("code ", m.Rcode))
}

// oddCase is one row over one transport, with the odd upstream in one place.
type oddCase struct {
	row  oddRow
	over odd.Transport
	at   place

	today *float64 // not nil: the share that is answered now, where it is too little or too late

	rideau *played
	peers  map[string]*played
}

func (c *oddCase) name() string { return fmt.Sprintf("%s/%s/%v", c.row.name, c.over, c.at) }

func want(m map[place]float64, at place) float64 {
	if w, ok := m[at]; ok {
		return w
	}
	return 1
}

// oddCases are all rows over all their transports in all places.
func oddCases(t *testing.T) []*oddCase {
	var all []*oddCase
	today := oddToday()
	for _, row := range oddRows() {
		over := row.over
		if over == nil {
			over = []odd.Transport{odd.UDP}
		}
		for _, o := range over {
			for at := range places {
				c := &oddCase{row: row, over: o, at: at, peers: map[string]*played{}}
				if share, open := today[c.name()]; open {
					c.today = &share
					delete(today, c.name())
				}
				all = append(all, c)
			}
		}
	}
	for name := range today {
		t.Errorf("oddToday has %q, which is no case", name)
	}
	return all
}

// TestOdd: clients are answered though upstreams are odd.
//
// With RIDEAU_TABLES the rows are played in all places, and with other forwarders, too,
// where they are installed. Rideau has to answer at least as much as the best of them,
// in about its time at most.
func TestOdd(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	if raceDetector {
		t.Skip("some hundred processes are too slow with the race detector")
	}
	tables := os.Getenv("RIDEAU_TABLES") != ""
	cases := oddCases(t)
	work := make(chan *oddCase)
	var workers sync.WaitGroup
	// Most of the time passes in waiting.
	for range 4 * runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for c := range work {
				t.Run(c.name(), func(t *testing.T) { c.run(t, tables) })
			}
		})
	}
	for _, c := range cases {
		if tables || want(c.row.want, c.at) > 0 && (c.at == alone || c.at == both) {
			work <- c
		}
	}
	close(work)
	workers.Wait()
	if tables {
		publish(t, "Odd upstreams", oddTable(cases))
	}
}

func (c *oddCase) run(t *testing.T, peers bool) {
	faults := c.attempt(t)
	if len(faults) > 0 {
		// Other work of the machine may have taken the time.
		t.Logf("once more, after: %v", faults)
		faults = c.attempt(t)
	}
	if peers {
		c.askPeers(t)
		faults = append(faults, c.compare()...)
	}
	for _, f := range faults {
		t.Error(f)
	}
}

// attempt plays the row with Rideau, and returns what is not as it is to be.
func (c *oddCase) attempt(t *testing.T) []string {
	u := c.row.start(t, c.over, c.at)
	p := u.startRideau(t, c.row.more)
	c.rideau = new(played)
	c.row.play(p.dns[0], u, c.rideau)
	c.rideau.state = p.stateOf(u.odd[0])
	t.Logf("%s: %v, second round %v, %s, failed %v", c.name(), c.rideau, &played{tally: *copied(&c.rideau.second)}, c.rideau.state, c.rideau.failed)
	return c.check(t)
}

// askPeers plays the row with each of the other forwarders.
func (c *oddCase) askPeers(t *testing.T) {
	for _, peer := range oddPeers() {
		u := c.row.start(t, c.over, c.at)
		if addr := peer.start(t, u); addr != "" {
			y := new(played)
			c.peers[peer.name] = y
			c.row.play(addr, u, y)
			t.Logf("%s: %v, failed %v", peer.name, y, y.failed)
		}
	}
}

// copied is a tally without its lock.
func copied(y *tally) *tally { return &tally{sent: y.sent, answered: y.answered, failed: y.failed} }

// check compares with what the row wants.
func (c *oddCase) check(t *testing.T) []string {
	goal, got := want(c.row.want, c.at), c.rideau.share()/100
	limit := 800 * time.Millisecond
	if c.at == both {
		limit = 1200 * time.Millisecond
	}
	if w, ok := c.row.within[c.at]; ok {
		limit = w
	}
	took := c.rideau.second.quantile(.5)
	enough, soon := got > goal-.001, took <= limit
	switch {
	case c.today == nil && !enough:
		return []string{fmt.Sprintf("%.0f %% were answered, want %.0f %%: %v", 100*got, 100*goal, c.rideau.failed)}
	case c.today == nil && !soon:
		return []string{fmt.Sprintf("the second round took %v in the middle, want %v at most", took, limit)}
	case c.today != nil && got < *c.today-.001:
		return []string{fmt.Sprintf("%.0f %% were answered, and %.0f %% before: %v", 100*got, 100**c.today, c.rideau.failed)}
	case c.today != nil && enough && soon:
		t.Logf("all is as wanted: take %q out of oddToday", c.name())
	}
	return nil
}

// compare compares with the best of the others. Times have a margin for a machine that
// has other work.
func (c *oddCase) compare() (faults []string) {
	best, who := new(played), ""
	for name, p := range c.peers {
		if p.share() > best.share() || p.share() == best.share() && p.share() > 0 && p.quantile(.5) < best.quantile(.5) {
			best, who = p, name
		}
	}
	if c.today != nil || best.share() == 0 || want(c.row.want, c.at) == 0 {
		return nil
	}
	if c.rideau.share() < best.share() {
		return []string{fmt.Sprintf("%.0f %% were answered, and %.0f %% by %s", c.rideau.share(), best.share(), who)}
	}
	for _, q := range []float64{.5, 1} {
		if mine, other := c.rideau.quantile(q), best.quantile(q); mine > other*3/2+250*time.Millisecond {
			faults = append(faults, fmt.Sprintf("%.0f %% of the answers took up to %v, and %v by %s", 100*q, mine, other, who))
		}
	}
	return faults
}

// oddTable has a line for each case: how much was answered, half of it in what time, and
// all of it.
func oddTable(cases []*oddCase) []string {
	var names []string
	for _, p := range oddPeers() {
		if slices.ContainsFunc(cases, func(c *oddCase) bool { return c.peers[p.name] != nil }) {
			names = append(names, p.name)
		}
	}
	head := []string{"Upstream", "Over", "It is", "Rideau", "Its state"}
	lines := []string{"| " + strings.Join(append(head, names...), " | ") + " |", strings.Repeat("|---", len(head)+len(names)) + "|"}
	last := ""
	for _, c := range cases {
		if c.rideau == nil {
			continue
		}
		cells := []string{c.row.name, string(c.over), c.at.String(), cell(c.rideau), c.rideau.state}
		if here := c.row.name + string(c.over); here == last {
			cells[0], cells[1] = "", ""
		} else {
			last = here
		}
		for _, n := range names {
			cells = append(cells, cell(c.peers[n]))
		}
		lines = append(lines, "| "+strings.Join(cells, " | ")+" |")
	}
	return lines
}

func cell(p *played) string {
	switch {
	case p == nil:
		return ""
	case len(p.answered) == 0:
		return "0 %"
	}
	return p.String()
}
