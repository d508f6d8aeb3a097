package server_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/cmd/rideau/internal/clock"
	"rideau/cmd/rideau/internal/server"
	"rideau/resolver/resolvertest"
)

// settable is a machine's clock that can be set. Its elapsed time is that of the real machine.
type settable struct {
	mu      sync.Mutex
	ahead   time.Duration // of the real clock
	started time.Time
}

func (c *settable) set(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = time.Until(to)
}

func (c *settable) options() clock.Options {
	return clock.Options{Elapsed: func() time.Duration { return time.Since(c.started) }, Now: func() time.Time {
		c.mu.Lock()
		defer c.mu.Unlock()
		return time.Now().Add(c.ahead)
	}}
}

const datedConfig = `listen: {addresses: ["127.0.0.1:0"]}
upstream: {servers: ["%s"], probe_interval: 200ms}
lists:
  - {id: begun, names: [begun.example]}
  - {id: later, names: [later.example]}
  - {id: ends, names: [ends.example]}
  - {id: always, names: [allowed.example, soon.example]}
bans:
  - {id: begun, title: {en: Begun}, lists: [begun], effective: %s}
  - {id: later, title: {en: Later}, lists: [later], effective: %s}
  - {id: ends, title: {en: Ends}, lists: [ends], expires: %[4]s}
  - {id: always, title: {en: Always}, lists: [always]}
exceptions:
  - {id: allowed, names: [allowed.example], reason: it ends, expires: %[4]s}
  - {id: soon, names: [soon.example], reason: it begins, effective: %[3]s, expires: 2099-01-01}
ops: {listen: "127.0.0.1:0"}
`

// TestWrongClock: with a clock in 1970, bans that began by the times of the files are in force. A clock that jumps
// ends no ban and begins no exception, neither forward nor back.
func TestWrongClock(t *testing.T) {
	up := new(resolvertest.Upstream)
	up.Start(t)
	if err := up.Load(". SOA\n* A\n\tanswer any.example. 300 IN A 192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	date := func(days int) string { return time.Now().AddDate(0, 0, days).Format(time.DateOnly) }
	config := fmt.Sprintf(datedConfig, up.Addr(), date(-2), date(30), date(60))
	c := &settable{started: time.Now().Add(-time.Hour)}
	i := startWith(t, config, c.options())
	blocked := func(names ...string) {
		t.Helper()
		for _, n := range []string{"begun", "later", "ends", "allowed", "soon"} {
			want := dns.RcodeSuccess
			for _, b := range names {
				if b == n {
					want = dns.RcodeNameError
				}
			}
			i.becomes(n+".example.", want)
		}
	}
	told := func(distrusted bool, note string) {
		t.Helper()
		want := map[bool]string{false: "rideau_clock_distrusted 0\n", true: "rideau_clock_distrusted 1\n"}[distrusted]
		if got := i.get("/metrics"); !strings.Contains(got, want) {
			t.Errorf("/metrics has no %q", want)
		}
		if got := i.get("/readyz"); strings.Contains(got, "the clock is distrusted") != distrusted || !strings.Contains(got, note) {
			t.Errorf("/readyz says %q, want %q", got, note)
		}
	}
	blocked("begun", "ends", "soon")
	told(false, "ready")
	c.set(time.Now().AddDate(0, 0, 90)) // forward: later begins, ends does not end, soon does not begin, allowed ends
	blocked("begun", "later", "ends", "allowed", "soon")
	told(true, "jumped forward")
	if n := strings.Count(i.log.String(), "system's clock is distrusted"); n != 1 {
		t.Errorf("the log says %d times that the clock is distrusted", n)
	}
	c.set(time.Now().AddDate(-20, 0, 0)) // back: begun stays
	blocked("begun", "ends", "soon")
	told(true, "set the clock")
	c.set(time.Now())
	blocked("begun", "ends", "soon")
	told(false, "ready")
	i.stop()

	c.set(time.Unix(0, 0))
	i = startWith(t, config, c.options())
	if i.facts.Clock.Distrusted == "" {
		t.Error("the facts of the start do not say that the clock is distrusted")
	}
	blocked("begun", "ends", "soon")
	told(true, "1970-01-01")
	c.set(time.Now())
	blocked("begun", "ends", "soon")
	told(false, "ready")
	// A file from the future: later begins, and nothing ends by it.
	future := time.Now().AddDate(0, 0, 90)
	if err := os.Chtimes(i.path("rideau.yaml"), future, future); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Reload(t.Context(), "the test"); err != nil {
		t.Fatal(err)
	}
	blocked("begun", "later", "ends", "allowed", "soon")
	told(true, "rideau.yaml")
	if err := os.Chtimes(i.path("rideau.yaml"), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Reload(t.Context(), "the test"); err != nil {
		t.Fatal(err)
	}
	blocked("begun", "ends", "soon")
	told(false, "ready")
}

// startWith runs a server of a configuration with another clock.
func startWith(t *testing.T, config string, o clock.Options) *instance {
	t.Helper()
	i := &instance{t: t, folder: t.TempDir(), log: new(syncBuffer)}
	i.write("rideau.yaml", config)
	started := make(chan server.Facts, 1)
	i.Server = server.New(server.Options{Config: i.path("rideau.yaml"), Log: i.log, Workers: 1, Clock: o,
		Started: func(f server.Facts) { started <- f }})
	i.run(started)
	return i
}

// becomes waits until a name gets that response code.
func (i *instance) becomes(name string, rcode int) {
	i.t.Helper()
	var got string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c := dns.Client{Timeout: 5 * time.Second}
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), i.facts.Addrs[0].String())
		if err == nil && m.Rcode == rcode {
			return
		}
		if got = fmt.Sprint(err); err == nil {
			got = dns.RcodeToString[m.Rcode]
		}
	}
	i.t.Errorf("%s: %s, want %s", name, got, dns.RcodeToString[rcode])
}

// get returns what the operators' HTTP says.
func (i *instance) get(path string) string {
	i.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + i.facts.Ops + path)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(body)
}
