package lang

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestTable: a sentence is in the table once, in both languages, with the same verbs in the same order.
func TestTable(t *testing.T) {
	verbs := regexp.MustCompile(`%[-+# 0-9.]*[a-zA-Z%]`)
	seen := map[string]bool{}
	for _, m := range messages() {
		if seen[m.en] || m.en == "" || m.fr == "" {
			t.Errorf("%q is there twice, or is empty", m.en)
		}
		seen[m.en] = true
		if en, fr := verbs.FindAllString(m.en, -1), verbs.FindAllString(m.fr, -1); !slices.Equal(en, fr) {
			t.Errorf("%q has %q, and %q has %q", m.en, en, m.fr, fr)
		}
	}
}

// TestSaid: what package show says in a language is in the table, and all that is in the table is said.
func TestSaid(t *testing.T) {
	said, logged := map[string]bool{}, 0
	for file, f := range program(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, _ := strconv.Unquote(lit.Value)
				said[s] = true
			}
			call, ok := n.(*ast.CallExpr)
			if !ok || !says(call) && !logs(call) {
				return true
			}
			if logs(call) {
				logged++
			}
			arg := call.Args[0]
			if len(call.Args) > 1 && isClass(arg) {
				arg = call.Args[1] // of a log with classes of messages
			}
			if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if en, _ := strconv.Unquote(lit.Value); !Has(en) {
					t.Errorf("%s: %q has no French", file, en)
				}
			}
			return true
		})
	}
	if logged < 60 {
		t.Errorf("only %d calls of logs were found", logged)
	}
	for _, m := range slices.Concat(french[:], journal[:]) {
		if !said[m.en] {
			t.Errorf("%q is not said anywhere", m.en)
		}
	}
}

// program returns the files of the program without tests, by their paths.
func program(t *testing.T) map[string]*ast.File {
	out := map[string]*ast.File{}
	const root = "../../../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "resolvertest" || d.Name() == "lang"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		out[path], err = parser.ParseFile(token.NewFileSet(), path, nil, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// says reports whether a call is one of [Printer.Say].
func says(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "Say"
}

// logs reports whether a call is one of a logger: of something that is called so.
func logs(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, s.Sel.Name) {
		return false
	}
	name := ""
	switch x := s.X.(type) {
	case *ast.Ident:
		name = x.Name
	case *ast.SelectorExpr:
		name = x.Sel.Name
	}
	name = strings.ToLower(name)
	return name == "log" || name == "logger"
}

// isClass reports whether an argument names a class of messages.
func isClass(arg ast.Expr) bool {
	if s, ok := arg.(*ast.SelectorExpr); ok {
		arg = s.Sel
	}
	id, ok := arg.(*ast.Ident)
	return ok && strings.HasPrefix(id.Name, "Log")
}

// TestHandler: messages are translated, and nothing else; by loggers that were made from the first, too.
func TestHandler(t *testing.T) {
	var out strings.Builder
	h := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	log := slog.New(New(French).Handler(h))
	log.Warn("a ban has ended: its names are resolved", "ban", "blocked")
	log.With("ban", "x").WithGroup("g").Info("more blocked", "queries", 3)
	log.Info("of another program")
	log.Debug("blocked")
	want := `level=WARN msg="une interdiction a pris fin : ses noms sont résolus" ban=blocked
level=INFO msg="autres requêtes bloquées" ban=x g.queries=3
level=INFO msg="of another program"
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if New(English).Handler(h) != slog.Handler(h) {
		t.Error("English goes through another handler")
	}
}

// TestTypography: a space before a colon and none before other marks, and the apostrophe of print.
func TestTypography(t *testing.T) {
	for _, m := range messages() {
		text := strings.ReplaceAll(m.fr, "unknown_types: block", "")
		if regexp.MustCompile(` [;!?]|[^ ]: |['"]|\.\.\.|\x{a0}|\x{202f}`).MatchString(text) {
			t.Errorf("%q", m.fr)
		}
	}
}

func TestSay(t *testing.T) {
	en, fr, other := New(English), New(French), New("de")
	if got := fr.Say("answers with the address %s: %s", "192.0.2.1", fr.Say("banned")); got != "réponses contenant l’adresse 192.0.2.1 : interdit" {
		t.Error(got)
	}
	for _, p := range []*Printer{en, other} {
		if got := p.Say("banned"); got != "banned" || p.Language() != English {
			t.Error(got)
		}
	}
	if got := fr.Say("100% unknown"); got != "100% unknown" {
		t.Error(got)
	}
}
