package source_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/fetch"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/blocklists/source"
)

// fixture is a folder with one file list and a server with another list.
type fixture struct {
	t     *testing.T
	dir   string
	log   bytes.Buffer
	web   *httptest.Server
	mu    sync.Mutex // guards text
	text  string     // empty: the server answers 404
	s     *source.Sources
	slots blocklists.Slots
	snap  *blocklists.Snapshot
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), text: "one.example\ntwo.example\n"}
	f.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.text == "" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, f.text)
	}))
	t.Cleanup(f.web.Close)
	f.write("list.txt", "banned.example\nb.example\n")
	f.s = source.New(source.Options{Logger: slog.New(slog.NewTextHandler(&f.log, nil))})
	return f
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fixture) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(text), 0o666); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) publish(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text = text
}

// plan returns a plan with the list of the file and, for each URL, a list feed-N.
func (f *fixture) plan(urls ...string) *source.Plan {
	rules := func(id, src string) input.List {
		return input.List{ID: id, Source: src, Format: format.Auto, MaxSkipped: 0.1, MaxShrink: 0.5, Guards: input.Guards{MaxGrowth: 10}}
	}
	p := &source.Plan{Dir: f.path("state"), Fetch: fetch.Options{Timeout: 10 * time.Second}}
	p.Lists = append(p.Lists, source.List{List: rules("list", f.path("list.txt")), File: f.path("list.txt")})
	ids := []string{"list"}
	for i, u := range urls {
		l := source.List{List: rules(fmt.Sprintf("feed-%d", i), u), URL: u, Refresh: time.Hour}
		l.MaxBytes = 1 << 20
		p.Lists = append(p.Lists, l)
		ids = append(ids, l.ID)
	}
	p.Policy.Bans = []blocklists.Ban{{ID: "b", TitleEN: "B", Groups: []string{blocklists.GroupAll}, Lists: ids, TTL: time.Minute}}
	return p
}

// prepare begins an Acquisition, up to Prepare.
func (f *fixture) prepare(p *source.Plan, o source.PrepareOptions) (*source.Acquisition, compile.Report, error) {
	f.t.Helper()
	a := f.s.Begin(p)
	f.t.Cleanup(a.Close)
	_ = a.Ensure(f.t.Context(), 0) // Prepare says what is missing
	o.Previous, o.Slots = f.snap, &f.slots
	_, report, err := a.Prepare(f.t.Context(), o)
	return a, report, err
}

// commit makes an Acquisition of a plan, up to Commit.
func (f *fixture) commit(p *source.Plan, o source.PrepareOptions) compile.Report {
	f.t.Helper()
	a := f.s.Begin(p)
	defer a.Close()
	_ = a.Ensure(f.t.Context(), 0)
	o.Previous, o.Slots = f.snap, &f.slots
	snap, report, err := a.Prepare(f.t.Context(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	a.Commit()
	f.snap = snap
	return report
}

// files returns the files of the state folder: their contents and when they were written.
func (f *fixture) files() map[string]string {
	f.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(f.path("state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		out[d.Name()] = fmt.Sprintf("%v %s", info.ModTime(), text)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		f.t.Fatal(err)
	}
	return out
}

// TestNothingBeforeCommit: an Acquisition that is closed without Commit leaves files, feeds and the status as they were.
func TestNothingBeforeCommit(t *testing.T) {
	f := newFixture(t)
	// Nothing is made on disk by a policy that is not committed.
	a, _, err := f.prepare(f.plan(), source.PrepareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	if _, err := os.Stat(f.path("state")); !os.IsNotExist(err) {
		t.Errorf("the folder is there: %v", err)
	}

	f.commit(f.plan(f.web.URL), source.PrepareOptions{})
	files, status := f.files(), fmt.Sprint(f.s.Status())
	if len(files) != 4 {
		t.Fatalf("files %v", files)
	}
	same := func(what string) {
		t.Helper()
		if got := f.files(); !maps.Equal(got, files) {
			t.Errorf("%s: files\n%q\nwere\n%q", what, got, files)
		}
		if got := fmt.Sprint(f.s.Status()); got != status {
			t.Errorf("%s: status\n%s\nwas\n%s", what, got, status)
		}
		if f.s.Pending() {
			t.Errorf("%s: a download is pending", what)
		}
		if due, _ := f.s.Due(time.Now()); len(due) != 0 {
			t.Errorf("%s: due %v", what, due)
		}
	}
	// A changed file, prepared and not committed.
	f.write("list.txt", "other.example\nb.example\n")
	a, _, err = f.prepare(f.plan(f.web.URL), source.PrepareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	a.Close() // once more does no harm
	same("changed file")
	// A list that was downloaded for a plan that is not committed, and a list whose URL changed.
	a, _, err = f.prepare(f.plan(f.web.URL+"/moved", f.web.URL+"/new"), source.PrepareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	same("new list")
	// A file that cannot be used.
	f.write("list.txt", "<html>\n")
	a, report, err := f.prepare(f.plan(f.web.URL, f.web.URL+"/new"), source.PrepareOptions{})
	if err == nil || len(report.Failed) != 1 || report.Failed[0].List != "list" {
		t.Errorf("%+v, %v", report, err)
	}
	a.Close()
	same("broken file")
	// A context that has ended.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a = f.s.Begin(f.plan(f.web.URL, f.web.URL+"/new"))
	if err := a.Ensure(ctx, time.Minute); err == nil {
		t.Error("downloaded after the end")
	}
	if _, _, err := a.Prepare(ctx, source.PrepareOptions{Previous: f.snap, Slots: &f.slots}); err == nil {
		t.Error("prepared after the end")
	}
	a.Close()
	same("context")
	// All of it, committed.
	f.write("list.txt", "banned.example\nb.example\nc.example\n")
	f.commit(f.plan(f.web.URL, f.web.URL+"/new"), source.PrepareOptions{})
	if got := f.files(); len(got) != 6 || maps.Equal(got, files) {
		t.Errorf("files %q", got)
	}
}

// TestRefusedCandidate: a download of which no policy can be made is put aside when the policy without it is committed, and not before: the
// configuration that refuses it may never be in force.
func TestRefusedCandidate(t *testing.T) {
	f := newFixture(t)
	p := f.plan(f.web.URL)
	f.commit(p, source.PrepareOptions{})
	f.publish("one.example\ntwo.example\nthree.example\n")
	if v := f.s.Fetch(t.Context(), p, p.Remote(), nil); v[0].Err != nil || v[0].Result != source.Updated || !f.s.Pending() {
		t.Fatalf("%+v", v)
	}
	strict := f.plan(f.web.URL)
	strict.Lists[1].Guards.MaxEntries = 2
	a, report, err := f.prepare(strict, source.PrepareOptions{})
	if err != nil || len(report.Failed) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	a.Close()
	if !f.s.Pending() {
		t.Error("the download was put aside by a policy that was not committed")
	}
	report = f.commit(strict, source.PrepareOptions{})
	if len(report.Failed) != 1 || f.s.Pending() || f.snap.Lists()[1].Entries != 2 {
		t.Errorf("%+v, pending %v, %d entries", report, f.s.Pending(), f.snap.Lists()[1].Entries)
	}
	if st := f.s.Status(); len(st) != 1 || st[0].Fetches[source.Refused] != 1 || st[0].LastGood == "" {
		t.Errorf("%+v", st)
	}
	if !strings.Contains(f.log.String(), "the new version of a list is refused") {
		t.Errorf("log %s", f.log.String())
	}
	// It stays for force, also when it is old.
	temp, _ := filepath.Glob(f.path("state/download-*.tmp"))
	if len(temp) != 1 {
		t.Fatalf("downloads %v", temp)
	}
	if err := os.Chtimes(temp[0], time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	f.commit(strict, source.PrepareOptions{})
	// Force takes only what the URL has: after a download that failed, or without one, nothing.
	f.commit(p, source.PrepareOptions{Force: input.Forced{"all"}})
	if f.snap.Lists()[1].Entries != 2 {
		t.Errorf("by force, without a download: %d entries", f.snap.Lists()[1].Entries)
	}
	forced := func(text string, entries int) {
		t.Helper()
		f.publish(text)
		a := f.s.Begin(p)
		a.Fetch(t.Context(), func(*source.List) bool { return true }, input.Forced{"feed-0"})
		snap, _, err := a.Prepare(t.Context(), source.PrepareOptions{Previous: f.snap, Slots: &f.slots, Force: input.Forced{"feed-0"}})
		if err != nil {
			t.Fatal(err)
		}
		a.Commit()
		f.snap = snap
		if got := snap.Lists()[1].Entries; got != entries {
			t.Errorf("by force, %q: %d entries, want %d", text, got, entries)
		}
	}
	forced("", 2)
	forced("one.example\ntwo.example\nthree.example\n", 3)
	if st := f.s.Status(); st[0].Fetches[source.Updated] != 2 || st[0].LastGood != "" {
		t.Errorf("%+v", st)
	}
}

// TestStartFromCopies: a start reads the last good copy of a file that cannot be used, a reload does not.
func TestStartFromCopies(t *testing.T) {
	f := newFixture(t)
	p := f.plan(f.web.URL)
	f.commit(p, source.PrepareOptions{})
	f.web.Close()
	f.write("list.txt", "")
	f.s, f.snap = source.New(source.Options{}), nil
	a, report, err := f.prepare(p, source.PrepareOptions{})
	if err == nil || len(report.Failed) != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	a.Close()
	f.commit(p, source.PrepareOptions{Start: true})
	if st := f.s.Status(); len(st) != 2 || st[0].List != "list" || !strings.Contains(st[0].LastGood, "no entries") {
		t.Errorf("%+v", st)
	}
	for i, want := range []int{2, 2} {
		if got := f.snap.Lists()[i].Entries; got != want {
			t.Errorf("list %d has %d entries", i, got)
		}
	}
}

// TestSamePolicy: if nothing changed the Snapshot stays, and so does its report.
func TestSamePolicy(t *testing.T) {
	f := newFixture(t)
	f.write("list.txt", "banned.example\nb.example\nc.example\nd.example\ne.example\nf.example\ng.example\nh.example\ni.example\nj.example\n-.\n")
	first := f.commit(f.plan(), source.PrepareOptions{})
	if len(first.Problems) != 1 {
		t.Fatalf("%+v", first)
	}
	before := f.snap
	again := f.commit(f.plan(), source.PrepareOptions{SamePolicy: true})
	if f.snap.Generation() != before.Generation() || len(again.Problems) != 1 || !f.snap.Lists()[0].LoadedAt.After(before.Lists()[0].LoadedAt) {
		t.Errorf("generation %d and %d, %+v", before.Generation(), f.snap.Generation(), again)
	}
	f.write("list.txt", "banned.example\nb.example\nc.example\nd.example\ne.example\nf.example\ng.example\n")
	if f.commit(f.plan(), source.PrepareOptions{SamePolicy: true}); f.snap.Generation() == before.Generation() {
		t.Error("the change of the file was not seen")
	}
}

// TestUnwritable: a copy that cannot be written is logged, and the policy is in force.
func TestUnwritable(t *testing.T) {
	f := newFixture(t)
	f.write("state", "a file, not a folder")
	f.commit(f.plan(), source.PrepareOptions{})
	if f.snap.Lists()[0].Entries != 2 || !strings.Contains(f.log.String(), "no last good copies of lists are kept") {
		t.Errorf("log %s", f.log.String())
	}
	p := f.plan(f.web.URL)
	a := source.New(source.Options{}).Begin(p)
	defer a.Close()
	if err := a.Ensure(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "state.dir") {
		t.Errorf("a start without a folder for downloads: %v", err)
	}
	p.Dir = ""
	if _, _, err := source.Load(t.Context(), p, source.PrepareOptions{Slots: &f.slots}); err == nil || !strings.Contains(err.Error(), "set state.dir") {
		t.Error(err)
	}
}

// TestLenient: a list that was never downloaded is empty, and Missing returns it.
func TestLenient(t *testing.T) {
	f := newFixture(t)
	a := source.New(source.Options{ReadOnly: true}).Begin(f.plan(f.web.URL))
	defer a.Close()
	snap, _, err := a.Prepare(t.Context(), source.PrepareOptions{Slots: &f.slots, Lenient: true})
	if err != nil || len(a.Missing()) != 1 || a.Missing()[0].ID != "feed-0" || snap.Lists()[1].Entries != 0 {
		t.Errorf("%v, missing %v", err, a.Missing())
	}
	if _, err := os.Stat(f.path("state")); !os.IsNotExist(err) {
		t.Errorf("the folder is there: %v", err)
	}
}
