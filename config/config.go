// Package config reads a configuration file: YAML text becomes a [Config] with every default filled in and every value checked.
//
// A file is read whole. What is wrong with it comes back as [Problems], all of it at once, each with the line to change and what to write
// there; a Config is returned only for a file with none. The text never decides how much work there is: its size, the number of its
// values and the lengths of its lists are bounded.
//
// rideau.example.yaml documents every key. The key tags of the fields below name them, see [Keys].
package config

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// Config is the configuration of a resolver. It is plain data: whoever has it may change it.
type Config struct {
	// File is the path given to Load or the name given to Parse.
	File string `key:"-"`
	// Listen says where queries are taken.
	Listen Listen `key:"listen"`
	// Clients says who is answered.
	Clients Clients `key:"clients"`
	// Groups are sets of clients for bans and exceptions to refer to.
	Groups []Group `key:"groups"`
	// Upstream says who is asked.
	Upstream Upstream `key:"upstream"`
	// Forward says who is asked instead for some zones.
	Forward []Forward `key:"forward"`
	// Cache bounds what is remembered.
	Cache Cache `key:"cache"`
	// Lists are the sources of names for bans and exceptions.
	Lists []List `key:"lists"`
	// Bans are what is not resolved.
	Bans []Ban `key:"bans"`
	// Exceptions are what is resolved although a ban has it.
	Exceptions []Exception `key:"exceptions"`
	// Reload says how changes of files are taken up.
	Reload Reload `key:"reload"`
	// Ops is the HTTP service for the operators.
	Ops Ops `key:"ops"`
	// Log says what is logged.
	Log Log `key:"log"`
	// Warnings are what is legal in the file but deserves a second look, in the order of its lines.
	Warnings []Problem `key:"-"`
}

//go:embed default.yaml
var defaultText string

//go:embed rideau.example.yaml
var exampleText string

// DefaultText returns the configuration that is used when no file is given.
func DefaultText() []byte { return []byte(defaultText) }

// ExampleText returns a configuration that shows and explains every key.
func ExampleText() []byte { return []byte(exampleText) }

// Default returns the parsed DefaultText.
func Default() *Config {
	c, err := Parse("default.yaml", DefaultText())
	if err != nil {
		panic(fmt.Sprintf("config: the embedded default is wrong: %v", err))
	}
	return c
}

// Load reads the configuration file at path. Relative paths in it start from its directory. The error is Problems if the file could be
// read and is wrong.
func Load(path string) (*Config, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration %s cannot be read: %w", path, err)
	}
	c, err := Parse(path, text)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	for i := range c.Lists {
		c.Lists[i].File = from(dir, c.Lists[i].File)
	}
	c.Ops.TokenFile = from(dir, c.Ops.TokenFile)
	return c, nil
}

// from is the path that is meant in a file of the directory dir.
func from(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// readFile reads just enough of a file to tell that it is too large.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

// Parse reads configuration text. The name stands for the file in messages. Relative paths stay as they are. The error is always Problems.
func Parse(name string, text []byte) (*Config, error) {
	root, problem := parseText(name, text)
	if problem != nil {
		return nil, Problems{*problem}
	}
	r := &reader{file: name, ids: map[string]map[string]int{}}
	c := r.read(root)
	if len(r.problems) > 0 {
		return nil, r.sum()
	}
	c.warn(r)
	c.Warnings = inOrder(r.warnings)
	return c, nil
}

// read walks the file. Reload comes before the lists, which inherit from it; otherwise the order is that of the documentation.
func (r *reader) read(root *yaml.Node) *Config {
	c := &Config{
		File:     r.file,
		Listen:   defaultListen(),
		Clients:  defaultClients(),
		Upstream: defaultUpstream(),
		Cache:    defaultCache(),
		Reload:   defaultReload(),
		Ops:      defaultOps(),
		Log:      defaultLog(),
	}
	m := value{r: r, n: root, line: max(root.Line, 1), index: -1}.mapping()
	m.section("listen", c.Listen.read)
	m.section("clients", c.Clients.read)
	set(m, "groups", &c.Groups, list(0, MaxGroups, groupReader()))
	m.section("upstream", c.Upstream.read)
	set(m, "forward", &c.Forward, list(0, 1024, forwardReader()))
	m.section("cache", c.Cache.read)
	m.section("reload", c.Reload.read)
	set(m, "lists", &c.Lists, list(0, MaxLists, listReader(c.Reload)))
	set(m, "bans", &c.Bans, list(0, MaxBans, readBan))
	set(m, "exceptions", &c.Exceptions, list(0, MaxExceptions, readException))
	m.section("ops", c.Ops.read)
	m.section("log", c.Log.read)
	m.done()
	for _, check := range r.finish {
		check(c)
	}
	return c
}

// sum puts the problems in order, and says if there were too many to keep.
func (r *reader) sum() Problems {
	problems := Problems(inOrder(r.problems))
	if r.more {
		problems = append(problems, Problem{File: r.file, Message: "there are more problems", Remedy: "mend these first"})
	}
	return problems
}

// warn notes what only the whole configuration shows.
func (c *Config) warn(r *reader) {
	used := map[string]bool{}
	enforced := false
	for _, b := range c.Bans {
		enforced = enforced || b.Mode == ModeEnforce
		for _, id := range b.Lists {
			used[id] = true
		}
	}
	for _, e := range c.Exceptions {
		for _, id := range e.Lists {
			used[id] = true
		}
	}
	for i, l := range c.Lists {
		if !used[l.ID] {
			r.warnings = append(r.warnings, Problem{File: r.file, Line: l.Line, Key: fmt.Sprintf("lists[%d]", i),
				Message: fmt.Sprintf("no ban and no exception uses the list %q", l.ID), Remedy: "name it in a ban's lists, or remove it"})
		}
	}
	if !enforced {
		p := Problem{File: r.file, Line: 1, Key: "bans", Message: "no ban is enforced: every name is resolved", Remedy: "add a ban, or write mode: enforce"}
		if len(c.Bans) > 0 {
			p.Line = c.Bans[0].Line
		}
		r.warnings = append(r.warnings, p)
	}
}
