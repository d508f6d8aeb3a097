package main

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"slices"
	"strings"
	"testing"
)

// TestNoFixedSleeps: a test does not sleep for a fixed time and then check. It
// polls, or it runs under a fake clock, or a comment "// sleeps: why" at the
// sleep says that the passing of time is what it tests.
func TestNoFixedSleeps(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		if !s.test {
			continue
		}
		for _, at := range fixedSleeps(fset, s.file, fakeClocks(all, s.dir)) {
			t.Errorf("%s:%d: a sleep for a fixed time: poll instead, use synctest, or say why with a comment \"// sleeps: ...\"", s.path, at)
		}
	}
}

// fixedSleeps returns the lines of a test file that call time.Sleep, or receive
// from time.After in a statement of its own, where none of these holds:
//   - a loop around it ends by what it finds: its condition has a call, or its
//     body returns or breaks;
//   - it is in a function literal that synctest.Test runs, or one of the functions
//     that clocks names;
//   - a comment "// sleeps: why" is on its line or ends on the line above.
func fixedSleeps(fset *gotoken.FileSet, file *ast.File, clocks []string) []int {
	line := func(p gotoken.Pos) int { return fset.Position(p).Line }
	reasons := map[int]bool{}
	for _, g := range file.Comments {
		if _, why, ok := strings.Cut(g.Text(), "sleeps: "); ok && strings.TrimSpace(why) != "" {
			reasons[line(g.End())] = true
		}
	}
	var out []int
	var path []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			path = path[:len(path)-1]
			return true
		}
		path = append(path, n)
		if sleeps(path) && !polls(path, clocks) && !reasons[line(n.Pos())] && !reasons[line(n.Pos())-1] {
			out = append(out, line(n.Pos()))
		}
		return true
	})
	return out
}

// sleeps reports whether the last node of path is a call of time.Sleep, or a
// statement that does nothing but receive from time.After.
func sleeps(path []ast.Node) bool {
	switch x := path[len(path)-1].(type) {
	case *ast.CallExpr:
		return calls(x, "time", "Sleep")
	case *ast.ExprStmt:
		if _, choice := path[len(path)-2].(*ast.CommClause); choice {
			return false
		}
		if u, ok := x.X.(*ast.UnaryExpr); ok && u.Op == gotoken.ARROW {
			c, ok := u.X.(*ast.CallExpr)
			return ok && calls(c, "time", "After")
		}
	}
	return false
}

func calls(c *ast.CallExpr, pkg, name string) bool {
	s, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := s.X.(*ast.Ident)
	return ok && id.Name == pkg && s.Sel.Name == name
}

// polls reports whether the last node of path is within a loop that ends by what
// it finds, or runs under a fake clock.
func polls(path []ast.Node, clocks []string) bool {
	literal := false // a loop around a function literal does not count
	for i, n := range slices.Backward(path) {
		switch x := n.(type) {
		case *ast.ForStmt:
			if !literal && endsByItself(x.Cond, x.Body) {
				return true
			}
		case *ast.RangeStmt:
			if !literal && endsByItself(nil, x.Body) {
				return true
			}
		case *ast.FuncLit:
			literal = true
			if c, ok := path[i-1].(*ast.CallExpr); ok && underFakeClock(c, clocks) {
				return true
			}
		}
	}
	return false
}

// underFakeClock reports whether a call is one of synctest.Test, or of a function
// that clocks names.
func underFakeClock(c *ast.CallExpr, clocks []string) bool {
	id, ok := c.Fun.(*ast.Ident)
	return calls(c, "synctest", "Test") || ok && slices.Contains(clocks, id.Name)
}

// fakeClocks returns the names of a directory's functions that call
// synctest.Test, themselves or through another.
func fakeClocks(all []goFile, dir string) []string {
	var names []string
	for again := true; again; {
		again = false
		for _, s := range all {
			for _, d := range s.file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || s.dir != dir || !s.test || f.Recv != nil || slices.Contains(names, f.Name.Name) || strings.HasPrefix(f.Name.Name, "Test") {
					continue
				}
				ast.Inspect(f, func(n ast.Node) bool {
					if c, ok := n.(*ast.CallExpr); ok && underFakeClock(c, names) && !again {
						names, again = append(names, f.Name.Name), true
					}
					return true
				})
			}
		}
	}
	return names
}

// endsByItself reports whether a loop may end before its count is up.
func endsByItself(cond ast.Expr, body *ast.BlockStmt) bool {
	found := false
	check := func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			found = true
		case *ast.BranchStmt:
			found = found || x.Tok == gotoken.BREAK
		}
		return true
	}
	ast.Inspect(body, check)
	if cond != nil {
		ast.Inspect(cond, func(n ast.Node) bool {
			if _, ok := n.(*ast.CallExpr); ok {
				found = true
			}
			return true
		})
	}
	return found
}

// TestNoFixedSleepsBites: the guard finds the sleeps that it is for, and nothing
// else.
func TestNoFixedSleepsBites(t *testing.T) {
	const text = `package p

func a() { time.Sleep(1) } // bad
func b() { <-time.After(1) } // bad
func c() { for !ok() { time.Sleep(1) } }
func d() { for i := 0; i < 5; i++ { time.Sleep(1) } } // bad
func n() { for range 3 { if !ok() { t.Fatal() }; time.Sleep(1) } } // bad
func e() { for { if ok() { return }; time.Sleep(1) } }
func f() { for end := now(); ; time.Sleep(1) { if ok() { break } } }
func g() { synctest.Test(t, func(t *testing.T) { time.Sleep(1); go func() { time.Sleep(2) }() }) }
func bubble(f func()) { synctest.Test(t, func(*testing.T) { f() }) }
func bubbles(f func()) { bubble(f) }
func m() { bubbles(func() { time.Sleep(1) }) }
func h() { t.Run("x", func(t *testing.T) { time.Sleep(1) }) } // bad
func i() { for range 3 { go func() { return }(); time.Sleep(1) } } // bad
func l() { for { go func() { time.Sleep(1) }(); if ok() { return } } } // bad
func j() {
	time.Sleep(1) // sleeps: the client is slow
	// sleeps: so is
	// this one
	time.Sleep(1)
	time.Sleep(1) // bad
}
func k() { select { case <-time.After(1): case <-c: } }
`
	fset := gotoken.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var want []int
	for i, line := range strings.Split(text, "\n") {
		if strings.HasSuffix(line, "// bad") {
			want = append(want, i+1)
		}
	}
	clocks := fakeClocks([]goFile{{dir: "p", test: true, file: file}}, "p")
	if got := fixedSleeps(fset, file, clocks); !slices.Equal(got, want) {
		t.Errorf("found lines %v, want %v: %s", got, want, text)
	}
}
