// Package loop finds out whether an upstream server forwards queries back to this Rideau, by itself or by way of others. Such queries are never
// answered, and each costs as many more as there is time for.
//
// Each server is asked for a name that nobody else knows, below a zone that this Rideau forwards to the detector itself. If the question comes
// back, from whatever client, the server forwards to this Rideau. That costs other queries nothing: the zone is one more entry in the table that
// each query without an answer in the cache is looked up in. dnsmasq (--dns-loop-detect) and CoreDNS (plugin loop) find loops by such names,
// too. The zones here are below example, which no resolver may treat as special (RFC 6761 section 6.5; test, which dnsmasq uses, is answered by
// many without asking on), and for forwarded zones below the zone: its server may well forward all other names to this Rideau.
package loop

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

// Asked anew after firstPause, then after twice as long each time, up to lastPause: a loop begins with a change somewhere, mostly soon after a start.
const (
	firstPause = 10 * time.Second
	lastPause  = 10 * time.Minute
	// timeout is how long an answer is waited for. A question that comes back later counts all the same.
	timeout = 5 * time.Second
	// maxProbes bounds the questions of one round, for configurations with many forwarded zones.
	maxProbes = 64
	// udpSize is the UDP payload that questions announce.
	udpSize = 1232
)

// Default is the zone below which servers of the default group are asked.
const Default = "loop.example"

// Target is a server to be asked.
type Target struct {
	Key    string // where the configuration names it, for the log
	Zone   string // below which it is asked
	Server member.Server
}

// Detector asks servers, and is the [upstream.Upstream] of the zones of its questions. It is safe for concurrent use.
type Detector struct {
	log      *slog.Logger
	label    string // of this detector, below Target.Zone
	targets  []Target
	identity upstream.Identity

	mu     sync.Mutex
	asked  map[string]int // guarded by mu: index of the target by the first label of its last question, in lower case
	looped []bool         // guarded by mu: by target
}

// New makes a detector of loops through targets, beyond the first 64 of which it asks none. It asks nothing before [Detector.Run].
func New(targets []Target, log *slog.Logger) *Detector {
	targets = targets[:min(len(targets), maxProbes)]
	return &Detector{log: log, label: "r" + strings.ToLower(rand.Text()), targets: targets, asked: make(map[string]int), looped: make([]bool, len(targets))}
}

// Zones returns the zones that are to be forwarded to the detector. Each is new with each detector, so that no cache knows it.
func (d *Detector) Zones() []string {
	var out []string
	seen := make(map[string]bool)
	for _, t := range d.targets {
		if z := d.zone(t); !seen[z] {
			seen[z] = true
			out = append(out, z)
		}
	}
	return out
}

func (d *Detector) zone(t Target) string { return d.label + "." + t.Zone }

// Run asks the servers now and then, until ctx ends.
func (d *Detector) Run(ctx context.Context) {
	if len(d.targets) == 0 {
		return
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		d.Ask(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// Ask asks each server once, and returns when all have answered, or after five seconds.
func (d *Detector) Ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var asking sync.WaitGroup
	for i := range d.targets {
		asking.Go(func() { d.ask(ctx, i) })
	}
	asking.Wait()
}

// ask asks one server. If it has answered and the question has not come back, there is no loop any more.
func (d *Detector) ask(ctx context.Context, i int) {
	t := d.targets[i]
	label := strings.ToLower(rand.Text())
	name := new(wire.Name)
	if err := name.SetText(label + "." + d.zone(t)); err != nil {
		return // the zone is too long for names below it
	}
	d.mu.Lock()
	for old, of := range d.asked {
		if of == i {
			delete(d.asked, old)
		}
	}
	d.asked[label] = i
	d.mu.Unlock()
	_, err := t.Server.Exchange(ctx, nil, wire.AppendQuery(nil, 0, name, wire.TypeTXT, wire.ClassIN, false, false, true, udpSize))
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, waiting := d.asked[label]; err == nil && waiting && d.looped[i] {
		d.looped[i] = false
		d.log.Info("upstream does not forward to this rideau any more", "upstream", t.Server.Addr(), "key", t.Key)
	}
}

// Found reports whether a server forwards to this Rideau, as far as is known. addr is [member.Server]'s.
func (d *Detector) Found(addr string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, t := range d.targets {
		if d.looped[i] && t.Server.Addr() == addr {
			return true
		}
	}
	return false
}

// back notes that the question with a label has come back.
func (d *Detector) back(label string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.asked[label]
	if !ok {
		return
	}
	delete(d.asked, label)
	if d.looped[i] {
		return // told
	}
	d.looped[i] = true
	t := d.targets[i]
	d.log.Error("upstream forwards to this rideau: queries run in a circle", "upstream", t.Server.Addr(), "key", t.Key,
		"remedy", fmt.Sprintf("name another server in %s, or take this rideau out of what %s forwards to", t.Key, t.Server.Addr()))
}

// errQuery is the error of an exchange with a query that cannot be read.
var errQuery = errors.New("loop: the query cannot be read")

// Exchange implements [upstream.Upstream]: a question that came back does not exist. Without an SOA record no cache keeps that.
func (d *Detector) Exchange(_ context.Context, dst, query []byte) ([]byte, error) {
	var q wire.Query
	if fault := q.Parse(query); fault != wire.FaultNone || !q.HasQuestion {
		return dst, fmt.Errorf("%w: %w", upstream.ErrNetwork, errQuery)
	}
	if q.Name.Labels() > 0 {
		d.back(string(q.Name.Label(0)))
	}
	return wire.Reply(dst, &q, query, wire.NXDomain), nil
}

// Begin implements [upstream.Upstream]: there is nothing to send.
func (d *Detector) Begin(*upstream.Attempt, time.Time) bool { return false }

// Resume implements [upstream.Upstream].
func (d *Detector) Resume(ctx context.Context, dst, query []byte, _ *upstream.Started) ([]byte, error) {
	return d.Exchange(ctx, dst, query)
}

// Identity implements [upstream.Upstream].
func (d *Detector) Identity() *upstream.Identity { return &d.identity }
