package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"rideau/config"
)

// documents reads the repository's Markdown files.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".md") {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		out[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if out["README.md"] == "" {
		t.Fatal("there is no README.md")
	}
	return out
}

// fenced returns the lines of a document's code blocks of this language.
func fenced(text, language string) []string {
	var out []string
	in := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch trimmed := strings.TrimSpace(line); {
		case in == "" && strings.HasPrefix(trimmed, "```"):
			in = strings.TrimPrefix(trimmed, "```") + " "
		case strings.HasPrefix(trimmed, "```"):
			in = ""
		case in == language+" ":
			out = append(out, line)
		}
	}
	return out
}

// words returns a shell command's words up to a comment, redirection or pipe, and
// the file to which its output is redirected.
func words(line string) (args []string, to string) {
	f := strings.Fields(line)
	for i, w := range f {
		if strings.HasPrefix(w, "#") || w == "|" || w == "||" || w == "&&" {
			return args, to
		}
		if w == ">" && i+1 < len(f) {
			return args, f[i+1]
		}
		args = append(args, strings.Trim(w, "'\""))
	}
	return args, to
}

// program returns the arguments of a command line that calls rideau.
func program(args []string) ([]string, bool) {
	for _, how := range []string{"go run ./cmd/rideau", "rideau", "./rideau"} {
		prefix := strings.Fields(how)
		if len(args) >= len(prefix) && slices.Equal(args[:len(prefix)], prefix) {
			return args[len(prefix):], true
		}
	}
	return nil, false
}

// usable returns why run would reject a command line; empty if it would not. It
// does not run the command.
func usable(args []string) string {
	name, rest := "serve", args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, rest = args[0], args[1:]
	}
	if name == "help" {
		if len(rest) == 0 || rest[0] == "COMMAND" {
			return ""
		}
		name, rest = rest[0], nil
	}
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 {
		return "unknown command " + name
	}
	c := &call{pflag.NewFlagSet(name, pflag.ContinueOnError), context.Background(), nil, io.Discard, io.Discard}
	c.SetOutput(io.Discard)
	defineFlags(c, name)
	if err := c.Parse(rest); err != nil {
		return err.Error()
	}
	if problem := all[i].misused(len(c.Args())); problem == "too many arguments" {
		return problem // a sentence may leave arguments out
	}
	return ""
}

// TestDocumentsUseWhatThereIs: the commands and options of the program that
// documents show exist, in code blocks and within sentences.
func TestDocumentsUseWhatThereIs(t *testing.T) {
	found := 0
	for path, text := range documents(t) {
		lines := append(fenced(text, "sh"), fenced(text, "console")...)
		for _, m := range regexp.MustCompile("`(rideau [^`]*)`").FindAllStringSubmatch(text, -1) {
			lines = append(lines, m[1])
		}
		for _, line := range lines {
			args, _ := words(strings.TrimPrefix(strings.TrimSpace(line), "$ "))
			args, ours := program(args)
			if !ours {
				continue
			}
			found++
			if why := usable(args); why != "" {
				t.Errorf("%s: %s: %s", path, line, why)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d commands were found in the documents", found)
	}
}

// TestCommandTable: each row of the table in docs/guide.md names a command, and
// options that it has; each command has a row.
func TestCommandTable(t *testing.T) {
	guide := documents(t)["docs/guide.md"]
	rows := regexp.MustCompile("(?m)^\\| `rideau ([a-z-]+)[^`]*` \\|(.*)$").FindAllStringSubmatch(guide, -1)
	seen := map[string]bool{}
	for _, row := range rows {
		seen[row[1]] = true
		c := &call{FlagSet: pflag.NewFlagSet(row[1], pflag.ContinueOnError)}
		defineFlags(c, row[1])
		for _, o := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(row[2], -1) {
			if c.Lookup(o[1]) == nil {
				t.Errorf("rideau %s has no option --%s", row[1], o[1])
			}
		}
	}
	for _, c := range commands() {
		if !seen[c.name] {
			t.Errorf("docs/guide.md has no row for rideau %s", c.name)
		}
	}
}

// TestDocumentCommandsRun runs, in their order and in one directory for each
// document, the commands in code blocks that end by themselves and need no
// network, and compares the addresses in the others with the default
// configuration. The documents may use rideau.yaml, new.yaml and queries.log.
func TestDocumentCommandsRun(t *testing.T) {
	all := documents(t)
	ran := map[string]int{}
	for path, text := range all {
		if path != "README.md" && !strings.HasPrefix(path, "docs/") && path != "blocklists/README.md" {
			continue
		}
		t.Run(path, func(t *testing.T) { commandsRun(t, fenced(text, "sh"), ran) })
	}
	for _, c := range []string{"dig", "config", "check", "explain", "simulate", "diff", "rules"} {
		if ran[c] == 0 {
			t.Errorf("no document shows %s", c)
		}
	}
}

func commandsRun(t *testing.T, lines []string, ran map[string]int) {
	dns, ops := config.Default().Listen.Addresses[0], config.Default().Ops.Listen
	known := steps(t)
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"rideau.yaml": string(config.DefaultText()), "new.yaml": string(config.DefaultText()),
		"queries.log": `{"time":"2026-01-01T00:00:00Z","client":"192.0.2.1","name":"example.net.","type":"A","transport":"udp","outcome":"forwarded"}` + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range lines {
		all, to := words(line)
		if len(all) > 0 && all[0] == "dig" {
			ran["dig"]++
			if len(all) < 4 || all[1] != "@"+dns.Addr().String() || all[2] != "-p" || net.JoinHostPort(all[1][1:], all[3]) != dns.String() {
				t.Errorf("%s: the default configuration listens on %v", line, dns)
			}
			continue
		}
		if url := regexp.MustCompile(`http://([0-9.]+:\d+)/`).FindStringSubmatch(line); url != nil && url[1] != ops {
			t.Errorf("%s: the default configuration listens on %s", line, ops)
		}
		if len(all) > 1 && all[0] == "bash" && all[1] == ".ci/run" {
			for _, step := range all[2:] {
				if !slices.Contains(known, step) {
					t.Errorf("%s: there is no step %s", line, step)
				}
			}
		}
		args, ours := program(all)
		if !ours || len(args) == 0 || strings.HasPrefix(args[0], "-") || args[0] == "serve" || args[0] == "healthcheck" {
			continue
		}
		var stdout, stderr bytes.Buffer
		want := exitOK
		if args[0] == "explain" {
			want = exitBanned
		}
		if code := run(t.Context(), args, &stdout, &stderr); code != want {
			t.Errorf("%s: exit code %d\n%s%s", line, code, &stdout, &stderr)
		}
		if to != "" {
			if err := os.WriteFile(to, stdout.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		ran[args[0]]++
	}
}

// steps returns the names of the steps of .ci/run, and list.
func steps(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".ci/run"))
	if err != nil {
		t.Fatal(err)
	}
	out := []string{"list"}
	for _, m := range regexp.MustCompile(`(?m)^step_([a-z]+)\(\)`).FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1])
	}
	return out
}

// TestReadmeConfiguration: what the README says to write is accepted.
func TestReadmeConfiguration(t *testing.T) {
	dir := t.TempDir()
	yaml := strings.Join(fenced(documents(t)["README.md"], "yaml"), "\n")
	if yaml == "" {
		t.Fatal("no configuration is shown")
	}
	for name, text := range map[string]string{"rideau.yaml": yaml, "mine.txt": "example.net\n=exact.example\n*.below.example\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"check", "--config", filepath.Join(dir, "rideau.yaml")}, &stdout, &stderr); code != exitOK {
		t.Errorf("%d\n%s%s\n%s", code, &stdout, &stderr, yaml)
	}
}

// TestReadmeLength: the README shows the product; all else is in docs.
func TestReadmeLength(t *testing.T) {
	if n := strings.Count(documents(t)["README.md"], "\n"); n > 150 {
		t.Errorf("README.md has %d lines, more than 150", n)
	}
}

// TestDocumentLinks: files and headings that documents link to in this repository
// exist, and so do files that they name in backquotes.
func TestDocumentLinks(t *testing.T) {
	all := documents(t)
	found := 0
	for path, text := range all {
		dir := filepath.Dir(path)
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			file, heading, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(dir, file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", path, m[1])
			} else if heading != "" && !slices.Contains(anchors(all[target]), heading) {
				t.Errorf("%s: %s has no heading #%s", path, target, heading)
			}
		}
		for _, m := range regexp.MustCompile("`((?:cmd|config|blocklists|resolver|docs)(?:/[a-z_0-9]+)*(?:/[a-zA-Z_0-9]+\\.[a-z]+|/))`").FindAllStringSubmatch(text, -1) {
			found++
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s speaks of %s, which is not there", path, m[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d links were found in the documents", found)
	}
}

// anchors returns the names by which links refer to the headings of a document.
func anchors(text string) []string {
	var out []string
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if code || !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		title = strings.ToLower(strings.TrimSpace(title))
		title = regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(title, "")
		out = append(out, strings.ReplaceAll(title, " ", "-"))
	}
	return out
}

// TestArchitectureNamesEveryPackage: docs/architecture.md says what each package
// is for, and names no other.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	text := documents(t)["docs/architecture.md"]
	named := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| ((?:`[a-z0-9/]+`(?:, )?)+) \\|").FindAllStringSubmatch(text, -1) {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			named[m[1]] = true
		}
	}
	own := ownImports()
	for pkg := range own {
		if !named[pkg] {
			t.Errorf("docs/architecture.md has no row for %s", pkg)
		}
	}
	for pkg := range named {
		if _, ok := own[pkg]; !ok {
			t.Errorf("docs/architecture.md has a row for %s, which is no package", pkg)
		}
	}
}
