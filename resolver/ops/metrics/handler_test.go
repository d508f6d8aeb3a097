package metrics_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"rideau/resolver/ops/metrics"
)

// gone is a reply to a client that closed its connection after some octets.
type gone struct {
	*httptest.ResponseRecorder
	left int
}

func (g *gone) Write(b []byte) (int, error) {
	if g.left -= len(b); g.left < 0 {
		return 0, syscall.EPIPE
	}
	return len(b), nil
}

// TestAbortedScrape: a client that goes before its reply has ended has one line of the log, whenever it goes, compressed or not.
func TestAbortedScrape(t *testing.T) {
	for _, encoding := range []string{"identity", "gzip"} {
		for _, left := range []int{0, 500} {
			var out bytes.Buffer
			h := metrics.Handler(metrics.Sources{}, slog.New(slog.NewTextHandler(&out, nil)))
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept-Encoding", encoding)
			h.ServeHTTP(&gone{httptest.NewRecorder(), left}, r)
			if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=INFO") || !strings.Contains(got, "broken pipe") {
				t.Errorf("%s, after %d octets:\n%s", encoding, left, got)
			}
		}
	}
}
