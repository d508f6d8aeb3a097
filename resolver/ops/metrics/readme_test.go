package metrics_test

import (
	"bytes"
	"fmt"
	"os"
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

// The README's table of metrics is the one made here: when this test fails it
// prints what to paste.
func TestReadmeNamesEveryMetric(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Errorf("no README: %v", err)
	}
	table := []string{"| Metric | Type | Meaning |", "|---|---|---|"}
	known := map[string]bool{}
	missing := 0
	for _, m := range metrics.Descriptions() {
		table = append(table, row(m))
		if !bytes.Contains(readme, []byte(row(m)+"\n")) {
			missing++
			t.Errorf("README.md lacks the row %s", row(m))
		}
		known[m.Name] = true
		if m.Type == "histogram" {
			known[m.Name+"_bucket"], known[m.Name+"_sum"], known[m.Name+"_count"] = true, true, true
		}
	}
	for _, name := range regexp.MustCompile(`\brideau_[a-z0-9_]+`).FindAllString(string(readme), -1) {
		if !known[name] {
			t.Errorf("README.md speaks of %s, which is no metric", name)
		}
	}
	if missing > 0 {
		t.Logf("the table is:\n\n%s\n", strings.Join(table, "\n"))
	}
}
