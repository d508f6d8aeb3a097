package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestReadInterface: each request of the read interface answers what its document says, to those who have the role; a wrong one is answered with problem details.
func TestReadInterface(t *testing.T) {
	w := newWorld(t)
	w.write("token", "a token of enough letters")
	text := strings.Replace(w.configText(func(s *settings) {
		s.more = `exceptions: [{id: press, title: {en: Press}, ticket: T1, names: [press.banned.example], expires: 2090-01-01}]`
	}), "pprof: true", "token_file: token", 1)
	w.write("rideau.yaml", text+"\nstate: {dir: .}\n")
	p := start(t, w.dir)
	p.ask("udp", "www.banned.example.", dns.TypeA)
	get := func(path, token string) (*http.Response, []byte) {
		t.Helper()
		r, err := http.NewRequest("GET", strings.TrimSuffix(p.ops, "/")+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := (&http.Client{Timeout: 20 * time.Second}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, body
	}
	_, document := get("/api/v1/openapi.json", "")
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", parsed); err != nil {
		t.Fatal(err)
	}
	follows := func(schema string, body []byte) {
		t.Helper()
		s, err := c.Compile("openapi.json#/components/schemas/" + schema)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err == nil {
			err = s.Validate(value)
		}
		if err != nil {
			t.Errorf("%s: %v in %s", schema, err, body)
		}
	}
	const token = "a token of enough letters"
	p.within(time.Now(), "the event can be found", func() (string, bool) {
		r, body := get("/api/v1/events?name=www.banned.example", token)
		return string(body), r.StatusCode == http.StatusOK && bytes.Contains(body, []byte(`"name":"www.banned.example."`))
	})
	for path, schema := range map[string]string{"/now": "view_Now", "/bans": "view_Bans", "/bans?id=ban": "view_Bans", "/lists": "view_Lists", "/clients": "view_Clients", "/exceptions": "view_Exceptions",
		"/system": "view_System", "/explain?name=www.banned.example&client=127.0.0.1": "reason_Explanation", "/events?ban=ban&limit=1": "view_Events"} {
		r, body := get("/api/v1"+path, token)
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s %s", path, r.Status, body)
			continue
		}
		follows(schema, body)
	}
	for path, status := range map[string]int{"/events?limit=0": 400, "/events?limit=501": 400, "/events?after=x": 400, "/events?from=yesterday": 400, "/events?name=a..b": 400, "/now?x=1": 400,
		"/explain?name=a.example": 400, "/bans?id=a&id=b": 400, "/bans?id=" + strings.Repeat("a", 301): 400} {
		r, body := get("/api/v1"+path, token)
		if r.StatusCode != status || r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %s", path, r.Status, body)
		}
		follows("Problem", body)
	}
	// What is personal needs a role.
	if r, body := get("/api/v1/events", ""); r.StatusCode != http.StatusUnauthorized || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s %s", r.Status, body)
	}
	if _, body := get("/api/v1/clients", ""); bytes.Contains(body, []byte(`"devices"`)) {
		t.Errorf("%s", body)
	}
}
