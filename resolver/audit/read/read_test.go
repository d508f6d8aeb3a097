package read_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/names"
	"rideau/resolver/audit/read"
	"rideau/resolver/audit/schema"
	"rideau/resolver/wire"
)

func node() *schema.Node {
	name := func(n uint16) string { return map[uint16]string{65: "HTTPS", 3: "NXDOMAIN"}[n] }
	return &schema.Node{Name: `a "node"`, Run: "0123456789abcdef", Version: "1", TypeName: name, RcodeName: name}
}

// hostile are labels that formats could take for something else.
func hostile() []string {
	return []string{"plain", `"quoted"`, `back\slash`, "<script>", "=cmd()", "new\nline", "\x1b[31m", "\xff\xfe", "nul\x00", strings.Repeat("x", 63), `\\"`}
}

// TestQuery: what schema writes of a query is read back, whatever the name is.
func TestQuery(t *testing.T) {
	e := schema.NewRideau(node())
	var p read.Parser
	for i, label := range hostile() {
		r := audit.Record{Number: uint64(i + 1), Time: time.Date(2026, 11, 30-i, 14, 5, 9, 123456789, time.FixedZone("", -3600)), Client: netip.MustParseAddr("2001:db8::7"),
			Group: "staff", Type: 65, Transport: resolver.UDP, Outcome: resolver.Blocked, Rcode: 3, Ban: "no-chat", List: "chat", Marks: resolver.Banned | resolver.Bypass,
			Exception: &names.Exception{ID: "x-1", Ticket: `T "1"`, Approver: "Zoë <z@example>"}, Policy: names.Policy{Generation: 3, Fingerprint: "abc"}}
		name := append(append([]byte{byte(len(label))}, label...), 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0)
		r.SetName(name)
		line := e.Query(nil, &r)
		q, a, err := p.Parse(line)
		if err != nil || a != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if q.Name != wire.NameString(name) || q.Run != "0123456789abcdef" || q.Number != uint64(i+1) || !q.Time.Equal(r.Time.Truncate(time.Microsecond)) {
			t.Errorf("%s: %+v", line, q)
		}
		if q.Client != "2001:db8::7" || q.Group != "staff" || q.Type != "HTTPS" || q.Outcome != "blocked" || q.Node != `a "node"` || q.Rcode != "NXDOMAIN" {
			t.Errorf("%s: %+v", line, q)
		}
		if q.Verdict() != read.Excepted || q.Ticket != `T "1"` || q.Approver != "Zoë <z@example>" || !q.Bypass || q.Fingerprint != "abc" || q.List != "chat" {
			t.Errorf("%s: %+v", line, q)
		}
		// The same with other white space, as other programs write it again.
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		m["later"] = map[string]any{"x": []any{1, "}", nil, map[string]any{}}}
		again, _ := json.MarshalIndent(m, "", "  ")
		first := *q
		if q, _, err = p.Parse(again); err != nil || !reflect.DeepEqual(*q, first) {
			t.Errorf("%s: %+v, %v", again, q, err)
		}
		// Cut anywhere, it is an error and no panic.
		for n := range len(line) {
			if _, _, err := p.Parse(line[:n]); err == nil {
				t.Fatalf("%s was accepted", line[:n])
			}
		}
	}
}

// TestAct: an act is read back whole, and one of a later version, too.
func TestAct(t *testing.T) {
	when := time.Date(2026, 11, 30, 14, 5, 9, 123456000, time.UTC)
	want := act.Act{Number: 7, Time: when, Kind: "of_a_later_version", Actor: act.Actor{Way: act.ByHTTP, Address: "192.0.2.1", User: "7", Process: 4}, Object: "x", Failed: true, Reason: "r",
		Changes: []act.Change{{File: "f", Line: 3, Key: "k", Before: "b", After: "a"}}, Distrusted: true, Exception: &act.Exception{ID: "x", Ticket: "t", Approver: "a", Contact: "c", Reason: "r", Groups: []string{"g"}, Lists: []string{"l"},
			Effective: when.Truncate(time.Second), Expires: when.Truncate(time.Second).Add(time.Hour), InForce: true, Uses: 3}, Uptime: 1500 * time.Millisecond,
		Bans: []act.Ban{{ID: "b", Enforced: true, Mode: "enforce", Lists: []act.List{{ID: "l", Hash: "h", Entries: 3, LastGood: true}}, Groups: []string{""},
			TitleEN: "e", TitleFR: "f", Authority: "a", Instrument: "i", URL: "u", Effective: when, Expires: when.Add(time.Hour), Bypass: true}},
		Policy: names.Policy{Generation: 2, Fingerprint: "fp"}, Config: "c"}
	line := schema.NewRideau(node()).Act(nil, &want)
	var p read.Parser
	q, a, err := p.Parse(line)
	if err != nil || q != nil || a == nil {
		t.Fatalf("%s: %v", line, err)
	}
	if !reflect.DeepEqual(a.Act, want) || a.ID != (read.ID{Run: "0123456789abcdef", Number: 7}) || a.Version != "1" {
		t.Errorf("%+v\nwant %+v", a.Act, want)
	}
}

// TestForeign: what is no event of ours is told, and nothing panics.
func TestForeign(t *testing.T) {
	var p read.Parser
	for _, line := range []string{"", "{}", "[]", "null", "x", `{"schema":"rideau/1"}`, `{"schema":"rideau/1","event":"query"}`, `{"schema":"other","event":"query","id":"a-q1","time":"2026-01-01T00:00:00Z"}`,
		`{"schema":"rideau/1","event":"query","id":"a-q1","time":"2026-01-01T00:00:00Z"} {}`, `{"schema":"rideau/1","event":"query","id":"a-q1","time":"2026-13-41T99:00:00.000000Z"}`,
		`{"schema":"rideau/1","event":"start","id":"a-q1","time":"2026-01-01T00:00:00Z"}`, `{"schema":"rideau/1","event":"query","id":"q1","time":"2026-01-01T00:00:00Z"}`, `{"a":"\`, `{"a":}`, `{"a":]`} {
		if _, _, err := p.Parse([]byte(line)); err == nil {
			t.Errorf("%s was accepted", line)
		}
	}
	if q, _, err := p.Parse([]byte(`{"schema":"rideau/1.2","event":"query","id":"a-q1","time":"2026-01-31T00:00:00-05:00"}`)); err != nil || q.Time.Hour() != 5 {
		t.Errorf("%+v, %v", q, err)
	}
}

func BenchmarkParse(b *testing.B) {
	r := audit.Record{Number: 1, Time: time.Now(), Client: netip.MustParseAddr("192.0.2.7"), Group: "staff", Type: 65, Outcome: resolver.Blocked, Rcode: 3, Ban: "no-chat", List: "chat"}
	r.SetName([]byte("\x03www\x06wechat\x03com\x00"))
	line := schema.NewRideau(node()).Query(nil, &r)
	var p read.Parser
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := p.Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}
