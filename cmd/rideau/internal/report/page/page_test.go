package page_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"rideau/cmd/rideau/internal/report"
	"rideau/cmd/rideau/internal/report/page"
	"rideau/cmd/rideau/internal/report/reporttest"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
)

// shared is the example, which tests make once and do not change.
var shared struct {
	sync.Mutex
	r *report.Report
}

// example is the report of a November on two nodes, as a department could have it.
func example(t testing.TB) *report.Report {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.r == nil {
		shared.r = makeExample(t)
	}
	return shared.r
}

func makeExample(t testing.TB) *report.Report {
	t.Helper()
	start := time.Date(2026, 10, 20, 12, 0, 0, 0, time.UTC)
	at := func(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 17, 0, 0, time.UTC) }
	chat := func(change ...func(*act.Ban)) act.Ban {
		return reporttest.Ban("GC-2023-WECHAT", "enforce", append(change, func(b *act.Ban) {
			b.TitleEN, b.TitleFR = "WeChat on government devices", "WeChat sur les appareils du gouvernement"
			b.Instrument = "Direction of the Chief Information Officer of Canada, October 30, 2023"
		})...)
	}
	around := reporttest.Ban("AROUND", "monitor", func(b *act.Ban) {
		b.TitleEN, b.TitleFR, b.Bypass, b.Authority, b.Instrument, b.URL = "Ways round this resolver", "Contournement du résolveur", true, "", "", ""
	})
	off := reporttest.Ban("GC-TIKTOK", "off", func(b *act.Ban) { b.TitleEN, b.TitleFR = "TikTok", "TikTok" })
	seed := rand.New(rand.NewPCG(7, 7))
	var paths []string
	for _, name := range []string{"ottawa-1", "gatineau-2"} {
		n := reporttest.New(t, t.TempDir(), name, start)
		n.Act(act.Start, chat(), around, off)
		for day := range 28 {
			n.Until(at(day+1, 9))
			for range 20 + seed.IntN(60) {
				n.Query("GC-2023-WECHAT", fmt.Sprintf("10.20.%d.%d", seed.IntN(4), seed.IntN(40)+1),
					[]string{"www.wechat.com", "short.weixin.qq.com", "long.weixin.qq.com", "res.wx.qq.com", "web.wechat.com", "a-very-long-name-that-somebody-made-for-a-content-network.cdn.weixinbridge.com"}[min(seed.IntN(9), 5)],
					func(r *audit.Record) {
						r.Group = []string{"staff", "staff", "guests", "labs", "all", "executives"}[seed.IntN(6)]
					})
			}
			if day%3 == 0 {
				n.Query("AROUND", "10.20.1.7", "dns.google", func(r *audit.Record) { r.Monitored, r.Marks = true, resolver.Bypass })
			}
			switch {
			case day == 9 && name == "ottawa-1":
				n.Act(act.Stop, chat(), around, off)
				n.Restart(95 * time.Minute)
				n.Act(act.Start, chat(), around, off)
			case day == 14:
				last := chat(func(b *act.Ban) { b.Lists[0].LastGood = true })
				n.Record(act.Act{Kind: act.ListRefused, Object: "list-GC-2023-WECHAT", Failed: true, Reason: "what was in force before goes on serving", Bans: []act.Ban{last, around, off}})
			case day == 15:
				n.Record(act.Act{Kind: act.Reload, Actor: act.Actor{Way: act.ByHTTP, Address: "10.0.0.5", User: "ops.token_file"}, Bans: []act.Ban{chat(func(b *act.Ban) { b.Lists[0].Hash, b.Lists[0].Entries = strings.Repeat("fe", 32), 57 }), around, off},
					Changes: []act.Change{{Key: "limits.queries_per_second", Before: "100", After: "200"}}})
			case day == 20:
				n.Query("GC-2023-WECHAT", "10.20.3.9", "www.wechat.com", func(r *audit.Record) {
					r.Exception, r.Group = reporttest.Exception("consular-wuhan", "GCS-48213", "M. Tremblay, ADM"), "executives"
				})
			}
		}
		n.Until(time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC))
		paths = append(paths, n.Close())
	}
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		zone = time.UTC
	}
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, zone)
	r, err := report.Make(t.Context(), report.Options{Paths: paths, From: from, To: from.AddDate(0, 1, 0), By: "Rideau 1.2.0", Now: from.AddDate(0, 1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Sources {
		r.Sources[i].Name = "/var/lib/rideau/" + r.Nodes[i].Name + "/evidence.db"
	}
	return r
}

func write(t testing.TB, r *report.Report, format, lang string) string {
	t.Helper()
	var b bytes.Buffer
	if err := page.Write(&b, r, format, lang); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestExample writes the example to the folder that RIDEAU_REPORT_EXAMPLE names, so
// that people can look at it.
func TestExample(t *testing.T) {
	dir := os.Getenv("RIDEAU_REPORT_EXAMPLE")
	if dir == "" {
		t.Skip("RIDEAU_REPORT_EXAMPLE is not set")
	}
	r := example(t)
	for _, name := range []string{"en.html", "fr.html", "en.md", "fr.md", "en.csv", "en.json"} {
		lang, format, _ := strings.Cut(name, ".")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(write(t, r, format, lang)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// hostile are texts that a format could take for something else.
func hostile() []string {
	return []string{"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "</title></svg><script>", "javascript:alert(1)", "{{.Title}}", "=cmd|' /C calc'!A1", "+1", "-1+2", "@sum", "\t=1", "\r=1",
		" =1+1", "new\nline", "\x1b[31mred\x1b]0;title\a", "nul\x00", "\xff\xfe\x80", "a|b`c`*d*_e_[f](g)#", "\u202eevil\u2066", "&amp;&lt;", "--><!--", strings.Repeat("w", 255), "\u2028\u2029"}
}

// hostileReport has such texts wherever others can put some.
func hostileReport(texts ...string) *report.Report {
	at := time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	r := &report.Report{Schema: report.Version, From: at.AddDate(0, 0, -2), To: at.AddDate(0, 0, 2), Zone: "UTC", Made: at, By: "Rideau"}
	for _, s := range texts {
		r.Bans = append(r.Bans, report.Ban{ID: s, TitleEN: s, TitleFR: s, Authority: s, Instrument: s, URL: s, Mode: s, Bypass: true, Counts: report.Counts{Blocked: 3},
			Nodes:  []report.BanNode{{Node: s, Since: at, InForce: 2, NotInForce: 1, Gaps: []report.Gap{{State: inforce.State(s), From: at, To: at, Minutes: 1}}, Lists: []report.List{{ID: s, Hash: s, From: at, To: at}}}},
			Days:   []report.Day{{Date: "2026-11-01", Counts: report.Counts{Blocked: 3}, Groups: []report.GroupCount{{Group: s, Attempts: 3}}}},
			Groups: []report.Group{{Group: s, Counts: report.Counts{Blocked: 3}}}, Names: []report.Top{{Text: s, Attempts: 3, First: at, Last: at}},
			Clients: []report.Top{{Text: s, Attempts: 3, First: at, Last: at}}, Rules: []report.Rule{{List: s, Rule: s, Count: 3, First: at, Last: at}}})
		r.Exceptions = append(r.Exceptions, report.Exception{ID: s, Ticket: s, Approver: s, Reason: s, Bans: []string{s}})
		r.Acts = append(r.Acts, report.Act{At: at, Node: s, Kind: s, Object: s, Who: s, What: s})
		r.Coverage = append(r.Coverage, report.Coverage{Node: s, Sink: s, Dropped: map[string]uint64{s: 1}})
		r.Sources = append(r.Sources, report.Source{Name: s, Kind: s})
		r.Nodes = append(r.Nodes, report.Node{Name: s, Versions: []string{s}})
		r.Notes = append(r.Notes, report.Note{Note: report.Lost, Object: s}, report.Note{Note: report.NoteKind(s), Object: s})
		r.Around.Names = append(r.Around.Names, report.Top{Text: s})
		r.Around.Bans = append(r.Around.Bans, s)
	}
	return r
}

// TestHostile: no text of others becomes a part of a format.
func TestHostile(t *testing.T) {
	t.Parallel()
	r := hostileReport(hostile()...)
	for _, lang := range page.Languages() {
		for _, format := range page.Formats() {
			text := write(t, r, format, lang)
			if !utf8.ValidString(text) {
				t.Errorf("%s: not UTF-8", format)
			}
			for i, c := range text {
				if unicode.Is(unicode.Cc, c) && c != '\n' || unicode.Is(unicode.Cf, c) && format != "json" {
					t.Errorf("%s has %U after %q", format, c, text[max(i-40, 0):i])
					break
				}
			}
		}
		text := write(t, r, "html", lang)
		tags := map[string]bool{}
		for _, m := range regexp.MustCompile(`<!?/?([a-zA-Z-]+)`).FindAllStringSubmatch(text, -1) {
			tags[strings.ToLower(m[1])] = true
		}
		for _, tag := range []string{"script", "img", "iframe", "object", "link"} {
			if tags[tag] {
				t.Errorf("the page has <%s>", tag)
			}
		}
		for _, m := range regexp.MustCompile(` (?:href|src)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
			if u := html.UnescapeString(m[1]); !strings.HasPrefix(u, "#") && !strings.HasPrefix(u, "http") {
				t.Errorf("the page refers to %q", u)
			}
		}
		if strings.Contains(text, " onerror=alert(1)>") && !strings.Contains(text, "img src=x onerror=alert(1)&gt;") {
			t.Error("an attribute of others is in the page")
		}
		markdown := write(t, r, "md", lang)
		if strings.Contains(markdown, "<script") || strings.Contains(markdown, "[f](g)") {
			t.Error("the Markdown has what others wrote as it is")
		}
		for line := range strings.Lines(markdown) {
			if strings.HasPrefix(line, "|") && !strings.HasSuffix(line, "|\n") {
				t.Errorf("a row is torn: %s", line)
			}
		}
	}
	rows, err := csv.NewReader(strings.NewReader(write(t, r, "csv", "en"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if trimmed := strings.TrimLeft(cell, " "); trimmed != "" && strings.ContainsRune("=+-@\t\r", rune(trimmed[0])) {
				t.Errorf("a spreadsheet takes %q for a formula", cell)
			}
		}
	}
	var again report.Report
	if err := json.Unmarshal([]byte(write(t, r, "json", "en")), &again); err != nil || len(again.Bans) != len(r.Bans) || again.Bans[0].ID != r.Bans[0].ID {
		t.Errorf("JSON: %v", err)
	}
}

// TestWords: both languages have every text with the same verbs, every state and
// note has a text, and French has the spaces and quotes that it wants.
func TestWords(t *testing.T) {
	t.Parallel()
	verbs := regexp.MustCompile(`%[a-z]`)
	for key, w := range page.Words() {
		if w[0] == "" || w[1] == "" || strings.Join(verbs.FindAllString(w[0], -1), "") != strings.Join(verbs.FindAllString(w[1], -1), "") {
			t.Errorf("%s: %q", key, w)
		}
		if regexp.MustCompile(`[^\s]:(\s|$)|'`).MatchString(w[1]) || strings.Contains(w[0], "'") {
			t.Errorf("%s: %q has a colon without a space, or a straight quote", key, w)
		}
	}
	for _, s := range inforce.States() {
		if _, ok := page.Words()["state."+string(s)]; !ok {
			t.Errorf("the state %s has no words", s)
		}
	}
	for _, k := range act.Kinds() {
		if _, ok := page.Words()["act."+string(k)]; !ok && k != act.Seal && k != act.ExceptionUsed {
			t.Errorf("the act %s has no words", k)
		}
	}
	for _, n := range []report.NoteKind{report.NoBeats, report.ForeignLines, report.SameStore, report.Reduced, report.ClockSet, report.ClockDoubted, report.Unknown, report.Lost, report.NoCoverage} {
		if _, ok := page.Words()["note."+string(n)]; !ok {
			t.Errorf("the note %s has no words", n)
		}
	}
}

// TestNumbers: what is not all is not 100 per cent, and numbers are written as each
// language does.
func TestNumbers(t *testing.T) {
	t.Parallel()
	r := example(t)
	for lang, want := range map[string][]string{
		"en": {`<html lang="en">`, "99.89%", "From November 1, 2026 to November 30, 2026", "WeChat on government devices", "GCS-48213", "the server was stopped"},
		"fr": {`<html lang="fr">`, "99,89\u00a0%", "Du 1er\u00a0novembre\u00a02026 au 30\u00a0novembre\u00a02026", "WeChat sur les appareils du gouvernement", "le serveur était arrêté"},
	} {
		text := write(t, r, "html", lang)
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s lacks %q", lang, w)
			}
		}
		if strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "%!") {
			t.Errorf("%s: a fault of the template", lang)
		}
	}
}
