package compile_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

// guarded returns a policy of one list with that text.
func guarded(text string, change func(*input.List)) blocklists.Policy {
	l := list("l")
	l.MaxSkipped, l.MaxShrink = 0.1, 0.5
	l.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	if change != nil {
		change(&l)
	}
	return blocklists.Policy{Lists: []input.List{l}, Bans: []blocklists.Ban{ban("b", "l")}}
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "name-%d.example\n", i)
	}
	return b.String()
}

// TestBounds: what each guard refuses, and that force overrides it, except for bounds on what is read.
func TestBounds(t *testing.T) {
	protected, err := input.NewProtected([]string{"login.gov.example", "gc.example"}, "take it out")
	if err != nil {
		t.Fatal(err)
	}
	serial := func(kind string, n uint64) input.Serial { return input.Serial{Kind: kind, Value: n} }
	for _, c := range []struct {
		name   string
		text   string
		before input.Baseline
		guards input.Guards
		want   error
	}{
		{name: "small lists grow freely", text: numbered(1000), before: input.Baseline{Entries: 1}, guards: input.Guards{MaxGrowth: 10}},
		{name: "large ones do not", text: numbered(1001), before: input.Baseline{Entries: 100}, guards: input.Guards{MaxGrowth: 10}, want: input.ErrGrew},
		{name: "tenfold", text: numbered(1010), before: input.Baseline{Entries: 101}, guards: input.Guards{MaxGrowth: 10}},
		{name: "growth of what is new", text: numbered(2000), guards: input.Guards{MaxGrowth: 10}},
		{name: "shrunk since the last run", text: numbered(4), before: input.Baseline{Entries: 10}, want: input.ErrShrank},
		{name: "empty since the last run", text: "# nothing\n", before: input.Baseline{Entries: 10}, want: input.ErrEmpty},
		{name: "empty at first", text: "# nothing\n", guards: input.Guards{NotEmpty: true}, want: input.ErrNoEntries},
		{name: "too many entries", text: numbered(11), guards: input.Guards{MaxEntries: 10}, want: input.ErrMaxEntries},
		{name: "as many as may be", text: numbered(10), guards: input.Guards{MaxEntries: 10}},
		{name: "serial goes back", text: numbered(1), before: input.Baseline{Serial: serial("serial", 7)},
			guards: input.Guards{Serial: serial("serial", 6)}, want: input.ErrSerial},
		{name: "serial stays", text: numbered(1), before: input.Baseline{Serial: serial("serial", 7)}, guards: input.Guards{Serial: serial("serial", 7)}},
		{name: "serial of a zone passes 2^32", text: numbered(1), before: input.Baseline{Serial: serial(input.SOASerial, 1<<32-1)},
			guards: input.Guards{Serial: serial(input.SOASerial, 3)}},
		{name: "serial of a zone goes back", text: numbered(1), before: input.Baseline{Serial: serial(input.SOASerial, 3)},
			guards: input.Guards{Serial: serial(input.SOASerial, 1<<32-1)}, want: input.ErrSerial},
		{name: "other kind of serial", text: numbered(1), before: input.Baseline{Serial: serial("timestamp", 7)}, guards: input.Guards{Serial: serial("serial", 1)}},
		{name: "other kind, and one is required", text: numbered(1), before: input.Baseline{Serial: serial("timestamp", 7)},
			guards: input.Guards{Serial: serial("serial", 1), RequireSerial: true}, want: input.ErrSerial},
		{name: "other kind, of a signed list", text: numbered(1), before: input.Baseline{Serial: serial("serial", 7)},
			guards: input.Guards{Serial: serial("timestamp", 9), SameSerial: true}, want: input.ErrSerial},
		{name: "none any more, of a signed list", text: numbered(1), before: input.Baseline{Serial: serial("timestamp", 7)},
			guards: input.Guards{SameSerial: true}, want: input.ErrSerial},
		{name: "a list that is signed from now on", text: numbered(1), before: input.Baseline{Serial: serial("list", 7)},
			guards: input.Guards{Serial: serial("timestamp", 1), SameSerial: true}},
		{name: "none before, of a signed list", text: numbered(1), before: input.Baseline{Entries: 1}, guards: input.Guards{Serial: serial("serial", 1), SameSerial: true}},
		{name: "serial of a comment goes back", text: "# Serial: 6\n" + numbered(1), before: input.Baseline{Serial: serial("list", 7)}, want: input.ErrSerial},
		{name: "serial of a comment", text: "# Serial: 8\n" + numbered(1), before: input.Baseline{Serial: serial("list", 7)}, guards: input.Guards{RequireSerial: true}},
		{name: "no serial", text: numbered(1), guards: input.Guards{RequireSerial: true}, want: input.ErrNoSerial},
		{name: "nothing but protected names", text: "gc.example\n", guards: input.Guards{Protected: protected}, want: input.ErrProtected},
		{name: "mostly protected names", text: numbered(5) + strings.Repeat("a.gc.example\n", 11), guards: input.Guards{Protected: protected}, want: input.ErrProtected},
		{name: "a few of them", text: numbered(5) + strings.Repeat("a.gc.example\n", 10), guards: input.Guards{Protected: protected}},
	} {
		t.Run(c.name, func(t *testing.T) {
			load := func(force ...string) error {
				p := guarded(c.text, func(l *input.List) {
					first, _, err := compile.Load(context.Background(), guarded(numbered(1), nil), nil, compile.Options{Now: day, Slots: new(blocklists.Slots)})
					if err != nil {
						t.Fatal(err)
					}
					l.Guards = c.guards
					l.Guards.Forward = true
					l.Guards.Before = c.before
					l.Guards.Before.Options = first.Lists()[0].Options
				})
				_, report, err := compile.Load(context.Background(), p, nil, compile.Options{Now: day, Slots: new(blocklists.Slots), Force: force})
				if err != nil && (len(report.Failed) != 1 || report.Failed[0].List != "l") {
					t.Errorf("failed %v", report.Failed)
				}
				return err
			}
			err := load("other")
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%v, want %v", err, c.want)
			}
			bound := errors.Is(c.want, input.ErrMaxEntries) || errors.Is(c.want, input.ErrProtected)
			if err := load("l"); bound != (err != nil) {
				t.Errorf("by force: %v", err)
			}
		})
	}
}

// TestProtected: an entry that is a protected name, covers it or lies below it does not count, and the report says why; all others count.
func TestProtected(t *testing.T) {
	protected, err := input.NewProtected([]string{"login.gov.example", "GC.example."}, "write may_block_protected")
	if err != nil {
		t.Fatal(err)
	}
	const text = `gov.example
=gov.example
*.gov.example
login.gov.example
*.login.gov.example
deep.login.gov.example
other.gov.example
notgc.example
=gc.example
bad.example
192.0.2.1
a.example
b.example
c.example
`
	p := guarded(text, func(l *input.List) { l.Guards.Protected = protected })
	s, report, err := compile.Load(context.Background(), p, nil, compile.Options{Now: day, Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	if info := s.Lists()[0]; info.Entries != 8 || info.Skipped != 6 {
		t.Errorf("%d entries, %d skipped", info.Entries, info.Skipped)
	}
	var lines []int
	for _, p := range report.Problems {
		lines = append(lines, p.Line)
	}
	if fmt.Sprint(lines) != "[1 3 4 5 6 9]" {
		t.Errorf("lines %v: %v", lines, report.Problems)
	}
	if got, want := report.Problems[0].String(), `the list l:1: "gov.example.": the name login.gov.example. is protected from this list; write may_block_protected`; !strings.HasSuffix(got, want[len("the list l"):]) {
		t.Errorf("%s", got)
	}
	for name, want := range map[string]blocklists.Kind{
		"gov.example": blocklists.Block, "x.gov.example": blocklists.Pass, "login.gov.example": blocklists.Pass,
		"deep.login.gov.example": blocklists.Pass, "other.gov.example": blocklists.Block, "gc.example": blocklists.Pass,
		"bad.example": blocklists.Block, "notgc.example": blocklists.Block,
	} {
		var n wire.Name
		if err := n.SetText(name); err != nil {
			t.Fatal(err)
		}
		if got := s.Name(&n, 0).Kind; got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if _, err := input.NewProtected([]string{"a..b"}, ""); err == nil {
		t.Error("no name, and accepted")
	}
}

// TestFolder: each file of a list that is a folder keeps its name in messages, and the digest is that of what sha256sum prints.
func TestFolder(t *testing.T) {
	part := func(name, text string) input.Part {
		return input.Part{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
	}
	parts := []input.Part{part("10.txt", "a.example\nb.example"), part("20.txt", "c.example\n-bad name-\n"), part("30.txt", "")}
	p := guarded("", func(l *input.List) {
		l.MaxSkipped = 0.5
		l.Parts = func() ([]input.Part, error) { return parts, nil }
	})
	s, report, err := compile.Load(context.Background(), p, nil, compile.Options{Now: day, Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	if info := s.Lists()[0]; info.Entries != 3 || info.Skipped != 1 {
		t.Errorf("%d entries, %d skipped", info.Entries, info.Skipped)
	}
	if len(report.Problems) != 1 || report.Problems[0].File != "20.txt" || report.Problems[0].Line != 2 {
		t.Errorf("%v", report.Problems)
	}
	l := p.Lists[0]
	if sum, err := l.ReadDigest(nil); err != nil || sum != s.Lists()[0].SHA256 {
		t.Errorf("%x, %v, and Load has %x", sum, err, s.Lists()[0].SHA256)
	}
	parts = parts[:2]
	if sum, err := l.ReadDigest(nil); err != nil || sum == s.Lists()[0].SHA256 {
		t.Errorf("a file went, and the digest stays (%v)", err)
	}
	later := s.Confirmed(day.AddDate(0, 0, 1))
	if later.Generation() != s.Generation() || !later.Lists()[0].LoadedAt.After(s.Lists()[0].LoadedAt) || later.Lists()[0].Digest != s.Lists()[0].Digest {
		t.Error("confirmed, and not the same")
	}
}
