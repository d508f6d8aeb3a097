package setup_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

// Others who can read or write the key of a sink are told of.
func TestSinkKeyAccess(t *testing.T) {
	dir := t.TempDir()
	path := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	key := path("key.pem", "")
	path("cert.pem", "")
	cfg, err := config.Load(path("rideau.yaml", "upstream: {servers: [192.0.2.1]}\nevidence: {sinks: [{id: siem, kind: syslog, address: 'tls://192.0.2.2', certificate: cert.pem, key: key.pem, spool: 0}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o600: "", 0o644: "read", 0o666: "write"} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		got := setup.AccessWarnings(cfg)
		told := slices.ContainsFunc(got, func(w string) bool {
			return strings.Contains(w, "the key of the sink siem: ") && strings.Contains(w, "key.pem") && strings.Contains(w, want)
		})
		if told != (want != "") {
			t.Errorf("%v: %q", mode, got)
		}
	}
}
