package server_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/audit/seal"
)

// TestSealed: a sealed sink goes on over reloads that change it and its key, the
// other sinks have each of its seals, and all of it is proved.
func TestSealed(t *testing.T) {
	s, text := startAnswering(t)
	var keys []seal.Public
	for _, name := range []string{"one.pem", "two.pem"} {
		k, err := seal.NewKey(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k.Public())
	}
	load := func(key, format string) {
		t.Helper()
		s.write("rideau.yaml", text+"evidence: {seal: {key_file: "+key+"}, sinks: [{id: outside, kind: file, path: outside.json, events: acts, format: ecs}, "+
			"{id: sealed, kind: file, path: sealed.json, seal: true, format: "+format+"}]}\n")
		if _, err := s.Reload(t.Context(), "the test"); err != nil {
			t.Fatal(err)
		}
		s.answers("a.example.", dns.RcodeNameError)
	}
	load("one.pem", "rideau")
	load("one.pem", "ocsf")
	load("two.pem", "ocsf")
	s.stop()
	heads, err := seal.ReadHeadsFile(s.path("outside.json"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(s.path("sealed.json*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	r, err := seal.Verify(seal.Request{Keys: keys, Files: files, Heads: heads})
	if err != nil || !r.Intact || r.Seals != len(heads) || r.Events < 6 {
		t.Errorf("%d heads: %+v, %v", len(heads), r, err)
	}
	for _, f := range r.Findings {
		if f.Kind == seal.End {
			t.Errorf("the last seal is not held outside: %+v", f)
		}
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) == 0 {
			t.Errorf("%s is empty", path)
		}
	}
}
