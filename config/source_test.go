package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rideau/config"
)

// TestSources: the keys of a list's source, and their defaults.
func TestSources(t *testing.T) {
	const key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
	dir := t.TempDir()
	path := filepath.Join(dir, "rideau.yaml")
	text := `
lists:
  - {id: feed, url: "https://user:secret@lists.example/a.txt?x=1", public_key: ` + key + `, refresh: 1h}
  - {id: local, url: "http://127.0.0.1:8080/b", format: hosts}
  - {id: plain, url: "http://lists.example/c", insecure_http: true}
  - {id: dir, folder: lists, match: "*.txt", format: hosts, may_block_protected: true}
  - {id: signed, file: d.txt, public_key: ` + key + `}
bans: [{id: b, title: {en: B}, lists: [feed, local, plain, dir, signed]}]
protected: {names: [Gov.Example.]}
`
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	feed := c.Lists[0]
	if feed.Refresh != time.Hour || feed.MaxBytes != 64<<20 || feed.MaxGrowth != 10 || feed.MaxEntries != 20_000_000 {
		t.Errorf("%+v", feed)
	}
	if feed.SignatureURL != "https://user:secret@lists.example/a.txt.minisig?x=1" {
		t.Errorf("signature at %s", feed.SignatureURL)
	}
	if got := feed.Name(); got != "https://lists.example/a.txt?..." {
		t.Errorf("called %s", got)
	}
	if c.Lists[3].Folder != filepath.Join(dir, "lists") || c.Lists[4].SignatureFile != filepath.Join(dir, "d.txt.minisig") {
		t.Errorf("%+v", c.Lists[3:])
	}
	if c.State.Dir != filepath.Join(dir, "state") || !c.Remote() {
		t.Errorf("state in %q", c.State.Dir)
	}
	names := c.Protected.All()
	for _, want := range []string{"canada.ca", "gc.ca", "login.microsoftonline.com", "windowsupdate.com", "swscan.apple.com", "gov.example"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not protected", want)
		}
	}
	for _, n := range names {
		if n == "" || strings.ContainsAny(n, " #\t") || n != strings.ToLower(n) {
			t.Errorf("%q is no name", n)
		}
	}
	if p := (&config.Protected{Names: []string{"x.example"}}).All(); !slices.Equal(p, []string{"x.example"}) {
		t.Errorf("without the defaults: %v", p)
	}
	if c := parse(t, minimal); c.State.Dir != "" || c.Remote() {
		t.Errorf("state in %q without need", c.State.Dir)
	}
}
