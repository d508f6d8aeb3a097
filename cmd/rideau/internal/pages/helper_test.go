package pages_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/cmd/rideau/internal/report/reporttest"
	"rideau/cmd/rideau/internal/server"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/resolvertest"
)

// hostile are texts that others may put into titles, names and lists.
func hostile() []string {
	return []string{"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "</title></svg><script>x", "javascript:alert(1)", "{{.Title}}", "=cmd|' /C calc'!A1", "+1", "@sum", "\u202eevil\u2066", "&amp;&lt;", "--><!--",
		strings.Repeat("w", 200)}
}

// token is that of an operator.
const token = "a token of sixteen characters"

// site is a server with pages.
type site struct {
	t *testing.T
	*server.Server
	folder string
	addr   string // of the operators' HTTP
	dns    string
	stop   func()
	log    syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *syncBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// configuration is that of the site: bans in every state, and texts of others.
func configuration(upstream, extra string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `listen: {addresses: ["127.0.0.1:0"]}
upstream: {servers: [%q], probe_interval: 200ms}
ops: {listen: "127.0.0.1:0", token_file: token}
state: {dir: state}
reload: {watch: false}
log: {level: error}
evidence: {node: resolver-1, store: {clients: address}}
groups:
  - {id: staff, clients: [10.1.0.0/16, "2001:db8:1::/48"]}
  - {id: mobile-devices, clients: [10.2.0.0/16]}
lists:
  - {id: wechat, names: [wechat.example, "*.wechat.example"]}
  - {id: skipping, file: skipping.txt, max_skipped: 1}
  - {id: fine, names: [help.wechat.example]}
bans:
  - id: ca-2023-wechat
    title: {en: Ban on WeChat on government-issued mobile devices, fr: Interdiction de WeChat sur les appareils mobiles fournis par le gouvernement}
    authority: President of the Treasury Board of Canada
    instrument: Announcement of 30 October 2023
    url: https://www.canada.ca/en/treasury-board-secretariat.html
    contact: helpdesk@department.example
    effective: 2023-10-30
    lists: [wechat]
    modes: [{groups: [staff], mode: monitor}]
  - {id: later, title: {en: A ban that begins later, fr: Une interdiction à venir}, effective: 2199-01-01, lists: [skipping]}
  - {id: "off", title: {en: A ban that is off, fr: Une interdiction désactivée}, mode: "off", lists: [skipping]}
`, upstream)
	for i, text := range hostile() {
		if strings.ContainsRune(text, '\u202e') { // which a configuration may not have
			continue
		}
		fmt.Fprintf(&b, "  - {id: other-%d, title: {en: %q}, authority: %q, instrument: %q, contact: %q, mode: monitor, lists: [skipping]}\n", i, text, text, text, text)
	}
	b.WriteString(`exceptions:
  - {id: helpdesk, lists: [fine], reason: The service desk answers its clients there, ticket: T-1042, approver: Chief Information Officer, expires: 2199-01-31}
`)
	for i, text := range hostile()[:3] {
		fmt.Fprintf(&b, "  - {id: x-%d, names: [x%d.example], title: {en: %q}, reason: %q, ticket: %q, approver: %q}\n", i, i, text, text, text, text)
	}
	return b.String() + extra
}

// start starts a site with evidence of the past.
func start(t *testing.T, extra string) *site {
	t.Helper()
	s := &site{t: t, folder: t.TempDir()}
	up := new(resolvertest.Upstream)
	up.Start(t)
	if err := up.Load(". SOA\n* A\n\tanswer any.example. 300 IN A 192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	s.write("token", token)
	s.write("skipping.txt", "fine.example\n<script>alert(1)</script>\nnot a name\n")
	s.write("rideau.yaml", configuration(up.Addr().String(), extra))
	if err := os.Mkdir(filepath.Join(s.folder, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	past(t, filepath.Join(s.folder, "state"))
	started := make(chan server.Facts, 1)
	s.Server = server.New(server.Options{Config: filepath.Join(s.folder, "rideau.yaml"), Log: &s.log, Workers: 1, Started: func(f server.Facts) { started <- f }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case f := <-started:
		s.addr, s.dns = f.Ops, f.Addrs[0].String()
	case err := <-ended:
		t.Fatalf("it did not start: %v\n%s", err, s.log.String())
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// past makes evidence of the last days.
func past(t *testing.T, dir string) {
	t.Helper()
	now := time.Now().UTC()
	n := reporttest.New(t, dir, "resolver-1", now.Add(-3*24*time.Hour))
	ban := reporttest.Ban("ca-2023-wechat", "enforce")
	n.Act(act.Start, ban)
	for i := range 40 {
		n.Until(now.Add(-3 * 24 * time.Hour).Add(time.Duration(i) * 100 * time.Minute))
		n.Query(ban.ID, fmt.Sprintf("10.1.9.%d", i%5+1), fmt.Sprintf("web%d.wechat.example", i%3), func(r *audit.Record) {
			r.Monitored = i%4 == 3
			if i%8 == 0 {
				r.Marks |= resolver.Bypass
			}
		})
	}
	for _, text := range hostile() {
		n.Query(ban.ID, "10.1.9.9", text[:min(len(text), 60)]+".example", nil)
	}
	n.Until(now.Add(-time.Minute))
	n.Close()
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// get asks for a page, as an operator if with is true.
func (s *site) get(path string, with bool, headers ...string) (int, http.Header, string) {
	s.t.Helper()
	return s.send("GET", path, "", with, headers...)
}

func (s *site) send(method, path, body string, with bool, headers ...string) (int, http.Header, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if with {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}

// ask sends a DNS query.
func (s *site) ask(name string) int {
	s.t.Helper()
	m, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), s.dns)
	if err != nil {
		s.t.Fatal(err)
	}
	return m.Rcode
}
