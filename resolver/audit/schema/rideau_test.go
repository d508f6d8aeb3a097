package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/names"
	"rideau/resolver/audit/schema"
)

func node() *schema.Node {
	return &schema.Node{Name: "ottawa-1", Run: "0123456789abcdef", Version: "1.0", TypeName: func(uint16) string { return "A" },
		RcodeName: func(uint16) string { return "NXDOMAIN" }}
}

func record() *audit.Record {
	r := &audit.Record{Number: 7, Time: time.Unix(1700000000, 5000), Duration: 1500 * time.Microsecond, Client: netip.MustParseAddr("192.0.2.7"),
		Group: "staff", Outcome: resolver.Blocked, Ban: "no-chat", List: "chat", Policy: names.Policy{Generation: 3, Fingerprint: "abc"}}
	r.SetName([]byte("\x03www\x06wechat\x03com\x00"))
	return r
}

func TestRideauQuery(t *testing.T) {
	got := string(schema.NewRideau(node()).Query(nil, record()))
	want := `{"schema":"rideau/1","event":"query","id":"0123456789abcdef-q7","time":"2023-11-14T22:13:20.000005Z","node":"ottawa-1","client":"192.0.2.7",` +
		`"group":"staff","name":"www.wechat.com.","type":"A","transport":"udp","outcome":"blocked","rcode":"NXDOMAIN","duration_us":1500,"ban":"no-chat",` +
		`"action":"nxdomain","list":"chat","policy":{"generation":3,"fingerprint":"abc"}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A client of whom nothing may be told is left out.
func TestNoClient(t *testing.T) {
	n := node()
	n.Client = func(dst []byte, _ netip.Addr) []byte { return dst }
	if got := schema.NewRideau(n).Query(nil, record()); bytes.Contains(got, []byte("client")) || !json.Valid(got) {
		t.Errorf("%s", got)
	}
}

// hostile are texts that break out of formats, logs and pages.
func hostile() []string {
	return []string{`</script><script>alert(1)</script>`, `"',;--`, "a\nb\r\nc", "\x1b[31mred\x07", `=cmd|' /C calc'!A0`, "\xff\xfe\x80", strings.Repeat("x", 255), "\u202ereversed", "\x00", "a\u009b31m\x7f\u200b"}
}

// Whatever names, ids and reasons hold, an event is one line of JSON without
// control characters and without what ends a script in HTML.
func TestHostileText(t *testing.T) {
	e := schema.NewRideau(node())
	for _, text := range hostile() {
		r := record()
		label := text[:min(len(text), 63)]
		r.SetName(append(append([]byte{byte(len(label))}, label...), 0))
		r.Group, r.Ban, r.List = text, text, text
		r.Exception = &names.Exception{ID: text, Ticket: text, Approver: text}
		a := &act.Act{Kind: act.Reload, Object: text, Reason: text, Actor: act.Actor{Way: act.ByHTTP, User: text},
			Changes: []act.Change{{File: text, Key: text, Before: text, After: text}}, Bans: []act.Ban{{ID: text, Lists: []act.List{{ID: text}}}}}
		for _, line := range [][]byte{e.Query(nil, r), e.Act(nil, a)} {
			if !json.Valid(line) || !utf8.Valid(line) || bytes.ContainsAny(line, "\n\r\x1b\x07\x00<>\x7f\u009b\u202e\u200b") {
				t.Errorf("%q", line)
			}
		}
	}
}

func TestRideauAct(t *testing.T) {
	a := &act.Act{Number: 2, Time: time.Unix(1700000000, 0), Kind: act.ReloadRefused, Actor: act.Actor{Way: act.ByHTTP, Address: "127.0.0.1"}, Reason: "line 3 is wrong",
		Bans: []act.Ban{{ID: "no-chat", Enforced: true, Mode: "enforce", Lists: []act.List{{ID: "chat", Hash: "ff", Entries: 12, LastGood: true}}}}, Distrusted: true}
	got := schema.NewRideau(node()).Act(nil, a)
	var m map[string]any
	if err := json.Unmarshal(got, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "time")
	want := `map[actor:map[address:127.0.0.1 way:http] bans:[map[enforced:true id:no-chat lists:[map[entries:12 hash:ff id:chat last_good:true]] mode:enforce]] ` +
		`clock:distrusted event:reload_refused failed:true id:0123456789abcdef-a2 node:ottawa-1 policy:map[fingerprint: generation:0] reason:line 3 is wrong schema:rideau/1 version:1.0]`
	if fmt.Sprint(m) != want {
		t.Errorf("got  %v\nwant %s", m, want)
	}
}
