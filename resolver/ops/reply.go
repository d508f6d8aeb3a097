package ops

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"rideau/resolver/ops/printable"
)

// wantsJSON reports whether the client asks for JSON by name and does not
// prefer text (RFC 9110 section 12.5.1). A client that accepts anything, as
// curl does, gets text.
func wantsJSON(r *http.Request) bool { return prefers(r, "application/json") }

// prefers reports whether the client asks for a media type by name, and not more for text.
func prefers(r *http.Request, want string) bool {
	weights := map[string]float64{}
	for _, header := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(header, ",") {
			kind, params, err := mime.ParseMediaType(part)
			if err != nil {
				continue
			}
			q := 1.0
			if v, ok := params["q"]; ok {
				if q, err = strconv.ParseFloat(v, 64); err != nil {
					continue
				}
			}
			weights[kind] = max(weights[kind], q)
		}
	}
	w := weights[want]
	return w > 0 && w >= weights["text/plain"]
}

// writeText replies with lines of text.
func writeText(w http.ResponseWriter, status int, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	for _, l := range lines {
		fmt.Fprintln(w, oneLine(l))
	}
}

// writeJSON replies with v as JSON.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(printable.NewWriter(w)) // JSON has some control characters as they are
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // an error means that the client has gone
}

// refusal is the reply to a refused request, as JSON.
type refusal struct {
	OK    bool   `json:"ok"`
	Error string `json:"error"`
}

// refuse refuses a request. The reason includes the remedy.
func refuse(w http.ResponseWriter, r *http.Request, status int, reason string) {
	if wantsJSON(r) {
		writeJSON(w, status, refusal{Error: reason})
		return
	}
	writeText(w, status, reason)
}

// oneLine replaces line breaks in s, so that one item stays on one line.
func oneLine(s string) string {
	return printable.Text(strings.NewReplacer("\r\n", "; ", "\n", "; ", "\r", "; ").Replace(s))
}
