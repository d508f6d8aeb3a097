package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// structuredError is what a client reads in a structured error.
type structuredError struct {
	C, FDBs  any
	J, O, L  string
	SubError int `json:"s"`
}

// TestStructuredErrors: a client that asks for a structured error gets one, within what it takes; one that does not gets text.
func TestStructuredErrors(t *testing.T) {
	w := newWorld(t)
	title := `"Interdiction d’une application de clavardage sur les appareils du gouvernement"`
	lists, bans := "", ""
	for _, b := range []struct{ id, more string }{
		{"other", `ede: prohibited, contact: "desk@example.ca"`},
		{"chat", `ede: censored, contact: "desk@example.ca, +1 613 555 0100"`},
		{"sink", `ede: blocked, sub_error: network-operator, action: sinkhole`},
	} {
		lists += fmt.Sprintf(`, {id: %s, names: [%s.example]}`, b.id, b.id)
		bans += fmt.Sprintf(`{id: ca-%s, title: {en: Ban on chat, fr: %s}, lists: [%s], %s}, `, b.id, title, b.id, b.more)
	}
	write := func(errors string) {
		w.write("rideau.yaml", strings.Replace(w.configText(func(s *settings) { s.extraLists = lists }), "bans: [", errors+"\nbans: ["+bans, 1))
	}
	write(`errors: {format: structured-25, language: fr, organization: Ministère, databases: [gc]}`)
	p := start(t, w.dir)
	ask := func(name string, size uint16, options ...dns.EDNS0) (*dns.Msg, *dns.EDNS0_EDE, int) {
		t.Helper()
		q := new(dns.Msg).SetQuestion(name, dns.TypeA)
		q.SetEdns0(size, false)
		q.IsEdns0().Option = options
		a, raw := exchangeRaw(t, p.dns[0], q)
		if e := extendedError(a); e != nil && len(raw) <= int(size) && !a.Truncated {
			return a, e, len(raw)
		}
		t.Fatalf("%s: %d octets of %d: %v", name, len(raw), size, a)
		return nil, nil, 0
	}
	wants := &dns.EDNS0_LOCAL{Code: 65001}
	const text = "ca-chat: Ban on chat / Interdiction d’une application"

	_, e, _ := ask("www.chat.example.", 1232)
	if !strings.HasPrefix(e.ExtraText, text) {
		t.Errorf("without asking: %s", e.ExtraText)
	}
	for _, options := range [][]dns.EDNS0{{wants}, {&dns.EDNS0_LOCAL{Code: 65002, Data: []byte("x")}, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("ignored")}}} {
		_, e, _ = ask("www.chat.example.", 1232, options...)
		want := `{"c":["mailto:desk@example.ca","tel:+1-613-555-0100"],"j":` + title + `,"o":"Ministère","l":"fr","fdbs":[{"db":"gc","id":"ca-chat"}]}`
		if e.InfoCode != 16 || e.ExtraText != want {
			t.Errorf("got  %d %s\nwant %s", e.InfoCode, e.ExtraText, want)
		}
	}
	a, e, _ := ask("sink.example.", 1232, wants)
	var s structuredError
	if err := json.Unmarshal([]byte(e.ExtraText), &s); err != nil || e.InfoCode != 15 || s.SubError != 5 || s.C != nil || len(a.Answer) != 1 {
		t.Errorf("%v, %d %s", a.Answer, e.InfoCode, e.ExtraText)
	}
	if _, e, _ = ask("other.example.", 1232, wants); !strings.HasPrefix(e.ExtraText, "ca-other: ") {
		t.Errorf("for prohibited: %s", e.ExtraText)
	}

	// The longest name: whole in 1232 octets, and in 512 without justification and organization.
	long := strings.Repeat(strings.Repeat("a", 63)+".", 4) + "chat.example."
	long = long[len(long)-254:]
	for size, want := range map[uint16]string{1232: "Ministère", 512: `{"c":["mailto:desk@example.ca","tel:+1-613-555-0100"],"fdbs":[{"db":"gc","id":"ca-chat"}]}`} {
		if _, e, n := ask(long, size, wants); !strings.Contains(e.ExtraText, want) {
			t.Errorf("%d of %d octets: %s", n, size, e.ExtraText)
		}
	}

	write(`errors: {option: 65001}`)
	p.reload("")
	if _, e, _ = ask("www.chat.example.", 1232, wants); !strings.HasPrefix(e.ExtraText, text) {
		t.Errorf("switched off: %s", e.ExtraText)
	}
}

// TestStructuredErrorsForPeers: what dig and kdig show of a structured error.
func TestStructuredErrorsForPeers(t *testing.T) {
	w := newWorld(t)
	w.write("rideau.yaml", strings.Replace(w.configText(), "title: {en: The ban}", "title: {en: The ban, fr: L’interdiction}, ede: censored, contact: desk@example.ca", 1)+
		"\nerrors: {format: structured-25, language: fr}\n")
	p := start(t, w.dir)
	eachClient(t, func(t *testing.T, path string) {
		for _, how := range []string{"+notcp", "+tcp", "+bufsize=512"} {
			// dig writes other octets than those of ASCII as numbers.
			got := client(t, path, p.dns[0], "banned.example", "+edns", "+ednsopt=65001", how)
			if !strings.Contains(got.text, "EDE: 16 (Censored)") || !strings.Contains(got.text, `{"c":["mailto:desk@example.ca"],"j":"L`) || !strings.Contains(got.text, `,"l":"fr"}`) {
				t.Errorf("%s: %s", how, got.text)
			}
			if got := client(t, path, p.dns[0], "banned.example", "+edns", how); !strings.Contains(got.text, "ban: The ban / L") {
				t.Errorf("%s: %s", how, got.text)
			}
		}
	})
}
