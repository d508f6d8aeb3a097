package blockpage_test

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
)

// axe returns the program axe-core, which finds faults of WCAG in a page. It lies beside the tests of the report's page, with its licence.
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

// TestAccessible: Chromium shows the page, and axe finds nothing against WCAG 2.1 AA in it, wide or as narrow as a telephone. The page does not scroll
// sideways, its style applies, and it wants nothing from elsewhere.
func TestAccessible(t *testing.T) {
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
	w, dir, program := serve(t), t.TempDir(), axe(t)
	long := strings.Repeat(strings.Repeat("w", 60)+".", 3) + "chat.example"
	pages := []struct {
		name, language string
		width          int
	}{{"www.chat.example", "en", 1200}, {long, "fr", 360}, {"own.example", "fr", 1600}, {"free.example", "en", 360}}
	outer := `<!DOCTYPE html><html lang="en"><title>x</title><body>`
	for i, p := range pages {
		_, text := w.get(t, "GET", p.name, "/", "Accept", browser, "Accept-Language", p.language)
		text = strings.Replace(text, "</body>", fmt.Sprintf(check, program, i), 1)
		file := fmt.Sprintf("page%d.html", i)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		outer += fmt.Sprintf(`<iframe title="%d" src="%s" style="width:%dpx;height:900px"></iframe>`, i, file, p.width)
	}
	path := filepath.Join(dir, "all.html")
	if err := os.WriteFile(path, []byte(outer), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []byte {
		out, err := exec.CommandContext(t.Context(), chromium, append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--user-data-dir=" + t.TempDir(),
			"--virtual-time-budget=30000", "--dump-dom"}, args...)...).Output()
		if err != nil {
			t.Skipf("chromium does not run here: %v", err)
		}
		return out
	}
	dom := run("file://" + path)
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
		if len(found.Found) > 0 || found.Rules < 10 || found.Wide > 0 || found.Loaded > 0 {
			t.Errorf("%s: %d rules pass; it is %d pixels too wide and loads %d things; axe finds:\n%s", p.name, found.Rules, found.Wide, found.Loaded, strings.Join(found.Found, "\n"))
		}
	}
}
