package config

import (
	"maps"
	"regexp"
	"slices"
	"testing"
)

// TestKeysAreRead holds the key tags to what is really read: a tag without a reader would promise a key that is an error, a reader without
// a tag would be a setting that nobody can find.
func TestKeysAreRead(t *testing.T) {
	root, problem := parseText("example", ExampleText())
	if problem != nil {
		t.Fatal(problem)
	}
	r := &reader{ids: map[string]map[string]int{}, asked: map[string]bool{}}
	r.read(root)
	index := regexp.MustCompile(`\[\d+\]`)
	asked := map[string]bool{}
	for key := range r.asked {
		asked[index.ReplaceAllString(key, "[]")] = true
	}
	got, want := slices.Sorted(maps.Keys(asked)), slices.Sorted(slices.Values(Keys()))
	if !slices.Equal(got, want) {
		t.Errorf("read: %v\ntags: %v", got, want)
	}
}
