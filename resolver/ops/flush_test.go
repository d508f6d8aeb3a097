package ops_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"rideau/resolver/ops"
)

func TestFlush(t *testing.T) {
	for query, want := range map[string]string{
		"?name=example.com":           `{example.com false}`,
		"?name=example.com&tree=true": `{example.com true}`,
		"?name=example.com&tree":      `{example.com true}`,
		"?name=example.com&all=false": `{example.com false}`,
		"?all=true":                   `{ false}`,
		"":                            `400 nothing is flushed: send name=example.com`,
		"?all=false":                  `400 nothing is flushed: send`,
		"?name=":                      `400 name is empty; send`,
		"?tree=true":                  `400 tree=true needs a name; send`,
		"?tree=true&all=true":         `400 tree=true needs a name; send`,
		"?all=true&name=example.com":  `400 nothing is flushed: send`,
		"?name=a.example;tree=true":   "400 the parameters cannot be read",
		"?all=perhaps":                `400 all="perhaps" is neither true nor false; use`,
		"?names=a":                    `400 unknown parameter "names"; send`,
		"?name=bad":                   `400 bad: this is no name`,
		"?name=broken":                `500 out of order`,
	} {
		o := healthy(t)
		got := ""
		o.Flush = func(_ context.Context, f ops.Flush) (int, error) {
			switch f.Name {
			case "bad":
				return 0, fmt.Errorf("bad: %w", ops.ErrName)
			case "broken":
				return 0, errors.New("out of order")
			}
			got = fmt.Sprint(f)
			return 7, nil
		}
		s := ops.New(o)
		w := ask(s, request("POST", "/cache/flush"+query))
		if w.Code != 200 {
			got = fmt.Sprintf("%s%d %s", got, w.Code, w.Body)
		} else if !strings.HasPrefix(w.Body.String(), "flushed ") || !strings.HasSuffix(w.Body.String(), ": 7 entries\n") {
			t.Errorf("%s: %q", query, w.Body)
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
		var reply struct {
			OK      bool
			Error   string
			Entries int
		}
		js := ask(s, request("POST", "/cache/flush"+query, "Accept", "application/json"))
		if err := json.Unmarshal(js.Body.Bytes(), &reply); err != nil || js.Code != w.Code || reply.OK != (w.Code == 200) || reply.OK != (reply.Entries == 7) || reply.OK == (reply.Error != "") {
			t.Errorf("%s: JSON %s", query, js.Body)
		}
	}
}

// A client that may not reload may not flush.
func TestFlushAccess(t *testing.T) {
	for _, tt := range accessCases() {
		o := healthy(t)
		calls := 0
		o.Guard = guard(tt.token)
		o.Flush = func(context.Context, ops.Flush) (int, error) {
			calls++
			return 0, nil
		}
		r := request("POST", "/cache/flush?all=true", tt.headers...)
		if tt.change != nil {
			tt.change(r)
		}
		w := ask(ops.New(o), r)
		if welcome := tt.refused == ""; welcome != (w.Code == 200) || welcome != (calls == 1) || !welcome && (w.Code != 403 || !strings.Contains(w.Body.String(), tt.refused)) {
			t.Errorf("%s: got %d %s, %d flushes", tt.name, w.Code, w.Body, calls)
		}
	}
	o := healthy(t)
	o.Flush = func(context.Context, ops.Flush) (int, error) { return 0, nil }
	if w := ask(ops.New(o), request("GET", "/cache/flush?all=true")); w.Code != 405 {
		t.Errorf("GET: %d", w.Code)
	}
	if w := ask(ops.New(healthy(t)), request("POST", "/cache/flush?all=true")); w.Code != 404 {
		t.Errorf("without Options.Flush: %d", w.Code)
	}
}
