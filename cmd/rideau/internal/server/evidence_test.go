package server_test

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	framestream "github.com/farsightsec/golang-framestream"
	"github.com/miekg/dns"

	"rideau/resolver/resolvertest"
)

// startAnswering runs a server that bans a.example, before an upstream that has an
// address for every name. It returns the text of the configuration, too.
func startAnswering(t *testing.T) (s *instance, text string) {
	t.Helper()
	up := new(resolvertest.Upstream)
	up.Start(t)
	if err := up.Load(". SOA\n* A\n\tanswer any.example. 300 IN A 192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	s = start(t, up.Addr().String(), "a.example")
	b, err := os.ReadFile(s.path("rideau.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return s, string(b)
}

// events returns the events in a file.
func (i *instance) events(file string) []map[string]any {
	i.t.Helper()
	text, err := os.ReadFile(i.path(file))
	if err != nil {
		i.t.Fatal(err)
	}
	var out []map[string]any
	for line := range strings.Lines(string(text)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			i.t.Fatalf("%q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

// TestEvidence: what a ban did and what was done to the server is in the files
// of its sinks, also of one that a reload adds, and each event is there once.
func TestEvidence(t *testing.T) {
	s, text := startAnswering(t)
	with := func(sinks string) {
		t.Helper()
		s.write("rideau.yaml", text+"evidence: {sinks: ["+sinks+"]}\n")
		if _, err := s.Reload(t.Context(), "the test"); err != nil {
			t.Fatal(err)
		}
	}
	first := "{id: one, kind: file, path: one.json}"
	with(first)
	s.answers("a.example.", dns.RcodeNameError)
	s.answers("b.example.", dns.RcodeSuccess)
	with(first + ", {id: two, kind: file, path: two.json, events: all}")
	s.answers("a.example.", dns.RcodeNameError)
	s.answers("b.example.", dns.RcodeSuccess)
	s.write("rideau.yaml", "nonsense: true\n")
	if _, err := s.Reload(t.Context(), "the test"); err == nil {
		t.Error("nonsense was accepted")
	}
	s.stop()

	count := func(file string) map[string]int {
		out, ids := map[string]int{}, map[any]bool{}
		for _, e := range s.events(file) {
			if ids[e["id"]] {
				t.Errorf("%s: the event %v is there twice", file, e["id"])
			}
			ids[e["id"]] = true
			if e["node"] == "" || e["schema"] != "rideau/1" {
				t.Errorf("%s: %v", file, e)
			}
			what := e["event"].(string)
			if name, ok := e["name"].(string); ok {
				what += " " + name
			}
			out[what]++
		}
		return out
	}
	// A sink that a reload adds has the reload itself.
	for file, want := range map[string]map[string]int{
		"one.json": {"query a.example.": 4, "reload": 2, "reload_refused": 1, "stop": 1},
		"two.json": {"query a.example.": 2, "query b.example.": 2, "reload": 1, "reload_refused": 1, "stop": 1},
	} {
		got := count(file)
		for what, n := range want {
			if got[what] != n {
				t.Errorf("%s has %d of %q, want %d", file, got[what], what, n)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", file, got, want)
		}
	}
	var stop map[string]any
	for _, e := range s.events("one.json") {
		if e["event"] == "stop" {
			stop = e
		}
	}
	bans, _ := json.Marshal(stop["bans"])
	if !strings.Contains(string(bans), `"enforced":true`) || !strings.Contains(string(bans), `"entries":1`) || stop["config"] == "" {
		t.Errorf("the act of the end is %v", stop)
	}
}

// TestDnstap: a reader of dnstap gets what a ban did, and no acts.
func TestDnstap(t *testing.T) {
	up := new(resolvertest.Upstream)
	up.Start(t)
	s := start(t, up.Addr().String(), "a.example")
	l, err := net.Listen("unix", s.path("tap"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	frames := make(chan string, 16)
	go func() {
		defer close(frames)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		in, err := framestream.NewReader(c, &framestream.ReaderOptions{ContentTypes: [][]byte{[]byte("protobuf:dnstap.Dnstap")}, Bidirectional: true})
		if err != nil {
			return
		}
		for b := make([]byte, 1<<16); ; {
			n, err := in.ReadFrame(b)
			if err != nil {
				return
			}
			frames <- string(b[:n])
		}
	}()
	text, err := os.ReadFile(s.path("rideau.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("rideau.yaml", string(text)+"evidence: {sinks: [{id: tap, kind: dnstap, address: 'unix://"+s.path("tap")+"', spool: 0}]}\n")
	if _, err := s.Reload(t.Context(), "the test"); err != nil {
		t.Fatal(err)
	}
	s.answers("a.example.", dns.RcodeNameError)
	first, ok := <-frames
	s.stop() // ends the stream, which the reader confirms
	n := 0
	for f := first; ok; f, ok = <-frames {
		if n++; !strings.Contains(f, `"outcome":"blocked"`) || !strings.Contains(f, "\x01a\x07example\x00") || !strings.Contains(f, "\x7f\x00\x00\x01") {
			t.Errorf("%q", f)
		}
	}
	if n != 2 { // over UDP and TCP
		t.Errorf("%d messages", n)
	}
}

// TestDnstapFile: a file of dnstap has what a ban did, and is whole when the server has ended.
func TestDnstapFile(t *testing.T) {
	s, text := startAnswering(t)
	s.write("rideau.yaml", text+"evidence: {sinks: [{id: tap, kind: dnstap, path: a.tap}]}\n")
	if _, err := s.Reload(t.Context(), "the test"); err != nil {
		t.Fatal(err)
	}
	s.answers("a.example.", dns.RcodeNameError)
	s.answers("b.example.", dns.RcodeSuccess)
	s.stop()
	f, err := os.Open(s.path("a.tap"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := framestream.NewReader(f, &framestream.ReaderOptions{ContentTypes: [][]byte{[]byte("protobuf:dnstap.Dnstap")}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for b := make([]byte, 1<<16); ; n++ {
		size, err := in.ReadFrame(b)
		if err == io.EOF {
			break
		}
		if err != nil || !strings.Contains(string(b[:size]), `"outcome":"blocked"`) {
			t.Fatalf("%v: %q", err, b[:size])
		}
	}
	if n != 2 { // over UDP and TCP
		t.Errorf("%d messages", n)
	}
}
