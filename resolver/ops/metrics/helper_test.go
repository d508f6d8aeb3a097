package metrics_test

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/input"
	"rideau/resolver/ops/metrics"
)

// now is the time in all fixtures.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// list returns an unguarded list with that content.
func list(id, content string) input.List {
	return input.List{ID: id, Source: id + ".txt", MaxSkipped: 1, Unguarded: true,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

// policy returns a policy with a ban in each mode, one that begins later, and a
// line that cannot be used.
func policy() blocklists.Policy {
	begun := now.Add(-time.Hour)
	wechat := list("wechat", "wechat.com\nweixin.qq.com\n")
	wechat.Guards.Serial = input.Serial{Kind: "serial", Value: 2026112201}
	return blocklists.Policy{
		Lists: []input.List{wechat, list("kaspersky", "kaspersky.com\nbad..name\n"), list("tiktok", "tiktok.com\n")},
		Bans: []blocklists.Ban{
			{ID: "WECHAT-2023", Effective: begun, Action: blocklists.NXDomain, EDE: 15, Groups: []string{"all"}, Lists: []string{"wechat"}},
			{ID: "KASPERSKY-2023", Effective: begun, Mode: blocklists.Monitor, EDE: 15, Groups: []string{"all"}, Lists: []string{"kaspersky"}},
			{ID: "TIKTOK-2023", Effective: begun, Mode: blocklists.Off, EDE: 15, Groups: []string{"all"}, Lists: []string{"tiktok"}},
			{ID: "LATER", Effective: now.Add(time.Hour), Action: blocklists.Sinkhole, EDE: 16, Groups: []string{"all"}, Lists: []string{"wechat", "tiktok"}},
		},
	}
}

// load returns a Snapshot of the policy.
func load(t testing.TB, p blocklists.Policy, prev *blocklists.Snapshot, slots *blocklists.Slots) *blocklists.Snapshot {
	t.Helper()
	s, _, err := compile.Load(context.Background(), p, prev, compile.Options{Now: now, Slots: slots})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answered returns an upstream that answered that long ago.
func answered(name string, ago time.Duration) metrics.Upstream {
	return metrics.Upstream{Name: name, Healthy: true, LastAnswer: now.Add(-ago), Duration: metrics.Histogram{Counts: make([]uint64, 1)}}
}

// get returns the reply of a handler of the Sources; headers are pairs of key
// and value.
func get(t testing.TB, src metrics.Sources, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	metrics.Handler(src, slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	return w
}

// scrape returns the text that Prometheus gets.
func scrape(t testing.TB, src metrics.Sources) string { return get(t, src).Body.String() }

// parse parses the text format.
func parse(t testing.TB, text string) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// values returns the samples whose name begins with a prefix, from
// "name{labels}" to their value; for a histogram, its count.
func values(t testing.TB, text, prefix string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for name, f := range parse(t, text) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			slices.Sort(labels)
			out[name+"{"+strings.Join(labels, ",")+"}"] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}
