package lang

import (
	"go/ast"
	"go/parser"
	"go/token"
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
	for _, m := range french {
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
	said := map[string]bool{}
	for _, dir := range []string{"../show", "../server", "../auditlog", "../changes", "../reason", "../../../../resolver", ".."} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					s, _ := strconv.Unquote(lit.Value)
					said[s] = true
				}
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) == 0 {
					return true
				}
				s, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || s.Sel.Name != "Say" {
					return true
				}
				if lit, ok := call.Args[0].(*ast.BasicLit); ok {
					if en, _ := strconv.Unquote(lit.Value); !Has(en) {
						t.Errorf("%s: %q has no French", file, en)
					}
				}
				return true
			})
		}
	}
	for _, m := range french {
		if !said[m.en] {
			t.Errorf("%q is not said anywhere", m.en)
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
