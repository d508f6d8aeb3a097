package syslog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	parser "github.com/leodido/go-syslog/v4/rfc5424"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/names"
	"rideau/resolver/audit/schema"
	"rideau/resolver/audit/syslog"
)

func encoder(most int) *syslog.Encoder { return encoderOf("0123456789abcdef", most) }

func encoderOf(run string, most int) *syslog.Encoder {
	node := &schema.Node{Name: "ottawa-1", Run: run, Version: "1.0", TypeName: func(uint16) string { return "A" },
		RcodeName: func(uint16) string { return "NXDOMAIN" }}
	return syslog.NewEncoder(syslog.Messages{Facility: 16, Enterprise: 32473, Max: most, Node: node, Text: schema.NewRideau(node)})
}

func record() *audit.Record {
	r := &audit.Record{Number: 7, Time: time.Unix(1700000000, 5000), Client: netip.MustParseAddr("192.0.2.7"),
		Group: "staff", Outcome: resolver.Blocked, Ban: "no-chat", List: "chat", Policy: names.Policy{Generation: 3, Fingerprint: "abc"}}
	r.SetName([]byte("\x03www\x06wechat\x03com\x00"))
	return r
}

// parse parses a message with another's parser.
func parse(t *testing.T, text []byte) *parser.SyslogMessage {
	t.Helper()
	m, err := parser.NewParser().Parse(text)
	if err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return m.(*parser.SyslogMessage)
}

func TestQuery(t *testing.T) {
	text := encoder(8192).Query(nil, record())
	m := parse(t, text)
	data := (*m.StructuredData)["rideau@32473"]
	if *m.Facility != 16 || *m.Severity != 5 || *m.Hostname != "ottawa-1" || *m.Appname != "rideau" || *m.MsgID != "blocked" ||
		!m.Timestamp.Equal(time.Unix(1700000000, 5000)) || *m.ProcID == "" {
		t.Errorf("the header of %q", text)
	}
	want := "map[action:nxdomain ban:no-chat client:192.0.2.7 group:staff id:0123456789abcdef-q7 list:chat name:www.wechat.com. outcome:blocked]"
	if fmt.Sprint(data) != want {
		t.Errorf("got  %v\nwant %v", data, want)
	}
	var event map[string]any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(*m.Message, "\ufeff")), &event); err != nil || event["id"] != data["id"] || !strings.HasPrefix(*m.Message, "\ufeff") {
		t.Errorf("%q: %v", *m.Message, err)
	}
}

// Each outcome and each act has a severity, and an id that servers can choose by.
func TestSeverities(t *testing.T) {
	e := encoder(8192)
	for want, change := range map[string]func(*audit.Record){
		"blocked 5":   func(*audit.Record) {},
		"monitored 6": func(r *audit.Record) { r.Monitored, r.Outcome = true, resolver.Cached },
		"excepted 6":  func(r *audit.Record) { r.Exception, r.Outcome = &names.Exception{ID: "x"}, resolver.Cached },
		"bypass 5":    func(r *audit.Record) { r.Marks, r.Outcome = resolver.Bypass, resolver.Forwarded },
		"query 6":     func(r *audit.Record) { r.Ban, r.Outcome = "", resolver.Forwarded },
	} {
		r := record()
		change(r)
		if m := parse(t, e.Query(nil, r)); fmt.Sprint(*m.MsgID, " ", *m.Severity) != want {
			t.Errorf("got %s %d, want %s", *m.MsgID, *m.Severity, want)
		}
	}
	want := map[act.Kind]uint8{act.NotReady: 3, act.ReloadRefused: 4, act.ListRefused: 4, act.ListStale: 4, act.ClockDistrusted: 4, act.AccessDenied: 4, act.BanEnded: 4, act.ExceptionMade: 4, act.ExceptionBegan: 4}
	for _, k := range act.Kinds() {
		severity := want[k]
		if severity == 0 {
			severity = 5
		}
		if m := parse(t, e.Act(nil, &act.Act{Kind: k, Number: 3, Object: "o"})); *m.Severity != severity || *m.MsgID != string(k) {
			t.Errorf("%s: %d, want %d", k, *m.Severity, severity)
		}
	}
}

// Hostile text stays where it belongs, in whole and in cut messages, and no
// message is longer than its bound.
func TestHostile(t *testing.T) {
	for _, text := range []string{`"] evil="1`, `\`, `\"]`, "a\nb\r\n<14>1 - - - - - - forged", "\x1b[31m\x07\x00\x7f\u0085", "\xff\xfe\x80", "é\u2028\u202e\ufeff",
		strings.Repeat(`"`, 255), strings.Repeat("é", 5000)} {
		r := record()
		label := text[:min(len(text), 63)]
		wire := append(append([]byte{byte(len(label))}, label...), 0)
		if len(text) >= 255 {
			wire = append(bytes.Repeat(append([]byte{62}, strings.Repeat(text[:1], 62)...), 4), 0)
		}
		r.SetName(wire)
		r.Group, r.Ban, r.List = text, text, text
		r.Exception = &names.Exception{ID: text, Ticket: text, Approver: text}
		a := &act.Act{Kind: act.Reload, Object: text, Reason: text, Actor: act.Actor{Way: act.ByHTTP, User: text, Address: "192.0.2.9"}, Changes: []act.Change{{Key: text, After: text}}}
		for _, most := range []int{480, 600, 1000, 2048, 65000} {
			e := encoder(most)
			for _, b := range [][]byte{e.Query(nil, r), e.Act(nil, a)} {
				m := parse(t, b)
				data := (*m.StructuredData)["rideau@32473"]
				if len(*m.StructuredData) != 1 || data["id"] == "" || data["evil"] != "" || len(b) > most || !utf8.Valid(b) ||
					bytes.ContainsAny(b, "\n\r\x1b\x07\x00\x7f") || strings.ContainsAny(string(b), "\u0085\u2028\u202e") {
					t.Errorf("at most %d: %q", most, b)
				}
				cut := m.Message == nil || !json.Valid([]byte(strings.TrimPrefix(*m.Message, "\ufeff")))
				if cut && data["cut"] != "yes" {
					t.Errorf("at most %d: %q is cut without a mark", most, b)
				}
				if value := data["user"]; text == `"] evil="1` && value != "" && value != text {
					t.Errorf("the user is %q", value)
				}
			}
		}
	}
}

// A host without a name, or with one that is no field of a header, has a header.
func TestHostname(t *testing.T) {
	for name, want := range map[string]string{"": "", "a b\n": "a_b_", "é": "_", strings.Repeat("x", 300): strings.Repeat("x", 255)} {
		node := &schema.Node{Name: name, TypeName: func(uint16) string { return "A" }, RcodeName: func(uint16) string { return "NOERROR" }}
		e := syslog.NewEncoder(syslog.Messages{Enterprise: 1, Max: 2048, Node: node, Text: schema.NewRideau(node)})
		m := parse(t, e.Query(nil, record()))
		if got := m.Hostname; want == "" && got != nil || want != "" && (got == nil || *got != want) {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestEncodeAllocs(t *testing.T) {
	e, r, b := encoder(8192), record(), make([]byte, 0, 8192)
	if n := testing.AllocsPerRun(100, func() { b = e.Query(b[:0], r) }); n > 14 {
		t.Errorf("%v allocations", n)
	}
}
