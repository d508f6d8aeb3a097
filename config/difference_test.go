package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"rideau/config"
)

// TestDifferences: every key that differs is told, with both values, and no secret is.
func TestDifferences(t *testing.T) {
	frame := func(lists, more string) string {
		return "lists: [" + lists + "]\nbans: [{id: a, title: {en: A}, lists: [a]}]\n" + more
	}
	const names = "{id: a, names: [%s]}"
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("n%d.example", i))
	}
	short := fmt.Sprintf(names, "a.example")
	for name, c := range map[string]struct {
		before, after string
		want          []string // KEY BEFORE -> AFTER (APPLIES)
	}{
		"nothing":  {frame(short, ""), frame(short, "# a comment\n"), nil},
		"a scalar": {frame(short, ""), frame(short, "fetch: {timeout: 1h}"), []string{"fetch.timeout 2m -> 1h (live)"}},
		"a section": {frame(short, ""), frame(short, "listen: {addresses: [\":53\"], tcp: {idle_timeout: 9s}}"),
			[]string{"listen.addresses [127.0.0.1:5300] -> [0.0.0.0:53, [::]:53] (live)", "listen.tcp.idle_timeout 10s -> 9s (restart)"}},
		"a list more":    {frame(short, ""), frame(short+", {id: b, names: [b.example]}", ""), []string{"lists[b]  -> {id: b, "}},
		"a list less":    {frame(short+", {id: b, names: [b.example]}", ""), frame(short, ""), []string{"lists[b] {id: b, "}},
		"inside a list":  {frame(short, ""), frame("{id: a, names: [a.example], allow_tld: true}", ""), []string{"lists[a].allow_tld false -> true (lists)"}},
		"another order":  {frame(short+", {id: b, names: [b.example]}", ""), frame("{id: b, names: [b.example]}, "+short, ""), []string{"lists (order) [a, b] -> [b, a] (lists)"}},
		"a title":        {frame(short, ""), strings.Replace(frame(short, ""), "en: A", "en: A, fr: B", 1), []string{`bans[a].title.fr "" -> B (lists)`}},
		"a long list":    {frame(fmt.Sprintf(names, strings.Join(many, ", ")), ""), frame(fmt.Sprintf(names, strings.Join(many[1:], ", ")), ""), []string{"lists[a].names 30 values, of which only here [n0.example] -> 29 values (lists)"}},
		"a server":       {frame(short, "upstream: {servers: [192.0.2.1]}"), frame(short, "upstream: {servers: [192.0.2.1, \"[2001:db8::1]:53\"]}"), []string{"upstream.servers [192.0.2.1:53] -> [192.0.2.1:53, [2001:db8::1]:53] (live)"}},
		"inside servers": {frame(short, "upstream: {servers: [\"tls://192.0.2.1\"]}"), frame(short, "upstream: {servers: [{server: \"tls://192.0.2.1\", trust_ad: true}]}"), []string{"upstream.servers[tls://192.0.2.1:853].trust_ad false -> true (live)"}},
		"secrets":        {frame(short, "fetch: {proxy: \"http://u:s3cret@192.0.2.1:80\"}"), frame(short, "fetch: {proxy: \"http://u:oth3r@192.0.2.1:80\"}"), []string{"fetch.proxy http://192.0.2.1:80 -> http://192.0.2.1:80 (the part that differs is not shown) (live)"}},
		"removed":        {frame(short, ""), frame(short, "removed: [b]"), []string{"removed [] -> [b] (live)"}},
	} {
		var got []string
		for _, d := range config.Differences(parse(t, c.before), parse(t, c.after)) {
			got = append(got, fmt.Sprintf("%s %s -> %s (%s)", d.Key, d.Before, d.After, d.Applies))
		}
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	// Whatever key differs, it is told.
	a, b := parse(t, minimal), parse(t, string(config.ExampleText()))
	told := config.Differences(a, b)
	for _, k := range config.Changed(a, b) {
		if !slices.ContainsFunc(told, func(d config.Difference) bool { return strings.HasPrefix(d.Key, k) }) {
			t.Errorf("%s is not told", k)
		}
	}
}
