package words_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rideau/cmd/rideau/internal/pages/words"
)

var (
	verb = regexp.MustCompile(`%[a-z%]`)
	// used are keys in templates, and in calls of T and in notFound and fault.
	used = regexp.MustCompile(`(?:\.T |\.T\(|notFound\(|fault\{)"([a-z0-9.]+)"`)
	kind = regexp.MustCompile(`\(key "([a-z]+)"`)
)

// TestWords: each text is there in both languages, with the same verbs, and each one
// that a page says is there. French has its spaces before double punctuation marks.
func TestWords(t *testing.T) {
	keys := map[string]bool{}
	words.All(func(key string, w words.Word) {
		keys[key] = true
		if w.EN == "" || w.FR == "" {
			t.Errorf("%s lacks a language", key)
		}
		if a, b := verb.FindAllString(w.EN, -1), verb.FindAllString(w.FR, -1); !slices.Equal(a, b) {
			t.Errorf("%s has the verbs %q and %q", key, a, b)
		}
		if regexp.MustCompile(`[^\x{a0}/]: | :|'|[ \x{a0}][;?!]`).MatchString(strings.ReplaceAll(w.FR, "T17:00", "")) {
			t.Errorf("%s: %q has punctuation that is not French", key, w.FR)
		}
	})
	paths, _ := filepath.Glob("../templates/*.html")
	sources, _ := filepath.Glob("../*.go")
	n := 0
	for _, path := range append(paths, sources...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllStringSubmatch(string(text), -1) {
			if n++; !keys[m[1]] && !strings.HasSuffix(m[1], ".") {
				t.Errorf("%s says %s, which has no text", path, m[1])
			}
		}
		for _, m := range kind.FindAllStringSubmatch(string(text), -1) {
			if !slices.ContainsFunc(slices.Collect(func(yield func(string) bool) {
				for k := range keys {
					if !yield(k) {
						return
					}
				}
			}), func(k string) bool { return strings.HasPrefix(k, m[1]+".") }) {
				t.Errorf("%s says kinds of %s, which have no text", path, m[1])
			}
		}
	}
	if n < 200 {
		t.Errorf("only %d texts are said", n)
	}
}
