// Package config reads a configuration file: YAML text becomes a [Config] with every default filled in and every value checked.
//
// A file is accepted as a whole or not at all. Everything that is wrong with it is returned at once, as [Problems], each with the line to
// change and what to write there. The size of the text, the number of its values and the lengths of its lists are limited, so that no
// text makes the parser work for long.
//
// rideau.example.yaml documents every key. In the structs below, the tag key names the key of a field, and the tag applies says when a
// change of it takes effect: see [Keys] and [Applies].
package config

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"rideau/config/complete"
	"rideau/config/evidence"
	"rideau/config/node"
	"rideau/config/policy"
)

// Config is the configuration of a resolver. It is plain data, and the caller owns it.
type Config struct {
	// File is the path that Load got, or the name that Parse got.
	File string `key:"-"`
	// Listen says on which addresses queries are received.
	Listen Listen `key:"listen"`
	// Clients says who is answered.
	Clients Clients `key:"clients"`
	// Limits limit what one client may use.
	Limits Limits `key:"limits"`
	// Groups are sets of clients, which bans and exceptions refer to.
	Groups []Group `key:"groups" applies:"lists"`
	// Upstream says which resolvers are asked.
	Upstream Upstream `key:"upstream"`
	// Forward says which servers are asked for some zones instead.
	Forward []Forward `key:"forward" applies:"live"`
	// Cache limits what is kept of upstream responses.
	Cache Cache `key:"cache"`
	// Lists are the sources of names for bans and exceptions.
	Lists []policy.List `key:"lists" applies:"lists"`
	// Bans say what is blocked.
	Bans []policy.Ban `key:"bans" applies:"lists"`
	// Exceptions say what is resolved although a ban blocks it.
	Exceptions []policy.Exception `key:"exceptions" applies:"lists"`
	// Removed are the ids of bans that the file no longer has, and of lists that its bans no longer have, on purpose. A reload refuses to
	// lose others.
	Removed []string `key:"removed" applies:"live"`
	// Errors says how responses to banned names say why.
	Errors policy.Errors `key:"errors"`
	// BlockPage is the page that says which ban stops a name.
	BlockPage BlockPage `key:"block_page"`
	// OnNetwork is a name by which clients recognize this Rideau.
	OnNetwork OnNetwork `key:"on_network"`
	// NAT64 says how the network's translators write IPv4 addresses.
	NAT64 NAT64 `key:"nat64"`
	// State says where data is kept from one start to the next.
	State State `key:"state"`
	// Fetch says how lists are fetched.
	Fetch Fetch `key:"fetch"`
	// Protected are the names that lists from elsewhere must not block.
	Protected Protected `key:"protected"`
	// Reload says how changes of files take effect.
	Reload Reload `key:"reload"`
	// Evidence says what is recorded of bans and of operators' acts, and where it goes.
	Evidence evidence.Evidence `key:"evidence"`
	// Ops is the HTTP service for the operators.
	Ops Ops `key:"ops"`
	// Log says what is logged.
	Log Log `key:"log"`
	// Warnings are about what is valid but probably not meant, in the order of the lines.
	Warnings []Problem `key:"-"`
	// text is what was parsed.
	text []byte
}

// Text returns what was parsed. It must not be written.
func (c *Config) Text() []byte { return c.text }

// Problem is an error or a warning about one place of a configuration file.
type Problem = node.Problem

// Problems is the error of a configuration that is not accepted: everything that is wrong with it, in the order of the lines.
type Problems = node.Problems

// MaxSize is the size of the largest configuration that is read, in bytes.
const MaxSize = node.MaxSize

//go:embed default.yaml
var defaultText string

//go:embed rideau.example.yaml
var exampleText string

// DefaultText returns the configuration that is used when no file is given.
func DefaultText() []byte { return []byte(defaultText) }

// ExampleText returns a configuration that shows and explains every key.
func ExampleText() []byte { return []byte(exampleText) }

// DefaultName is what messages call the configuration that is used when no file is given.
const DefaultName = "(inside the program)"

// Default returns the parsed DefaultText.
func Default() *Config {
	c, err := Parse(DefaultName, DefaultText())
	if err != nil {
		panic(fmt.Sprintf("config: the embedded default is wrong: %v", err))
	}
	return c
}

// Load reads the configuration file at path. Relative paths in it start from its directory. If the file can be read and is wrong, the error
// is Problems.
func Load(path string) (*Config, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration %s cannot be read: %w", path, err)
	}
	c, err := Parse(path, text)
	if err != nil {
		return nil, err
	}
	c.Warnings = append(c.Warnings, complete.Unended(path, text)...)
	dir := filepath.Dir(path)
	for i := range c.Lists {
		l := &c.Lists[i]
		l.File, l.Folder, l.SignatureFile = from(dir, l.File), from(dir, l.Folder), from(dir, l.SignatureFile)
	}
	if c.State.Dir == "" && c.Remote() {
		c.State.Dir = "state"
	}
	c.State.Dir, c.Fetch.CAFile = from(dir, c.State.Dir), from(dir, c.Fetch.CAFile)
	for i := range c.Upstream.Servers {
		c.Upstream.Servers[i].CAFile = from(dir, c.Upstream.Servers[i].CAFile)
	}
	for _, f := range c.Forward {
		for i := range f.Servers {
			f.Servers[i].CAFile = from(dir, f.Servers[i].CAFile)
		}
	}
	for _, l := range c.Listen.Encrypted {
		for i := range l.Certificates {
			k := &l.Certificates[i]
			k.Certificate, k.Key = from(dir, k.Certificate), from(dir, k.Key)
		}
	}
	for i := range c.Listen.Encrypted {
		l := &c.Listen.Encrypted[i]
		l.ClientCA = from(dir, l.ClientCA)
	}
	c.Listen.Cookies.SecretsFile = from(dir, c.Listen.Cookies.SecretsFile)
	c.BlockPage.Certificate, c.BlockPage.Key = from(dir, c.BlockPage.Certificate), from(dir, c.BlockPage.Key)
	c.Cache.Snapshot = from(dir, c.Cache.Snapshot)
	c.Ops.TokenFile, c.Log.Queries = from(dir, c.Ops.TokenFile), from(dir, c.Log.Queries)
	c.Ops.UsersFile = from(dir, c.Ops.UsersFile)
	for i := range c.Ops.Tokens {
		c.Ops.Tokens[i].File = from(dir, c.Ops.Tokens[i].File)
	}
	if c.Ops.Socket != AutoSocket {
		c.Ops.Socket = from(dir, c.Ops.Socket)
	}
	c.Evidence.Dir, c.Evidence.Pseudonyms.KeyDir = from(dir, c.Evidence.Dir), from(dir, c.Evidence.Pseudonyms.KeyDir)
	if c.Evidence.Store.Path != evidence.AutoStore {
		c.Evidence.Store.Path = from(dir, c.Evidence.Store.Path)
	}
	c.Evidence.State = c.State.Dir
	c.Evidence.Seal.KeyFile = from(dir, c.Evidence.Seal.KeyFile)
	for i := range c.Evidence.Sinks {
		k := &c.Evidence.Sinks[i]
		k.Path, k.CAFile, k.Certificate, k.Key = from(dir, k.Path), from(dir, k.CAFile), from(dir, k.Certificate), from(dir, k.Key)
		k.SecretFile = from(dir, k.SecretFile)
	}
	return c, nil
}

// from returns the path that a file in the directory dir means.
func from(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// readFile reads a file, of one that is too large just enough to detect that.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

// Parse parses a configuration. Messages call the file name. Relative paths stay as they are. The error is always Problems.
func Parse(name string, text []byte) (*Config, error) {
	cut, err := complete.Check(name, text)
	if err != nil {
		return nil, err
	}
	d, err := node.Open(name, text)
	if err != nil {
		return nil, err
	}
	c := &Config{
		File:      name,
		text:      text,
		Listen:    defaultListen(),
		Clients:   defaultClients(),
		Limits:    defaultLimits(),
		Upstream:  defaultUpstream(),
		Cache:     defaultCache(),
		Errors:    policy.DefaultErrors(),
		BlockPage: defaultBlockPage(),
		Fetch:     defaultFetch(),
		Protected: defaultProtected(),
		Reload:    defaultReload(),
		Evidence:  evidence.Default(),
		Ops:       defaultOps(),
		Log:       defaultLog(),
	}
	c.read(d.Root())
	if c.Warnings, err = d.Close(); err != nil {
		return nil, err
	}
	c.Warnings = append(c.Warnings, cut...)
	return c, nil
}

// read reads all keys. Reload comes before the lists, which inherit from it; otherwise the order is that of the documentation.
func (c *Config) read(m *node.Mapping) {
	m.Section("listen", c.Listen.read)
	m.Section("clients", c.Clients.read)
	m.Section("limits", c.Limits.read)
	node.Set(m, "groups", &c.Groups, node.List(0, policy.MaxGroups, c.groupReader()))
	m.Section("upstream", c.readUpstream)
	node.Set(m, "forward", &c.Forward, node.List(0, 1024, c.forwardReader()))
	m.Section("cache", c.Cache.read)
	m.Section("reload", c.Reload.read)
	p := policy.Sections{Lists: &c.Lists, Bans: &c.Bans, Exceptions: &c.Exceptions, Removed: &c.Removed,
		MaxShrink: c.Reload.MaxShrink, MaxSkipped: c.Reload.MaxSkipped}
	p.Read(m)
	m.Section("errors", c.Errors.Read)
	m.Section("block_page", c.readBlockPage)
	c.checkBlockPage(m)
	m.Section("on_network", c.OnNetwork.read)
	m.Section("nat64", c.NAT64.read)
	m.Section("state", c.State.read)
	m.Section("fetch", c.readFetch)
	m.Section("protected", c.Protected.read)
	m.Section("evidence", c.Evidence.Read)
	m.Section("ops", c.readOps)
	m.Section("log", c.Log.read)
	m.Done()
	if !p.Enforced() {
		m.At("bans").Warn("add a ban, or write mode: enforce", "no ban is enforced: every name is resolved")
	}
}
