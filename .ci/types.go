//go:build ignore

// Types checks the types of all packages and their tests for a system, without
// compiling anything: bodies of functions are looked at in Rideau's packages alone.
// Usage: types GOOS/GOARCH...
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "types:", err)
		os.Exit(1)
	}
	failed := false
	for _, system := range os.Args[1:] {
		n, faults, err := check(dir, system)
		for _, f := range faults {
			fmt.Printf("%s: %s\n", system, f)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "types: %s: %v\n", system, err)
		} else {
			fmt.Printf("%s: %d packages\n", system, n)
		}
		failed = failed || err != nil || len(faults) > 0 || n == 0
	}
	if failed {
		os.Exit(1)
	}
}

// check checks the packages below dir for a system, and returns how many there are.
func check(dir, system string) (int, []string, error) {
	goos, goarch, _ := strings.Cut(system, "/")
	found, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps |
			packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesSizes,
		Env:   append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0"),
		Tests: true,
		ParseFile: func(set *token.FileSet, name string, src []byte) (*ast.File, error) {
			file, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
			if file != nil && !strings.HasPrefix(name, dir+string(filepath.Separator)) {
				for _, d := range file.Decls {
					if f, ok := d.(*ast.FuncDecl); ok {
						f.Body = nil
					}
				}
			}
			return file, err
		},
	}, "./...")
	if err != nil {
		return 0, nil, err
	}
	n, faults := 0, []string(nil)
	for _, p := range found {
		if p.PkgPath == "" || strings.HasSuffix(p.PkgPath, ".test") {
			continue // the main package of a test, which Go writes
		}
		n++
		for _, e := range p.Errors {
			faults = append(faults, e.Error())
		}
	}
	return n, faults, nil
}
