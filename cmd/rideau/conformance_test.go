package main

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConformanceTable: the files and tests that rows of docs/conformance.md name
// exist.
func TestConformanceTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, all := sources(t)
	tests := map[string][]goFile{} // by name
	for _, s := range all {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				tests[f.Name.Name] = append(tests[f.Name.Name], s)
			}
		}
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| RFC |") {
			continue
		}
		if rows++; len(cells) != 4 {
			t.Errorf("not four cells: %s", line)
			continue
		}
		for _, file := range strings.Split(cells[2], ", ") {
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: %v", cells[0], err)
			}
		}
		named := quoted.FindAllStringSubmatch(cells[3], -1)
		if len(named) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, m := range named {
			name, part, _ := strings.Cut(m[1], "/")
			if !hasTest(tests[name], name, part) {
				t.Errorf("%s: there is no test %s", cells[0], m[1])
			}
		}
	}
	if rows < 40 {
		t.Errorf("%d rows", rows)
	}
}

// hasTest reports whether one of the files with the named test has this part of it.
func hasTest(files []goFile, name, part string) bool {
	for _, s := range files {
		if name == "TestScenario" {
			_, err := os.Stat(filepath.Join(root, s.dir, "testdata/scenario", part+".txtar"))
			return err == nil
		}
		if part == "" || strings.Contains(string(s.text), "{\""+part+"\", ") {
			return true
		}
	}
	return false
}
