package pages_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/pages"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/view"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/ops"
	"rideau/resolver/ops/access"
	"rideau/resolver/ops/metrics"
)

// harness is a server of pages alone, whose viewer the test chooses.
type harness struct {
	*httptest.Server
	t       *testing.T
	mu      sync.Mutex
	role    access.Role // guarded by mu
	reloads int         // guarded by mu
	done    chan struct{}
}

func newHarness(t *testing.T, o pages.Options) *harness {
	t.Helper()
	h := &harness{t: t, role: access.Operator, done: make(chan struct{})}
	dir := t.TempDir()
	path := filepath.Join(dir, "rideau.yaml")
	for name, text := range map[string]string{"rideau.yaml": configuration("192.0.2.53", ""), "token": token, "skipping.txt": "fine.example\nnot a name\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	past(t, filepath.Join(dir, "state"))
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	snap, _, err := setup.LoadPolicy(t.Context(), cfg, nil, nil, []time.Time{time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	v := view.New(view.Options{Sources: metrics.Sources{Totals: func() *resolver.Totals { return new(resolver.Totals) }, Policy: func() *blocklists.Snapshot { return snap }},
		Readiness: func() (reasons, notes []string) { return nil, nil }, Config: func() *config.Config { return cfg },
		DryRun: func(context.Context) (ops.DryRun, error) { return ops.DryRun{}, nil }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { v.Run(ctx); close(ended) }()
	o.View, o.Done = v, h.done
	o.Reload = func(context.Context) (ops.ReloadResult, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.reloads++
		return ops.ReloadResult{Changed: true}, nil
	}
	p, err := pages.New(o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range p.Routes() {
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		mux.Handle(r.Pattern(), r.Guarded(nil))
	}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		who := access.Who{Role: h.role, Way: access.ByToken, Name: "somebody", Lang: "en"}
		h.mu.Unlock()
		mux.ServeHTTP(w, r.WithContext(access.With(r.Context(), who)))
	}))
	t.Cleanup(func() { h.CloseClientConnections(); h.Close(); cancel(); <-ended })
	return h
}

func (h *harness) as(role access.Role) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.role = role
}

func (h *harness) reloaded() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reloads
}

func (h *harness) get(path string) (int, string) {
	h.t.Helper()
	s := site{t: h.t, addr: strings.TrimPrefix(h.URL, "http://")}
	status, _, text := s.get(path, false)
	return status, text
}

// TestRoles: which page each role sees, and that devices and names are for analysts.
func TestRoles(t *testing.T) {
	t.Parallel()
	h := newHarness(t, pages.Options{})
	needs := map[string]access.Role{"/now": access.Viewer, "/bans": access.Viewer, "/bans/ca-2023-wechat": access.Viewer, "/lists": access.Viewer, "/clients": access.Viewer, "/exceptions": access.Viewer,
		"/explain": access.Viewer, "/system": access.Viewer, "/events": access.Analyst, "/events.csv": access.Analyst, "/stream/events": access.Analyst, "/changes": access.Operator,
		"/assets/rideau.css": access.None, "/assets/rideau.js": access.None}
	personal := regexp.MustCompile(`10\.1\.9\.\d|web\d\.wechat`)
	for role := access.None; role <= access.Operator; role++ {
		h.as(role)
		for path, need := range needs {
			if strings.HasPrefix(path, "/stream") && role >= need {
				continue // it does not end
			}
			status, text := h.get(path)
			if ok := status == 200; ok != (role >= need) {
				t.Errorf("%s for %v: %d", path, role, status)
			}
			if role < access.Analyst && personal.MatchString(text) {
				t.Errorf("%s tells %v of %q", path, role, personal.FindString(text))
			}
			if strings.Contains(text, `href="/changes"`) && role < access.Operator {
				t.Errorf("%s leads %v to what it may not do", path, role)
			}
		}
		s := site{t: t, addr: strings.TrimPrefix(h.URL, "http://")}
		before := h.reloaded()
		if status, _, _ := s.send("POST", "/changes", "csrf=x", false); (status == 200) != (role == access.Operator) || (h.reloaded() > before) != (role == access.Operator) {
			t.Errorf("a reload by %v: %d", role, status)
		}
	}
	h.as(access.Analyst)
	if _, text := h.get("/clients"); !personal.MatchString(text) {
		t.Error("an analyst sees no device")
	}
}

// TestContent: each page shows what it is for, in both languages.
func TestContent(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	for range 3 {
		if s.ask("web.wechat.example.") != 3 {
			t.Fatal("the ban does not block")
		}
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if _, _, text := s.get("/now", true, "Accept-Language", "en"); strings.Contains(text, "passed") {
			break // Rideau has asked itself for the names of its bans
		} else if time.Now().After(end) {
			t.Fatalf("the self-test has not passed:\n%s", text)
		}
	}
	for path, want := range map[string][]string{
		"/now":                 {"Ready|Prêt", "Ban on WeChat|Interdiction de WeChat", "answers|répond", ">3<", "passed|réussi"},
		"/bans":                {"in force|en vigueur", "not yet in effect|pas encore en vigueur", "2199-01-01"},
		"/bans/ca-2023-wechat": {"President of the Treasury Board", "helpdesk@department.example", "2023-10-30", "https://www.canada.ca/", "observed only|observée seulement", "aria-label=\"Bar chart: |aria-label=\"Diagramme"},
		"/lists":               {"skipping", "1 × white space inside an entry", "<dd>2<ul", "none since the start|aucun depuis le démarrage"},
		"/clients":             {"staff", "10.1.0.0/16", "10.1.9.1"},
		"/exceptions":          {"T-1042", "2199-01-31", "Chief Information Officer"},
		"/explain?name=web.wechat.example&client=10.2.0.1":  {"Blocked|Bloqué", "mobile-devices", "ca-2023-wechat", "NXDOMAIN"},
		"/explain?name=help.wechat.example&client=10.2.0.1": {"by an exception|en vertu d’une exception", "T-1042"},
		"/explain?name=fine.example&client=10.2.0.1":        {"observed|observation", "other-0"},
		"/system":  {"resolver-1", "evidence.db", "upstream.servers", "trusted|fiable"},
		"/changes": {"would change nothing|ne changerait rien", "Reload now|Recharger maintenant"},
		"/events?name=wechat.example&below=1&verdict=monitored": {"only observed|seulement observée", "10.1.9."},
		"/events?from=2199-01-01":                               {"No event was found|Aucun événement trouvé"},
	} {
		for i, lang := range []string{"en", "fr"} {
			status, h, text := s.get(path, true, "Accept-Language", lang)
			if status != 200 || h.Get("Content-Language") != lang || !strings.Contains(text, `<html lang="`+lang+`"`) || h.Get("Content-Security-Policy") != access.PagePolicy {
				t.Errorf("%s in %s: %d, %v", path, lang, status, h)
			}
			for _, w := range want {
				en, fr, both := strings.Cut(w, "|")
				if i == 1 && both {
					en = fr
				}
				if !strings.Contains(text, en) {
					t.Errorf("%s in %s lacks %q", path, lang, en)
				}
			}
			if strings.Contains(text, "style=") || strings.Contains(text, "<script>") || regexp.MustCompile(`\son[a-z]+="`).MatchString(text) {
				t.Errorf("%s in %s has something inline", path, lang)
			}
		}
	}
}

// TestErrors: what cannot be answered says so, with a status that says it, too.
func TestErrors(t *testing.T) {
	t.Parallel()
	h := newHarness(t, pages.Options{})
	for path, want := range map[string]int{"/bans/none": 404, "/bans/%2e%2e%2fetc": 404, "/explain?name=a..b&client=10.0.0.1": 400, "/explain?name=a.example&client=x": 400, "/explain?name=a.example&client=10.0.0.1&type=NO": 400,
		"/events?name=a..b": 400, "/events?from=yesterday": 400, "/events.csv?from=yesterday": 400, "/assets/none": 404, "/assets/..%2f..%2fpages.go": 404, "/assets/templates": 404, "/nothing": 404, "/events?after=x": 200, "/now?%zz": 200} {
		if status, _ := h.get(path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
}

// TestChoices: a language and a theme are chosen by a link, and kept by a cookie.
func TestChoices(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	status, h, _ := s.get("/explain?name=a.example&client=10.0.0.1&lang=fr&theme=dark", true)
	if status != 303 || h.Get("Location") != "/explain?client=10.0.0.1&name=a.example" || len(h.Values("Set-Cookie")) != 2 {
		t.Errorf("%d, %v", status, h)
	}
	if _, _, text := s.get("/now", true, "Cookie", "rideau-lang=fr; rideau_theme=dark; rideau_zone=America%2FVancouver"); !strings.Contains(text, `<html lang="fr" data-theme="dark" data-zone="America/Vancouver">`) {
		t.Errorf("the cookies do not choose: %.200s", text)
	}
	for _, zone := range []string{"Local", "../../etc/passwd", "%2e%2e%2fetc", "<b>", strings.Repeat("a", 100)} {
		if _, _, text := s.get("/now", true, "Cookie", "rideau_zone="+zone); strings.Contains(text, `data-zone="`+zone) || !strings.Contains(text, "data-zone=") {
			t.Errorf("the zone %q is taken", zone)
		}
	}
	if _, h, _ := s.get("/now?lang=%3Cb%3E", true); len(h.Values("Set-Cookie")) != 0 {
		t.Errorf("a language that is none is kept: %v", h)
	}
	if status, h, _ := s.get("/", true, "Accept", "text/html"); status != 303 || h.Get("Location") != "/now" {
		t.Errorf("a browser is not sent to the pages: %d %v", status, h)
	}
	if status, _, text := s.get("/", true); status != 200 || !strings.Contains(text, "/readyz") {
		t.Errorf("a program gets %d %s", status, text)
	}
}

// TestHostile: texts of others stay text, in HTML and in CSV.
func TestHostile(t *testing.T) {
	t.Parallel()
	h := newHarness(t, pages.Options{})
	for _, path := range []string{"/now", "/bans", "/bans/other-0", "/bans/other-1", "/bans/other-2", "/bans/other-3", "/events", "/clients", "/lists", "/exceptions", "/system",
		"/explain?name=%3Cscript%3Ealert(1)%3C/script%3E&client=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E&type=%22onfocus=%22alert(1)",
		"/events?name=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E&device=%22%20autofocus%20onfocus=%22alert(1)&ban=%3Cscript%3E&from=%22%3E%3Cb%3E"} {
		_, text := h.get(path)
		if n := strings.Count(text, "<script"); n != 1 || strings.Contains(text, "<img") || strings.Contains(text, `href="javascript:`) || strings.Contains(text, `"onfocus=`) || strings.Contains(text, "\u202e") {
			t.Errorf("%s: the text of others is not escaped; there are %d scripts", path, n)
		}
	}
	status, text := h.get("/events.csv")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if status != 200 || err != nil || len(rows) != 1+40+len(hostile()) {
		t.Fatalf("%d: %d rows: %v", status, len(rows), err)
	}
	for _, row := range rows {
		for _, c := range row {
			if c != "" && strings.ContainsRune("=+-@", rune(c[0])) {
				t.Errorf("a spreadsheet would compute %q", c)
			}
		}
	}
}

// TestStreams: a stream sends the page when it has changed; no more are open than
// allowed, also of 10,000 that come at a time; and they end with the server.
func TestStreams(t *testing.T) {
	t.Parallel()
	const most = 4
	h := newHarness(t, pages.Options{MaxStreams: most, Interval: 20 * time.Millisecond, WriteTimeout: time.Hour})
	open := func(ctx context.Context) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, "GET", h.URL+"/stream/now", nil)
		if err != nil {
			t.Fatal(err)
		}
		return http.DefaultClient.Do(r)
	}
	var streams []*http.Response
	for range most {
		a, err := open(t.Context())
		if err != nil || a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%v %v", a, err)
		}
		defer a.Body.Close()
		streams = append(streams, a)
	}
	lines := bufio.NewReader(streams[0].Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "data: ") {
			if !strings.Contains(line, `data-live`) || strings.Contains(line, "menu") {
				t.Errorf("it sends %.100s", line)
			}
			break
		}
	}
	// They are read, so that they stay open.
	ended := make(chan error, most)
	for i, s := range streams {
		go func() {
			var err error
			if i == 0 {
				_, err = io.Copy(io.Discard, lines)
			} else {
				_, err = io.Copy(io.Discard, s.Body)
			}
			ended <- err
		}()
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	refused := 0
	for range 50 {
		all.Go(func() {
			for range 200 {
				w := httptest.NewRecorder()
				h.Config.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/stream/now", nil))
				mu.Lock()
				if w.Code == 503 && w.Header().Get("Retry-After") != "" {
					refused++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if refused != 10000 {
		t.Errorf("%d of 10,000 streams were refused", refused)
	}
	close(h.done)
	for range streams {
		if err := <-ended; err != nil {
			t.Errorf("a stream ended with %v", err)
		}
	}
}

// stuck is a writer whose reader takes nothing.
type stuck struct {
	http.ResponseWriter
	until chan time.Time
}

func (s stuck) SetWriteDeadline(at time.Time) error {
	select {
	case s.until <- at:
	default:
	}
	return nil
}
func (stuck) SetReadDeadline(time.Time) error { return nil }
func (s stuck) Write(b []byte) (int, error)   { return 0, os.ErrDeadlineExceeded }
func (stuck) Flush()                          {}

// TestSlowReader: a reader of a stream that takes nothing has a deadline, and then its
// place is free.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	h := newHarness(t, pages.Options{MaxStreams: 1, Interval: time.Millisecond, WriteTimeout: 7 * time.Second})
	for range 3 {
		w := stuck{httptest.NewRecorder(), make(chan time.Time, 1)}
		begun := time.Now()
		h.Config.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/stream/now", nil))
		if d := (<-w.until).Sub(begun); d < time.Second || d > time.Minute {
			t.Errorf("it has %v to take an event", d)
		}
	}
	r := httptest.NewRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.Config.Handler.ServeHTTP(r, httptest.NewRequest("GET", "/stream/now", nil).WithContext(ctx))
	if r.Code != 200 {
		t.Errorf("the place of a slow reader is not free: %d", r.Code)
	}
}

// TestWithoutStore: pages of the past say that nothing is kept.
func TestWithoutStore(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	none := strings.Replace(configuration("192.0.2.53", ""), "store: {clients: address}", "store: {path: \"\"}", 1)
	s.write("rideau.yaml", none)
	if status, _, text := s.send("POST", "/changes", "a=b", true); status != 200 || !strings.Contains(text, "Reloaded") {
		t.Fatalf("%d %s", status, text)
	}
	for path, want := range map[string]string{"/events": "keeps no evidence", "/bans": "keeps no evidence", "/clients": "keeps no evidence", "/lists": "Last reload:"} {
		if status, _, text := s.get(path, true); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d lacks %q", path, status, want)
		}
	}
	if status, _, text := s.get("/events.csv", true); status != 404 || !strings.Contains(text, "keeps no evidence") {
		t.Errorf("CSV: %d %s", status, text)
	}
	s.write("rideau.yaml", "bans: [\n")
	if status, _, text := s.send("POST", "/changes", "a=b", true); status != 422 || !strings.Contains(text, "Not reloaded") || !strings.Contains(text, "rideau.yaml:") {
		t.Errorf("a reload that is refused: %d %s", status, text)
	}
	if status, _, text := s.get("/changes", true); status != 200 || !strings.Contains(text, "A reload would be refused") {
		t.Errorf("a dry run that is refused: %d %s", status, text)
	}
}
