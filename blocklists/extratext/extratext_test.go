package extratext

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestOf(t *testing.T) {
	long := strings.Repeat("é", 100)
	for _, c := range []struct {
		id, en, fr, contact, want string
	}{
		{"chat", "", "", "", "chat"},
		{"chat", "Ban on Chat", "", "", "chat: Ban on Chat"},
		{"chat", "Ban on Chat", "Interdiction de Chat", "", "chat: Ban on Chat / Interdiction de Chat"},
		{"chat", "Ban on Chat", "Interdiction de Chat", "desk@example.ca", "chat: Ban on Chat / Interdiction de Chat (desk@example.ca)"},
		{"chat", "Ban on Chat", "", long, "chat: Ban on Chat"},
		{"wechat", "Ban on WeChat on government-issued mobile devices", "Interdiction de WeChat sur les appareils mobiles fournis par le gouvernement", "",
			"wechat: Ban on WeChat on government-issued mobile devices / Interdiction de WeChat sur les appareils mobiles fournis par le gouvernement"},
		{"chat", "Ban on Chat", long, "", "chat: Ban on Chat / " + strings.Repeat("é", 58) + "..."},
		{"chat", long, long, "desk", "chat: " + strings.Repeat("é", 29) + "... / " + strings.Repeat("é", 29) + "... (desk)"},
	} {
		got := Of(c.id, []string{c.en, c.fr}, c.contact)
		if got != c.want {
			t.Errorf("%q\ngot  %s\nwant %s", c, got, c.want)
		}
	}
}

// TestBounds: whatever the parts, the text is within its limit, has whole runes, and has something of each title for which there is space.
func TestBounds(t *testing.T) {
	for id := range 65 {
		for _, title := range []string{"", "a", strings.Repeat("a", 70), strings.Repeat("é", 128), strings.Repeat("木", 85)} {
			for _, contact := range []string{"", "desk", strings.Repeat("c", 46), strings.Repeat("c", 1024)} {
				got := Of(strings.Repeat("i", id), []string{title, strings.Repeat("é", 128)}, contact)
				if len(got) > Limit || !utf8.ValidString(got) || !strings.Contains(got, "éé") {
					t.Fatalf("%d octets: %s", len(got), got)
				}
			}
		}
	}
}
