package ops

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// wantsJSON reports whether the client asked for JSON by name and prefers no
// text (RFC 9110 section 12.5.1). Whoever takes anything, as curl does, is
// taken for a person.
func wantsJSON(r *http.Request) bool {
	var js, text float64
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
			switch kind {
			case "application/json":
				js = max(js, q)
			case "text/plain":
				text = max(text, q)
			}
		}
	}
	return js > 0 && js >= text
}

// writeText writes lines of text.
func writeText(w http.ResponseWriter, status int, lines ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	for _, l := range lines {
		fmt.Fprintln(w, oneLine(l))
	}
}

// writeJSON writes v, which must be fit for JSON.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // an error here is a client that went away
}

// refusal is a request that is turned down, as JSON.
type refusal struct {
	OK    bool   `json:"ok"`
	Error string `json:"error"`
}

// refuse turns a request down. The reason says what to do instead.
func refuse(w http.ResponseWriter, r *http.Request, status int, reason string) {
	if wantsJSON(r) {
		writeJSON(w, status, refusal{Error: reason})
		return
	}
	writeText(w, status, reason)
}

// oneLine keeps one thing on one line.
func oneLine(s string) string {
	return strings.NewReplacer("\r\n", "; ", "\n", "; ", "\r", "; ").Replace(s)
}
