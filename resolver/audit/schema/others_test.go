package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/names"
	"rideau/resolver/audit/schema"
	"rideau/resolver/audit/sink"
	"rideau/resolver/wire"
)

// other is a format of others, with the schema that its events are to follow.
type other struct {
	name string
	file string
	make func(*schema.Node) sink.Encoder
}

func others() []other {
	return []other{
		{"ocsf", "ocsf-1.8.0.json", func(n *schema.Node) sink.Encoder { return schema.NewOCSF(n) }},
		{"ecs", "ecs-9.0.0.json", func(n *schema.Node) sink.Encoder { return schema.NewECS(n) }},
	}
}

func (o other) schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("testdata/" + o.file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(o.file, doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile(o.file)
}

// follows reports how a line differs from a schema.
func follows(s *jsonschema.Schema, line []byte) error {
	if bytes.ContainsAny(line, "\n\r\x1b\x07\x00<>") {
		return fmt.Errorf("not one clean line")
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// records are records of every outcome, decision, family, transport and length.
func records() []*audit.Record {
	var out []*audit.Record
	add := func(f func(r *audit.Record)) {
		r := record()
		f(r)
		out = append(out, r)
	}
	for k := resolver.Malformed; k <= resolver.Limited; k++ {
		for a := range blocklists.Action(blocklists.Actions) {
			add(func(r *audit.Record) { r.Outcome, r.Action = k, a })
		}
		add(func(r *audit.Record) {
			r.Outcome, r.Ban, r.List, r.Client = k, "", "", netip.MustParseAddr("2001:db8::7")
		})
		add(func(r *audit.Record) {
			r.Outcome, r.Monitored, r.Marks, r.Transport = k, true, resolver.Bypass, resolver.TCP
		})
		add(func(r *audit.Record) {
			r.Outcome, r.Exception = k, &names.Exception{ID: "x", Ticket: "T1", Approver: "A"}
		})
		add(func(r *audit.Record) { r.Outcome, r.InAnswer, r.ByZone, r.Trigger = k, true, true, entry.OnNSIP })
	}
	for _, code := range []int{0, 1, 3, 5, 11, 12, 15, 16, 23, 24, 3840, 3841, 4095, 4096, 65534, 65535} {
		add(func(r *audit.Record) { r.Outcome, r.Rcode = resolver.Forwarded, wire.Rcode(code) })
	}
	add(func(r *audit.Record) { r.SetName([]byte{0}) })
	add(func(r *audit.Record) { r.Policy, r.Route, r.Upstream = names.Policy{}, "internal", "192.0.2.53:53" })
	for _, text := range hostile() {
		add(func(r *audit.Record) {
			label := text[:min(len(text), 63)]
			r.SetName(append(append([]byte{byte(len(label))}, label...), 0))
			r.Group, r.Ban, r.List, r.Route, r.Upstream = text, text, text, text, text
			r.Exception = &names.Exception{ID: text, Ticket: text, Approver: text}
		})
	}
	long := bytes.Repeat(append([]byte{63}, bytes.Repeat([]byte{0xff}, 63)...), 3)
	add(func(r *audit.Record) {
		r.SetName(append(append(append(long, 61), bytes.Repeat([]byte{'"'}, 61)...), 0))
	})
	return out
}

// acts are acts of every kind, asked for in every way.
func acts() []*act.Act {
	var out []*act.Act
	for _, k := range act.Kinds() {
		for _, w := range []act.Actor{{Way: act.ByFile}, {Way: act.ByHTTP, Address: "192.0.2.1"}, {Way: act.ByHTTP, Address: "[2001:db8::1]:4711", User: "ada"},
			{Way: act.BySocket, User: "1000", Process: 4711}, {Way: act.ByDate}} {
			out = append(out, &act.Act{Number: 3, Time: time.Unix(1700000000, 0), Kind: k, Actor: w, Object: "no-chat", Reason: "because",
				Policy: names.Policy{Generation: 2, Fingerprint: "ff"}, Config: "aa", Distrusted: true,
				Changes:   []act.Change{{File: "rideau.yaml", Line: 3, Key: "bans", Before: "a", After: "b"}},
				Exception: &act.Exception{ID: "press", Ticket: "T1", Approver: "A", Groups: []string{"all"}, Expires: time.Unix(1800000000, 0), InForce: true, Uses: 2},
				Alert: &act.Alert{ID: "ab-1", Condition: "sink_down", Severity: []string{"critical", "high", "medium", "low"}[len(out)%4], English: "A sink is down.", French: "Une destination ne répond pas.",
					Since: time.Unix(1700000000, 0), Count: 3, Client: netip.MustParseAddr("192.0.2.7"), Suppressed: 1, Again: len(out)%3 == 0},
				Certificate: &act.Certificate{Use: "fetch.ca_file", File: "ca.pem", Subject: "CN=a", Fingerprint: "00", NotAfter: time.Unix(1800000000, 0)},
				Bans:        []act.Ban{{ID: "no-chat", Mode: "enforce", Lists: []act.List{{ID: "chat", Hash: "cc", Entries: 4}}}}})
		}
		out = append(out, &act.Act{Time: time.Unix(1700000000, 0), Kind: k, Actor: act.Actor{Way: act.ByItself}, Failed: true})
	}
	for i, text := range hostile() {
		for _, k := range act.Kinds()[i%5*5:][:5] {
			out = append(out, &act.Act{Time: time.Unix(1700000000, 0), Kind: k, Object: text, Reason: text, Actor: act.Actor{Way: act.ByHTTP, User: text, Address: text},
				Exception:   &act.Exception{ID: text, Ticket: text, Approver: text, Contact: text, Reason: text, Groups: []string{text}, Lists: []string{text}},
				Alert:       &act.Alert{ID: text, Condition: text, Severity: text, English: text, French: text},
				Certificate: &act.Certificate{Use: text, File: text, Subject: text, Issuer: text, Serial: text, Fingerprint: text},
				Changes:     []act.Change{{File: text, Key: text, Before: text, After: text}}, Bans: []act.Ban{{ID: text, Lists: []act.List{{ID: text}}}}})
		}
	}
	return out
}

// Whatever a record or an act holds, and whatever may be told of a client, an
// event is one line that follows the published schema.
func TestSchemasOfOthers(t *testing.T) {
	tell := map[string]func([]byte, netip.Addr) []byte{
		"address":   nil,
		"nothing":   func(dst []byte, _ netip.Addr) []byte { return dst },
		"pseudonym": func(dst []byte, _ netip.Addr) []byte { return append(dst, "c-0a1b2c3d"...) },
		"prefix":    func(dst []byte, _ netip.Addr) []byte { return append(dst, "192.0.2.0/24"...) },
		"cut":       func(dst []byte, _ netip.Addr) []byte { return append(dst, "192.0.2.0"...) },
	}
	for _, o := range others() {
		s := o.schema(t)
		for what, client := range tell {
			n := node()
			n.Client = client
			e := o.make(n)
			for i, r := range records() {
				if client != nil && i%20 != 0 {
					continue // the client's text is in the same places of all
				}
				if line := e.Query(nil, r); follows(s, line) != nil {
					t.Fatalf("%s, %s: %v\n%s", o.name, what, follows(s, line), line)
				}
			}
		}
		e := o.make(node())
		for _, a := range acts() {
			if line := e.Act(nil, a); follows(s, line) != nil {
				t.Fatalf("%s: %v\n%s", o.name, follows(s, line), line)
			}
		}
	}
}

// What does not follow the schemas is found out.
func TestSchemasRefuse(t *testing.T) {
	for format, edits := range map[string][][2]string{
		"ocsf": {{`"class_uid":4003`, `"class_uid":4001`}, {`"type_uid":400306`, `"type_uid":400301`}, {`"disposition_id":2`, `"disposition_id":3`},
			{`"rcode":"NXDomain"`, `"rcode":"NXDOMAIN"`}, {`"time":`, `"time":0,"Time":`}, {`"ip":"192.0.2.7"`, `"ip":"c-0a"`}, {`"version":"1.8.0"`, `"version":"1.9.0"`},
			{`"hostname":`, `"name":`}, {`"security_control"`, `"datetime"`}, {`"severity":"Low"`, `"severity":"High"`}},
		"ecs": {{`"kind":"alert"`, `"kind":"alarm"`}, {`"category":["network"]`, `"category":"network"`}, {`"denied"`, `"change"`},
			{`"ip":"192.0.2.7"`, `"ip":"c-0a"`}, {`"@timestamp":"2023`, `"@timestamp":"23`}, {`"outcome":"success"`, `"outcome":"blocked"`}},
	} {
		for _, o := range others() {
			if o.name != format {
				continue
			}
			s := o.schema(t)
			line := string(o.make(node()).Query(nil, func() *audit.Record { r := record(); r.Rcode = 3; return r }()))
			for _, edit := range edits {
				if wrong := strings.Replace(line, edit[0], edit[1], 1); wrong == line || follows(s, []byte(wrong)) == nil {
					t.Errorf("%s: %q in place of %q passes, or is not there:\n%s", format, edit[1], edit[0], wrong)
				}
			}
		}
	}
}

// lookUp returns what is at a path of keys in a line.
func lookUp(t *testing.T, line []byte, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(line, &v); err != nil {
		t.Fatal(err)
	}
	for _, k := range strings.Split(path, "/") {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

func TestFieldsOfOthers(t *testing.T) {
	blocked := record()
	blocked.Rcode = 3
	allowed := record()
	allowed.Ban, allowed.Outcome = "", resolver.Cached
	monitored := record()
	monitored.Monitored, monitored.Outcome = true, resolver.Forwarded
	excepted := record()
	excepted.Exception, excepted.Outcome = &names.Exception{ID: "press", Ticket: "T1", Approver: "A"}, resolver.Cached
	dropped := record()
	dropped.Action, dropped.Outcome = blocklists.Drop, resolver.Dropped
	for _, c := range []struct {
		format string
		r      *audit.Record
		want   map[string]any
	}{
		{"ocsf", blocked, map[string]any{"query/hostname": "www.wechat.com", "query/type": "A", "query/class": "IN", "rcode_id": 3.0, "src_endpoint/ip": "192.0.2.7",
			"policy/uid": "no-chat", "policy/version": "abc", "firewall_rule/uid": "chat", "action_id": 2.0, "disposition_id": 2.0, "time": 1700000000000.0,
			"response_time": 1700000000001.0, "device/name": "ottawa-1", "type_uid": 400306.0, "metadata/uid": "0123456789abcdef-q7", "severity_id": 2.0, "is_alert": true}},
		{"ocsf", allowed, map[string]any{"action_id": 1.0, "disposition_id": 1.0, "policy": nil, "severity_id": 1.0, "is_alert": false, "observables": nil}},
		{"ocsf", monitored, map[string]any{"action_id": 3.0, "disposition_id": 15.0, "policy/uid": "no-chat"}},
		{"ocsf", excepted, map[string]any{"action_id": 1.0, "unmapped/exception/ticket": "T1", "policy/uid": "no-chat"}},
		{"ocsf", dropped, map[string]any{"type_uid": 400301.0, "disposition_id": 6.0, "rcode_id": nil, "response_time": nil}},
		{"ecs", blocked, map[string]any{"@timestamp": "2023-11-14T22:13:20.000005Z", "dns/question/name": "www.wechat.com", "dns/response_code": "NXDOMAIN", "client/ip": "192.0.2.7",
			"rule/id": "no-chat", "rule/ruleset": "chat", "event/kind": "alert", "event/action": "blocked", "event/duration": 1500000.0, "labels/group": "staff",
			"related/hosts": []any{"www.wechat.com"}, "event/type": []any{"protocol", "denied"}}},
		{"ecs", allowed, map[string]any{"event/kind": "event", "rule": nil, "event/type": []any{"protocol", "allowed"}}},
		{"ecs", monitored, map[string]any{"event/kind": "alert", "event/type": []any{"protocol", "info"}, "rideau/monitored": true}},
		{"ecs", excepted, map[string]any{"event/kind": "event", "rideau/exception/ticket": "T1"}},
		{"ecs", dropped, map[string]any{"dns/type": "query", "dns/response_code": nil}},
	} {
		for _, o := range others() {
			if o.name != c.format {
				continue
			}
			line := o.make(node()).Query(nil, c.r)
			for path, want := range c.want {
				if got := lookUp(t, line, path); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: %s is %v, want %v\n%s", c.format, path, got, want, line)
				}
			}
		}
	}
}

// Every kind of act has a class that fits, and its differences are kept.
func TestActsOfOthers(t *testing.T) {
	class := map[act.Kind]float64{act.Start: 600203, act.Stop: 600204, act.Reload: 300403, act.ReloadRefused: 300403, act.ListRefused: 300403, act.ListStale: 300403,
		act.BanBegan: 300410, act.BanEnded: 300411, act.ExceptionBegan: 300410, act.ExceptionEnded: 300411,
		act.ExceptionMade: 300401, act.ExceptionRemoved: 300404, act.ExceptionUsed: 300402, act.Flush: 600304, act.Force: 300403,
		act.ClockDistrusted: 501901, act.ClockTrusted: 501901, act.CertificateChanged: 300403, act.AccessDenied: 600300, act.SignIn: 600301, act.SignOut: 600304, act.NotReady: 501901, act.Ready: 501901,
		act.Seal: 501901, act.AlertRaised: 200401, act.AlertResolved: 200403, act.PageShown: 300402}
	for _, k := range act.Kinds() {
		a := &act.Act{Time: time.Unix(1700000000, 0), Kind: k, Object: "x", Changes: []act.Change{{Key: "bans", After: "b"}}}
		line := schema.NewOCSF(node()).Act(nil, a)
		if got := lookUp(t, line, "type_uid"); got != class[k] {
			t.Errorf("%s: type_uid %v, want %v", k, got, class[k])
		}
		if got := lookUp(t, line, "unmapped/changes"); fmt.Sprint(got) != "[map[after:b key:bans]]" {
			t.Errorf("%s: changes %v", k, got)
		}
		x := &act.Act{Time: time.Unix(1700000000, 0), Kind: k, Actor: act.Actor{Way: act.BySocket, User: "1000", Process: 4711},
			Exception: &act.Exception{ID: "press", Ticket: "T1", Approver: "A", Uses: 3}}
		for _, w := range []struct{ in, path, want string }{
			{"rideau", "actor/process", "4711"}, {"ocsf", "actor/process/pid", "4711"}, {"ecs", "process/pid", "4711"},
			{"rideau", "actor/user", "1000"}, {"ocsf", "actor/user/uid", "1000"}, {"ecs", "user/id", "1000"},
			{"rideau", "exception/ticket", "T1"}, {"ocsf", "unmapped/exception/ticket", "T1"}, {"ecs", "rideau/exception/approver", "A"}, {"ecs", "rideau/exception/uses", "3"},
		} {
			if w.in == "ocsf" && strings.HasPrefix(w.path, "actor") && (k == act.AlertRaised || k == act.AlertResolved) {
				continue // the class has no actor, and nobody asks for alerts
			}
			if got := fmt.Sprint(lookUp(t, encoders()[w.in].Act(nil, x), w.path)); got != w.want {
				t.Errorf("%s: %s: %s is %s, want %s", k, w.in, w.path, got, w.want)
			}
		}
		if got := lookUp(t, schema.NewECS(node()).Act(nil, a), "rideau/changes"); fmt.Sprint(got) != "[map[after:b key:bans]]" {
			t.Errorf("%s: changes %v", k, got)
		}
	}
}

// A name is written as by wire.NameString, whatever its labels hold.
func TestNames(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	e := schema.NewRideau(node())
	for range 2000 {
		var name []byte
		for range random.IntN(4) {
			n := 1 + random.IntN(20)
			name = append(name, byte(n))
			for range n {
				name = append(name, byte(random.UintN(256)))
			}
		}
		name = append(name, 0)
		if random.IntN(10) == 0 {
			name = name[:random.IntN(len(name))] // no name
		}
		r := record()
		r.SetName(name)
		if got := lookUp(t, e.Query(nil, r), "name"); got != wire.NameString(r.Name()) {
			t.Fatalf("%x: %v, want %s", name, got, wire.NameString(r.Name()))
		}
	}
}

// Encoding a query allocates nothing.
func TestAllocs(t *testing.T) {
	told := node()
	told.Client = func(dst []byte, a netip.Addr) []byte { return a.AppendTo(dst) }
	all := encoders()
	for _, o := range others() {
		all[o.name+", told"] = o.make(told)
	}
	for name, e := range all {
		r, b := record(), make([]byte, 0, 4096)
		if n := testing.AllocsPerRun(100, func() { b = e.Query(b[:0], r) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func encoders() map[string]sink.Encoder {
	return map[string]sink.Encoder{"rideau": schema.NewRideau(node()), "ocsf": schema.NewOCSF(node()), "ecs": schema.NewECS(node())}
}

func BenchmarkQuery(b *testing.B) {
	for name, e := range encoders() {
		b.Run(name, func(b *testing.B) {
			r, buf := record(), make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				buf = e.Query(buf[:0], r)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

// The parser for Microsoft Sentinel in the documentation reads keys that events
// of our own format have.
func TestParserOfSentinel(t *testing.T) {
	text, err := os.ReadFile("../../../docs/siem.md")
	if err != nil {
		t.Fatal(err)
	}
	_, parser, _ := strings.Cut(string(text), "```kql\n")
	parser, _, found := strings.Cut(parser, "```")
	if !found {
		t.Fatal("the parser is not there")
	}
	keys := map[string]any{}
	for _, f := range []func(*audit.Record){
		func(*audit.Record) {},
		func(r *audit.Record) { r.Monitored, r.Marks = true, resolver.Bypass },
		func(r *audit.Record) { r.Exception = &names.Exception{ID: "x"} },
	} {
		r := record()
		f(r)
		if err := json.Unmarshal(schema.NewRideau(node()).Query(nil, r), &keys); err != nil {
			t.Fatal(err)
		}
	}
	keys["rule"] = "" // where the entry is known
	for _, m := range regexp.MustCompile(`\be\.([a-z_]+)`).FindAllStringSubmatch(parser, -1) {
		if _, ok := keys[m[1]]; !ok {
			t.Errorf("no event has the key %s", m[1])
		}
	}
}
