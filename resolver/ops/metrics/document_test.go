package metrics_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rideau/resolver/ops/metrics"
)

// row is how a metric stands in a table of the documentation.
func row(m metrics.Metric) string {
	labels := ""
	if len(m.Labels) > 0 {
		labels = "{" + strings.Join(m.Labels, ",") + "}"
	}
	return fmt.Sprintf("| `%s%s` | %s | %s |", m.Name, labels, m.Type, m.Help)
}

// The table of docs/metrics.md is the one made here: when this test fails it
// prints what to paste.
func TestDocumentNamesEveryMetric(t *testing.T) {
	document, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Errorf("no docs/metrics.md: %v", err)
	}
	table := []string{"| Metric | Type | Meaning |", "|---|---|---|"}
	known := map[string]bool{}
	missing := 0
	for _, m := range metrics.Descriptions() {
		table = append(table, row(m))
		if !bytes.Contains(document, []byte(row(m)+"\n")) {
			missing++
			t.Errorf("docs/metrics.md lacks the row %s", row(m))
		}
		known[m.Name] = true
		if m.Type == "histogram" {
			known[m.Name+"_bucket"], known[m.Name+"_sum"], known[m.Name+"_count"] = true, true, true
		}
	}
	others, err := filepath.Glob("../../../docs/*.md")
	if err != nil || len(others) == 0 {
		t.Fatalf("documents: %v, %v", others, err)
	}
	for _, path := range append(others, "../../../README.md", "../../../blocklists/README.md", "../../../blocklists/EGRESS.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\brideau_[a-z0-9_]+`).FindAllString(string(text), -1) {
			if !known[name] {
				t.Errorf("%s speaks of %s, which is no metric", path, name)
			}
		}
	}
	if missing > 0 {
		t.Logf("the table is:\n\n%s\n", strings.Join(table, "\n"))
	}
}
