package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/cmd/rideau/internal/server"
)

// post sends a request to the operators' HTTP, or with a socket to that, and returns the status.
func (i *instance) post(socket, path, token string) int {
	i.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if socket != "" {
			network, addr = "unix", socket
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodPost, "http://"+i.facts.Ops+path, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// again starts the server once more, with the files that are there.
func (i *instance) again() {
	i.t.Helper()
	started := make(chan server.Facts, 1)
	i.Server = server.New(server.Options{Config: i.path("rideau.yaml"), Log: i.log, Workers: 1, Started: func(f server.Facts) { started <- f }})
	i.run(started)
}

// read returns a file.
func (i *instance) read(name string) string {
	i.t.Helper()
	text, err := os.ReadFile(i.path(name))
	if err != nil {
		i.t.Fatal(err)
	}
	return string(text)
}

// TestActs: what operators do is told with who did it, in each schema: over HTTP with the address, over the Unix socket with user and process,
// by a signal, and requests that were refused. An exception is told with its ticket and its approver: made, begun, used, ended and removed.
func TestActs(t *testing.T) {
	s, text := startAnswering(t)
	s.stop()
	const secret = "a-token-that-is-long-enough-0123456789"
	if err := os.WriteFile(s.path("token"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text = strings.Replace(text, `ops: {listen: "127.0.0.1:0"}`, fmt.Sprintf(`ops: {listen: "127.0.0.1:0", token_file: %s, socket: %s}`, s.path("token"), s.path("ops.sock")), 1)
	text += "evidence: {sinks: [{id: own, kind: file, path: own.json}, {id: ocsf, kind: file, path: ocsf.json, format: ocsf}, {id: ecs, kind: file, path: ecs.json, format: ecs}]}\n"
	s.write("rideau.yaml", text)
	s.again()
	if code := s.post("", "/reload", "wrong"); code != http.StatusForbidden {
		t.Errorf("a wrong token: %d", code)
	}
	if code := s.post("", "/reload", secret); code != http.StatusOK {
		t.Errorf("the token: %d", code)
	}
	for _, path := range []string{"/cache/flush?name=b.example&tree=true", "/cache/flush?all=true", "/reload"} {
		if code := s.post(s.path("ops.sock"), path, ""); code != http.StatusOK {
			t.Errorf("%s over the socket: %d", path, code)
		}
	}
	exception := "exceptions: [{id: press, title: {en: The press}, names: [a.example], ticket: T-77, approver: The CIO, reason: A conference}]\n"
	s.write("rideau.yaml", text+exception)
	if _, err := s.Reload(t.Context(), "SIGHUP"); err != nil {
		t.Fatal(err)
	}
	s.answers("a.example.", dns.RcodeSuccess)
	s.write("rideau.yaml", text)
	for end := time.Now().Add(10 * time.Second); !strings.Contains(s.read("own.json"), "exception_used"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the exception was not used\n%s", s.read("own.json"))
		}
	}
	if _, err := s.Reload(t.Context(), "SIGHUP"); err != nil {
		t.Fatal(err)
	}
	s.stop()

	own := s.events("own.json")
	find := func(kind string, n int) map[string]any {
		t.Helper()
		for _, e := range own {
			if e["event"] == kind {
				if n--; n < 0 {
					return e
				}
			}
		}
		t.Fatalf("there is no %s\n%s", kind, s.read("own.json"))
		return nil
	}
	me, pid := fmt.Sprint(os.Getuid()), float64(os.Getpid())
	byHTTP := func(a map[string]any, user any) {
		t.Helper()
		if addr, _ := a["address"].(string); a["way"] != "http" || !strings.HasPrefix(addr, "127.0.0.1:") || a["user"] != user {
			t.Errorf("actor %v", a)
		}
	}
	denied := find("access_denied", 0)
	byHTTP(denied["actor"].(map[string]any), nil)
	if denied["object"] != "reload" || !strings.Contains(denied["reason"].(string), "a wrong one") {
		t.Errorf("%v", denied)
	}
	byHTTP(find("reload", 0)["actor"].(map[string]any), "ops.token_file")
	for n, want := range []string{"of the name and of all below it", "which were all"} {
		f := find("flush", n)
		if a := f["actor"].(map[string]any); a["way"] != "socket" || a["user"] != me || a["process"] != pid || !strings.Contains(f["reason"].(string), want) {
			t.Errorf("%v", f)
		}
	}
	if a := find("reload", 1)["actor"].(map[string]any); a["way"] != "socket" || a["user"] != me || a["process"] != pid {
		t.Errorf("actor %v", a)
	}
	if a := find("reload", 2); a["actor"].(map[string]any)["way"] != "signal" || a["reason"] != "SIGHUP" {
		t.Errorf("%v", a)
	}
	for _, kind := range []string{"exception_made", "exception_began", "exception_used", "exception_ended", "exception_removed"} {
		x := find(kind, 0)["exception"].(map[string]any)
		if x["id"] != "press" || x["ticket"] != "T-77" || x["approver"] != "The CIO" || x["in_force"] != (kind == "exception_made" || kind == "exception_began" || kind == "exception_used") {
			t.Errorf("%s: %v", kind, x)
		}
	}
	for file, want := range map[string][]string{
		"ocsf.json": {`"operation":"flush"`, `"process":{"pid":` + fmt.Sprint(os.Getpid()) + `}`, `"user":{"uid":"` + me + `"}`, `"type_uid":300401`, `"type_uid":300402`, `"type_uid":600300`,
			`"src_endpoint":{"ip":"127.0.0.1"}`},
		"ecs.json": {`"action":"exception_used"`, `"process":{"pid":` + fmt.Sprint(os.Getpid()) + `}`, `"user":{"id":"` + me + `"}`, `"action":"access_denied"`, `"source":{"address":"127.0.0.1:`},
	} {
		for _, w := range want {
			if !strings.Contains(s.read(file), w) {
				t.Errorf("%s lacks %s", file, w)
			}
		}
	}
}
