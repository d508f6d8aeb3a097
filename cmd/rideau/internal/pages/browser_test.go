package pages_test

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a Chromium that is driven over its debugging pipe, by the DevTools
// protocol, whose messages are JSON that end with an octet of zero. What the protocol
// evaluates is not subject to the page's Content-Security-Policy.
type browser struct {
	t       *testing.T
	to      *os.File
	mu      sync.Mutex
	next    int                           // guarded by mu
	waiting map[int]chan json.RawMessage  // guarded by mu
	events  func(string, json.RawMessage) // called by the reader
	session string
	gone    chan struct{} // closed when the browser has ended
}

// patience is how long the browser may take for anything: the machine may be busy.
const patience = 5 * time.Minute

// newBrowser starts Chromium, or skips the test without one.
func newBrowser(t *testing.T, events func(method string, params json.RawMessage)) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	fromTest, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, toTest, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// Its processes may write there for a moment after it ended.
	profile, err := os.MkdirTemp("", "rideau-chromium")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run", "--disable-background-networking", "--disable-extensions",
		"--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir="+profile, "about:blank")
	c.ExtraFiles = []*os.File{fromTest, toTest} // descriptors 3 and 4
	if err := c.Start(); err != nil {
		t.Skipf("chromium does not run here: %v", err)
	}
	fromTest.Close()
	toTest.Close()
	b := &browser{t: t, to: to, waiting: map[int]chan json.RawMessage{}, events: events, gone: make(chan struct{})}
	go b.read(from)
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil, nil)
		<-b.gone
		c.Process.Kill()
		c.Wait()
		to.Close()
		from.Close()
		os.RemoveAll(profile)
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Log", "Network", "Runtime"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// read hands on what the browser says, until it ends.
func (b *browser) read(from io.Reader) {
	defer close(b.gone)
	r := bufio.NewReader(from)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID             int
			Method         string
			Params, Result json.RawMessage
			Error          *struct{ Message string }
		}
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) != nil {
			continue
		}
		if m.ID == 0 {
			b.events(m.Method, m.Params)
			continue
		}
		b.mu.Lock()
		c := b.waiting[m.ID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		if m.Error != nil {
			m.Result, _ = json.Marshal(map[string]string{"failed": m.Error.Message})
		}
		c <- m.Result
	}
}

// call calls a method of the browser, and decodes its result.
func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	b.mu.Lock()
	b.next++
	id, answer := b.next, make(chan json.RawMessage, 1)
	b.waiting[id] = answer
	b.mu.Unlock()
	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err == nil {
		_, err = b.to.Write(append(text, 0))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	select {
	case raw := <-answer:
		var failed struct{ Failed string }
		if json.Unmarshal(raw, &failed) == nil && failed.Failed != "" {
			b.t.Fatalf("%s: %s", method, failed.Failed)
		}
		if result != nil {
			if err := json.Unmarshal(raw, result); err != nil {
				b.t.Fatalf("%s: %s: %v", method, raw, err)
			}
		}
	case <-b.gone:
		b.t.Fatalf("%s: chromium has ended", method)
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer", method)
	}
}

// evaluate evaluates an expression in the page, and decodes its value.
func (b *browser) evaluate(expression string, value any) error {
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &out)
	if d := out.ExceptionDetails; d != nil {
		return errors.New(d.Text + " " + d.Exception.Description)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(out.Result.Value, value)
}

// axe returns the program axe-core, which finds faults of WCAG in a page.
func axe(t *testing.T) string {
	t.Helper()
	f, err := os.Open("../report/page/testdata/axe/axe.min.js.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// seen is what the browser did while a page was loaded.
type seen struct {
	mu     sync.Mutex
	loaded chan struct{}
	faults []string // errors of the console, reports of the policy, requests to elsewhere
	octets int
	host   string
}

func (s *seen) event(method string, params json.RawMessage) {
	var p struct {
		Entry             struct{ Level, Text, Source, URL string }
		Request           struct{ URL string }
		Type              string
		EncodedDataLength float64
		ExceptionDetails  struct{ Text string }
	}
	_ = json.Unmarshal(params, &p)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch method {
	case "Page.loadEventFired":
		select {
		case s.loaded <- struct{}{}:
		default:
		}
	case "Log.entryAdded":
		if p.Entry.Level == "error" || p.Entry.Level == "warning" || p.Entry.Source == "security" {
			s.faults = append(s.faults, p.Entry.Text+" "+p.Entry.URL)
		}
	case "Runtime.exceptionThrown":
		s.faults = append(s.faults, p.ExceptionDetails.Text)
	case "Network.requestWillBeSent":
		if u := p.Request.URL; !strings.HasPrefix(u, "http://"+s.host+"/") && !strings.HasPrefix(u, "about:") && !strings.HasPrefix(u, "data:") /* images of its own controls */ {
			s.faults = append(s.faults, "a request to "+u)
		}
	case "Network.loadingFinished":
		s.octets += int(p.EncodedDataLength)
	}
}

// reset forgets what was seen, and returns it.
func (s *seen) reset() (faults []string, octets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	faults, octets = s.faults, s.octets
	s.faults, s.octets = nil, 0
	return faults, octets
}

// check is evaluated in each page: what axe finds, how wide the page is beyond the
// window, and how long the server took.
const check = `(async only => {
  const r = only.length ? await axe.run(document, {runOnly: only, resultTypes: ["violations"]}) : {violations: [], passes: []};
  return {Wide: document.documentElement.scrollWidth - innerWidth, Rules: r.passes.length,
    Took: performance.getEntriesByType("navigation")[0].responseEnd - performance.getEntriesByType("navigation")[0].requestStart,
    Found: r.violations.map(v => v.id + ": " + v.help + " " + v.nodes.map(n => n.html.slice(0, 160)).slice(0, 3).join(" "))};
})(%s)`

// TestBrowser: Chromium shows every page in both languages, dark and light, wide and as
// narrow as a telephone. Axe finds nothing against WCAG 2.1 AA, nothing is reported
// against the Content-Security-Policy, no script fails, nothing is wider than the
// window, no page has 150 kB, and no request leaves the server. With the variable
// RIDEAU_SCREENSHOTS the pages are written as images into that folder.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	s := start(t, "")
	for range 5 {
		s.ask("web.wechat.example.")
	}
	is := &seen{loaded: make(chan struct{}, 1), host: s.addr}
	b := newBrowser(t, is.event)
	program, images := axe(t), os.Getenv("RIDEAU_SCREENSHOTS")
	b.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `document.cookie = "rideau_zone=America%2FToronto; Path=/"`}, nil)
	b.call("Network.setExtraHTTPHeaders", map[string]any{"headers": map[string]any{"Authorization": "Bearer " + token, "Accept-Language": "en"}}, nil)
	b.updates(s, is)
	const all = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]`
	for i, path := range []string{"/now", "/bans", "/bans/ca-2023-wechat", "/events", "/clients", "/lists", "/exceptions", "/explain", "/changes", "/system",
		"/bans/other-0", "/explain?name=web.wechat.example&client=10.2.0.1&type=HTTPS", "/explain?name=help.wechat.example&client=10.2.0.1", "/explain?name=..&client=x",
		"/bans/none", "/events?name=nothing.example&from=x"} {
		for lang, widths := range map[string][2]int{"en": {1600, 360}, "fr": {360, 1600}} {
			if variant := i >= 10; variant && images == "" && (lang == "en") != (i%2 == 0) {
				continue // another look of a page that was there in both
			}
			b.call("Network.setExtraHTTPHeaders", map[string]any{"headers": map[string]any{"Authorization": "Bearer " + token, "Accept-Language": lang}}, nil)
			b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": widths[0], "height": 1000, "deviceScaleFactor": 1, "mobile": widths[0] < 500}, nil)
			is.reset()
			b.call("Page.navigate", map[string]any{"url": "http://" + s.addr + path}, nil)
			select {
			case <-is.loaded:
			case <-time.After(patience):
				t.Fatalf("%s is not loaded", path)
			}
			if err := b.evaluate(program+";1", nil); err != nil {
				t.Fatal(err)
			}
			// Most rules of axe do not depend on colours, and colours do not depend on the width.
			for _, look := range []struct {
				theme, rules string
				width        int
			}{{"light", all, widths[0]}, {"dark", `["color-contrast"]`, widths[0]}, {"dark", "", widths[1]}, {"light", "", widths[1]}} {
				b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": look.width, "height": 1000, "deviceScaleFactor": 1, "mobile": look.width < 500}, nil)
				b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": look.theme}}}, nil)
				if images != "" {
					look.rules = all
				}
				var found struct {
					Wide, Rules int
					Took        float64
					Found       []string
				}
				if err := b.evaluate(fmt.Sprintf(check, cmp.Or(look.rules, "[]")), &found); err != nil {
					t.Fatalf("%s in %s, %s, %d wide: %v", path, lang, look.theme, look.width, err)
				}
				if len(found.Found) > 0 || found.Wide > 0 || look.rules != "" && found.Rules == 0 {
					t.Errorf("%s in %s, %s, %d wide: it is %d pixels too wide, %d rules pass; axe finds:\n%s", path, lang, look.theme, look.width, found.Wide, found.Rules, strings.Join(found.Found, "\n"))
				}
				if images != "" {
					b.image(filepath.Join(images, fmt.Sprintf("%s-%s-%s-%d.png", strings.NewReplacer("/", "", "?", "-", "&", "-", "=", "-", ".", "").Replace(path), lang, look.theme, look.width)))
				}
			}
			faults, octets := is.reset()
			for _, f := range faults {
				if !strings.Contains(f, "the server responded with a status of 4") { // pages of errors
					t.Errorf("%s in %s: %s", path, lang, f)
				}
			}
			if octets > 150_000 || octets == 0 {
				t.Errorf("%s in %s: it has %d octets", path, lang, octets)
			}
		}
	}
}

// updates checks that a page updates itself by its stream, and stops when its button is
// pressed.
func (b *browser) updates(s *site, is *seen) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": "http://" + s.addr + "/now"}, nil)
	select {
	case <-is.loaded:
	case <-time.After(patience):
		b.t.Fatal("the page is not loaded")
	}
	const count = `document.querySelector("#now-bans tbody td.n").textContent`
	var before, after string
	if err := b.evaluate(count, &before); err != nil {
		b.t.Fatal(err)
	}
	s.ask("web.wechat.example.")
	err := b.evaluate(`new Promise((done, failed) => {
	  setTimeout(() => failed("nothing changed"), 300000);
	  setInterval(() => { const now = `+count+`; if (now !== "`+before+`") done(now); }, 50);
	})`, &after)
	if err != nil || after == before {
		b.t.Errorf("the page does not update itself: %q, then %q: %v", before, after, err)
	}
	var texts []string
	if err := b.evaluate(`(() => { const bar = document.querySelector("[data-stream]"), button = bar.querySelector("button"), texts = [];
	  for (const press of [false, true, true]) { if (press) button.click(); texts.push(bar.querySelector("span").textContent, button.textContent); }
	  return texts; })()`, &texts); err != nil {
		b.t.Fatal(err)
	}
	if want := "Updates itself|Pause updates|Updates are paused|Resume updates|Updates itself|Pause updates"; strings.Join(texts, "|") != want {
		b.t.Errorf("the button says %q", texts)
	}
}

// image writes the page as an image.
func (b *browser) image(path string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
