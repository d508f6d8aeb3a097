package node_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"rideau/config/node"
)

// one reads text as the member x of a document, and returns what became of it and what was said about it.
func one[T any](t *testing.T, text string, p node.Parse[T]) (T, string) {
	t.Helper()
	d, err := node.Open("f", []byte("x: "+text+"\n"))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var got T
	node.Set(d.Root(), "x", &got, p)
	if _, err := d.Close(); err != nil {
		return got, err.Error()
	}
	return got, ""
}

// accepts reports what p makes of each text.
func accepts[T comparable](p node.Parse[T], want map[string]T) func(*testing.T) {
	return func(t *testing.T) {
		for text, w := range want {
			if got, said := one(t, text, p); got != w || said != "" {
				t.Errorf("%s is %v (%s), want %v", text, got, said, w)
			}
		}
	}
}

// refuses wants every text to be named in one complaint, and the default to stay.
func refuses[T comparable](p node.Parse[T], texts ...string) func(*testing.T) {
	return func(t *testing.T) {
		var zero T
		for _, text := range texts {
			got, said := one(t, text, p)
			if got != zero || !strings.HasPrefix(said, "f:1: x: ") || strings.Contains(said, "\n") || !strings.Contains(said, "; ") {
				t.Errorf("%s is %v: %s", text, got, said)
			}
		}
	}
}

func TestParse(t *testing.T) {
	const day = 24 * time.Hour
	t.Run("duration", accepts(node.Duration(0, 365*day), map[string]time.Duration{
		"0": 0, "0s": 0, "10s": 10 * time.Second, "1h30m": 90 * time.Minute, "1800ms": 1800 * time.Millisecond, "7d": 7 * day, `"5m"`: 5 * time.Minute,
	}))
	t.Run("no duration", refuses(node.Duration(0, 365*day), "10", "1.5", "-1s", "366d", "-1d", "1.5d", "d", "ten", "null", "[1s]", "{a: b}", "1e3s", "99999999h", `""`))
	t.Run("TTL", accepts(node.TTL(0, time.Hour), map[string]time.Duration{"0": 0, "1000ms": time.Second, "1h": time.Hour}))
	t.Run("no TTL", refuses(node.TTL(0, time.Hour), "1500ms", "61m"))
	t.Run("size", accepts(node.Size(0, math.MaxInt64), map[string]int64{
		"0": 0, "65536": 65536, "10B": 10, "1KiB": 1024, "3MiB": 3 << 20, "2GiB": 2 << 30, "8 MiB": 8 << 20, "9223372036854775807GiB": math.MaxInt64,
	}))
	t.Run("no size", refuses(node.Size(0, 1<<30), "2GiB", "1KB", "1K", "-1", "1.5MiB", "MiB", "9223372036854775808", "null", "[]"))
	t.Run("integer", accepts(node.Integer(-5, 5), map[string]int{"5": 5, "-5": -5, "+3": 3}))
	t.Run("no integer", refuses(node.Integer(-5, 5), "6", "-6", `"3"`, "3.0", "0x3", "1e0", "true", "99999999999999999999", "null", "[3]"))
	t.Run("share", accepts(node.Share, map[string]float64{"0": 0, "1": 1, "0.25": 0.25, "1e-1": 0.1, ".5": 0.5}))
	t.Run("no share", refuses(node.Share, "1.01", "-0.1", ".nan", ".inf", "50%", `"0.5"`, "null"))
	t.Run("boolean", accepts(node.Boolean, map[string]bool{"true": true, "True": true, "false": false, "FALSE": false}))
	t.Run("no boolean", refuses(node.Boolean, "yes", "on", "1", `"true"`, "null", "[true]"))
	t.Run("text", accepts(node.Text(5), map[string]string{"abc": "abc", `"12345"`: "12345", "' a '": "a", "|\n  abc": "abc", `""`: ""}))
	t.Run("no text", refuses(node.Text(5), "123456", "abcdef", "12", "true", "2023-10-30", "null", "|\n  a\n  b", `"a\tb"`))
	t.Run("instant", accepts(node.Instant, map[string]time.Time{
		"2023-10-30":                time.Date(2023, 10, 30, 0, 0, 0, 0, time.UTC),
		`"2023-10-30"`:              time.Date(2023, 10, 30, 0, 0, 0, 0, time.UTC),
		"2023-10-30T00:00:00-04:00": time.Date(2023, 10, 30, 4, 0, 0, 0, time.UTC),
		"2024-02-29T12:00:00Z":      time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
	}))
	t.Run("no instant", refuses(node.Instant, "2023-02-29", "2023-10-30 00:00:00", "2023-10-30T00:00:00", "30.10.2023", "20231030", "null", "[]"))
	t.Run("word", accepts(node.Word("a mode", "on", "off"), map[string]string{"on": "on", `"off"`: "off"}))
	t.Run("no word", refuses(node.Word("a mode", "on", "off"), "On", "true", "of", "null", "[on]"))
}

func TestSuggest(t *testing.T) {
	known := []string{"nxdomain", "nodata", "sinkhole", "refused", "drop"}
	for word, want := range map[string]string{
		"nxdomian": "nxdomain", "NXDOMAIN": "nxdomain", "no-data": "nodata", "sinkole": "sinkhole", "refuse": "refused", "dorp": "drop",
		"x": "", "": "", "block": "", strings.Repeat("drop", 1000): "",
	} {
		got := node.Suggest(word, known)
		if want == "" {
			want = "use one of nxdomain, nodata, sinkhole, refused, drop"
		} else {
			want = `did you mean "` + want + `"? use one of nxdomain, nodata, sinkhole, refused, drop`
		}
		if got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("list-%03d", i)
	}
	if got := node.Suggest("zzz", many); !strings.HasSuffix(got, "list-019, ...") {
		t.Errorf("a hundred words: %s", got)
	}
}

// TestKnown: Known returns paths as documentation writes them.
func TestKnown(t *testing.T) {
	d, err := node.Open("f", []byte("list: [{b: 1}, {b: 2, unknown: 3}]\nsection:\n"))
	if err != nil {
		t.Fatal(err)
	}
	m := d.Root()
	var got []int
	node.Set(m, "list", &got, node.List(0, 9, func(v node.Value) (int, bool) {
		var b int
		node.Set(v.Mapping(), "b", &b, node.Integer(0, 9))
		return b, true
	}))
	m.Section("section", func(s *node.Mapping) { s.Require("needed", "write it") })
	m.Done()
	_, err = d.Close()
	if want := "f:2: section.needed: missing; write it"; err == nil || err.Error() != want {
		t.Errorf("said %v, want %s", err, want)
	}
	if want := []string{"list", "list[].b", "section"}; !slices.Equal(d.Known(), want) || !slices.Equal(got, []int{1, 2}) {
		t.Errorf("known %v and read %v, want %v and [1 2]", d.Known(), got, want)
	}
}
