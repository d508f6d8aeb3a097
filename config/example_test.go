package config_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"rideau/config"
)

// TestExample: rideau.example.yaml is valid, has every key with a comment, and shows the defaults.
func TestExample(t *testing.T) {
	text := string(config.ExampleText())
	c := parse(t, text)
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	// Keys without a default have examples.
	want := []string{"listen.proxies", "listen.encrypted", "groups", "upstream.servers", "forward", "lists", "bans", "exceptions", "block_page.ipv4", "block_page.ipv6", "on_network.ipv4", "on_network.ipv6", "evidence.sinks", "ops.tokens"}
	if got := config.Changed(parse(t, minimal), c); !slices.Equal(got, want) {
		t.Errorf("differs from the defaults in %v, want %v", got, want)
	}
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text, "\n")
	explained := map[string]bool{}
	eachKey("", root.Content[0], func(key string, line int) {
		explained[key] = explained[key] || commented(lines, line)
	})
	for _, key := range config.Keys() {
		yes, there := explained[key]
		switch {
		case !there:
			t.Errorf("%s is missing", key)
		case !yes:
			t.Errorf("%s has no comment", key)
		}
		delete(explained, key)
	}
	for key := range explained {
		t.Errorf("%s is not in the schema", key)
	}
}

// eachKey calls f with every key below n, dotted, and its line.
func eachKey(path string, n *yaml.Node, f func(key string, line int)) {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, e := range n.Content {
			eachKey(path+"[]", e, f)
		}
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			f(key, n.Content[i].Line)
			eachKey(key, n.Content[i+1], f)
		}
	}
}

// commented reports whether there is a comment on the line or just above it.
func commented(lines []string, line int) bool {
	return strings.Contains(lines[line-1], " # ") || line > 1 && strings.HasPrefix(strings.TrimSpace(lines[line-2]), "# ")
}

// TestKeys: the paths have the form on which documentation relies.
func TestKeys(t *testing.T) {
	keys := config.Keys()
	for _, want := range []string{"listen", "listen.tcp.idle_timeout", "groups[].clients", "bans[].title.fr", "log.format"} {
		if !slices.Contains(keys, want) {
			t.Errorf("%s is missing", want)
		}
	}
	form := regexp.MustCompile(`^[a-z0-9_]+(\[\])?(\.[a-z0-9_]+(\[\])?)*$`)
	for i, k := range keys {
		if !form.MatchString(k) || slices.Index(keys, k) != i {
			t.Errorf("%q is malformed or twice there", k)
		}
	}
}
