package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	gobuild "go/build"
	"go/format"
	"go/parser"
	gotoken "go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rideau/config"
)

// root is the repository's root directory.
const root = "../.."

// goFile is a Go file of this module.
type goFile struct {
	path string // from the root
	dir  string // the package's
	test bool
	text []byte
	file *ast.File
}

// sources reads all Go files of the module.
func sources(t *testing.T) (*gotoken.FileSet, []goFile) {
	t.Helper()
	fset := gotoken.NewFileSet()
	var out []goFile
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		out = append(out, goFile{path, filepath.ToSlash(filepath.Dir(path)), strings.HasSuffix(path, "_test.go"), text, f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d Go files: is this the repository?", len(out))
	}
	return fset, out
}

// ownImports says which packages of this module each package may import. Arrows
// point one way, from the outside to the inside. The table does not bind tests.
func ownImports() map[string][]string {
	return map[string][]string{
		"blocklists": {
			"blocklists/ban", "blocklists/entry", "blocklists/extratext", "blocklists/format", "blocklists/group", "blocklists/input", "blocklists/internal/facts", "blocklists/internal/rule", "blocklists/prefix",
			"blocklists/suffix", "resolver/wire", "resolver/wire/response", "resolver/wire/svcb",
		},
		"blocklists/ban":     {"blocklists/extratext"},
		"blocklists/compare": {"blocklists", "blocklists/entry", "blocklists/input", "resolver/wire"},
		"blocklists/compile": {
			"blocklists", "blocklists/entry", "blocklists/format", "blocklists/input", "blocklists/internal/rule", "blocklists/prefix",
			"blocklists/suffix", "resolver/wire",
		},
		"blocklists/egress":            nil,
		"blocklists/enforced":          {"blocklists", "blocklists/input"},
		"blocklists/entry":             nil,
		"blocklists/extratext":         {"resolver/wire"},
		"blocklists/fetch":             nil,
		"blocklists/fingerprint":       {"blocklists", "blocklists/extratext", "blocklists/format", "blocklists/group"},
		"blocklists/format":            {"blocklists/entry", "blocklists/format/policyzone", "blocklists/format/syntax", "resolver/wire"},
		"blocklists/format/policyzone": {"blocklists/entry", "blocklists/format/syntax"},
		"blocklists/format/syntax":     {"resolver/wire"},
		"blocklists/group":             {"blocklists/prefix"},
		"blocklists/input":             {"blocklists/entry", "blocklists/format", "resolver/wire"},
		"blocklists/internal/facts":    {"resolver/wire", "resolver/wire/svcb"},
		"blocklists/internal/rule":     {"blocklists/entry", "resolver/wire"},
		"blocklists/lint":              {"blocklists", "blocklists/entry", "blocklists/format/syntax", "resolver/wire"},
		"blocklists/pack":              nil,
		"blocklists/prefix":            nil,
		"blocklists/querylog":          {"resolver/wire"},
		"blocklists/simulate":          {"blocklists", "blocklists/querylog", "resolver/wire"},
		"blocklists/source":            {"blocklists", "blocklists/compile", "blocklists/fetch", "blocklists/format", "blocklists/input", "blocklists/pack"},
		"blocklists/suffix":            {"resolver/wire"},
		"cmd/rideau": {
			"cmd/rideau/internal/access", "cmd/rideau/internal/procs",
			"blocklists", "blocklists/compare", "blocklists/egress", "blocklists/lint", "blocklists/pack", "blocklists/querylog",
			"blocklists/source", "cmd/rideau/internal/changes", "cmd/rideau/internal/completion", "cmd/rideau/internal/compliance", "cmd/rideau/internal/evidence", "cmd/rideau/internal/files", "cmd/rideau/internal/fleet",
			"cmd/rideau/internal/held", "cmd/rideau/internal/lang", "cmd/rideau/internal/reach", "cmd/rideau/internal/reason", "cmd/rideau/internal/report/page", "cmd/rideau/internal/server", "cmd/rideau/internal/setup", "cmd/rideau/internal/show", "cmd/rideau/internal/systemd",
			"cmd/rideau/internal/text", "config", "config/policy", "resolver/audit/privacy", "resolver/audit/seal", "resolver/ops/metrics", "resolver/ops/printable", "resolver/wire",
		},
		"cmd/rideau/internal/api":         {"cmd/rideau/internal/reason", "cmd/rideau/internal/text", "cmd/rideau/internal/view", "resolver/audit/read", "resolver/audit/store", "resolver/ops/access"},
		"cmd/rideau/internal/blockpage":   {"blocklists", "blocklists/extratext", "cmd/rideau/internal/files", "config", "config/policy", "resolver/audit/act", "resolver/limit", "resolver/listener/admission", "resolver/wire"},
		"cmd/rideau/internal/access":      {"cmd/rideau/internal/setup", "config", "resolver/audit/act", "resolver/ops/access", "resolver/ops/access/password", "resolver/ops/access/signin"},
		"cmd/rideau/internal/procs":       nil,
		"cmd/rideau/internal/completion":  nil,
		"cmd/rideau/internal/compliance":  {"config", "config/evidence", "config/policy", "config/server"},
		"cmd/rideau/internal/descriptors": nil,
		"cmd/rideau/internal/lang":        nil,
		"cmd/rideau/internal/show": {
			"blocklists", "blocklists/enforced", "blocklists/fingerprint", "blocklists/querylog", "blocklists/simulate", "cmd/rideau/internal/lang", "cmd/rideau/internal/reason",
			"cmd/rideau/internal/server", "cmd/rideau/internal/setup", "resolver/ops/printable",
		},
		"cmd/rideau/internal/auditlog": {"cmd/rideau/internal/text", "resolver", "resolver/audit", "resolver/audit/privacy", "resolver/wire"},
		"cmd/rideau/internal/changes": {
			"blocklists", "blocklists/compare", "blocklists/compile", "blocklists/enforced", "blocklists/fingerprint", "blocklists/format", "blocklists/input", "cmd/rideau/internal/setup",
			"cmd/rideau/internal/text", "config", "config/policy", "resolver/ops",
		},
		"cmd/rideau/internal/certificates": {"cmd/rideau/internal/files", "cmd/rideau/internal/setup", "config", "config/encrypted", "resolver/listener/secure"},
		"cmd/rideau/internal/clock":        nil,
		"cmd/rideau/internal/endpoints": {
			"cmd/rideau/internal/certificates", "cmd/rideau/internal/held", "cmd/rideau/internal/setup", "config", "config/encrypted", "resolver", "resolver/limit", "resolver/listener", "resolver/listener/admission",
			"resolver/designation", "resolver/listener/doh", "resolver/listener/doq", "resolver/listener/dot", "resolver/listener/secure", "resolver/listener/session", "resolver/ops/metrics",
		},
		"cmd/rideau/internal/evidence": {
			"blocklists", "blocklists/enforced", "blocklists/fingerprint", "cmd/rideau/internal/files", "cmd/rideau/internal/text", "config", "config/evidence", "resolver", "resolver/audit", "resolver/audit/act", "resolver/audit/alert", "resolver/audit/dial", "resolver/audit/dnstap", "resolver/audit/lines",
			"resolver/audit/names", "resolver/audit/privacy", "resolver/audit/schema", "resolver/audit/seal", "resolver/audit/sink", "resolver/audit/spool", "resolver/audit/store", "resolver/audit/syslog", "resolver/audit/webhook", "resolver/ops", "resolver/ops/metrics",
		},
		"cmd/rideau/internal/files": nil,
		"cmd/rideau/internal/fleet": nil,
		"cmd/rideau/internal/flood": {"resolver/limit", "resolver/listener"},
		"cmd/rideau/internal/loop":  {"resolver/upstream", "resolver/wire", "resolver/upstream/member"},
		"cmd/rideau/internal/nat64": {"resolver/wire"},
		"cmd/rideau/internal/reach": {"cmd/rideau/internal/setup", "config"},
		"cmd/rideau/internal/reason": {
			"cmd/rideau/internal/access",
			"blocklists", "blocklists/compile", "blocklists/egress", "blocklists/enforced", "blocklists/entry", "blocklists/fetch", "blocklists/format", "blocklists/group", "blocklists/input", "blocklists/lint",
			"blocklists/pack", "blocklists/querylog", "blocklists/simulate", "blocklists/source", "cmd/rideau/internal/blockpage", "cmd/rideau/internal/endpoints", "cmd/rideau/internal/evidence", "cmd/rideau/internal/files", "cmd/rideau/internal/setup",
			"cmd/rideau/internal/text", "config", "resolver", "resolver/cache", "resolver/listener", "resolver/ops", "resolver/wire",
		},
		"cmd/rideau/internal/server": {
			"cmd/rideau/internal/access",
			"blocklists", "blocklists/compare", "blocklists/compile", "blocklists/enforced", "blocklists/fingerprint", "blocklists/input", "blocklists/source",
			"cmd/rideau/internal/api", "cmd/rideau/internal/auditlog", "cmd/rideau/internal/blockpage", "cmd/rideau/internal/changes",
			"cmd/rideau/internal/certificates", "cmd/rideau/internal/clock", "cmd/rideau/internal/endpoints", "cmd/rideau/internal/evidence", "cmd/rideau/internal/flood", "cmd/rideau/internal/held", "cmd/rideau/internal/lang", "cmd/rideau/internal/nat64", "cmd/rideau/internal/selftest", "cmd/rideau/internal/setup", "cmd/rideau/internal/snapshot", "cmd/rideau/internal/sockets", "cmd/rideau/internal/pages", "cmd/rideau/internal/text", "cmd/rideau/internal/view", "cmd/rideau/internal/watch", "config", "config/encrypted", "resolver",
			"resolver/audit", "resolver/audit/act", "resolver/cache", "resolver/cookie", "resolver/designation", "resolver/device", "resolver/limit", "resolver/ops", "resolver/ops/access",
			"resolver/ops/metrics", "resolver/ops/printable", "resolver/steady", "resolver/upstream/health", "resolver/wire",
		},
		"cmd/rideau/internal/selftest":          {"blocklists", "blocklists/enforced", "blocklists/entry", "resolver/wire"},
		"cmd/rideau/internal/report":            {"resolver/audit/act", "resolver/audit/inforce", "resolver/audit/read", "resolver/audit/seal", "resolver/audit/store"},
		"cmd/rideau/internal/report/reporttest": {"resolver", "resolver/audit", "resolver/audit/act", "resolver/audit/names", "resolver/audit/schema", "resolver/audit/store"},
		"cmd/rideau/internal/report/page":       {"cmd/rideau/internal/report"},
		"cmd/rideau/internal/setup": {
			"resolver/listener/proxied", "blocklists", "blocklists/compile", "blocklists/extratext", "blocklists/fetch", "blocklists/format", "blocklists/group", "blocklists/input", "blocklists/pack", "blocklists/source",
			"cmd/rideau/internal/clock", "cmd/rideau/internal/files", "cmd/rideau/internal/loop", "config", "config/policy", "resolver", "resolver/cache", "resolver/cookie", "resolver/special", "resolver/upstream", "resolver/upstream/do53",
			"resolver/upstream/encrypted", "resolver/wire", "resolver/upstream/choice", "resolver/upstream/member",
		},
		"cmd/rideau/internal/snapshot": {"cmd/rideau/internal/files", "resolver/cache", "resolver/steady"},
		"cmd/rideau/internal/held":     {"resolver/listener/inherited"},
		"cmd/rideau/internal/sockets":  {"cmd/rideau/internal/descriptors", "cmd/rideau/internal/held", "cmd/rideau/internal/setup", "config", "config/encrypted", "resolver", "resolver/limit", "resolver/listener"},
		"cmd/rideau/internal/systemd":  nil,
		"cmd/rideau/internal/text":     {"blocklists/compare", "blocklists/entry", "blocklists/format", "resolver/wire"},
		"cmd/rideau/internal/view": {
			"blocklists", "blocklists/enforced", "blocklists/fingerprint", "cmd/rideau/internal/changes", "cmd/rideau/internal/reason", "cmd/rideau/internal/selftest", "cmd/rideau/internal/text", "cmd/rideau/internal/view/past", "config", "resolver",
			"resolver/audit/store", "resolver/ops", "resolver/ops/metrics", "resolver/wire",
		},
		"cmd/rideau/internal/view/past": {"resolver/audit/inforce", "resolver/audit/read", "resolver/audit/store"},
		"cmd/rideau/internal/pages": {
			"cmd/rideau/internal/pages/words", "cmd/rideau/internal/reason", "cmd/rideau/internal/text", "cmd/rideau/internal/view", "resolver/audit/read", "resolver/audit/store", "resolver/ops", "resolver/ops/access",
		},
		"cmd/rideau/internal/pages/words": nil,
		"cmd/rideau/internal/watch":       nil,
		"config":                          {"config/access", "config/complete", "config/encrypted", "config/evidence", "config/key", "config/node", "config/policy", "config/server", "config/value"},
		"config/access":                   {"config/node", "config/value"},
		"config/complete":                 {"config/node"},
		"config/encrypted":                {"config/node", "config/value"},
		"config/evidence":                 {"config/node", "config/value"},
		"config/key":                      nil,
		"config/node":                     nil,
		"config/policy":                   {"config/node", "config/value"},
		"config/server":                   {"config/node", "config/value"},
		"config/value":                    {"config/node"},
		"resolver": {
			"blocklists", "blocklists/prefix", "resolver/audit/names", "resolver/batch", "resolver/cache", "resolver/cookie", "resolver/designation", "resolver/device",
			"resolver/forward", "resolver/histogram", "resolver/limit", "resolver/qtype", "resolver/special", "resolver/steady", "resolver/transport", "resolver/upstream", "resolver/upstream/mux", "resolver/wire",
			"resolver/wire/response", "resolver/wire/svcb",
		},
		"resolver/audit":           {"blocklists", "blocklists/entry", "resolver", "resolver/audit/names", "resolver/wire"},
		"resolver/audit/act":       {"resolver/audit/names"},
		"resolver/audit/alert":     {"resolver/audit/act"},
		"resolver/audit/dial":      nil,
		"resolver/audit/dnstap":    {"blocklists", "blocklists/entry", "resolver", "resolver/audit", "resolver/audit/act", "resolver/audit/lines", "resolver/audit/schema", "resolver/audit/sink"},
		"resolver/audit/lines":     nil,
		"resolver/audit/names":     {"blocklists", "blocklists/fingerprint"},
		"resolver/audit/privacy":   nil,
		"resolver/audit/inforce":   {"resolver/audit/act"},
		"resolver/audit/read":      {"resolver/audit/act", "resolver/audit/names"},
		"resolver/audit/schema":    {"blocklists", "resolver", "resolver/audit", "resolver/audit/act", "resolver/wire"},
		"resolver/audit/seal":      {"resolver/audit/lines"},
		"resolver/audit/sink":      {"resolver", "resolver/audit", "resolver/audit/act", "resolver/audit/spool"},
		"resolver/audit/spool":     nil,
		"resolver/audit/store":     {"resolver/audit/act", "resolver/audit/inforce", "resolver/audit/read", "resolver/audit/sink"},
		"resolver/audit/syslog":    {"resolver", "resolver/audit", "resolver/audit/act", "resolver/audit/dial", "resolver/audit/schema", "resolver/audit/sink", "resolver/wire"},
		"resolver/audit/webhook":   {"resolver/audit", "resolver/audit/act", "resolver/audit/dial", "resolver/audit/sink"},
		"resolver/batch":           nil,
		"resolver/cache":           {"resolver/cache/existence", "resolver/cache/saved", "resolver/cache/slab", "resolver/wire"},
		"resolver/cache/existence": {"resolver/wire"},
		"resolver/cache/saved":     {"resolver/wire"},
		"resolver/cache/slab":      nil,
		"resolver/cookie":          nil,
		"resolver/device":          nil,
		"resolver/forward": {
			"blocklists", "blocklists/suffix", "resolver/cache", "resolver/limit", "resolver/special", "resolver/steady", "resolver/upstream", "resolver/upstream/acceptance",
			"resolver/upstream/mux", "resolver/wire", "resolver/wire/response",
		},
		"resolver/histogram":           nil,
		"resolver/limit":               {"resolver/wire"},
		"resolver/listener":            {"resolver/listener/proxied", "resolver", "resolver/batch", "resolver/limit", "resolver/listener/datagram", "resolver/listener/inherited", "resolver/listener/session", "resolver/listener/stream"},
		"resolver/listener/datagram":   {"resolver/listener/proxied", "resolver", "resolver/batch", "resolver/limit", "resolver/listener/session"},
		"resolver/listener/inherited":  {"resolver/batch"},
		"resolver/listener/session":    {"resolver/listener/proxied", "blocklists/group", "resolver", "resolver/limit"},
		"resolver/listener/stream":     {"resolver/listener/proxied", "blocklists/group", "resolver", "resolver/batch", "resolver/listener/session"},
		"resolver/ops":                 {"blocklists", "blocklists/compile", "blocklists/enforced", "blocklists/fingerprint", "blocklists/format", "blocklists/input", "resolver/ops/access", "resolver/ops/metrics", "resolver/ops/printable"},
		"resolver/ops/access":          {"resolver/ops/access/password", "resolver/ops/access/session", "resolver/ops/printable"},
		"resolver/ops/access/attempt":  nil,
		"resolver/ops/access/password": nil,
		"resolver/ops/access/session":  nil,
		"resolver/ops/access/signin":   {"resolver/ops/access", "resolver/ops/access/attempt", "resolver/ops/access/password", "resolver/ops/access/session", "resolver/ops/printable"},
		"resolver/ops/metrics":         {"resolver/qtype", "blocklists", "resolver"},
		"resolver/ops/printable":       nil,
		"resolver/qtype":               {"resolver/wire"},
		"resolver/resolvertest":        nil,
		"resolver/resolvertest/odd":    nil,
		"resolver/special":             {"blocklists/suffix", "resolver/wire"},
		"resolver/steady":              nil,
		"resolver/transport":           nil,
		"resolver/upstream":            {"resolver/limit", "resolver/upstream/acceptance", "resolver/upstream/choice", "resolver/upstream/health", "resolver/upstream/try", "resolver/upstream/verdict", "resolver/wire", "resolver/upstream/member"},
		"resolver/upstream/verdict":    {"resolver/upstream/acceptance", "resolver/wire"},
		"resolver/upstream/acceptance": {"resolver/wire", "resolver/wire/response"},
		"resolver/upstream/choice":     {"resolver/limit", "resolver/upstream/health", "resolver/upstream/member"},
		"resolver/upstream/try":        nil,
		"resolver/upstream/do53":       {"resolver/upstream", "resolver/upstream/acceptance", "resolver/upstream/pipeline", "resolver/upstream/try", "resolver/wire"},
		"resolver/upstream/encrypted":  {"resolver/upstream", "resolver/upstream/acceptance", "resolver/upstream/latency", "resolver/upstream/pipeline", "resolver/wire"},
		"resolver/upstream/health":     {"resolver/upstream/latency"},
		"resolver/upstream/member":     {"resolver/limit", "resolver/upstream/acceptance", "resolver/upstream/health", "resolver/upstream/latency", "resolver/upstream/verdict"},
		"resolver/upstream/latency":    nil,
		"resolver/upstream/mux":        {"resolver/batch", "resolver/limit", "resolver/upstream", "resolver/upstream/acceptance", "resolver/wire"},
		"resolver/upstream/pipeline":   {"resolver/upstream/acceptance", "resolver/upstream/latency", "resolver/upstream/try", "resolver/wire"},
		"resolver/wire":                {"resolver/wire/layout"},
		"resolver/wire/layout":         nil,
		"resolver/wire/response":       {"resolver/wire"},
		"resolver/wire/svcb":           {"resolver/wire"},

		"resolver/designation":        {"resolver/wire"},
		"resolver/listener/admission": nil,
		"resolver/listener/doh": {
			"resolver/listener/proxied", "blocklists/group", "resolver", "resolver/limit", "resolver/listener/admission", "resolver/listener/overquic", "resolver/listener/secure", "resolver/listener/session", "resolver/wire",
		},
		"resolver/listener/doq": {
			"resolver/listener/proxied", "resolver", "resolver/limit", "resolver/listener/admission", "resolver/listener/overquic", "resolver/listener/secure", "resolver/listener/session", "resolver/wire",
		},
		"resolver/listener/dot":               {"blocklists/group", "resolver/listener/admission", "resolver/listener/secure", "resolver/listener/stream"},
		"resolver/listener/overquic":          {"resolver/listener/admission", "resolver/listener/proxied", "resolver/listener/session"},
		"resolver/listener/secure":            {"blocklists/group"},
		"resolver/listener/proxied":           {"blocklists/prefix"},
		"resolver/listener/secure/securetest": nil,
	}
}

// otherModules says who may import other modules: first packages and their tests,
// then those of which only tests may; "*" is all packages.
func otherModules() map[string][2][]string {
	return map[string][2][]string{
		"github.com/AdguardTeam/urlfilter":          {nil, {"blocklists/format"}},
		"aead.dev/minisign":                         {{"blocklists/fetch"}, {"cmd/rideau"}},
		"github.com/DeRuina/timberjack":             {{"resolver/audit/lines"}},
		"github.com/coreos/go-systemd":              {{"cmd/rideau/internal/systemd"}},
		"github.com/dchest/siphash":                 {{"resolver/cookie"}},
		"github.com/dnstap/golang-dnstap":           {nil, {"resolver/audit/dnstap"}},
		"github.com/dustin/go-humanize":             {{"blocklists/input", "cmd/rideau", "cmd/rideau/internal/selftest", "cmd/rideau/internal/show", "cmd/rideau/internal/text", "resolver/ops"}},
		"github.com/farsightsec/golang-framestream": {{"resolver/audit/dnstap"}, {"cmd/rideau/internal/server"}},
		"github.com/gopacket/gopacket":              {{"blocklists/querylog"}},
		"github.com/hashicorp/golang-lru":           {{"cmd/rideau/internal/blockpage", "resolver/forward"}},
		"github.com/klauspost/compress":             {{"resolver/audit/seal"}},
		"github.com/leodido/go-syslog":              {nil, {"resolver/audit/syslog"}},
		"github.com/miekg/dns":                      {{"blocklists/format", "blocklists/format/policyzone", "cmd/rideau/internal/fleet", "cmd/rideau/internal/reason", "cmd/rideau/internal/selftest", "cmd/rideau/internal/text", "resolver/resolvertest", "resolver/resolvertest/odd"}, {"*"}},
		"github.com/pires/go-proxyproto":            {nil, {"cmd/rideau/internal/server"}},
		"github.com/prometheus":                     {{"resolver/ops/metrics"}},
		"github.com/quic-go/quic-go":                {{"cmd/rideau/internal/selftest", "resolver/listener/doh", "resolver/listener/doq", "resolver/listener/overquic", "resolver/resolvertest/odd", "resolver/upstream/encrypted"}, {"cmd/rideau/internal/server"}},
		"github.com/rogpeppe/go-internal":           {nil, {"*"}},
		"github.com/santhosh-tekuri/jsonschema":     {nil, {"cmd/rideau", "resolver/audit/schema"}},
		"github.com/spf13/pflag":                    {{"cmd/rideau", "cmd/rideau/internal/completion"}},
		"golang.org/x/net/http2":                    {{"resolver/listener/doh"}},
		"golang.org/x/net/idna":                     {{"blocklists/format/syntax", "blocklists/internal/facts"}},
		"golang.org/x/net/publicsuffix":             {{"blocklists/format/syntax", "blocklists/lint", "resolver/cache/existence"}},
		"golang.org/x/net/ipv4":                     {{"resolver/listener/datagram"}},
		"golang.org/x/net/ipv6":                     {{"resolver/listener/datagram"}},
		"golang.org/x/net/quic":                     {nil, {"resolver/upstream/encrypted"}},
		"golang.org/x/crypto":                       {{"resolver/ops/access/password"}},
		"golang.org/x/term":                         {{"cmd/rideau/internal/access"}},
		"golang.org/x/sys":                          {{"cmd/rideau/internal/clock", "cmd/rideau/internal/server", "cmd/rideau/internal/systemd", "cmd/rideau/internal/watch", "resolver/audit/dial", "resolver/batch", "resolver/listener", "resolver/listener/datagram", "resolver/listener/inherited", "resolver/listener/stream", "resolver/ops", "resolver/upstream/mux"}, {"cmd/rideau", "resolver/upstream"}},
		"google.golang.org/protobuf":                {{"resolver/audit/dnstap"}},
		"modernc.org/sqlite":                        {{"resolver/audit/store"}},
		"gopkg.in/yaml.v3":                          {{"config/node"}, {"config"}},
	}
}

// TestImports checks that packages import only what the tables allow, and that
// the tables allow nothing that is not used.
func TestImports(t *testing.T) {
	_, all := sources(t)
	own, other := ownImports(), otherModules()
	for _, unused := range unusedImports(own, other, all) {
		t.Errorf("the table of imports allows %s, which is not used: take it out", unused)
	}
	for _, s := range all {
		allowed, known := own[s.dir]
		if !known {
			t.Errorf("%s: the package is not in the table of imports", s.path)
		}
		for _, i := range s.file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if pkg, ours := strings.CutPrefix(path, "rideau/"); ours {
				switch {
				case !s.test && !slices.Contains(allowed, pkg):
					t.Errorf("%s may not import %s", s.path, path)
				case strings.HasPrefix(pkg, "config") && !strings.HasPrefix(s.dir, "config") && !strings.HasPrefix(s.dir, "cmd/rideau"):
					t.Errorf("%s may not import %s: only cmd may read the configuration", s.path, path)
				case strings.HasPrefix(s.dir, "config") && !strings.HasPrefix(pkg, "config"):
					t.Errorf("%s may not import %s: configuration does not depend on other packages", s.path, path)
				}
				continue
			}
			if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			if !mayImport(other, path, s) {
				t.Errorf("%s may not import %s", s.path, path)
			}
		}
	}
}

func mayImport(table map[string][2][]string, path string, s goFile) bool {
	for module, who := range table {
		if path != module && !strings.HasPrefix(path, module+"/") {
			continue
		}
		return slices.Contains(who[0], s.dir) || s.test && (slices.Contains(who[1], "*") || slices.Contains(who[1], s.dir))
	}
	return false
}

// unusedImports returns the entries of the tables that no file uses.
func unusedImports(own map[string][]string, other map[string][2][]string, all []goFile) []string {
	type pair struct{ dir, path string }
	used, inTests := map[pair]bool{}, map[pair]bool{}
	for _, s := range all {
		used[pair{s.dir, ""}] = true
		for _, i := range s.file.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			path = strings.TrimPrefix(path, "rideau/")
			for module := range other {
				if strings.HasPrefix(path, module+"/") {
					path = module
				}
			}
			if s.test {
				inTests[pair{s.dir, path}], inTests[pair{"*", path}] = true, true
			} else {
				used[pair{s.dir, path}] = true
			}
		}
	}
	var out []string
	for dir, allowed := range own {
		for _, path := range append([]string{""}, allowed...) {
			if !used[pair{dir, path}] {
				out = append(out, strings.TrimSuffix(dir+" to import "+path, " to import "))
			}
		}
	}
	for module, who := range other {
		for _, dir := range who[0] {
			if !used[pair{dir, module}] {
				out = append(out, dir+" to import "+module)
			}
		}
		for _, dir := range who[1] {
			if !inTests[pair{dir, module}] {
				out = append(out, "tests of "+dir+" to import "+module)
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestUnusedImportsBites: unusedImports finds entries that no file uses, and no
// others.
func TestUnusedImportsBites(t *testing.T) {
	file := func(path, text string) goFile {
		f, err := parser.ParseFile(gotoken.NewFileSet(), path, text, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		return goFile{path: path, dir: filepath.Dir(path), test: strings.HasSuffix(path, "_test.go"), file: f}
	}
	got := unusedImports(
		map[string][]string{"a": {"b", "c"}, "b": nil, "gone": nil},
		map[string][2][]string{"x.example/m": {{"a", "b"}, {"*"}}, "y.example/m": {{"b"}, {"a", "b"}}},
		[]goFile{
			file("a/a.go", `package a; import ("rideau/b"; "x.example/m/sub"; "strings")`),
			file("a/a_test.go", `package a; import ("rideau/c"; "y.example/m")`),
			file("b/b.go", `package b; import "y.example/m"`),
		})
	want := []string{"a to import c", "b to import x.example/m", "gone", "tests of * to import x.example/m", "tests of b to import y.example/m"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPackageSize bounds the lines of a package, so that it can be read at one
// sitting. Tests do not count.
func TestPackageSize(t *testing.T) {
	const maxPackage = 1800
	_, all := sources(t)
	lines := map[string]int{}
	for _, s := range all {
		if !s.test {
			lines[s.dir] += bytes.Count(s.text, []byte("\n"))
		}
	}
	for dir, n := range lines {
		if n > maxPackage {
			t.Errorf("%s has %d lines, more than %d", dir, n, maxPackage)
		}
	}
}

// TestShape bounds the lengths of files and functions, and demands gofmt and no
// init functions.
func TestShape(t *testing.T) {
	const maxFile, maxFunc = 450, 90
	fset, all := sources(t)
	for _, s := range all {
		formatted, err := format.Source(s.text)
		if err != nil || !bytes.Equal(formatted, s.text) {
			t.Errorf("%s is not gofmt-ed (%v)", s.path, err)
		}
		if n := bytes.Count(s.text, []byte("\n")); n > maxFile && !s.test {
			t.Errorf("%s has %d lines, more than %d", s.path, n, maxFile)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%v: no init functions: let a constructor do it", fset.Position(f.Pos()))
			}
			if n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1; n > maxFunc && !s.test {
				t.Errorf("%v: %s has %d lines, more than %d", fset.Position(f.Pos()), f.Name.Name, n, maxFunc)
			}
		}
	}
}

// TestPackageVariables: package variables are tables and errors. No code writes
// to one; only the linker sets main.release. None has a type that is made to be
// changed, such as a mutex.
func TestPackageVariables(t *testing.T) {
	fset, all := sources(t)
	packages := map[string][]*ast.File{}
	for _, s := range all {
		// Files for other systems would declare things a second time.
		if here, err := gobuild.Default.MatchFile(filepath.Join(root, s.dir), filepath.Base(s.path)); err != nil || s.test || !here {
			continue
		}
		packages[s.dir] = append(packages[s.dir], s.file)
	}
	for dir, files := range packages {
		for _, fault := range variableFaults(t, fset, dir, files) {
			t.Error(fault)
		}
	}
}

// variableFaults returns the places in a package that write to its package
// variables, or declare one that only makes sense if it changes.
func variableFaults(t *testing.T, fset *gotoken.FileSet, dir string, files []*ast.File) []string {
	t.Helper()
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	// Imports are not loaded: this gives errors, but resolves names.
	conf := types.Config{Error: func(error) {}, Importer: noImports{}, FakeImportC: true}
	pkg, _ := conf.Check(dir, fset, files, info)
	if pkg == nil {
		t.Fatalf("%s cannot be type-checked", dir)
	}
	var out []string
	fault := func(at gotoken.Pos, name, what string) {
		out = append(out, fmt.Sprintf("%v: the package's variable %s %s", fset.Position(at), name, what))
	}
	report := func(e ast.Expr, what string) {
		if id := base(e); id != nil {
			if v, ok := info.Uses[id].(*types.Var); ok && v.Parent() == pkg.Scope() {
				fault(id.Pos(), id.Name, what)
			}
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.AssignStmt:
				for _, e := range x.Lhs {
					report(e, "is written to")
				}
			case *ast.IncDecStmt:
				report(x.X, "is written to")
			case *ast.RangeStmt:
				report(x.Key, "is written to")
				report(x.Value, "is written to")
			case *ast.UnaryExpr:
				if _, whole := x.X.(*ast.Ident); whole && x.Op == gotoken.AND {
					report(x.X, "has its address taken")
				}
			}
			return true
		})
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == gotoken.VAR {
				changeable(g, fault)
			}
		}
	}
	return out
}

// changeable reports the variables of a declaration that are made to be changed.
func changeable(g *ast.GenDecl, fault func(at gotoken.Pos, name, what string)) {
	for _, spec := range g.Specs {
		v := spec.(*ast.ValueSpec)
		check := func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.FuncLit:
				return false // it makes a table
			case *ast.ChanType:
				fault(x.Pos(), v.Names[0].Name, "is a channel")
			case *ast.SelectorExpr:
				if id, ok := x.X.(*ast.Ident); ok && (id.Name == "sync" || id.Name == "atomic") {
					fault(x.Pos(), v.Names[0].Name, "is made to be changed")
				}
			}
			return true
		}
		if v.Type != nil {
			ast.Inspect(v.Type, check)
		}
		for _, value := range v.Values {
			ast.Inspect(value, check)
		}
	}
}

// base returns the variable that an assignable expression belongs to.
func base(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		default:
			return nil
		}
	}
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not loaded") }

// TestGuardsBite: variableFaults finds the faults that it is for, and nothing else.
func TestGuardsBite(t *testing.T) {
	const text = `package p

import "sync"

var table = []int{1, 2}
var mu sync.Mutex         // bad
var c = make(chan int)    // bad
var n, m int
var s struct{ f [2]int }

func f(table []int) { table[0] = 1; n := 2; n++; for n = range 3 { _ = &n } }
func g() { table[0] = 1 } // bad
func h() { n++ }          // bad
func i() { for m = range 3 { println(m) } } // bad
func j() { (s.f)[1] += 2 } // bad
func k() *int { return &n } // bad
func l() (int, *int) { x := &table[0]; return s.f[0], x }
func o() { x, n := 1, 2; _, _ = x, n }
`
	fset := gotoken.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, line := range strings.Split(text, "\n") {
		if strings.HasSuffix(line, "// bad") {
			want = append(want, fmt.Sprintf("p.go:%d:", i+1))
		}
	}
	got := variableFaults(t, fset, "p", []*ast.File{f})
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("%s was not found", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("found %q", got)
	}
}

// TestExampleHasEveryKey: the example configuration shows every key.
func TestExampleHasEveryKey(t *testing.T) {
	text := string(config.ExampleText())
	for _, key := range config.Keys() {
		last := key[strings.LastIndexByte(key, '.')+1:]
		if !strings.Contains(text, " "+last+":") && !strings.Contains(text, "\n"+last+":") && !strings.Contains(text, "{"+last+":") {
			t.Errorf("rideau.example.yaml lacks %s", key)
		}
	}
}
