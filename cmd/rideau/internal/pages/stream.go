package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"rideau/resolver/ops/access"
)

// stream serves the changes of a page as server-sent events: the whole page, whenever
// it differs from what was sent before. At most Options.MaxStreams are open at a time.
// A reader that does not take an event within Options.WriteTimeout is dropped.
func (p *Pages) stream(x place) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case p.streams <- struct{}{}:
			defer func() { <-p.streams }()
		default:
			w.Header().Set("Retry-After", "60")
			access.Problem(w, http.StatusServiceUnavailable, "too many pages update themselves; close some, or load this page again by hand")
			return
		}
		control := http.NewResponseController(w)
		send := func(text string) bool {
			_ = control.SetWriteDeadline(time.Now().Add(p.o.WriteTimeout)) // some writers have none
			if _, err := fmt.Fprint(w, text); err != nil {
				return false
			}
			return control.Flush() == nil
		}
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no") // a proxy hands on each event at once
		_ = control.SetReadDeadline(time.Time{})
		if !send("retry: 5000\n\n") {
			return
		}
		tick := time.NewTicker(p.o.Interval)
		defer tick.Stop()
		var before []byte
		for idle := 0; ; {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			case <-p.o.Done:
				return
			}
			g := p.newPage(r, x)
			status, body := p.render(g, x, r)
			part := live(body)
			if idle++; status != http.StatusOK || bytes.Equal(part, before) {
				// The comment finds out that the reader has gone.
				if idle%3 == 0 && !send(": nothing new\n\n") {
					return
				}
				continue
			}
			before, idle = part, 0
			text, err := json.Marshal(string(part)) // no line breaks
			if err != nil || !send("event: page\ndata: "+string(text)+"\n\n") {
				return
			}
		}
	})
}

// live returns the part of a page that may change: its main element.
func live(page []byte) []byte {
	_, rest, found := bytes.Cut(page, []byte("<main "))
	if !found {
		return nil
	}
	part, _, _ := bytes.Cut(rest, []byte("</main>"))
	return append([]byte("<main "), part...)
}
