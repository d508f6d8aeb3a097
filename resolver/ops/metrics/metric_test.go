package metrics_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"rideau/blocklists"
	"rideau/resolver"
	"rideau/resolver/device"
	"rideau/resolver/ops/metrics"
	"rideau/resolver/qtype"
)

// busy returns Sources with a value for every metric.
func busy(t testing.TB) metrics.Sources {
	stats := new(resolver.Stats)
	workers := []*resolver.Counters{stats.NewCounters(), stats.NewCounters()}
	none := resolver.Outcome{Ban: blocklists.NoBan}
	observe := func(n int, transport resolver.Transport, took time.Duration, change func(*resolver.Outcome)) {
		o := none
		change(&o)
		for i := range n {
			workers[i%len(workers)].Observe(&resolver.Query{Transport: transport}, o, took)
		}
	}
	observe(3, resolver.UDP, 20*time.Microsecond, func(o *resolver.Outcome) { o.Kind, o.Qtype = resolver.Cached, qtype.A })
	observe(1, resolver.TCP, 10*time.Second, func(o *resolver.Outcome) { o.Kind, o.Qtype = resolver.Failed, qtype.HTTPS })
	observe(5, resolver.UDP, 10*time.Microsecond, func(o *resolver.Outcome) { o.Kind, o.Qtype, o.Ban = resolver.Blocked, qtype.AAAA, 0 })
	observe(2, resolver.UDP, time.Millisecond, func(o *resolver.Outcome) {
		o.Kind, o.Ban, o.Action = resolver.Dropped, 0, blocklists.Drop
	})
	observe(4, resolver.UDP, 3*time.Millisecond, func(o *resolver.Outcome) { o.Kind, o.Ban, o.Monitored, o.Overruled = resolver.Forwarded, 1, true, 1 })
	s := load(t, policy(), nil, new(blocklists.Slots))
	reloads := new(metrics.ReloadLog)
	reloads.Record(now, true, []metrics.ListResult{{List: "wechat", OK: true}, {List: "kaspersky", OK: true}, {List: "tiktok", OK: true}})
	reloads.Record(now.Add(time.Minute), false, []metrics.ListResult{{List: "wechat", OK: true}, {List: "kaspersky"}})
	up := answered("192.0.2.53:53", 1500*time.Millisecond)
	up.Requests, up.Mismatches = 10, 3
	up.RTT, up.P95, up.InFlight, up.Hedges, up.HedgeWins = 20*time.Millisecond, 50*time.Millisecond, 2, 4, 5
	up.Busy = []metrics.Failure{{Reason: "all", Count: 3}, {Reason: "client", Count: 6}, {Reason: "zone"}}
	up.ConnectionAnswers = 3
	up.Uses = []metrics.Use{{What: "cookies", Used: true}, {What: "edns"}}
	up.Failures = []metrics.Failure{{Reason: "timeout", Count: 2}, {Reason: "refused"}}
	up.Duration = metrics.Histogram{Bounds: []time.Duration{time.Millisecond, time.Second}, Counts: []uint64{5, 2, 1}, Sum: 3500 * time.Millisecond}
	return metrics.Sources{
		Totals:    stats.Totals,
		Policy:    func() *blocklists.Snapshot { return s },
		Unrelated: func() uint64 { return 5 },
		Refreshes: func() (uint64, uint64) { return 3, 4 },
		Cache:     func() metrics.Cache { return metrics.Cache{1, 2, 3, 4, 5, 6, 7, 8} },
		Upstreams: func() []metrics.Upstream {
			return []metrics.Upstream{up, {Name: "[2001:db8::53]:53", Failures: []metrics.Failure{{Reason: "timeout"}}}, up}
		},
		Encrypted: func() metrics.Encrypted {
			return metrics.Encrypted{Connections: []metrics.Connections{{Transport: "dot", Open: 22}, {Transport: "doq", Open: 23}}, Handshakes: 24, Refused: 25, Evicted: 26,
				Certificates: []metrics.Certificate{{File: "/etc/dns.pem", Expires: time.Unix(1800000000, 0)}}}
		},
		Listener: func() metrics.Listener {
			return metrics.Listener{8, 9, 10, 11, 19, []metrics.Failure{{Reason: "all", Count: 20}, {Reason: "flood", Count: 21}}, true}
		},
		Bypass: func() []metrics.Bypass {
			return []metrics.Bypass{{Group: "all", Attempts: 14, Devices: 15}, {Group: "mobile", Attempts: 16, Devices: 17, Overflow: 18}}
		},
		SelfTest:   func() (time.Time, int) { return now, 2 },
		Distrusted: func() string { return "the clock says 1970" },
		Panics:     func() uint64 { return 12 },
		OpsDenied:  func() uint64 { return 17 },
		Alerts: func() metrics.Alerts {
			return metrics.Alerts{Conditions: []metrics.Alert{{Condition: "sink_down", Told: 2, Open: 1}}, Suppressed: 3}
		},
		EventsDropped: func() uint64 { return 13 },
		EventsCounted: func() uint64 { return 14 },
		QueriesLost:   func() uint64 { return 14 },
		Sinks: func() []metrics.Sink {
			return []metrics.Sink{{Name: "siem", Offered: 30, Delivered: 20, Repeated: 2, Dropped: []metrics.Failure{{Reason: "queue", Count: 3}, {Reason: "spool_full", Count: 4}},
				Waiting: 3, SpoolBytes: 4096, Failing: true}}
		},
		Store: func() *metrics.Store {
			return &metrics.Store{Bytes: 65536, Oldest: now, Reduced: 5, Removed: 6, Early: 7, Damaged: 8}
		},
		Reloads: reloads,
		Lists: func() []metrics.ListSource {
			return []metrics.ListSource{
				{List: "good", URL: true, Fetches: map[string]uint64{"updated": 1, "unchanged": 2}, LastFetch: now},
				{List: "bad", URL: true, Fetches: map[string]uint64{"failed": 3}, LastGood: "no network"},
				{List: "file", LastGood: "the file is gone"},
			}
		},
		Build: metrics.Build{Version: "v1.2.3", Revision: "0123abcd"},
	}
}

// The golden file has everything that Rideau itself exposes. To accept a
// change, run the test with UPDATE_GOLDEN=1 and read the difference.
func TestMetricsGolden(t *testing.T) {
	text := scrape(t, busy(t))
	parse(t, text)
	var got strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "rideau_") {
			got.WriteString(line)
		}
	}
	// These values differ by machine.
	have := regexp.MustCompile(`(?m)^(rideau_policy_memory_bytes) [1-9].*$`).ReplaceAllString(got.String(), "$1 N")
	have = regexp.MustCompile(`goversion="[^"]+"`).ReplaceAllString(have, `goversion="GO"`)
	golden := filepath.Join("testdata", "metrics.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Errorf("%s differs; got:\n%s", golden, have)
	}
}

func TestEveryMetricIsExposedAsDescribed(t *testing.T) {
	families := parse(t, scrape(t, busy(t)))
	for _, d := range metrics.Descriptions() {
		f := families[d.Name]
		if f == nil {
			t.Errorf("%s is not exposed", d.Name)
			continue
		}
		if kind := strings.ToLower(f.GetType().String()); kind != d.Type || f.GetHelp() != d.Help {
			t.Errorf("%s is a %s %q", d.Name, kind, f.GetHelp())
		}
		want := slices.Sorted(slices.Values(d.Labels))
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName())
			}
			if slices.Sort(labels); !slices.Equal(labels, want) {
				t.Errorf("%s has labels %v, want %v", d.Name, labels, want)
			}
		}
		delete(families, d.Name)
	}
	for name := range families {
		if strings.HasPrefix(name, "rideau_") {
			t.Errorf("%s is not described", name)
		}
	}
	for _, name := range []string{"process_start_time_seconds", "go_goroutines"} {
		if families[name] == nil {
			t.Errorf("%s is not exposed", name)
		}
	}
}

func TestPromlint(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(metrics.NewCollector(busy(t))); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Without Sources there is only the build, and no panic.
func TestMetricsWithoutSources(t *testing.T) {
	got := values(t, scrape(t, metrics.Sources{}), "rideau_")
	if len(got) != 1 {
		t.Errorf("got %v", got)
	}
	empty := metrics.Sources{
		Totals: new(resolver.Stats).Totals, Policy: func() *blocklists.Snapshot { return nil },
		Upstreams: func() []metrics.Upstream { return nil }, Reloads: new(metrics.ReloadLog),
	}
	got = values(t, scrape(t, empty), "rideau_")
	want := []string{"rideau_reload_last_failed{}", "rideau_reload_last_success_timestamp_seconds{}",
		"rideau_reloads_total{result=failure}", "rideau_reloads_total{result=success}"}
	delete(got, "rideau_build_info{goversion="+runtimeVersion(t)+",revision=,version=}")
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
		t.Errorf("got %v", keys)
	}
}

func runtimeVersion(t *testing.T) string {
	t.Helper()
	for k := range values(t, scrape(t, metrics.Sources{}), "rideau_build_info") {
		return regexp.MustCompile(`goversion=([^,]*)`).FindStringSubmatch(k)[1]
	}
	t.Fatal("no build info")
	return ""
}

// Counters never fall when the policy changes, and a ban keeps its id after it
// is removed.
func TestBlocksAcrossReloads(t *testing.T) {
	slots := new(blocklists.Slots)
	p := policy()
	current := load(t, p, nil, slots)
	stats := new(resolver.Stats)
	worker := stats.NewCounters()
	count := func(ban string, monitored bool) {
		for i := range current.Policy().Bans {
			if b := current.Ban(uint8(i)); b.ID == ban {
				worker.Observe(&resolver.Query{}, resolver.Outcome{Kind: resolver.Blocked, Ban: current.BanSlot(uint8(i)), Action: b.Action, Monitored: monitored}, 0)
			}
		}
	}
	o := metrics.Sources{Totals: stats.Totals, Policy: func() *blocklists.Snapshot { return current }}
	check := func(want map[string]float64) {
		t.Helper()
		text := scrape(t, o)
		got := values(t, text, "rideau_blocks_total")
		maps.Copy(got, values(t, text, "rideau_would_block_total"))
		if !maps.Equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	}
	check(map[string]float64{
		"rideau_blocks_total{action=nxdomain,ban=WECHAT-2023}": 0,
		"rideau_blocks_total{action=sinkhole,ban=LATER}":       0,
		"rideau_would_block_total{ban=KASPERSKY-2023}":         0,
	})
	count("WECHAT-2023", false)
	count("KASPERSKY-2023", true)

	// One ban is removed, one changes its action, one is enforced now, one is
	// new.
	next := policy()
	next.Bans = slices.Clone(p.Bans[1:])
	next.Bans[0].Mode = blocklists.Enforce
	next.Bans[2].Action = blocklists.Refuse
	next.Bans = append(next.Bans, p.Bans[0])
	next.Bans[3].ID = "NEW"
	current = load(t, next, current, slots)
	count("NEW", false)
	count("KASPERSKY-2023", false)
	check(map[string]float64{
		"rideau_blocks_total{action=nxdomain,ban=WECHAT-2023}":    1,
		"rideau_blocks_total{action=nxdomain,ban=KASPERSKY-2023}": 1,
		"rideau_blocks_total{action=refused,ban=LATER}":           0,
		"rideau_blocks_total{action=nxdomain,ban=NEW}":            1,
		"rideau_would_block_total{ban=KASPERSKY-2023}":            1,
	})
}

// Bans beyond the slots are counted as others, and added to a ban with that id.
func TestBlocksBeyondSlots(t *testing.T) {
	slots := new(blocklists.Slots)
	p := policy()
	p.Bans[0].ID = blocklists.OtherBans
	current := load(t, p, nil, slots)
	stats := new(resolver.Stats)
	for _, slot := range []blocklists.Slot{0, blocklists.MaxSlots - 1} {
		stats.NewCounters().Observe(&resolver.Query{}, resolver.Outcome{Kind: resolver.Blocked, Ban: slot}, 0)
	}
	text := scrape(t, metrics.Sources{Totals: stats.Totals, Policy: func() *blocklists.Snapshot { return current }})
	if got := values(t, text, "rideau_blocks_total")["rideau_blocks_total{action=nxdomain,ban=other}"]; got != 2 {
		t.Errorf("got %v", got)
	}
}

func TestUpstreamsComeAndGo(t *testing.T) {
	all := []metrics.Upstream{answered("a", 0), answered("b", 0)}
	o := metrics.Sources{Upstreams: func() []metrics.Upstream { return all }}
	if n := len(values(t, scrape(t, o), "rideau_upstream_healthy")); n != 2 {
		t.Errorf("%d upstreams", n)
	}
	all = all[1:]
	if got := values(t, scrape(t, o), "rideau_upstream_"); len(got) != 12 {
		t.Errorf("got %v", got)
	}
	for k := range values(t, scrape(t, o), "rideau_upstream_") {
		if strings.Contains(k, "upstream=a") {
			t.Errorf("%s is still there", k)
		}
	}
}

// A value that cannot be exposed affects no other.
func TestBadValues(t *testing.T) {
	src := busy(t)
	src.Upstreams = func() []metrics.Upstream {
		return []metrics.Upstream{{Name: "bad\xff", Requests: 1}, {Name: "good", Requests: 2,
			Duration: metrics.Histogram{Bounds: []time.Duration{1}, Counts: []uint64{1}}}}
	}
	got := values(t, scrape(t, src), "rideau_")
	if got["rideau_upstream_requests_total{upstream=good}"] != 2 || got["rideau_panics_total{}"] != 12 {
		t.Errorf("got %v", got)
	}
	if _, ok := got["rideau_upstream_duration_seconds{upstream=good}"]; ok {
		t.Error("a histogram without its last count is exposed")
	}
}

func TestReloadLog(t *testing.T) {
	log := new(metrics.ReloadLog)
	o := metrics.Sources{Reloads: log}
	log.Record(now, true, []metrics.ListResult{{"a", true}, {"gone", true}})
	log.Record(now.Add(time.Second), false, nil) // the configuration was refused
	log.Record(now.Add(2*time.Second), false, []metrics.ListResult{{"a", false}, {"new", true}})
	check := func(want map[string]float64) {
		t.Helper()
		text := scrape(t, o)
		got := values(t, text, "rideau_reload")
		maps.Copy(got, values(t, text, "rideau_list_reloads_total"))
		if !maps.Equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	}
	check(map[string]float64{
		"rideau_reloads_total{result=success}":             1,
		"rideau_reloads_total{result=failure}":             2,
		"rideau_reload_last_failed{}":                      1,
		"rideau_reload_last_success_timestamp_seconds{}":   float64(now.Unix()),
		"rideau_list_reloads_total{list=a,result=success}": 1, "rideau_list_reloads_total{list=a,result=failure}": 1,
		"rideau_list_reloads_total{list=gone,result=success}": 1, "rideau_list_reloads_total{list=gone,result=failure}": 0,
		"rideau_list_reloads_total{list=new,result=success}": 1, "rideau_list_reloads_total{list=new,result=failure}": 0,
	})
	log.Record(now.Add(3*time.Second), true, []metrics.ListResult{{"a", true}, {"new", true}})
	check(map[string]float64{
		"rideau_reloads_total{result=success}":             2,
		"rideau_reloads_total{result=failure}":             2,
		"rideau_reload_last_failed{}":                      0,
		"rideau_reload_last_success_timestamp_seconds{}":   float64(now.Unix() + 3),
		"rideau_list_reloads_total{list=a,result=success}": 2, "rideau_list_reloads_total{list=a,result=failure}": 1,
		"rideau_list_reloads_total{list=new,result=success}": 2, "rideau_list_reloads_total{list=new,result=failure}": 0,
	})
}

// Scrapes run concurrently with each other and with all that changes the
// numbers.
func TestConcurrentScrapes(t *testing.T) {
	src := busy(t)
	stats := new(resolver.Stats)
	src.Totals = stats.Totals
	handler := metrics.Handler(src, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.Background())
	var writers, readers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			c := stats.NewCounters()
			for i := 0; ctx.Err() == nil; i++ {
				c.Observe(&resolver.Query{}, resolver.Outcome{Kind: resolver.Blocked, Ban: blocklists.Slot(i % 4)}, time.Duration(i))
				src.Reloads.Record(now, i%2 == 0, []metrics.ListResult{{"wechat", true}})
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			last := -1.0
			for range 5 {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
				if w.Code != 200 {
					t.Errorf("got %d %s", w.Code, w.Body)
					return
				}
				var sum float64
				for _, v := range values(t, w.Body.String(), "rideau_queries_total") {
					sum += v
				}
				if sum < last {
					t.Errorf("queries fell from %v to %v", last, sum)
				}
				last = sum
			}
		})
	}
	readers.Wait()
	stop()
	writers.Wait()
}

func TestMetricsCompressed(t *testing.T) {
	w := get(t, busy(t), "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(values(t, string(text), "rideau_panics_total")); n != 1 {
		t.Error("no metrics in it")
	}
}

// If the policy has a ban on bypasses, its groups are exposed from the start;
// groups that a reload removed remain.
func TestBypassGroups(t *testing.T) {
	for name, c := range map[string]struct {
		ban  func(b *blocklists.Ban)
		seen []metrics.Bypass
		want map[string]float64
	}{
		"no such ban": {func(*blocklists.Ban) {}, nil, map[string]float64{}},
		"off":         {func(b *blocklists.Ban) { b.Bypass, b.Mode = true, blocklists.Off }, nil, map[string]float64{}},
		"nobody":      {func(b *blocklists.Ban) { b.Bypass = true }, nil, map[string]float64{"all": 0, "mobile": 0}},
		"monitored":   {func(b *blocklists.Ban) { b.Bypass, b.Mode = true, blocklists.Monitor }, nil, map[string]float64{"all": 0, "mobile": 0}},
		"somebody": {func(b *blocklists.Ban) { b.Bypass = true }, []metrics.Bypass{{Group: "former", Attempts: 2, Devices: 1}, {Group: "mobile", Attempts: 3, Devices: 2}},
			map[string]float64{"all": 0, "former": 2, "mobile": 3}},
	} {
		p := policy()
		p.Groups = []blocklists.Group{{ID: "mobile", Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
		c.ban(&p.Bans[0])
		s := load(t, p, nil, new(blocklists.Slots))
		text := scrape(t, metrics.Sources{
			Policy: func() *blocklists.Snapshot { return s },
			Bypass: func() []metrics.Bypass { return c.seen },
		})
		want := map[string]float64{}
		for group, n := range c.want {
			want["rideau_bypass_attempts_total{group="+group+"}"] = n
		}
		if got := values(t, text, "rideau_bypass_attempts_total"); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// The groups of the device table convert to those of the metrics.
func TestBypassOfDevices(t *testing.T) {
	table := device.New(device.Options{})
	table.Seen("all", netip.MustParseAddr("192.0.2.1"), now)
	var all []metrics.Bypass
	for _, g := range table.Groups(now) {
		all = append(all, metrics.Bypass(g))
	}
	if want := []metrics.Bypass{{Group: "all", Attempts: 1, Devices: 1}}; !slices.Equal(all, want) {
		t.Errorf("%+v", all)
	}
}
