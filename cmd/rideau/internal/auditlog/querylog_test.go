package auditlog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/names"
	"rideau/resolver/cache"
	"rideau/resolver/upstream"
)

// TestQueryLine: whatever a name, a group and a ban are called, the line is JSON.
func TestQueryLine(t *testing.T) {
	r := audit.Record{Time: time.Unix(0, 0), Client: netip.MustParseAddr("fd00::1"), Group: `la"b`,
		Type: 65, Outcome: resolver.Blocked, Ban: "é", Monitored: true, Exception: new(names.Exception)}
	r.SetName([]byte("\x03a.\"\x01\xff\x00"))
	line := new(line).query(&r, Address)
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil || bytes.Count(line, []byte("\n")) != 1 {
		t.Fatalf("%s: %v", line, err)
	}
	want := map[string]any{"time": "1970-01-01T00:00:00.000000Z", "client": "fd00::1", "group": `la"b`, "name": `a\.\".\255.`, "type": "HTTPS",
		"transport": "udp", "outcome": "blocked", "ban": "é", "monitored": true, "excepted": true}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s", line)
	}
}

// world is a resolver whose queries are recorded.
type world struct {
	records  *audit.Log
	resolver *resolver.Resolver
	counters *resolver.Counters
}

func newWorld(t *testing.T) *world {
	t.Helper()
	list := func(id, name string) input.List {
		return input.List{ID: id, Source: id, Format: format.Plain, Unguarded: true,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(name)), nil }}
	}
	ban := func(id string, mode blocklists.Mode, bypass bool) blocklists.Ban {
		return blocklists.Ban{ID: "no-" + id, TitleEN: "Title", EDE: 15, TTL: time.Minute, Groups: []string{"all"}, Lists: []string{id}, Mode: mode, Bypass: bypass}
	}
	snap, _, err := compile.Load(t.Context(), blocklists.Policy{
		Lists:      []input.List{list("chat", "wechat.com"), list("watched", "watched.net"), list("proxies", "proxy.net"), list("needed", "ok.wechat.com")},
		Bans:       []blocklists.Ban{ban("chat", blocklists.Enforce, false), ban("watched", blocklists.Monitor, false), ban("proxies", blocklists.Enforce, true)},
		Exceptions: []blocklists.Exception{{ID: "embassy", Ticket: "T-1", Approver: "somebody", Groups: []string{"all"}, Lists: []string{"needed"}}},
	}, nil, compile.Options{Now: time.Now(), Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	st, err := resolver.NewState(resolver.StateOptions{Policy: snap, UDPSize: 1232, Upstream: empty{}, Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{records: audit.New()}
	w.resolver = resolver.New(resolver.Options{State: st, Cache: cache.New(cache.Options{Entries: 100, Bytes: 1 << 20}), Audit: w.records})
	w.counters = w.resolver.Stats().NewCounters()
	return w
}

// empty is an upstream that answers every question with NODATA.
type empty struct{}

func (empty) Exchange(_ context.Context, dst, query []byte) ([]byte, error) {
	q := new(dns.Msg)
	if err := q.Unpack(query); err != nil {
		return dst, err
	}
	r := new(dns.Msg).SetReply(q)
	r.RecursionAvailable = true
	b, err := r.Pack()
	return append(dst, b...), err
}

func (empty) Begin(*upstream.Attempt, time.Time) bool { return false }

func (u empty) Resume(ctx context.Context, dst, query []byte, _ *upstream.Started) ([]byte, error) {
	return u.Exchange(ctx, dst, query)
}

func (empty) Identity() *upstream.Identity { return nil }

func (w *world) ask(t *testing.T, name string, times int) {
	t.Helper()
	msg, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range times {
		q := resolver.Query{Msg: msg, Client: netip.MustParseAddr("127.0.0.1"), Received: time.Now()}
		_, o := w.resolver.Answer(nil, &q)
		if o.Kind == resolver.Pending {
			_, o = w.resolver.Resolve(t.Context(), nil, &q)
		}
		w.counters.Observe(&q, o, 0)
	}
}

// TestQueryLogCannotBeWritten: what is not written is counted as lost.
func TestQueryLogCannotBeWritten(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	w := newWorld(t)
	l := NewQueryLog(w.records, slog.New(slog.DiscardHandler))
	l.Use(f, Bounds{})
	w.ask(t, "web.wechat.com.", 3)
	l.Use(nil, Bounds{})
	if l.Lost() != 3 {
		t.Errorf("%d lost of 3", l.Lost())
	}
}

// TestQueryLogFiles: each file has the queries that ended while it was in use,
// all of them, whether or not anything passes records on meanwhile.
func TestQueryLogFiles(t *testing.T) {
	w := newWorld(t)
	l := NewQueryLog(w.records, slog.New(slog.DiscardHandler))
	dir := t.TempDir()
	use := func(name string) {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		l.Use(f, Bounds{})
	}
	w.ask(t, "before.example.", 2)
	use("1")
	w.ask(t, "first.example.", 300)
	use("2")
	w.ask(t, "second.example.", 5000)
	l.Use(nil, Bounds{})
	w.ask(t, "between.example.", 2)
	use("3")
	w.ask(t, "third.example.", 1)
	l.Use(nil, Bounds{})
	for name, want := range map[string]int{"1 first": 300, "2 second": 5000, "3 third": 1} {
		file, host, _ := strings.Cut(name, " ")
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if n, all := bytes.Count(text, []byte(host+".example.")), bytes.Count(text, []byte("\n")); n != want || all != want {
			t.Errorf("file %s has %d lines, %d of them of its time; want %d", file, all, n, want)
		}
	}
	if l.Lost() != 0 {
		t.Errorf("%d lost", l.Lost())
	}
}

// TestQueryLogRate: of a flood, as many lines are written as the bound allows, and the others are counted and told.
func TestQueryLogRate(t *testing.T) {
	w := newWorld(t)
	l := NewQueryLog(w.records, slog.New(slog.DiscardHandler))
	path, begun := filepath.Join(t.TempDir(), "log"), time.Now()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Use(f, Bounds{PerSecond: 100})
	w.ask(t, "web.wechat.com.", 5000)
	l.Use(nil, Bounds{})
	most := 100 + int(100*time.Since(begun).Seconds())
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := bytes.Count(text, []byte("web.wechat.com."))
	if n < 100 || n > most || uint64(n)+l.Lost() != 5000 {
		t.Errorf("%d lines and %d lost of 5000; at most %d lines", n, l.Lost(), most)
	}
	if want := fmt.Sprintf(`"lost":%d}`, l.Lost()); !strings.Contains(string(text), want) {
		t.Errorf("the file does not tell %s", want)
	}
}

// TestQueryLogSize: a file that has its size is renamed, and there are two at most; where that is impossible, what is not written is
// counted as lost. A file that somebody else renamed is left alone.
func TestQueryLogSize(t *testing.T) {
	const size = 20000
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "log")
	open := func() (*os.File, error) { return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600) }
	l := NewQueryLog(w.records, slog.New(slog.DiscardHandler))
	use := func(b Bounds) {
		t.Helper()
		f, err := open()
		if err != nil {
			t.Fatal(err)
		}
		l.Use(f, b)
	}
	sizes := func(want ...string) {
		t.Helper()
		all, _ := filepath.Glob(path + "*")
		for i, p := range all {
			all[i] = filepath.Base(p)
			if info, err := os.Stat(p); err != nil || info.Size() > size || info.Size() == 0 {
				t.Errorf("%s: %v, %v", p, info, err)
			}
		}
		if !slices.Equal(all, want) {
			t.Errorf("the files are %q, want %q", all, want)
		}
	}
	use(Bounds{Bytes: size, Open: open})
	w.ask(t, "web.wechat.com.", 1000)
	l.Use(nil, Bounds{})
	if sizes("log", "log"+Old); l.Lost() != 0 {
		t.Errorf("%d lost", l.Lost())
	}

	use(Bounds{Bytes: size, Open: open}) // appends
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	w.ask(t, "web.wechat.com.", 150)
	l.Use(nil, Bounds{})
	sizes("log", "log.1", "log"+Old)

	use(Bounds{Bytes: size, Open: func() (*os.File, error) { return nil, os.ErrPermission }})
	w.ask(t, "web.wechat.com.", 1000)
	l.Use(nil, Bounds{})
	if l.Lost() == 0 {
		t.Error("nothing is lost")
	}
}

// eventLog runs an EventLog in a synctest bubble; end ends it and returns its lines, each once if it comes again and again.
func eventLog(t *testing.T, w *world, o EventOptions) (events *EventLog, end func() []string) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	events = NewEventLog(w.records, log, func() (n uint64) {
		for _, slot := range w.resolver.Stats().Totals().Blocks {
			for _, by := range slot {
				n += by
			}
		}
		return n
	})
	events.Use(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go w.records.Run(ctx)
	go func() {
		defer close(done)
		events.Run(ctx)
	}()
	return events, func() []string {
		cancel()
		<-done
		var got []string
		for line := range strings.Lines(out.String()) {
			if line = strings.TrimSpace(line); len(got) == 0 || got[len(got)-1] != line {
				got = append(got, line)
			}
		}
		return got
	}
}

// TestEventLog: each kind of event is logged with its facts, some a second, and
// then how many more there were.
func TestEventLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		events, end := eventLog(t, w, EventOptions{PerSecond: 20})
		w.ask(t, "wechat.com.", 1) // no event
		w.ask(t, "ok.wechat.com.", 1)
		w.ask(t, "proxy.net.", 1)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		w.ask(t, "www.watched.net.", 23)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		w.ask(t, "last.watched.net.", 1)
		got := end()
		want := []string{
			`msg="let through by an exception" ban=no-chat list=needed rule=ok.wechat.com. name=ok.wechat.com. type=A client=127.0.0.1 group=all exception=embassy ticket=T-1 approver=somebody`,
			`msg="tried to go round this resolver" ban=no-proxies list=proxies rule=proxy.net. name=proxy.net. type=A client=127.0.0.1 group=all stopped=true`,
			`msg="would have been blocked" ban=no-watched list=watched rule=watched.net. name=www.watched.net. type=A client=127.0.0.1 group=all action=nxdomain`,
			`msg="more would have been blocked" queries=3`,
			`msg="would have been blocked" ban=no-watched list=watched rule=watched.net. name=last.watched.net. type=A client=127.0.0.1 group=all action=nxdomain`,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if events.Lost() != 0 || events.Counted() != 3 {
			t.Errorf("%d lost, %d counted", events.Lost(), events.Counted())
		}
	})
}

// TestBlockedLines: each blocked query has a line, with as much of the client as is to be logged. Of a flood, some have, the others are
// counted, and recording them ends until the second is over.
func TestBlockedLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		events, end := eventLog(t, w, EventOptions{Blocked: true, PerSecond: 5, Clients: Network})
		settle := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		w.ask(t, "a.Web.wechat.com.", 2)
		settle(2 * time.Second)
		w.ask(t, "wechat.com.", 300)
		settle(100 * time.Millisecond)
		if wanted := resolver.Marks(w.records.Wanted().Load()); wanted&resolver.Banned != 0 {
			t.Error("blocked queries are recorded though the lines are used up")
		}
		w.ask(t, "wechat.com.", 1000)
		settle(2 * time.Second)
		w.ask(t, "wechat.com.", 1)
		settle(100 * time.Millisecond)
		events.Use(EventOptions{PerSecond: 5, Clients: Nobody})
		w.ask(t, "wechat.com.", 1)
		w.ask(t, "www.watched.net.", 1)
		got := end()
		want := []string{
			`msg=blocked ban=no-chat list=chat rule=wechat.com. name=a.web.wechat.com. type=A client=127.0.0.0/24 group=all action=nxdomain`,
			`msg=blocked ban=no-chat list=chat rule=wechat.com. name=wechat.com. type=A client=127.0.0.0/24 group=all action=nxdomain`,
			`msg="more blocked" queries=1295`,
			`msg=blocked ban=no-chat list=chat rule=wechat.com. name=wechat.com. type=A client=127.0.0.0/24 group=all action=nxdomain`,
			`msg="would have been blocked" ban=no-watched list=watched rule=watched.net. name=www.watched.net. type=A group=all action=nxdomain`,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if events.Counted() != 1295 {
			t.Errorf("%d counted", events.Counted())
		}
	})
}

// TestClients: what is written of an address.
func TestClients(t *testing.T) {
	for _, c := range []struct{ address, network string }{
		{"192.0.2.77", "192.0.2.0/24"}, {"2001:db8:1:2:3::4", "2001:db8:1::/48"}, {"::ffff:192.0.2.77", "192.0.2.0/24"}, {"fe80::1%eth0", "fe80::/48"},
	} {
		a := netip.MustParseAddr(c.address)
		if got := []string{Address.String(a), Network.String(a), Nobody.String(a)}; !slices.Equal(got, []string{c.address, c.network, ""}) {
			t.Errorf("%q", got)
		}
	}
}

// TestLineTime: a time is what the time package makes of it, whatever the line
// before had.
func TestLineTime(t *testing.T) {
	var l line
	at := time.Unix(1767225599, 999_999_000)
	for _, step := range []time.Duration{0, 999, time.Microsecond, 1234567, time.Second, -time.Second, 40 * 365 * 24 * time.Hour, -200 * 365 * 24 * time.Hour} {
		at = at.Add(step)
		want := `{"time":"` + at.UTC().Format("2006-01-02T15:04:05.000000Z07:00") + "\",\"lost\":7}\n"
		if got := string(l.loss(at, 7)); got != want {
			t.Errorf("got %s want %s", got, want)
		}
	}
}
