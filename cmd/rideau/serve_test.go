package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestServe: banned names are answered by policy and others from upstream, over UDP
// and TCP alike, and the banner says what is served.
func TestServe(t *testing.T) {
	w := newWorld(t)
	p := start(t, w.dir)
	for _, network := range []string{"udp", "tcp"} {
		for name, want := range map[string]string{
			"plain.example":         passed,
			"banned.example":        blocked,
			"WWW.Banned.EXAMPLE":    blocked,
			"alias.example":         blocked,
			"notbanned.example":     "NOERROR",
			"banned.example.org":    "NOERROR",
			"www.invalid":           "NXDOMAIN",
			"localhost":             "NOERROR 127.0.0.1",
			"1.0.0.10.in-addr.arpa": "NXDOMAIN",
		} {
			if got := outcome(p.ask(network, name, dns.TypeA)); got != want {
				t.Errorf("%s by %s: %s, want %s", name, network, got, want)
			}
		}
	}
	banner := strings.Join(p.banner, "\n")
	for _, want := range []string{"ban        ban: 1 name, enforce, nxdomain", "upstreams  " + w.upstream.Addr().String(), "try        dig @127.0.0.1 -p "} {
		if !strings.Contains(banner, want) {
			t.Errorf("the banner lacks %q:\n%s", want, banner)
		}
	}
	for _, q := range w.upstream.Queries() {
		if name := strings.ToLower(q.Name); name == "banned.example." || strings.HasSuffix(name, ".banned.example.") {
			t.Errorf("upstream was asked for %s", q.Name)
		}
	}
	if code, body := p.get("/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	if n := p.metric(`rideau_blocks_total{action="nxdomain",ban="ban"}`); n != 6 {
		t.Errorf("rideau_blocks_total is %v, want 6", n)
	}
	if n := p.metric(`rideau_list_entries{list="list"}`); n != 1 {
		t.Errorf("rideau_list_entries is %v, want 1", n)
	}
}

// TestAllAddresses: ":53" stands for all addresses of the machine, of both families,
// on one port; an answer comes from the address that was queried.
func TestAllAddresses(t *testing.T) {
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	} else {
		c.Close()
	}
	w := newWorld(t)
	_, port, _ := net.SplitHostPort(freeAddress(t, ""))
	w.config(func(s *settings) { s.listen = []string{":" + port} })
	p := start(t, w.dir)
	if want := []string{"0.0.0.0:" + port, "[::]:" + port}; !slices.Equal(p.dns, want) {
		t.Errorf("%q, want %q", p.dns, want)
	}
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
		for _, network := range []string{"udp", "tcp"} {
			m, err := ask(network, net.JoinHostPort(host, port), "banned.example", dns.TypeA)
			if err != nil || outcome(m) != blocked {
				t.Errorf("%s by %s: %v, %v", host, network, m, err)
			}
		}
	}
	if want := "try        dig @127.0.0.1 -p " + port; !strings.Contains(strings.Join(p.banner, "\n"), want) {
		t.Errorf("the banner lacks %q: %q", want, p.banner)
	}
}

// TestSecondInstance: a second rideau on the same address fails with an error that
// says why, and the first goes on.
func TestSecondInstance(t *testing.T) {
	w := newWorld(t)
	p := start(t, w.dir)
	second := func(config string) string {
		t.Helper()
		w.write("second.yaml", config)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		cmd := rideau(ctx, w.dir, "serve", "--config", "second.yaml")
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != exitFailure || stdout.Len() > 0 {
			t.Errorf("exit code %d, want %d; it said %q", code, exitFailure, stdout.String())
		}
		return stderr.String()
	}
	got := second(w.configText(func(s *settings) { s.listen = []string{"127.0.0.1:0", p.dns[0]} }))
	if !strings.HasPrefix(got, "rideau: ") || !strings.Contains(got, p.dns[0]) || !strings.Contains(got, "in use") {
		t.Errorf("DNS address taken: %q", got)
	}
	ops := strings.TrimPrefix(p.ops, "http://")
	got = second(strings.Replace(w.configText(), `ops: {listen: "127.0.0.1:0"`, `ops: {listen: "`+ops+`"`, 1))
	if !strings.Contains(got, ops) || !strings.Contains(got, "in use") {
		t.Errorf("HTTP address taken: %q", got)
	}
	for range 20 {
		if got := outcome(p.ask("udp", "banned.example", dns.TypeA)); got != blocked {
			t.Fatalf("the first one: %s", got)
		}
	}
}

// TestStartWithBrokenList: with a list that cannot be used nothing is bound, the
// error names file and line, and the exit code is 1.
func TestStartWithBrokenList(t *testing.T) {
	w := newWorld(t)
	port := freeAddress(t, "127.0.0.1")
	w.config(func(s *settings) { s.listen = []string{port} })
	w.write("list.txt", "good.example\nhttp://bad.example/\n")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := rideau(ctx, w.dir, "--config", "rideau.yaml")
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitFailure || !strings.Contains(string(out), "list.txt:2: ") || !strings.Contains(string(out), "write the host name alone") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestTermDrains: after SIGTERM queries are answered until none waits, and then rideau ends.
// /readyz says that rideau is not ready meanwhile.
func TestTermDrains(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := start(t, w.dir)
	p.ask("udp", "plain.example", dns.TypeA)
	answers := make(chan string, 2)
	for _, network := range []string{"udp", "tcp"} {
		go func() {
			m, err := ask(network, p.dns[0], "slow.example", dns.TypeA)
			if err != nil {
				answers <- network + ": " + err.Error()
				return
			}
			answers <- outcome(m)
		}()
	}
	p.within(time.Now(), "asked upstream", w.asked("slow.example."))
	p.within(time.Now(), "both wait", func() (string, bool) {
		n := p.metric("rideau_pending_queries")
		return strconv.FormatFloat(n, 'f', -1, 64), n == 2
	})
	p.signal(syscall.SIGTERM)
	for range 2 {
		if got := <-answers; got != passed {
			t.Errorf("a query that waited: %s", got)
		}
	}
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
	p.stop()
	if !strings.Contains(p.stderr.String(), "msg=stopped") {
		t.Errorf("no word of the end: %s", p.stderr.String())
	}
	if listening(p.dns[0]) {
		t.Error("it still listens")
	}
}

// TestReady: rideau is ready if an upstream has answered; otherwise /readyz says what
// is missing.
func TestReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.upstream.SetDown(true)
	w.config(func(s *settings) { s.probe = ", probe_interval: 200ms" })
	p := start(t, w.dir)
	if code, body := p.get("/readyz"); code != http.StatusServiceUnavailable || body != "no upstream has answered yet\n" {
		t.Errorf("without upstream: %d %q", code, body)
	}
	if got := outcome(p.ask("udp", "banned.example", dns.TypeA)); got != blocked {
		t.Errorf("policy without upstream: %s", got)
	}
	began := time.Now()
	w.upstream.SetDown(false)
	p.within(began, "ready", func() (string, bool) {
		code, body := p.get("/readyz")
		return body, code == http.StatusOK && body == "ready\n"
	})
	// One missing answer does not make it unready; a minute without answers does.
	w.upstream.SetDown(true)
	if code, body := p.get("/readyz"); code != http.StatusOK {
		t.Errorf("right after an answer: %d %q", code, body)
	}
	// A change to an upstream that has never answered does at once.
	w.other.SetDown(true)
	w.config(func(s *settings) { s.upstream = w.other.Addr() })
	if code, r := p.reload(""); code != http.StatusOK || !r.Changed {
		t.Errorf("reload: %d %+v", code, r)
	}
	if code, body := p.get("/readyz"); code != http.StatusServiceUnavailable || body != "no upstream has answered yet\n" {
		t.Errorf("with another upstream: %d %q", code, body)
	}
	w.other.SetDown(false)
	if got := outcome(p.ask("udp", "second.example", dns.TypeA)); got != "NOERROR 192.0.2.99" {
		t.Errorf("of the other upstream: %s", got)
	}
	if code, body := p.get("/readyz"); code != http.StatusOK {
		t.Errorf("after an answer: %d %q", code, body)
	}
}

// TestBanByDate: a ban begins and ends by itself, to the second.
func TestBanByDate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := time.Now().Add(2 * time.Second).Truncate(time.Second).Add(time.Second)
	end := begin.Add(2 * time.Second)
	w.write("more.txt", "other.example\n")
	text := w.configText(func(s *settings) {
		s.extra = ", effective: " + begin.UTC().Format(time.RFC3339) + ", expires: " + end.UTC().Format(time.RFC3339)
		s.extraLists = ", {id: more, file: more.txt}"
	})
	w.write("rideau.yaml", strings.Replace(text, "bans: [", "bans: [{id: other, title: {en: Other}, lists: [more]}, ", 1))
	p := start(t, w.dir)
	if !strings.Contains(strings.Join(p.banner, "\n"), "not in force: from "+begin.UTC().Format(time.RFC3339)) {
		t.Errorf("banner: %q", p.banner)
	}
	before := outcome(p.ask("udp", "banned.example", dns.TypeA)) // and it is cached from now on
	if time.Now().Before(begin) && before != passed {
		t.Errorf("before it begins: %s", before)
	}
	if n := p.metric(`rideau_ban_active{ban="ban",mode="enforce"}`); time.Now().Before(begin) && n != 0 {
		t.Errorf("rideau_ban_active is %v before it begins", n)
	}
	time.Sleep(time.Until(begin)) // sleeps: until the ban is to begin
	p.becomes(begin, "banned.example", blocked)
	if n := p.metric(`rideau_ban_active{ban="ban",mode="enforce"}`); time.Now().Before(end) && n != 1 {
		t.Errorf("rideau_ban_active is %v while it is in force", n)
	}
	time.Sleep(time.Until(end)) // sleeps: until it is to end
	p.becomes(end, "banned.example", passed)
	if n := p.metric(`rideau_ban_active{ban="ban",mode="enforce"}`); n != 0 {
		t.Errorf("rideau_ban_active is %v after its end", n)
	}
	// The log says what the dates changed, and nothing of the other ban.
	p.logs(time.Now(), `level=INFO msg="a ban is in force from now on" ban=ban effective=`)
	p.logs(time.Now(), `level=WARN msg="a ban has ended: its names are resolved" ban=ban expires=`)
	log := p.stderr.String()
	if n := strings.Count(log, `msg="a ban `); n != 2 || strings.Contains(log, "msg=reloaded") || strings.Contains(log, "msg=changed") {
		t.Errorf("%d lines about bans", n)
	}
}

// TestLogJSON: with format: json every line of the log is a JSON object, the first of which says what serves, and nothing else is printed.
func TestLogJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config(func(s *settings) { s.level = "debug, format: json, language: fr" })
	p := &process{t: t, dir: w.dir, cmd: rideau(context.Background(), w.dir, "serve", "--config", "rideau.yaml"), ended: make(chan struct{})}
	var stdout lockedBuffer
	p.cmd.Stdout, p.cmd.Stderr = &stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.stop)
	var started struct {
		Level, Msg, Version, Ops, Fingerprint string
		Addresses                             []string
		Bans                                  []string `json:"bans_in_force"`
	}
	p.within(time.Now(), "started", func() (string, bool) {
		for line := range strings.Lines(p.stderr.String()) {
			if json.Unmarshal([]byte(line), &started) == nil && started.Msg == "démarré" {
				return "started", true
			}
		}
		return "not started", false
	})
	if len(started.Addresses) != 1 || len(started.Bans) != 1 || started.Bans[0] != "ban" || len(started.Fingerprint) != 12 || started.Version == "" || started.Level != "INFO" {
		t.Fatalf("started: %+v", started)
	}
	p.dns, p.ops = started.Addresses, "http://"+started.Ops
	if got := outcome(p.ask("udp", "banned.example", dns.TypeA)); got != blocked {
		t.Errorf("a banned name: %s", got)
	}
	w.write("list.txt", "http://banned.example/\n")
	p.reload("")
	p.stop()
	if stdout.String() != "" {
		t.Errorf("printed: %q", stdout.String())
	}
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	messages := map[string]bool{}
	for _, l := range lines {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(l), &entry); err != nil || entry.Time == "" || entry.Level == "" || entry.Msg == "" {
			t.Errorf("%s: %v", l, err)
		}
		messages[entry.Msg] = true
	}
	for _, want := range []string{"bloqué", "rechargement refusé; l’ancienne politique reste en vigueur", "arrêté"} {
		if !messages[want] {
			t.Errorf("no message %q in %q", want, lines)
		}
	}
}

// TestTokenIsSecret: a request with the token may reload, and nothing reveals the
// token.
func TestTokenIsSecret(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	w := newWorld(t)
	w.write("token", secret+"\n")
	w.write("rideau.yaml", strings.Replace(w.configText(func(s *settings) { s.level = "debug" }), "pprof: true", "token_file: token", 1))
	p := start(t, w.dir)
	post := func(token string) int {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, p.ops+"/reload", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("X-Forwarded-For", "198.51.100.1") // from elsewhere, by a proxy
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if code := post("wrong-" + secret); code != http.StatusForbidden {
		t.Errorf("a wrong token: %d", code)
	}
	if code := post(secret); code != http.StatusOK {
		t.Errorf("the right token: %d", code)
	}
	shown := strings.Join(p.banner, "\n")
	for _, path := range []string{"/version", "/metrics", "/readyz"} {
		_, body := p.get(path)
		shown += body
	}
	p.stop()
	if strings.Contains(shown+p.stderr.String(), secret) {
		t.Error("the token is shown")
	}
}
