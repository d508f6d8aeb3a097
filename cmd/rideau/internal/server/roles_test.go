package server_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"rideau/resolver/ops/access"
)

// TestRolesOfRoutes asks for each registered route with each role: it answers those who have the role, and nobody else. Routes for everybody
// are in the table here; of those, the ones that act want an operator themselves.
func TestRolesOfRoutes(t *testing.T) {
	open := map[string]access.Role{"GET /{$}": access.None, "GET /healthz": access.None, "GET /readyz": access.None, "GET /metrics": access.None, "GET /version": access.None,
		"GET /assets/{name}": access.None, "GET /signin": access.None, "POST /signin": access.None, "POST /signout": access.None,
		"POST /reload": access.Operator, "POST /cache/flush": access.Operator, "POST /selftest": access.Operator}
	s, text := startAnswering(t)
	s.stop()
	tokens, secrets := "", map[access.Role]string{}
	for role := access.Viewer; role <= access.Operator; role++ {
		secrets[role] = "the secret of the " + role.String()
		if err := os.WriteFile(s.path(role.String()), []byte(secrets[role]), 0o600); err != nil {
			t.Fatal(err)
		}
		tokens += fmt.Sprintf("{name: %s, role: %s, file: %s}, ", role, role, s.path(role.String()))
	}
	text = strings.Replace(text, `ops: {listen: "127.0.0.1:0"}`, `ops: {listen: "127.0.0.1:0", tokens: [`+tokens+`]}`, 1)
	s.write("rideau.yaml", text)
	s.again()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	routes := s.OpsRoutes()
	if len(routes) < len(open) {
		t.Fatalf("%d routes", len(routes))
	}
	for _, r := range routes {
		needs, known := r.Needs, true
		if r.Open {
			needs, known = open[r.Pattern()]
		}
		if !known {
			t.Errorf("%s is for everybody, and is not in this table", r.Pattern())
			continue
		}
		if personal := strings.Contains(r.Path, "/events"); personal && needs < access.Analyst {
			t.Errorf("%s shows names to the role %v", r.Pattern(), needs)
		}
		path := strings.NewReplacer("{$}", "", "{name}", "rideau.css", "{id}", "ban").Replace(r.Path)
		for has := access.None; has <= access.Operator; has++ {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			req, err := http.NewRequestWithContext(ctx, r.Method, "http://"+s.facts.Ops+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Forwarded-For", "192.0.2.7") // as by a proxy: loopback alone is a viewer
			if has > access.None {
				req.Header.Set("Authorization", "Bearer "+secrets[has])
			}
			resp, err := client.Do(req) // streams do not end: only the head is read
			if err != nil {
				t.Fatalf("%s with the role %v: %v", r.Pattern(), has, err)
			}
			resp.Body.Close()
			cancel()
			refused := resp.StatusCode == 401 || resp.StatusCode == 403 || resp.StatusCode == 303 && strings.HasPrefix(resp.Header.Get("Location"), access.SignInPath+"?")
			if r.Pattern() == "POST /signin" { // nobody has that name
				refused = resp.StatusCode != 401
			}
			if refused != (has < needs) {
				t.Errorf("%s with the role %v: %d, needs %v", r.Pattern(), has, resp.StatusCode, needs)
			}
		}
	}
}
