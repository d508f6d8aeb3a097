package changes_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/enforced"
	"rideau/cmd/rideau/internal/changes"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

// load returns the configuration and the policy of a text.
func load(t testing.TB, text string) (*config.Config, *blocklists.Snapshot, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rideau.yaml")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	cfg, err := setup.Load(path)
	if err != nil {
		return nil, nil, err
	}
	cfg.File = "rideau.yaml"
	snap, _, err := setup.LoadPolicy(context.Background(), cfg, nil, nil, nil)
	return cfg, snap, err
}

// frame has lists and groups, and the bans of a case.
const frame = `lists: [{id: a, names: [a.example]}, {id: b, names: [b.example]}, {id: c, names: [c.example]}, {id: d, names: [d.example]}, {id: e, names: [e.example]}]
groups: [{id: x, clients: [192.0.2.0/25]}, {id: y, clients: [192.0.2.128/25]}]
%s`

// TestKept: what a new configuration takes away from an enforced ban is a problem, unless the ban itself or removed says that it is meant, or
// it is forced.
func TestKept(t *testing.T) {
	ban := func(more string) string { return "bans: [{id: one, title: {en: One}, " + more + "}]" }
	two := func(more string) string {
		return "bans: [{id: one, title: {en: One}, lists: [a]}, {id: two, title: {en: Two}" + more + "}]"
	}
	full := two(", lists: [b, c]")
	for name, c := range map[string]struct {
		before, after string
		force         string
		want          string // in the problem; empty for none
	}{
		"nothing":                     {before: full, after: full},
		"all bans gone":               {before: full, after: "", want: "ban one: the ban, which was enforced, is gone; see whether the end of the file is missing; if the ban is to end, keep it with mode: off, or write removed: [one], or reload with force=one"},
		"one ban gone":                {before: full, after: ban("lists: [a]"), want: "ban two: the ban, which was enforced, is gone"},
		"gone, and said":              {before: full, after: ban("lists: [a]") + "\nremoved: [two]"},
		"gone, another said":          {before: full, after: ban("lists: [a]") + "\nremoved: [a, b, c, three]", want: "ban two"},
		"gone by force":               {before: full, after: ban("lists: [a]"), force: "two"},
		"gone by force for all":       {before: full, after: "", force: "all"},
		"gone, another forced":        {before: full, after: "", force: "two", want: "ban one"},
		"another name":                {before: full, after: strings.Replace(full, "id: two", "id: second", 1), want: "ban two"},
		"a list lost":                 {before: full, after: two(", lists: [b]"), want: "rideau.yaml:3: bans[1].lists: ban two: the ban, which was enforced, loses the list c; put the list back; or, if that is meant, write removed: [c], or reload with force=two"},
		"a list given up":             {before: full, after: two(", lists: [b]") + "\nremoved: [c]"},
		"the ban is not its list":     {before: full, after: two(", lists: [b]") + "\nremoved: [two]", want: "loses the list c"},
		"a list lost by force":        {before: full, after: two(", lists: [b]"), force: "two"},
		"another list":                {before: ban("lists: [a]"), after: ban("lists: [b]"), want: "loses the list a"},
		"off":                         {before: full, after: two(", mode: off, lists: [b, c]")},
		"off, with a list less":       {before: full, after: two(", mode: off, lists: [b]")},
		"monitor":                     {before: full, after: two(", mode: monitor, lists: [b, c]")},
		"off for a group":             {before: full, after: two(", modes: [{groups: [x], mode: off}], lists: [b, c]")},
		"expired":                     {before: full, after: two(", expires: 2020-01-01, lists: [b, c]")},
		"expires later":               {before: full, after: two(", expires: 2999-01-01, lists: [b, c]")},
		"effective later":             {before: full, after: two(", effective: 2999-01-01, lists: [b, c]"), want: "is not enforced any more for the clients of no group, the group x, the group y, since its effective is 2999-01-01T00:00:00Z"},
		"narrowed":                    {before: full, after: two(", groups: [x], lists: [b, c]"), want: "rideau.yaml:3: bans[1]: ban two: the ban is not enforced any more for the clients of no group, the group y; see whether"},
		"narrowed to none":            {before: ban("groups: [x, y], lists: [a]"), after: ban("groups: [x], lists: [a]"), want: "the group y"},
		"wider":                       {before: ban("groups: [x], lists: [a]"), after: ban("lists: [a]")},
		"the mode of a group gone":    {before: ban("mode: off, modes: [{groups: [x], mode: enforce}], lists: [a]"), after: ban("mode: off, lists: [a]"), want: "the group x"},
		"the mode of a group changed": {before: ban("mode: off, modes: [{groups: [x], mode: enforce}], lists: [a]"), after: ban("mode: off, modes: [{groups: [x], mode: monitor}], lists: [a]")},
		"a group for which it is off": {before: ban("modes: [{groups: [x], mode: off}], lists: [a]"), after: ban("groups: [y], lists: [a]"), want: "the clients of no group;"},
		"only monitored":              {before: ban("mode: monitor, lists: [a]"), after: ""},
		"off before":                  {before: ban("mode: off, lists: [a]"), after: ""},
		"over before":                 {before: ban("expires: 2020-01-01, lists: [a]"), after: ""},
		"not begun, gone":             {before: ban("effective: 2999-01-01, lists: [a]"), after: "", want: "ban one"},
		"not begun, later":            {before: ban("effective: 2999-01-01, lists: [a]"), after: ban("effective: 2999-02-01, lists: [a]")},
		"not begun, without a list":   {before: ban("effective: 2999-01-01, lists: [a, b]"), after: ban("effective: 2999-01-01, lists: [a]"), want: "loses the list b"},
		"follows another that is off": {before: two(", groups: [enforced], lists: [b]"), after: strings.Replace(two(", groups: [enforced], lists: [b]"), "lists: [a]", "mode: off, lists: [a]", 1)},
		"all but a list":              {before: ban("all_but: [d]"), after: ban("all_but: [d, e]")},
		"all but no more":             {before: ban("all_but: [d]"), after: ban("lists: [a]"), want: "ban one: the ban, which was on all names but those on its lists, is on lists only; see whether"},
		"all but, by force":           {before: ban("all_but: [d]"), after: ban("lists: [a]"), force: "one"},
		"all but, gone":               {before: ban("all_but: [d]"), after: "", want: "ban one: the ban, which was enforced, is gone"},
		"all but instead":             {before: ban("lists: [a]"), after: ban("all_but: [d]")},
		"all but, for none":           {before: ban("all_but: [d]"), after: ban("groups: [x], all_but: [d]"), want: "the clients of no group, the group y"},
		"all but, watched now":        {before: ban("all_but: [d]"), after: ban("mode: monitor, all_but: [d]")},
		"follows no more":             {before: two(", groups: [enforced], lists: [b]"), after: two(", groups: [x], lists: [b]"), want: "ban two"},
	} {
		oldCfg, old, err := load(t, fmt.Sprintf(frame, c.before))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cfg, snap, err := load(t, fmt.Sprintf(frame, c.after))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var force []string
		if c.force != "" {
			force = append(force, c.force)
		}
		problems, forced := changes.Kept(changes.Side{Config: oldCfg, Policy: old}, changes.Side{Config: cfg, Policy: snap}, force, time.Now())
		if (len(problems) > 0) != (c.want != "") || !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, problems, c.want)
		}
		if c.force != "" && c.want == "" && len(forced) == 0 {
			t.Errorf("%s: nothing is said to be forced", name)
		}
	}
}

// TestLetsThroughMore: a file whose names alone a ban lets through, and that has many more now, is a loss. One whose names are in the
// configuration is what the operator wrote.
func TestLetsThroughMore(t *testing.T) {
	names := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "n%d.example\n", i)
		}
		return b.String()
	}
	file := filepath.Join(t.TempDir(), "open.txt")
	side := func(n int, inline bool) changes.Side {
		list := "{id: open, file: " + file + "}"
		if inline {
			list = "{id: open, names: [" + strings.ReplaceAll(strings.TrimSpace(names(n)), "\n", ", ") + "]}"
		}
		if err := os.WriteFile(file, []byte(names(n)), 0o666); err != nil {
			t.Fatal(err)
		}
		cfg, snap, err := load(t, "lists: ["+list+"]\nbans: [{id: one, title: {en: One}, all_but: [open]}]\n")
		if err != nil {
			t.Fatal(err)
		}
		return changes.Side{Config: cfg, Policy: snap}
	}
	for _, c := range []struct {
		before, after int
		inline        bool
		force         string
		want          string
	}{
		{before: 10, after: 30}, {before: 10, after: 5}, {before: 100, after: 200}, {before: 10, after: 40, inline: true}, {before: 10, after: 40, force: "open"}, {before: 10, after: 40, force: "one"},
		{before: 10, after: 40, want: "bans[0].all_but: ban one: the list open, whose names alone it lets through, has 40 entries, and had 10; see what the list has got; if that is meant, reload with force=open"},
	} {
		var force []string
		if c.force != "" {
			force = append(force, c.force)
		}
		problems, forced := changes.Kept(side(c.before, c.inline), side(c.after, c.inline), force, time.Now())
		if (len(problems) > 0) != (c.want != "") || !strings.Contains(problems.Error(), c.want) || (c.force != "") != (len(forced) > 0) {
			t.Errorf("%+v: %v, forced %v", c, problems, forced)
		}
	}
}

// TestEmptied: a list of an enforced ban that has no entries any more is a loss, whatever it is read from.
func TestEmptied(t *testing.T) {
	side := func(list string) changes.Side {
		cfg, snap, err := load(t, "lists: ["+list+"]\nbans: [{id: one, title: {en: One}, lists: [a]}]\n")
		if err != nil {
			t.Fatal(err)
		}
		return changes.Side{Config: cfg, Policy: snap}
	}
	before, after := side("{id: a, names: [a.example]}"), side(`{id: a, names: ["# a.example"]}`)
	problems, _ := changes.Kept(before, after, nil, time.Now())
	if len(problems) != 1 || !strings.Contains(problems.Error(), "ban one: the list a of the ban, which was enforced, has no entries any more, and had 1") {
		t.Errorf("%v", problems)
	}
	if problems, forced := changes.Kept(before, after, []string{"a"}, time.Now()); len(problems) > 0 || len(forced) != 1 {
		t.Errorf("by force: %v, %v", problems, forced)
	}
}

// TestCutInside: a text that is the beginning of the one that serves, and ends inside of what decides for whom and about what, is refused.
func TestCutInside(t *testing.T) {
	const text = `upstream: {servers: [192.0.2.1]}
bans:
  - id: one
    title: {en: One}
    lists: [a]
lists:
  - {id: a, names: [a.example, b.example]}
  - id: b
    names:
      - c.example
      - d.example
exceptions:
  - id: lent
    names: [e.example]
    expires: 2999-01-01
    groups: [x]
groups:
  - id: x
    clients:
      - 10.0.0.0/8
      - 172.16.0.0/12
log: {level: debug}
cache:
  max_entries: 100000
`
	side := func(text string) (changes.Side, error) {
		cfg, snap, err := load(t, text)
		return changes.Side{Config: cfg, Policy: snap}, err
	}
	whole, err := side(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ until, want string }{
		{"max_entries: 100000", ""},
		{"max_entries: 10000", "in the middle of a line"},
		{"log: {level: debug}\n", ""},
		{"- 172.16.0.0/12\n", ""},
		{"- 172.16.0.0", "in the middle of a line"},
		{"- 10.0.0.0/8\n", "inside of what is about groups[x].clients"},
		{"- 10.0.0.0/8", "inside of what is about groups[x].clients"},
		{"- d.example\n", ""}, // an exception less blocks more
		{"- c.example\n", "inside of what is about lists[b].names"},
	} {
		at := strings.Index(text, c.until) + len(c.until)
		cut, err := side(text[:at])
		if err != nil {
			t.Fatalf("until %q: %v", c.until, err)
		}
		problems, _ := changes.Kept(whole, cut, nil, time.Now())
		if (len(problems) > 0) != (c.want != "") || !strings.Contains(problems.Error(), c.want) {
			t.Errorf("until %q: %v, want %q", c.until, problems, c.want)
		}
		if problems, _ := changes.Kept(whole, cut, []string{"all"}, time.Now()); len(problems) > 0 {
			t.Errorf("until %q, by force: %v", c.until, problems)
		}
		meant, err := side(strings.TrimSuffix(text[:at], "\n") + "\n" + config.EndMark + "\n")
		if err != nil {
			t.Fatal(err)
		}
		if problems, _ := changes.Kept(whole, meant, nil, time.Now()); len(problems) > 0 {
			t.Errorf("until %q, with the mark: %v", c.until, problems)
		}
	}
}

// TestCutDefault: wherever the default configuration is cut off, a reload with the rest enforces no ban less. With its end mark no cut is
// read at all.
func TestCutDefault(t *testing.T) {
	whole := config.DefaultText()
	for n := range whole[:len(whole)-1] {
		if c, err := config.Parse("rideau.yaml", whole[:n]); err == nil {
			t.Fatalf("cut to %d of %d octets it is read: %d bans", n, len(whole), len(c.Bans))
		}
	}
	// The same without the mark, as people write it, and without most comments, to be done sooner.
	var text []byte
	for line := range bytes.Lines(whole) {
		if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) {
			text = append(text, line...)
		}
	}
	oldCfg, old, err := load(t, string(text))
	if err != nil {
		t.Fatal(err)
	}
	read, refused := 0, 0
	for n := range text {
		cfg, err := config.Parse("rideau.yaml", text[:n])
		if err != nil {
			continue
		}
		read++
		snap, _, err := setup.LoadPolicy(t.Context(), cfg, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if problems, _ := changes.Kept(changes.Side{Config: oldCfg, Policy: old}, changes.Side{Config: cfg, Policy: snap}, nil, time.Now()); len(problems) > 0 {
			refused++
			continue
		}
		if !enforced.Any(snap) || len(enforcedBans(snap)) != len(enforcedBans(old)) {
			t.Errorf("cut to %d octets it is taken, with %q: %s", n, enforcedBans(snap), text[max(0, n-40):n])
		}
	}
	t.Logf("%d cuts, %d read, %d refused", len(text), read, refused)
	if refused == 0 {
		t.Error("no cut was refused")
	}
}

// enforcedBans returns the bans that are enforced for somebody.
func enforcedBans(s *blocklists.Snapshot) []string {
	var out []string
	for _, b := range s.Bans() {
		if b.Active && b.Ban.Mode == blocklists.Enforce {
			out = append(out, b.Ban.ID)
		}
	}
	return out
}
