package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestSnapshot: the cache is restored after a restart, under the policy of the new
// start, unless the upstreams have changed; and a broken snapshot does not prevent a
// start.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const section = "cache: {snapshot: cache.bin}\n"
	w.config(func(s *settings) { s.more = section })
	p := start(t, w.dir)
	for _, name := range []string{"plain.example", "second.example"} {
		if got := outcome(p.ask("udp", name, dns.TypeA)); got != passed {
			t.Fatalf("%s: %s", name, got)
		}
	}
	p.stop()
	file := w.path("cache.bin")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() < 100 {
		t.Fatalf("the snapshot: %v, %v", info, err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	// The upstream is down, and there is a new ban.
	w.upstream.SetDown(true)
	w.write("list.txt", "banned.example\nsecond.example\n")
	w.write("cache.bin.123.tmp", "left over")
	p = start(t, w.dir)
	if got := outcome(p.ask("udp", "plain.example", dns.TypeA)); got != passed {
		t.Errorf("after a restart: %s", got)
	}
	if got := outcome(p.ask("udp", "second.example", dns.TypeA)); got != blocked {
		t.Errorf("banned since: %s", got)
	}
	p.logs(time.Now(), `msg="cache restored" file=\S*cache.bin answers=[2-9]`)
	if all, _ := filepath.Glob(file + ".*"); len(all) != 0 {
		t.Errorf("left over: %v", all)
	}
	p.stop()

	// A snapshot that cannot be used is logged, and is replaced at the end.
	w.upstream.SetDown(false)
	for what, text := range map[string]string{"": "", "cut": string(good[:len(good)-3]), "other": strings.Repeat("x", 1000)} {
		w.write("cache.bin", text)
		p = start(t, w.dir)
		p.logs(time.Now(), `level=WARN msg="the cache begins empty: its snapshot cannot be used".*unusable`)
		if got := outcome(p.ask("udp", "plain.example", dns.TypeA)); got != passed {
			t.Errorf("%s: %s", what, got)
		}
		p.stop()
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	w.config(func(s *settings) { s.more, s.upstream = section, w.other.Addr() })
	p = start(t, w.dir)
	p.logs(time.Now(), `level=INFO msg="the cache begins empty: its snapshot has answers of other upstreams"`)
	if got := outcome(p.ask("udp", "plain.example", dns.TypeA)); got != "NOERROR 192.0.2.99" {
		t.Errorf("with another upstream: %s", got)
	}
	// If it cannot be written, there is a warning, too.
	w.config(func(s *settings) { s.more, s.upstream = "cache: {snapshot: missing/cache.bin}\n", w.other.Addr() })
	p.logs(time.Now(), `msg=reloaded`)
	p.stop()
	p.logs(time.Now(), `level=WARN msg="the cache's snapshot cannot be written; what there was before stays"`)
}
