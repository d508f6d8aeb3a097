package metrics_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

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

// TestManyAbortedScrapes: who breaks off again and again does not fill the log.
func TestManyAbortedScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := metrics.Handler(metrics.Sources{}, slog.New(slog.NewTextHandler(&out, nil)))
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		for range 50 {
			h.ServeHTTP(&gone{httptest.NewRecorder(), 500}, r)
		}
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "not_logged=0") {
			t.Errorf("in one second:\n%s", got)
		}
		time.Sleep(time.Second)
		out.Reset()
		h.ServeHTTP(&gone{httptest.NewRecorder(), 500}, r)
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "not_logged=49") {
			t.Errorf("a second later:\n%s", got)
		}
	})
}
