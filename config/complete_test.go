package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rideau/config"
)

// TestEndMark: a text that says that it ends with a mark is refused without the mark, and other texts are read as they are.
func TestEndMark(t *testing.T) {
	const head, body, mark = "# A complete file ends with the line \"# rideau: end of configuration\".\n", "lists: []\n", "# rideau: end of configuration\n"
	for name, c := range map[string]struct{ text, fault, warning string }{
		"whole":                 {text: head + body + mark},
		"with Windows' lines":   {text: strings.ReplaceAll(head+body+mark, "\n", "\r\n")},
		"after a mark of order": {text: "\ufeff" + head + body + mark},
		"indented":              {text: "  " + head + body + "  " + mark + "\n\n"},
		"no last line feed":     {text: head + body + strings.TrimSpace(mark)},
		"the head lower down":   {text: "# Mine.\n" + head + body, fault: "f.yaml:3: the file is cut off"},
		"no mark":               {text: head + body, fault: `f.yaml:2: the file is cut off: its beginning says that it ends with the line "# rideau: end of configuration", and that line is missing; copy or save`},
		"half a mark":           {text: head + body + mark[:20], fault: "the file is cut off"},
		"broken besides":        {text: head + "lists: [", fault: "f.yaml:2: the file is cut off"},
		"the head alone":        {text: head, fault: "the file is cut off"},
		"below the mark":        {text: head + body + mark + "cache: {}\n", warning: "f.yaml:4: this is below the line"},
		"neither":               {text: body},
		"the mark alone":        {text: body + mark},
		"the middle of a line":  {text: "lists: []\nbans: []", warning: "f.yaml:2: the file ends in the middle of a line: it may be cut off; end the last line with a line feed"},
	} {
		path := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(path)
		switch {
		case c.fault != "":
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %q", name, err, c.fault)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", name, err)
			continue
		}
		var warnings []string
		for _, w := range cfg.Warnings {
			if !strings.Contains(w.Message, "no ban is enforced") {
				warnings = append(warnings, w.String())
			}
		}
		if got := strings.Join(warnings, "\n"); !strings.Contains(got, c.warning) || (c.warning == "") != (got == "") {
			t.Errorf("%s: warnings %q, want %q", name, got, c.warning)
		}
	}
	for name, text := range map[string][]byte{"default": config.DefaultText(), "example": config.ExampleText()} {
		if !strings.HasPrefix(string(text), head[:70]) || !strings.HasSuffix(string(text), "\n"+mark) {
			t.Errorf("%s: it lacks its first or its last line", name)
		}
	}
}

// TestRemoved: removed names what the file does not have, and warns of a ban that it has.
func TestRemoved(t *testing.T) {
	c := parse(t, minimal+"\nremoved: [old, other-list]\n")
	equal(t, c.Removed, []string{"old", "other-list"})
	c, err := config.Parse("f.yaml", []byte("lists: [{id: l, names: [a.example]}]\nbans: [{id: b, title: {en: B}, lists: [l]}]\nremoved: [b]\n"))
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Message, `the file still has the ban "b"`) {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := config.Parse("f.yaml", []byte("lists: []\nremoved: [a, a]\n")); err == nil || !strings.Contains(err.Error(), "listed twice") {
		t.Error(err)
	}
}
