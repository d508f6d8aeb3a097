package evidence

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	config "rideau/config/evidence"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/names"
	"rideau/resolver/audit/seal"
	"rideau/resolver/audit/sink"
)

// hostile are names and texts that break out of lines, formats, terminals, pages and tables.
func hostile() []string {
	return []string{`<script>alert(1)</script>`, `"',;--`, `\"]} {"a":1`, "a\nb\r\nc", "\x1b[31mred\x07", "=cmd|' /C calc'!A0", "+1+1", "@SUM(1)", "\xff\xfe\x80", "nul\x00",
		"\u202e\u2028\u0085", strings.Repeat("x", 63), strings.Repeat("\xff", 63), "%s%n", "${jndi:ldap://x}", "<14>1 - - - - - - forged"}
}

// hostileEvents returns a query and an act for each hostile text, and a query with the longest name, as a sink writes them.
func hostileEvents(e *Evidence, s config.Sink) [][]byte {
	enc := e.encoder(&running{config: s})
	var out [][]byte
	add := func(b []byte) {
		if len(b) > 0 {
			out = append(out, b)
		}
	}
	query := func(name []byte, text string) {
		r := &audit.Record{Number: 1, Time: time.Unix(1700000000, 0), Client: netip.MustParseAddr("2001:db8::1"), Group: text, Outcome: resolver.Blocked, Marks: resolver.Banned,
			Ban: text, List: text, Exception: &names.Exception{ID: text, Ticket: text, Approver: text}, Upstream: text}
		r.SetName(name)
		add(enc.Query(nil, r))
	}
	for i, text := range hostile() {
		label := text[:min(len(text), 63)]
		query(append(append([]byte{byte(len(label))}, label...), 0), text)
		add(enc.Act(nil, &act.Act{Number: uint64(i), Time: time.Unix(1700000000, 0), Kind: act.AlertRaised, Object: text, Reason: text, Actor: act.Actor{Way: act.ByHTTP, Address: text, User: text},
			Alert: &act.Alert{ID: text, Condition: text, Severity: text, English: text, French: text}, Exception: &act.Exception{ID: text, Ticket: text, Groups: []string{text}},
			Changes: []act.Change{{File: text, Key: text, Before: text, After: text}}, Bans: []act.Ban{{ID: text}}}))
	}
	long := bytes.Repeat(append([]byte{63}, bytes.Repeat([]byte{'"'}, 63)...), 3)
	query(append(append(append(long, 61), bytes.Repeat([]byte{0xff}, 61)...), 0), strings.Repeat("<", 255))
	return out
}

// clean reports whether a text is one line that a terminal shows as it is.
func clean(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsAny(b, "\n\r\x1b\x07\x00\x7f") && !strings.ContainsAny(string(b), "\u0085\u2028\u202e")
}

// TestHostile: whatever names and texts hold, each event arrives as one event by every kind of sink, in every format, and no octet of it is taken for anything
// else.
func TestHostile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	var stdout bytes.Buffer
	e := New("node", dir, Options{Records: audit.New(), Stdout: &stdout})
	key, err := seal.NewKey(at("seal.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("secret"), []byte("a-secret-of-thirty-two-octets-ok"), 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(s config.Sink) int {
		t.Helper()
		w, err := e.writer(s, shared{seals: map[bool]*sealKey{true: {config: config.Default().Seal, key: key}}[s.Seal]})
		if err != nil {
			t.Fatal(err)
		}
		all := hostileEvents(e, s)
		for rest := all; len(rest) > 0; {
			n, err := w.Write(t.Context(), rest)
			if err != nil {
				t.Fatalf("%s: %v", s.ID, err)
			}
			rest = rest[n:]
		}
		if x, ok := w.(sink.Settler); ok {
			if err := x.Settle(t.Context(), true); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	lines := func(what string, text []byte, want int) {
		t.Helper()
		n := 0
		for line := range bytes.Lines(text) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			if !json.Valid(line) || !clean(line) || bytes.ContainsAny(line, "<>") {
				t.Fatalf("%s: %q", what, line)
			}
			if !bytes.Contains(line, []byte("rideau-seal/1")) {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: %d events, want %d", what, n, want)
		}
	}
	for _, format := range []config.Format{config.Rideau, config.OCSF, config.ECS} {
		for _, sealed := range []bool{false, true} {
			path := at(string(format) + strconv.FormatBool(sealed) + ".json")
			n := write(config.Sink{ID: "file", Kind: config.File, Path: path, Format: format, Seal: sealed, Events: config.All})
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines(path, text, n)
		}
		stdout.Reset()
		n := write(config.Sink{ID: "stdout", Kind: config.Stdout, Format: format, Events: config.All})
		lines("stdout", stdout.Bytes(), n)
		hostileSyslog(t, write, format)
		hostileWebhook(t, write, format, at("secret"))
	}
	n := write(config.Sink{ID: "tap", Kind: config.Dnstap, Path: at("a.tap"), Events: config.All})
	text, err := os.ReadFile(at("a.tap"))
	if err != nil {
		t.Fatal(err)
	}
	frames := -1 // the first is the start
	for len(text) >= 4 {
		size := binary.BigEndian.Uint32(text)
		if text = text[4:]; size == 0 { // a control frame
			size = binary.BigEndian.Uint32(text)
			text = text[4:]
			frames--
		}
		text = text[size:]
		frames++
	}
	if frames != n-1 {
		t.Errorf("dnstap: %d frames, want %d", frames+1, n)
	}
}

// hostileSyslog checks what a server of syslog gets by TCP, with octets counted.
func hostileSyslog(t *testing.T, write func(config.Sink) int, format config.Format) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			close(got)
			return
		}
		defer c.Close()
		text, _ := io.ReadAll(c)
		got <- text
	}()
	want := write(config.Sink{ID: "siem", Kind: config.Syslog, Address: "tcp://" + l.Addr().String(), Format: format, Facility: "local0", Enterprise: 32473, MaxMessage: 8192, Events: config.All})
	n := 0
	for text := <-got; len(text) > 0; n++ {
		size, rest, _ := bytes.Cut(text, []byte{' '})
		octets, err := strconv.Atoi(string(size))
		if err != nil || octets > len(rest) || !clean(rest[:octets]) || !bytes.HasPrefix(rest, []byte("<")) {
			t.Fatalf("syslog, %s: %q", format, text[:min(len(text), 300)])
		}
		text = rest[octets:]
	}
	if n != want {
		t.Errorf("syslog, %s: %d messages, want %d", format, n, want)
	}
}

// hostileWebhook checks what a webhook gets.
func hostileWebhook(t *testing.T, write func(config.Sink) int, format config.Format, secret string) {
	t.Helper()
	n := 0
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if n++; !json.Valid(body) || !clean(body) || !strings.HasPrefix(r.Header.Get("webhook-id"), r.Header.Get("webhook-id")[:16]+"-a") {
			t.Errorf("webhook, %s: %q %q", format, r.Header, body)
		}
	}))
	defer hook.Close()
	if want := write(config.Sink{ID: "pager", Kind: config.Webhook, URL: hook.URL + "/", Address: hook.Listener.Addr().String(), SecretFile: secret, Format: format, Events: config.OnlyAlerts}); n != want || n == 0 {
		t.Errorf("webhook, %s: %d requests, want %d", format, n, want)
	}
}
