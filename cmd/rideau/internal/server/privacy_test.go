package server_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/audit/privacy"
)

// TestPrivacy: each sink tells of clients what it is to tell, and names of queries
// without a ban only if all are asked for.
func TestPrivacy(t *testing.T) {
	s, text := startAnswering(t)
	sinks, all := "", []string{"address", "network", "pseudonym", "none"}
	for _, c := range all {
		sinks += "{id: " + c + ", kind: file, path: " + c + ".json, clients: " + c + "}, "
	}
	sinks += "{id: all, kind: file, path: all.json, events: all, clients: pseudonym}, {id: acts, kind: file, path: acts.json, events: acts}"
	load := func(rotate string) {
		t.Helper()
		s.write("rideau.yaml", text+"evidence: {pseudonyms: {key_dir: keys, rotate: "+rotate+"}, sinks: ["+sinks+"]}\n")
		if _, err := s.Reload(t.Context(), "the test"); err != nil {
			t.Fatal(err)
		}
	}
	load("720h")
	s.answers("a.example.", dns.RcodeNameError)
	load("700h") // the key stays
	s.answers("private.example.", dns.RcodeSuccess)
	s.answers("a.example.", dns.RcodeNameError)
	s.stop()
	keys, err := privacy.Load(s.path("keys"))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	clients := func(file string) (out []string) {
		for _, e := range s.events(file) {
			if e["event"] == "query" && e["name"] == "a.example." {
				c, _ := e["client"].(string)
				out = append(out, c)
			}
		}
		return out
	}
	pseudonyms := clients("pseudonym.json")
	for file, want := range map[string]string{"address": "127.0.0.1", "network": "127.0.0.0/24", "none": "", "pseudonym": pseudonyms[0], "all": pseudonyms[0]} {
		got := clients(file + ".json")
		if len(got) == 0 {
			t.Errorf("%s has no events", file)
		}
		for _, c := range got {
			if c != want {
				t.Errorf("%s tells %q, want %q", file, c, want)
			}
		}
	}
	found, err := privacy.Find(t.Context(), keys, pseudonyms[:1], []netip.Prefix{netip.MustParsePrefix("127.0.0.0/30")})
	if err != nil || found[0].Address.String() != "127.0.0.1" {
		t.Errorf("%+v, %v", found, err)
	}
	files, err := filepath.Glob(s.path("*.json"))
	if err != nil || len(files) != 6 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(string(text), "private.example"); told != (filepath.Base(f) == "all.json") {
			t.Errorf("%s tells the name of a query without a ban: %v", filepath.Base(f), told)
		}
		if base := filepath.Base(f); base != "address.json" && strings.Contains(string(text), `"127.0.0.1"`) {
			t.Errorf("%s tells an address", base)
		}
	}
}

// TestKeysOfOthers: keys that others can put into the folder are refused.
func TestKeysOfOthers(t *testing.T) {
	s := start(t, "127.0.0.1:9", "a.example")
	text, err := os.ReadFile(s.path("rideau.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.path("keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.path("keys"), 0o777); err != nil {
		t.Fatal(err)
	}
	s.write("rideau.yaml", string(text)+"evidence: {pseudonyms: {key_dir: keys}, sinks: [{id: one, kind: file, path: one.json, clients: pseudonym}]}\n")
	if _, err := s.Reload(t.Context(), "the test"); err == nil || !strings.Contains(err.Error(), "evidence.pseudonyms.key_dir") || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("%v", err)
	}
	s.stop()
}
