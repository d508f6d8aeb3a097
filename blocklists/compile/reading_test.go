package compile_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
)

// A reload that would read the names of a list otherwise is refused, unless it is forced or the format is written.
func TestReadOtherwise(t *testing.T) {
	names := func(before, after string) string {
		return strings.Join(each(strings.Fields(numbered(2000)), before, after), "\n") + "\n"
	}
	bare, rules, hosts := names("", ""), names("||", "^"), names("0.0.0.0 ", "")
	alone := names("=", "")
	for _, c := range []struct {
		name          string
		before, after string
		format        format.Format
		want          error
	}{
		{"a note", bare, "! a note\n" + bare, format.Auto, nil},
		{"a rule", bare, "||x.example^\n" + bare, format.Auto, nil},
		{"a header", bare, "[Adblock Plus 2.0]\n" + bare, format.Auto, input.ErrFormat},
		{"bare names become rules", bare, rules, format.Auto, input.ErrFormat},
		{"rules become lines of hosts", rules, hosts, format.Auto, input.ErrFormat},
		{"bare names become exact", bare, alone, format.Auto, input.ErrNarrowed},
		{"in a plain list", bare, alone, format.Plain, input.ErrNarrowed},
		{"rules become bare names, as adblock", rules, bare, format.Adblock, input.ErrNarrowed},
		{"lines of hosts become bare", hosts, bare, format.Hosts, nil},
		{"exact names become wide", alone, bare, format.Plain, nil},
		{"half of the names go", bare, bare[:len(bare)/2], format.Auto, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := c.before
			p := guarded("", func(l *input.List) {
				l.Format = c.format
				l.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
			})
			o := compile.Options{Now: day, Slots: new(blocklists.Slots)}
			first, _, err := compile.Load(t.Context(), p, nil, o)
			if err != nil {
				t.Fatal(err)
			}
			text = c.after
			if _, _, err = compile.Load(t.Context(), p, first, o); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if c.want != nil && !input.IsGuard(err) {
				t.Errorf("%v is not told as a guard's", err)
			}
			info := first.Lists()[0]
			p.Lists[0].Guards.Before = input.Baseline{Options: info.Options, Entries: info.Entries, Wide: info.Wide, Format: info.Format}
			if _, _, err = compile.Load(t.Context(), p, nil, o); !errors.Is(err, c.want) {
				t.Errorf("after a restart: %v, want %v", err, c.want)
			}
		})
	}
}

// each returns the texts with what is before and after each.
func each(texts []string, before, after string) []string {
	for i := range texts {
		texts[i] = before + texts[i] + after
	}
	return texts
}
