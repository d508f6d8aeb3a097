package page_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rideau/cmd/rideau/internal/report"
)

// axe returns the program axe-core 4.14, which finds faults of WCAG in a page.
// testdata/axe/LICENSE is its licence.
func axe(t *testing.T) string {
	t.Helper()
	f, err := os.Open("testdata/axe/axe.min.js.gz")
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

// TestAccessible: Chromium shows the page, and axe finds nothing against WCAG 2.1 AA
// in it, wide or as narrow as a telephone, also with the texts of others. The page
// does not scroll sideways, and wants nothing from elsewhere.
func TestAccessible(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	const check = `
<script>%s</script>
<script>
const out = document.createElement("pre"); out.id = "found%d";
const wide = document.documentElement.scrollWidth - innerWidth;
axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).then(r => {
  out.textContent = JSON.stringify({Rules: r.passes.length, Wide: wide, Loaded: performance.getEntriesByType("resource").length,
    Found: r.violations.map(v => v.id + ": " + v.help + " " + v.nodes.map(n => n.html.slice(0, 200)).slice(0, 3).join(" "))});
  parent.document.body.append(out);
}).catch(e => { out.textContent = JSON.stringify({Found: ["" + e]}); parent.document.body.append(out); });
</script></body>`
	program, is, dir := axe(t), example(t), t.TempDir()
	pages := []struct {
		name, lang string
		width      int
		r          *report.Report
	}{{"English", "en", 1200, is}, {"French on a telephone", "fr", 360, is}, {"texts of others", "en", 1000, hostileReport(hostile()[:3]...)}, {"long texts", "fr", 360, hostileReport(strings.Repeat("w", 255))}}
	// Chromium takes long to start: one page has all of them.
	outer := `<!DOCTYPE html><html lang="en"><title>x</title><body>`
	for i, p := range pages {
		text := write(t, p.r, "html", p.lang)
		end := strings.LastIndex(text, "</body>")
		name := fmt.Sprintf("page%d.html", i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text[:end]+fmt.Sprintf(check, program, i)), 0o644); err != nil {
			t.Fatal(err)
		}
		outer += fmt.Sprintf(`<iframe title="%d" src="%s" style="width:%dpx;height:900px"></iframe>`, i, name, p.width)
	}
	path := filepath.Join(dir, "all.html")
	if err := os.WriteFile(path, []byte(outer), 0o644); err != nil {
		t.Fatal(err)
	}
	dom, err := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=30000", "--dump-dom", "file://"+path).Output()
	if err != nil {
		t.Skipf("chromium does not run here: %v", err)
	}
	for i, p := range pages {
		m := regexp.MustCompile(fmt.Sprintf(`(?s)<pre id="found%d">(.*?)</pre>`, i)).FindSubmatch(dom)
		if m == nil {
			t.Errorf("%s: axe did not end", p.name)
			continue
		}
		var found struct {
			Rules, Wide, Loaded int
			Found               []string
		}
		if err := json.Unmarshal([]byte(html.UnescapeString(string(m[1]))), &found); err != nil {
			t.Fatalf("%s: %s: %v", p.name, m[1], err)
		}
		if len(found.Found) > 0 || found.Rules < 15 || found.Wide > 0 || found.Loaded > 0 {
			t.Errorf("%s: %d rules pass; it is %d pixels too wide and loads %d things; axe finds:\n%s", p.name, found.Rules, found.Wide, found.Loaded, strings.Join(found.Found, "\n"))
		}
	}
}
