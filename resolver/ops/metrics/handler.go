package metrics

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes bounds the requests that [Handler] serves at a time.
const maxScrapes = 8

// Handler serves the Sources' metrics, and those of the Go runtime and of the
// process, from a registry of its own. A metric that cannot be collected is
// logged and left out. Clients that end their requests early have one line a second.
func Handler(src Sources, log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		NewCollector(src),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	inner := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError),
		// One bad series must not hide the others.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
	})
	var told, untold atomic.Int64 // when that was logged last, and how often it was not
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply := &reply{ResponseWriter: w}
		inner.ServeHTTP(reply, r)
		if reply.failed == nil {
			return
		}
		// Anybody who may read can break off: one line a second says it.
		if now, last := time.Now().UnixNano(), told.Load(); now-last < int64(time.Second) || !told.CompareAndSwap(last, now) {
			untold.Add(1)
			return
		}
		log.Info("a request for /metrics ended before its reply did", "client", r.RemoteAddr, "error", reply.failed, "not_logged", untold.Swap(0))
	})
}

// reply discards what is written after the client has gone: promhttp would log an error for each metric.
type reply struct {
	http.ResponseWriter
	failed error
}

// Write implements io.Writer.
func (r *reply) Write(b []byte) (int, error) {
	if r.failed == nil {
		_, r.failed = r.ResponseWriter.Write(b)
	}
	return len(b), nil
}
