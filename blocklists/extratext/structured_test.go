package extratext

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestContacts(t *testing.T) {
	for in, want := range map[string][]string{
		"":                        nil,
		"Service desk":            nil,
		"desk@example.ca":         {"mailto:desk@example.ca"},
		"mailto:desk@example.ca":  {"mailto:desk@example.ca"},
		"Desk <desk@example.ca>":  {"mailto:desk@example.ca"},
		"https://help.example.ca": nil, // not a scheme of the draft
		"613-555-0100":            nil, // not understood everywhere
		"+1 (613) 555-0100":       {"tel:+1-613-555-0100"},
		"tel:+16135550100":        {"tel:+16135550100"},
		"tel:911":                 nil,
		"+1 613 call":             nil,
		"desk@example.ca, +1 613 555 0100; room 12, b@example.ca, c@example.ca": {"mailto:desk@example.ca", "tel:+1-613-555-0100", "mailto:b@example.ca"},
		"bureau@é.example":                           nil,
		"a@" + strings.Repeat("b", 200) + ".example": nil,
		`"a b"@example.ca`:                           nil,
	} {
		if got := Contacts(in); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestStructured(t *testing.T) {
	s := Structured{Version: Draft25, Option: 65001}
	f := Fact{ID: "ca-chat", TitleEN: "Ban on Chat", TitleFR: "Interdiction de Chat", Contact: "desk@example.ca", Code: 16}
	check := func(want ...string) {
		t.Helper()
		if got := s.Of(&f); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	check(`{"c":["mailto:desk@example.ca"],"j":"Ban on Chat","l":"en"}`, `{"c":["mailto:desk@example.ca"]}`)
	f.SubError = Malware // not for censored
	check(`{"c":["mailto:desk@example.ca"],"j":"Ban on Chat","l":"en"}`, `{"c":["mailto:desk@example.ca"]}`)
	s.French, s.Organization, s.Databases, f.Code, f.SubError = true, "Ministère <&> \"A\"", []string{"gc", "lumen"}, 15, NetworkOperator
	check(`{"c":["mailto:desk@example.ca"],"j":"Interdiction de Chat","s":5,"o":"Ministère <&> \"A\"","l":"fr","fdbs":[{"db":"gc","id":"ca-chat"},{"db":"lumen","id":"ca-chat"}]}`,
		`{"c":["mailto:desk@example.ca"],"s":5,"fdbs":[{"db":"gc","id":"ca-chat"},{"db":"lumen","id":"ca-chat"}]}`)
	f.TitleFR, f.Contact, f.Code, f.SubError, s.Databases, s.Organization = "", "", 17, NoSubError, nil, ""
	check(`{"j":"Ban on Chat","l":"en"}`) // no French title; and without it nothing that clients heed
	f.Code = 18
	check()
	f.Code, s.Version = 15, None
	check()
}

// TestStructuredBounds: whatever the parts, each text is within its limit, is an object with whole runes that clients heed, has a language where
// there is text, and is shorter than the one before.
func TestStructuredBounds(t *testing.T) {
	for _, title := range []string{"a", strings.Repeat("é", 128), strings.Repeat(`"`, 256), strings.Repeat("木", 85), strings.Repeat("\u2028", 85)} {
		for _, contact := range []string{"", "desk@example.ca", strings.Repeat("c", 60) + "@example.ca, +1 613 555 0100, mailto:" + strings.Repeat("d", 60) + "@example.ca"} {
			for _, databases := range [][]string{nil, {"gc"}, {strings.Repeat("d", 32), strings.Repeat("é", 16), "c", "d"}} {
				for _, id := range []string{"i", strings.Repeat("i", 64)} {
					s := Structured{Version: Draft25, Organization: title, Databases: databases}
					all := s.Of(&Fact{ID: id, TitleEN: title, Contact: contact, Code: 15, SubError: DNSOperator})
					before := fullLimit + 1
					if len(all) < 2 {
						t.Fatalf("%q", all)
					}
					for i, text := range all {
						var o struct {
							C       []string
							J, O, L string
							S       int
							FDBs    []struct{ DB, ID string }
						}
						d := json.NewDecoder(strings.NewReader(text))
						d.DisallowUnknownFields()
						if err := d.Decode(&o); err != nil || len(text) >= before || i > 0 && len(text) > shortLimit || !utf8.ValidString(text) ||
							len(o.C) == 0 && o.J == "" && o.S == 0 || (o.J != "" || o.O != "") != (o.L != "") || o.S != 6 {
							t.Errorf("%d octets: %s: %v", len(text), text, err)
						}
						before = len(text)
					}
				}
			}
		}
	}
}
