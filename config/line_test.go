package config_test

import (
	"testing"

	"rideau/config"
)

// TestDifferencesHaveLines: a difference has the line of the second text where the key is, or the section that would have it, in whatever style it is
// written and whatever stands where in the first.
func TestDifferencesHaveLines(t *testing.T) {
	t.Parallel()
	const before = `lists:
  - {id: gone, names: [c.example]}
  - {id: one, names: [a.example]}
  - {id: two, names: [b.example]}
bans:
  - {id: x, title: {en: X}, lists: [one]}
cache:
  max_bytes: 64MiB
  max_ttl: 1h
log: {level: debug}
ops:
  hosts: [a.example]
`
	const after = `
# A comment, and an alias.
bans:
  - id: x
    title: {en: &word Other}
    lists: [one]
    modes:
      - groups: [lab]
        mode: monitor
  - id: y
    title: {en: *word}
    lists: [two]
groups:
  - id: lab
    clients:
      - 10.0.0.0/8
lists:
  - {id: two, names: [b.example]}
  - id: one
    names:
      - a.example
      - more.example
cache:
  min_ttl: 1s

  max_bytes:
    128MiB
ops:
  hosts:
    - b.example
forward: []
`
	want := map[string]int{
		"groups[lab]":        14,
		"cache.max_bytes":    26,
		"cache.max_ttl":      23, // no longer written: its section
		"cache.min_ttl":      24,
		"lists[gone]":        17,
		"lists (order)":      17,
		"lists[one].names":   20,
		"bans[y]":            10,
		"bans[x].title.en":   5,
		"bans[x].modes[lab]": 8,
		"ops.hosts":          29,
		"log.level":          0, // neither written, nor its section
	}
	for _, d := range config.Differences(parse(t, before), parse(t, after)) {
		line, known := want[d.Key]
		if !known || d.Line != line {
			t.Errorf("%s: line %d, want %d", d.Key, d.Line, line)
		}
		delete(want, d.Key)
	}
	if len(want) > 0 {
		t.Errorf("not told: %v", want)
	}
	// A configuration without a text has no lines, and no difference from itself.
	for _, d := range config.Differences(parse(t, before), new(config.Config)) {
		if d.Line != 0 {
			t.Errorf("%s: line %d of no text", d.Key, d.Line)
		}
	}
}
