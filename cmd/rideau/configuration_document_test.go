package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"rideau/config"
)

// keyRow is a row of a table of docs/configuration.md.
type keyRow struct{ key, value, applies string }

// keyRows reads the tables of docs/configuration.md.
func keyRows(t *testing.T) []keyRow {
	t.Helper()
	var out []keyRow
	for line := range strings.Lines(documents(t)["docs/configuration.md"]) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) == 5 && strings.HasPrefix(cells[0], "`") {
			out = append(out, keyRow{strings.Trim(cells[0], "`"), cells[1], cells[3]})
		}
	}
	return out
}

// TestConfigurationDocument: docs/configuration.md has a row for each key that
// has a value, and says when a change of it applies.
func TestConfigurationDocument(t *testing.T) {
	rows := keyRows(t)
	for _, key := range config.Keys() {
		applies := string(config.Applies(key))
		i := slices.IndexFunc(rows, func(r keyRow) bool { return r.key == key })
		switch {
		case applies == "":
			if i >= 0 {
				t.Errorf("docs/configuration.md has a row for the section %s", key)
			}
		case i < 0:
			t.Errorf("docs/configuration.md has no row for %s", key)
		case rows[i].applies != applies:
			t.Errorf("docs/configuration.md says that %s applies %s; it is %s", key, rows[i].applies, applies)
		}
	}
	for i, r := range rows {
		if !slices.Contains(config.Keys(), r.key) {
			t.Errorf("docs/configuration.md has a row for %s, which is not a key", r.key)
		}
		if slices.ContainsFunc(rows[:i], func(o keyRow) bool { return o.key == r.key }) {
			t.Errorf("docs/configuration.md has two rows for %s", r.key)
		}
	}
}

// TestConfigurationDefaults: a default that docs/configuration.md states as a
// value is what holds when the key is left out.
func TestConfigurationDefaults(t *testing.T) {
	// Configurations in which a key of a list's entries may stand, at KEY.
	entries := map[string][]string{
		"lists": {"lists: [{id: l, file: f.txtKEY}]", "lists: [{id: l, url: 'https://l.example/'KEY}]", "lists: [{id: l, folder: fKEY}]", "lists: [{id: l, pack: wechatKEY}]"},
		"bans": {"lists: [{id: l, names: [a.example]}]\nbans: [{id: b, title: {en: B}, lists: [l]KEY}]",
			"lists: [{id: l, names: [a.example]}]\nbans: [{id: b, title: {en: B}, lists: [l], action: sinkholeKEY}]"},
		"exceptions": {"exceptions: [{id: e, names: [a.example]KEY}]"},
		"listen.encrypted": {"listen: {encrypted: [{addresses: [':853'], protocols: [dot], certificates: [{certificate: c, key: k}]KEY}]}",
			"listen: {encrypted: [{addresses: [':443'], protocols: [doh], self_signed: trueKEY}]}", "listen: {encrypted: [{addresses: [':443'], protocols: [doh], certificates: [{certificate: c, key: k}]KEY}]}"},
		"groups":           {"groups: [{id: g, path: /pKEY}]"},
		"listen.proxies":   {"listen: {proxies: [{addresses: [192.0.2.1]KEY}]}"},
		"upstream.servers": {"upstream: {servers: [{server: 'tls://192.0.2.1'KEY}]}"},
		"evidence.sinks": {"evidence: {sinks: [{id: s, kind: stdoutKEY}]}", "evidence: {sinks: [{id: s, kind: file, path: pKEY}]}", "evidence: {sinks: [{id: s, kind: stdout, events: allKEY}]}",
			"evidence: {sinks: [{id: s, kind: syslog, address: 'tls://192.0.2.1'KEY}]}", "evidence: {sinks: [{id: s, kind: dnstap, address: 'tls://192.0.2.1:6000'KEY}]}"},
		"ops.tokens":        {"ops: {tokens: [{name: t, role: viewer, file: fKEY}]}"},
		"forward":           {"forward: [{zones: [a.example], servers: [192.0.2.1]KEY}]"},
		"forward[].servers": {"forward: [{zones: [a.example], servers: [{server: 'tls://192.0.2.1'KEY}]}]"},
	}
	value := regexp.MustCompile("^`([^`]*)`$")
	held := 0
	for _, r := range keyRows(t) {
		m := value.FindStringSubmatch(r.value)
		if m == nil {
			continue
		}
		forms := []string{"groups: []\nKEY"}
		path := strings.Split(r.key, ".")
		list := ""
		if i := strings.LastIndex(r.key, "[]."); i >= 0 {
			list = r.key[:i]
			forms, path = entries[list], strings.Split(r.key[i+len("[]."):], ".")
		}
		// A mapping in one line, after what stands before it.
		text := path[len(path)-1] + ": " + m[1]
		for _, p := range slices.Backward(path[:len(path)-1]) {
			text = p + ": {" + text + "}"
		}
		if list != "" {
			text = ", " + text
		}
		accepted := 0
		for _, form := range forms {
			without, err := config.Parse("without", []byte(strings.ReplaceAll(form, "KEY", "")))
			if err != nil {
				t.Fatalf("%s: %v", form, err)
			}
			with, err := config.Parse("with", []byte(strings.ReplaceAll(form, "KEY", text)))
			if err != nil {
				continue // the key does not go with this form
			}
			accepted++
			if diff := config.Changed(without, with); len(diff) > 0 {
				t.Errorf("docs/configuration.md: the default of %s is not %s", r.key, m[1])
			}
		}
		if accepted == 0 {
			t.Errorf("docs/configuration.md: %s cannot be %s", r.key, m[1])
		}
		held++
	}
	if held < 60 {
		t.Errorf("only %d defaults were found", held)
	}
}
