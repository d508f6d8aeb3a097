package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rideau/blocklists/format"
	"rideau/config"
)

// TestConfigFormats holds the formats that configuration accepts, which may not
// import blocklists, to the table of formats: the same names, in the same order.
func TestConfigFormats(t *testing.T) {
	lists := func(value string) []byte {
		return fmt.Appendf(nil, "lists: [{id: l, url: 'https://lists.example/', format: %s}]\n", value)
	}
	_, err := config.Parse("rideau.yaml", lists("[]"))
	if err == nil {
		t.Fatal("a format that is a list of words is accepted")
	}
	_, after, found := strings.Cut(err.Error(), "use one of ")
	line, _, _ := strings.Cut(after, "\n")
	got := strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ' ' || r == '"' })
	got = slices.DeleteFunc(got, func(s string) bool { return s == "or" })
	var want []string
	for _, f := range format.Names() {
		want = append(want, string(f))
	}
	if !found || !slices.Equal(got, want) {
		t.Errorf("configuration says %q, and the table has %q:\n%v", got, want, err)
	}
	for _, name := range want {
		if _, err := config.Parse("rideau.yaml", lists(name)); err != nil && strings.Contains(err.Error(), "unknown format") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
