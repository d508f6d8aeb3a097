package main

import (
	"encoding/pem"
	"fmt"
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

	"aead.dev/minisign"
	"github.com/miekg/dns"
)

// publisher is an HTTPS server with one list. Its certificate is in the world's ca.pem.
type publisher struct {
	*httptest.Server
	mu      sync.Mutex
	text    string
	etag    string
	sig     []byte
	answer  http.HandlerFunc // instead of the list
	full    int              // times that the list was sent
	matched int              // times that it was not, being known
	agents  map[string]bool
}

func newPublisher(w *world) *publisher {
	w.t.Helper()
	p := &publisher{agents: map[string]bool{}}
	p.Server = httptest.NewTLSServer(p)
	w.t.Cleanup(p.Close)
	w.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})))
	return p
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.agents[r.UserAgent()] = true
	switch {
	case p.answer != nil:
		p.answer(w, r)
	case strings.HasSuffix(r.URL.Path, ".minisig"):
		w.Write(p.sig)
	case p.etag != "" && r.Header.Get("If-None-Match") == p.etag:
		p.matched++
		w.WriteHeader(http.StatusNotModified)
	default:
		p.full++
		if p.etag != "" {
			w.Header().Set("ETag", p.etag)
		}
		io.WriteString(w, p.text)
	}
}

// publish changes the list.
func (p *publisher) publish(etag, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.etag, p.text, p.answer = etag, text, nil
}

// breaks replaces the server's handler.
func (p *publisher) breaks(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = h
}

func (p *publisher) sent() (full, matched int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full, p.matched
}

// remote writes a configuration with list.txt and the list feed, which has a URL; keys are more keys of the feed.
func (w *world) remote(url, keys string, change ...func(*settings)) {
	w.t.Helper()
	w.config(append(change, func(s *settings) {
		s.extraLists += fmt.Sprintf(", {id: feed, url: %q%s}", url, keys)
		s.more += "fetch: {ca_file: ca.pem, start_timeout: 2s}\n"
		if s.bans == "" {
			s.bans = "feed"
		}
	})...)
}

const feedText = "one.example\nsecond.example\nthree.example\n"

// TestFeed: the life of a list with a URL: fetched at the start, unchanged, changed, refused for many reasons, accepted by
// force, and read from its last good copy when there is no network.
func TestFeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pub := newPublisher(w)
	pub.publish(`"1"`, feedText)
	w.remote(pub.URL+"/list.txt", "")
	p := start(t, w.dir)
	is := func(name, want string) {
		t.Helper()
		if got := outcome(p.ask("udp", name, dns.TypeA)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	is("second.example", blocked)
	is("third.example", passed)
	is("banned.example", blocked)
	if !pub.agents["rideau/"+buildInfo().Version] || len(pub.agents) != 1 {
		t.Errorf("user agents %v", pub.agents)
	}

	// Unchanged, by its ETag and by its content.
	before := p.metric("rideau_policy_generation")
	if code, r := p.reload("?fetch=true"); code != http.StatusOK || r.Changed {
		t.Errorf("%d %+v", code, r)
	}
	if _, matched := pub.sent(); matched == 0 {
		t.Error("the tag was not sent")
	}
	pub.publish(`"2"`, feedText)
	if code, r := p.reload("?fetch=true"); code != http.StatusOK || r.Changed {
		t.Errorf("%d %+v", code, r)
	}
	if after := p.metric("rideau_policy_generation"); after != before {
		t.Errorf("generation %v became %v though nothing changed", before, after)
	}
	if n := p.metric(`rideau_list_fetches_total{list="feed",result="unchanged"}`); n < 2 {
		t.Errorf("%v unchanged", n)
	}

	// Changed.
	pub.publish(`"3"`, feedText+"third.example\n")
	if code, r := p.reload("?fetch=true"); code != http.StatusOK || !r.Changed {
		t.Errorf("%d %+v", code, r)
	}
	is("third.example", blocked)

	// Refused, for each of these reasons: the old version stays in force.
	for name, h := range map[string]http.HandlerFunc{
		"web page":  func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html><body>sign in</body></html>") },
		"empty":     func(w http.ResponseWriter, r *http.Request) {},
		"no list":   func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "# no entries\n") },
		"shrunk":    func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "one.example\n") },
		"not found": http.NotFound,
		"truncated": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "999")
			io.WriteString(w, feedText)
		},
		"grown": func(w http.ResponseWriter, r *http.Request) {
			for i := range 2000 {
				fmt.Fprintf(w, "n%d.example\n", i)
			}
		},
		"binary": func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 100)) },
	} {
		pub.breaks(h)
		code, r := p.reload("?fetch=true")
		if code != http.StatusUnprocessableEntity || r.OK || r.Changed || len(r.Problems) != 1 || r.Problems[0].List != "feed" || !strings.HasPrefix(r.Problems[0].File, pub.URL) {
			t.Errorf("%s: %d %+v", name, code, r)
		}
		t.Logf("%s: %+v", name, r.Problems)
		is("third.example", blocked)
		is("banned.example", blocked)
	}
	if n := p.metric(`rideau_list_last_good_in_use{list="feed"}`); n != 1 {
		t.Errorf("last good in use: %v", n)
	}
	if _, text := p.get("/readyz"); !strings.Contains(text, "last good copy of list feed") {
		t.Errorf("readyz: %s", text)
	}
	// A change of the configuration is accepted whatever feeds do.
	w.replace("list.txt", "banned.example\nplain.example\n")
	p.becomes(time.Now(), "plain.example", blocked)

	// By force, a list that shrank is accepted, and is the last good copy from then on.
	pub.publish(`"4"`, "one.example\n")
	if code, _ := p.reload("?fetch=true"); code != http.StatusUnprocessableEntity {
		t.Errorf("shrunk: %d", code)
	}
	// Force takes what the URL has now, and nothing that was refused before.
	pub.breaks(http.NotFound)
	for _, q := range []string{"?force=feed", "?force=feed&fetch=true", "?force=all"} {
		if code, r := p.reload(q); code != http.StatusUnprocessableEntity || r.Changed || len(r.Forced) != 0 || len(r.Problems) == 0 {
			t.Errorf("%s after a 404: %d %+v", q, code, r)
		}
		is("third.example", blocked)
	}
	pub.publish(`"4"`, "one.example\n")
	if code, r := p.reload("?force=list"); code != http.StatusOK || r.Changed || len(r.Forced) != 0 {
		t.Errorf("force for another list: %d %+v", code, r)
	}
	is("third.example", blocked)
	if code, r := p.reload("?force=feed"); code != http.StatusOK || !r.Changed || fmt.Sprint(r.Forced) != "[{feed list 4 1}]" {
		t.Errorf("by force: %d %+v", code, r)
	}
	is("third.example", passed)
	full, _ := pub.sent()
	if code, r := p.reload("?fetch=true"); code != http.StatusOK || r.Changed {
		t.Errorf("after force: %d %+v", code, r)
	}
	if again, _ := pub.sent(); again != full {
		t.Error("it was sent again though its tag was known")
	}
	p.stop()

	// Without a network the copy is used, also by check.
	pub.Close()
	p = start(t, w.dir)
	is("one.example", blocked)
	p.within(time.Now(), "the failure is told", func() (string, bool) {
		return "", p.metric(`rideau_list_last_good_in_use{list="feed"}`) == 1
	})
	p.logs(time.Now(), "a list could not be fetched")
	if code, out := runRideau(t, w.dir, "check", "--config", "rideau.yaml"); code != exitOK {
		t.Errorf("check: %d %s", code, out)
	}
	if code, out := runRideau(t, w.dir, "check", "--config", "rideau.yaml", "--fetch"); code != exitFailure || !strings.Contains(out, pub.URL) {
		t.Errorf("check --fetch: %d %s", code, out)
	}
	if code, out := runRideau(t, w.dir, "explain", "--config", "rideau.yaml", "one.example"); code != exitBanned || !strings.Contains(out, pub.URL+"/list.txt:1") {
		t.Errorf("explain: %d %s", code, out)
	}
}

// TestForcedCopy: a last good copy that "rideau fetch" has written by force, or that was brought from elsewhere, can be forced where the URL
// cannot be reached. What the server itself refused cannot.
func TestForcedCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pub := newPublisher(w)
	pub.publish("", feedText)
	w.remote(pub.URL+"/list.txt", "")
	p := start(t, w.dir)
	pub.publish("", "one.example\n")
	if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml", "--force=feed"); code != exitOK {
		t.Fatalf("fetch: %d %s", code, out)
	}
	pub.publish("", "two.example\n") // refused by the server, and gone afterwards
	if code, r := p.reload("?fetch=true"); code != http.StatusUnprocessableEntity {
		t.Errorf("%d %+v", code, r)
	}
	pub.breaks(http.NotFound)
	if code, r := p.reload(""); code != http.StatusUnprocessableEntity || r.Changed {
		t.Errorf("without force: %d %+v", code, r)
	}
	code, text := p.request(http.MethodPost, "/reload?force=feed", "text/plain")
	for _, want := range []string{"some lists could not be fetched, or were refused; their last good copies serve", "list feed: forced: 1 entry now, 3 before", "404"} {
		if code != http.StatusUnprocessableEntity || !strings.Contains(text, want) {
			t.Errorf("by force: %d, without %q: %s", code, want, text)
		}
	}
	for name, want := range map[string]string{"one.example": blocked, "second.example": passed} {
		if got := outcome(p.ask("udp", name, dns.TypeA)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// runRideau runs a command that ends, and returns its exit code and its output.
func runRideau(t *testing.T, dir string, args ...string) (int, string) {
	t.Helper()
	cmd := rideau(t.Context(), dir, args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestFeedWithoutCopy: a start that cannot get the list fails in bounded time, and says what to do; it does the same if the copy is damaged.
func TestFeedWithoutCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pub := newPublisher(w)
	pub.publish("", feedText)
	w.remote(pub.URL+"/list.txt", "")
	code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml")
	if code != exitOK || !regexp.MustCompile(`(?m)^list feed: updated, 3 entries, sha256 [0-9a-f]{64}, from `+pub.URL).MatchString(out) {
		t.Fatalf("fetch: %d %s", code, out)
	}
	// What a guard refuses is taken only for a list that is forced.
	pub.publish("", "one.example\n")
	if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml"); code != exitFailure || !strings.Contains(out, "reload with force=feed") {
		t.Errorf("fetch: %d %s", code, out)
	}
	for _, wrong := range []string{"--force=list", "--force=true", "--force="} {
		if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml", wrong); code != exitUsage || !strings.Contains(out, "--force=all") {
			t.Errorf("fetch %s: %d %s", wrong, code, out)
		}
	}
	if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml", "--force=feed"); code != exitOK || !strings.Contains(out, "list feed: forced: 1 entry now, 3 before") {
		t.Errorf("fetch: %d %s", code, out)
	}
	pub.publish("", feedText)
	if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml"); code != exitOK {
		t.Errorf("fetch: %d %s", code, out)
	}
	pub.breaks(http.NotFound)
	if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml"); code != exitFailure || !strings.Contains(out, "404") {
		t.Errorf("fetch: %d %s", code, out)
	}
	// The other files of the configuration do not matter to fetch.
	w.move("list.txt", "list.away")
	pub.publish("", feedText)
	if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml"); code != exitOK || !strings.Contains(out, "unchanged") {
		t.Errorf("fetch: %d %s", code, out)
	}
	w.move("list.away", "list.txt")
	pub.breaks(http.NotFound)
	p := start(t, w.dir)
	if got := outcome(p.ask("udp", "second.example", dns.TypeA)); got != blocked {
		t.Error(got)
	}
	p.stop()
	copies, err := filepath.Glob(w.path("state/feed.*.list"))
	if err != nil || len(copies) != 1 {
		t.Fatalf("%v, %v", copies, err)
	}
	if err := os.WriteFile(copies[0], []byte("one.example\nplain.example\nthree.example\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, damaged := range []bool{true, false} {
		began := time.Now()
		code, out := runRideau(t, w.dir, "serve", "--config", "rideau.yaml")
		if took := time.Since(began); code != exitFailure || took < 1500*time.Millisecond || took > 30*time.Second {
			t.Errorf("damaged %v: %d after %v", damaged, code, took)
		}
		lacks := "no last good copy in " + w.path("state")
		if damaged {
			lacks = "the last good copy is damaged: "
		}
		for _, want := range []string{"rideau: list feed: " + pub.URL + "/list.txt: the server answered 404", "rideau fetch", lacks} {
			if !strings.Contains(strings.ReplaceAll(out, " state;", " "+w.path("state")+";"), want) {
				t.Errorf("damaged %v: no %q in %s", damaged, want, out)
			}
		}
		if err := os.RemoveAll(w.path("state")); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := runRideau(t, w.dir, "check", "--config", "rideau.yaml"); code != exitOK || !strings.Contains(out, "was not fetched yet") {
		t.Errorf("check: %d %s", code, out)
	}
	// If the network works again while the start waits, the start succeeds.
	time.AfterFunc(500*time.Millisecond, func() { pub.publish("", feedText) })
	p = start(t, w.dir)
	if got := outcome(p.ask("udp", "second.example", dns.TypeA)); got != blocked {
		t.Error(got)
	}
}

// TestSignedFeed: a signature must be valid, and a serial never decreases.
func TestSignedFeed(t *testing.T) {
	t.Parallel()
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	pub := newPublisher(w)
	publish := func(text, signed string, serial int) {
		r := minisign.NewReader(strings.NewReader(signed))
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		sig := r.SignWithComments(private, fmt.Sprintf("timestamp:1 serial:%d", serial), "x")
		pub.publish("", text)
		pub.mu.Lock()
		pub.sig = sig
		pub.mu.Unlock()
	}
	publish(feedText, feedText, 7)
	w.remote(pub.URL+"/list.txt", ", public_key: "+public.String()+", require_serial: true")
	p := start(t, w.dir)
	fetchAgain := func(what string, want int, text string) {
		t.Helper()
		code, r := p.reload("?fetch=true")
		if code != want || len(r.Problems) > 0 && !strings.Contains(fmt.Sprint(r.Problems), text) || (len(r.Problems) == 0) != (text == "") {
			t.Errorf("%s: %d %+v", what, code, r)
		}
		t.Logf("%s: %+v", what, r.Problems)
		if got := outcome(p.ask("udp", "second.example", dns.TypeA)); got != blocked {
			t.Errorf("%s: %s", what, got)
		}
	}
	longer := feedText + "third.example\n"
	publish(longer, feedText, 8)
	fetchAgain("wrong signature", 422, "not what was signed")
	publish(longer, longer, 6)
	fetchAgain("serial back", 422, "older version")
	if got := outcome(p.ask("udp", "third.example", dns.TypeA)); got != passed {
		t.Errorf("it is used: %s", got)
	}
	publish(longer, longer, 8)
	fetchAgain("good", 200, "")
	if got := outcome(p.ask("udp", "third.example", dns.TypeA)); got != blocked {
		t.Errorf("it is not used: %s", got)
	}
	if n := p.metric(`rideau_list_serial{list="feed"}`); n != 8 {
		t.Errorf("serial %v", n)
	}
	p.stop()
	// It does not decrease over a restart either.
	publish(feedText, feedText, 7)
	p = start(t, w.dir)
	fetchAgain("serial back after a restart", 422, "older version")
	if code, r := p.reload("?fetch=true&force=feed"); code != 200 {
		t.Errorf("by force: %d %+v", code, r)
	}
}

// TestPinnedFeed: content with another digest than sha256 is not used, not even by force.
func TestPinnedFeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pub := newPublisher(w)
	pub.publish("", feedText)
	w.remote(pub.URL+"/list.txt", ", sha256: "+strings.Repeat("ab", 32))
	if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml", "--force=feed"); code != exitFailure || !strings.Contains(out, "correct sha256") {
		t.Errorf("%d %s", code, out)
	}
}

// TestProtectedNames: a list with a URL cannot block them, a file can with may_block_protected, and names in the configuration always can.
func TestProtectedNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pub := newPublisher(w)
	pub.publish("", feedText+"login.microsoftonline.com\nwww.canada.ca\nplain.example\n")
	w.write("file.txt", "third.example\nx.example\ny.example\n")
	lists := func(may string) {
		w.remote(pub.URL, ", max_skipped: 0.5", func(s *settings) {
			s.bans = "feed, file, own"
			s.more = "protected: {names: [plain.example, third.example]}\n"
			s.extraLists = `, {id: file, file: file.txt, max_skipped: 0.5` + may + `}, {id: own, names: [www.canada.ca]}`
		})
	}
	lists("")
	p := start(t, w.dir)
	is := func(name, want string) {
		t.Helper()
		if got := outcome(p.ask("udp", name, dns.TypeA)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	is("plain.example", passed)
	is("third.example", passed)
	is("second.example", blocked)
	is("www.canada.ca", blocked)
	if n := p.metric(`rideau_list_skipped_lines{list="feed"}`); n != 3 {
		t.Errorf("%v skipped", n)
	}
	p.logs(time.Now(), `line skipped.*login\.microsoftonline\.com.*is protected from this list`)
	lists(", may_block_protected: true")
	p.becomes(time.Now(), "third.example", blocked)
	is("plain.example", passed)
}

// TestFolderList: files that are added, changed and removed are changes, each under its own name; and a start with an empty folder uses the copy.
func TestFolderList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.Mkdir(w.path("lists"), 0o777); err != nil {
		t.Fatal(err)
	}
	w.write("lists/10.txt", "one.example\n")
	w.write("lists/20.txt", "two.example\n")
	w.write("lists/.hidden.txt", "plain.example\n")
	w.write("lists/readme.md", "plain.example\n")
	w.config(func(s *settings) {
		s.bans, s.extraLists, s.more = "dir", `, {id: dir, folder: lists, match: "*.txt"}`, "state: {dir: state}"
	})
	p := start(t, w.dir)
	if got := outcome(p.ask("udp", "two.example", dns.TypeA)); got != blocked {
		t.Error(got)
	}
	began := time.Now()
	w.write("lists/30.txt", "plain.example\n")
	p.becomes(began, "plain.example", blocked)
	if code, out := runRideau(t, w.dir, "explain", "--config", "rideau.yaml", "plain.example"); code != exitBanned || !strings.Contains(out, "lists/30.txt:1") {
		t.Errorf("explain: %d %s", code, out)
	}
	began = time.Now()
	if err := os.Remove(w.path("lists/30.txt")); err != nil {
		t.Fatal(err)
	}
	p.becomes(began, "plain.example", passed)
	p.logs(began, `before="3 entries" after="2 entries"`) // by then the copies are written
	w.write("lists/30.txt", "<html>\n")
	p.logs(time.Now(), `reload refused because of.*lists/30\.txt`)
	p.stop()

	p = start(t, w.dir) // with 30.txt broken
	p.logs(time.Now(), `its last good copy serves instead.*30\.txt`)
	if got := outcome(p.ask("udp", "two.example", dns.TypeA)); got != blocked {
		t.Error(got)
	}
	if n := p.metric(`rideau_list_last_good_in_use{list="dir"}`); n != 1 {
		t.Errorf("last good in use: %v", n)
	}
	if code, _ := p.reload(""); code != http.StatusUnprocessableEntity {
		t.Errorf("a reload with a broken file: %d", code)
	}
	began = time.Now()
	w.replace("lists/30.txt", "plain.example\n")
	p.becomes(began, "plain.example", blocked)
	p.within(began, "the file is said to serve", func() (string, bool) {
		n := p.metric(`rideau_list_last_good_in_use{list="dir"}`)
		return fmt.Sprint(n), n != 1
	})
}

// TestFileCopy: a start with a file that is missing, truncated or invalid uses its last good copy, unless that is damaged.
func TestFileCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("list.txt", "banned.example\nb.example\nc.example\nd.example\n")
	w.config(func(s *settings) { s.more = "state: {dir: state}" })
	start(t, w.dir).stop()
	for name, broken := range map[string]func(){
		"gone":     func() { os.Remove(w.path("list.txt")) },
		"cut off":  func() { w.write("list.txt", "") },
		"shrunk":   func() { w.write("list.txt", "other.example\n") },
		"web page": func() { w.write("list.txt", "<!doctype html>\n") },
	} {
		broken()
		p := start(t, w.dir)
		if got := outcome(p.ask("udp", "banned.example", dns.TypeA)); got != blocked {
			t.Errorf("%s: %s", name, got)
		}
		p.logs(time.Now(), "its last good copy serves instead")
		p.stop()
	}
	copies, _ := filepath.Glob(w.path("state/list.*.list"))
	if len(copies) != 1 {
		t.Fatalf("%v", copies)
	}
	if err := os.Truncate(copies[0], 10); err != nil {
		t.Fatal(err)
	}
	if code, out := runRideau(t, w.dir, "serve", "--config", "rideau.yaml"); code != exitFailure || !strings.Contains(out, "damaged") || !strings.Contains(out, "list.txt") {
		t.Errorf("%d %s", code, out)
	}
}

// TestNoRebuild: a reload without a change makes no new policy, and the metrics say when it was.
func TestNoRebuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := start(t, w.dir)
	for _, change := range []func(){func() {}, func() { w.replace("list.txt", "banned.example\n") }, func() { w.config(func(s *settings) { s.level = "warn" }) }} {
		before := p.metric("rideau_policy_generation")
		stamp := p.metric(`rideau_list_last_success_timestamp_seconds{list="list"}`)
		change()
		time.Sleep(5 * time.Millisecond) // sleeps: the times of two loads differ
		if code, r := p.reload(""); code != http.StatusOK {
			t.Fatalf("%d %+v", code, r)
		}
		if after := p.metric("rideau_policy_generation"); after != before {
			t.Errorf("generation %v became %v", before, after)
		}
		if now := p.metric(`rideau_list_last_success_timestamp_seconds{list="list"}`); now <= stamp {
			t.Errorf("looked at %v, and before at %v", now, stamp)
		}
	}
}

// TestStateDir: with a list that has a URL the folder must be writable; without one it need not be.
func TestStateDir(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("file", "")
	w.remote("https://127.0.0.1:1/", "", func(s *settings) { s.more = "state: {dir: file/state}\n" })
	if code, out := runRideau(t, w.dir, "serve", "--config", "rideau.yaml"); code != exitFailure || !strings.Contains(out, "state.dir") {
		t.Errorf("%d %s", code, out)
	}
	w.config(func(s *settings) { s.more = "state: {dir: file/state}\n" })
	p := start(t, w.dir)
	p.logs(time.Now(), "no last good copies of lists are kept")
}

// TestIncludes: files that a policy zone includes belong to the list: they are watched and copied, and must be in the list's folder.
func TestIncludes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, dir := range []string{"zones", "zones/more"} {
		if err := os.Mkdir(w.path(dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	const soa = "$TTL 60\n@ SOA localhost. root.localhost. 1 2 3 4 5\n@ NS localhost.\n"
	w.write("zones/zone", soa+"$INCLUDE more/names\nthird.example CNAME .\n")
	w.write("zones/more/names", "second.example CNAME .\n")
	w.config(func(s *settings) {
		s.bans, s.extraLists, s.more = "zone", ", {id: zone, file: zones/zone, format: rpz}", "state: {dir: state}"
	})
	p := start(t, w.dir)
	for _, name := range []string{"second.example", "third.example"} {
		if got := outcome(p.ask("udp", name, dns.TypeA)); got != blocked {
			t.Errorf("%s: %s", name, got)
		}
	}
	if code, r := p.reload(""); code != http.StatusOK || r.Changed {
		t.Errorf("unchanged: %d %+v", code, r)
	}
	began := time.Now()
	w.replace("zones/more/names", "second.example CNAME .\nplain.example CNAME .\n")
	p.becomes(began, "plain.example", blocked)
	p.logs(began, `reloaded why="a file changed"`) // by then the copies are written
	w.write("zones/zone", soa+"$INCLUDE ../list.txt\n")
	p.logs(time.Now(), `reload refused because of.*zones/zone:4: .INCLUDE.*own folder`)
	p.stop()
	// A start uses the copies of both.
	if err := os.RemoveAll(w.path("zones/more")); err != nil {
		t.Fatal(err)
	}
	w.write("zones/zone", soa+"$INCLUDE more/names\nthird.example CNAME .\n")
	p = start(t, w.dir)
	for _, name := range []string{"plain.example", "third.example"} {
		if got := outcome(p.ask("udp", name, dns.TypeA)); got != blocked {
			t.Errorf("from the copy, %s: %s", name, got)
		}
	}
}

// TestFeedByName: the address of a list's server comes from the upstream servers, or from those of fetch.bootstrap, and never from this rideau, which bans
// the name.
func TestFeedByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const host = "example.com" // httptest's certificate is for it
	if err := w.upstream.Load("example.com A\n    answer example.com. 300 IN A 127.0.0.1\n" + answers); err != nil {
		t.Fatal(err)
	}
	pub := newPublisher(w)
	pub.publish("", feedText+host+"\n")
	url := "https://" + host + pub.URL[strings.LastIndexByte(pub.URL, ':'):] + "/list.txt"
	w.remote(url, "")
	p := start(t, w.dir)
	if got := outcome(p.ask("udp", host, dns.TypeA)); got != blocked {
		t.Error(got)
	}
	if code, r := p.reload("?fetch=true"); code != http.StatusOK {
		t.Errorf("%d %+v", code, r)
	}
	p.stop()
	w.remote(url, "", func(s *settings) { s.upstream = w.other.Addr() })
	text, err := os.ReadFile(w.path("rideau.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml"); code != exitFailure || !strings.Contains(out, "fetch.bootstrap") {
		t.Errorf("where nobody knows the name: %d %s", code, out)
	}
	w.write("rideau.yaml", strings.Replace(string(text), "fetch: {", fmt.Sprintf("fetch: {bootstrap: [%q], ", w.upstream.Addr()), 1))
	if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml"); code != exitOK {
		t.Errorf("with a bootstrap resolver: %d %s", code, out)
	}
}

// TestFeedUnasked: a new version takes effect without a request; a version that comes while a file is broken takes effect when that is repaired.
func TestFeedUnasked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pub := newPublisher(w)
	pub.publish(`"1"`, feedText)
	w.remote(pub.URL+"/list.txt", "")
	start(t, w.dir).stop()
	pub.publish(`"2"`, feedText+"third.example\n")
	p := start(t, w.dir)
	p.becomes(time.Now(), "third.example", blocked)
	p.logs(time.Now(), `reloaded why="a list has a new version"`)

	w.write("list.txt", "<html>\n")
	p.logs(time.Now(), "reload refused")
	pub.publish(`"3"`, feedText+"third.example\nplain.example\n")
	if code, r := p.reload("?fetch=true"); code != http.StatusUnprocessableEntity || len(r.Problems) != 1 || r.Problems[0].List != "list" {
		t.Errorf("%d %+v", code, r)
	}
	if got := outcome(p.ask("udp", "plain.example", dns.TypeA)); got != passed {
		t.Error(got)
	}
	began := time.Now()
	w.replace("list.txt", "banned.example\n")
	p.becomes(began, "plain.example", blocked)
}
