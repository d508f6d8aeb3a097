package text_test

import (
	"testing"
	"time"

	"rideau/cmd/rideau/internal/text"
)

func TestParseName(t *testing.T) {
	for in, want := range map[string]string{
		"web.wechat.com": "web.wechat.com.", "WWW.Example.": "www.example.", "bücher.example": "xn--bcher-kva.example.", ".": ".", "com": "com.",
		"": "", "two words": "", "http://x.example/": "", "*.x.example": "", "a.example\nb.example": "", "192.0.2.1": "",
	} {
		got, err := text.ParseName(in)
		if want == "" && err == nil || want != "" && (err != nil || got.String() != want) {
			t.Errorf("%q: %v, %v; want %q", in, got, err, want)
		}
	}
}

func TestTypes(t *testing.T) {
	for name, want := range map[string]uint16{"A": 1, "aaaa": 28, "HTTPS": 65, "TYPE65280": 65280, "type1": 1} {
		if got, ok := text.ParseType(name); !ok || got != want {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "TYPE", "TYPE65536", "TYPE-1", "NOSUCH"} {
		if got, ok := text.ParseType(name); ok {
			t.Errorf("%q: %d", name, got)
		}
	}
	if got := text.TypeName(65) + " " + text.TypeName(65280); got != "HTTPS TYPE65280" {
		t.Error(got)
	}
}

func TestDate(t *testing.T) {
	at := time.Date(2027, 1, 31, 8, 0, 0, 0, time.FixedZone("", -5*3600))
	if got := text.Date(at) + text.Date(time.Time{}); got != "2027-01-31T13:00:00Z" {
		t.Error(got)
	}
}
