package ops_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
)

// A list whose last good copy is in use does not make the process unready, but
// readiness and version report it.
func TestLastGoodIsTold(t *testing.T) {
	o := healthy(t)
	o.Sources.Lists = func() []metrics.ListSource {
		return []metrics.ListSource{{List: "wechat", URL: true}, {List: "tiktok", LastGood: "tiktok.txt:3: broken\nand more"}}
	}
	s := ops.New(o)
	const want = "the last good copy of list tiktok serves: tiktok.txt:3: broken; and more"
	if w := ask(s, request("GET", "/readyz")); w.Code != 200 || w.Body.String() != "ready\n"+want+"\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	var ready struct {
		Ready bool
		Notes []string
	}
	w := ask(s, request("GET", "/readyz", "Accept", "application/json"))
	if err := json.Unmarshal(w.Body.Bytes(), &ready); err != nil || !ready.Ready || len(ready.Notes) != 1 || ready.Notes[0] != want {
		t.Errorf("%+v, %v", ready, err)
	}
	var version struct{ Lists []ops.List }
	if err := json.Unmarshal(ask(s, request("GET", "/version")).Body.Bytes(), &version); err != nil {
		t.Fatal(err)
	}
	for _, l := range version.Lists {
		if (l.LastGood != "") != (l.ID == "tiktok") {
			t.Errorf("%+v", l)
		}
	}
}

// With fetch=true lists are fetched before the reload; those that failed are
// reported with an error, although the others are in force.
func TestReloadFetches(t *testing.T) {
	failure := ops.Problem{List: "feed", File: "https://lists.example/", Message: "the server answered 404 Not Found"}
	for name, c := range map[string]struct {
		query   string
		fails   []ops.Problem
		refused []string
		err     error
		status  int
		text    string
		order   string
	}{
		"no":              {query: "", status: 200, text: "reloaded", order: "reload "},
		"not":             {query: "?fetch=false", status: 200, text: "reloaded", order: "reload "},
		"yes":             {query: "?fetch=true", status: 200, text: "reloaded", order: "fetch(false) reload "},
		"by force":        {query: "?fetch&force=feed", status: 200, text: "reloaded", order: "fetch(true) reload "},
		"forced and gone": {query: "?force=feed", fails: []ops.Problem{failure}, status: 422, text: "some lists could not be fetched", order: "reload "},
		"one fails":       {query: "?fetch=true", fails: []ops.Problem{failure}, status: 422, text: "some lists could not be fetched", order: "fetch(false) reload "},
		"one is refused":  {query: "?fetch=true", refused: []string{"feed"}, status: 422, text: "some lists could not be fetched", order: "fetch(false) reload "},
		"refused unasked": {query: "", refused: []string{"feed"}, status: 200, text: "reloaded", order: "reload "},
		"all fails":       {query: "?fetch=true", fails: []ops.Problem{failure}, err: errors.New("broken"), status: 422, text: "not reloaded", order: "fetch(false) reload "},
	} {
		t.Run(name, func(t *testing.T) {
			o, order := healthy(t), ""
			o.Reload = func(_ context.Context, r ops.ReloadOptions) (ops.ReloadResult, error) {
				if r.Fetch {
					order += map[bool]string{true: "fetch(true) ", false: "fetch(false) "}[r.Force.Has("feed")]
				}
				order += "reload "
				return ops.ReloadResult{Policy: o.Sources.Policy(), Refused: c.refused, Unfetched: c.fails}, c.err
			}
			w := ask(ops.New(o), request("POST", "/reload"+c.query))
			if w.Code != c.status || !strings.HasPrefix(w.Body.String(), c.text) || order != c.order {
				t.Errorf("%d %s after %s", w.Code, w.Body, order)
			}
			if len(c.fails) > 0 && !strings.Contains(w.Body.String(), "list feed: https://lists.example/: the server answered 404") {
				t.Errorf("%s", w.Body)
			}
		})
	}
}
