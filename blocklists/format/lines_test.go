package format_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"strings"
	"testing"
	"time"

	"rideau/blocklists/entry"
	"rideau/blocklists/format"
	"rideau/blocklists/format/syntax"
)

// bomb is a compressed list that expands to that many equal lines, after a first one.
func bomb(t *testing.T, first, line string, lines int) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write([]byte(first))
	chunk := []byte(strings.Repeat(line, 1<<16))
	for ; lines > 0; lines -= 1 << 16 {
		z.Write(chunk)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestManyLines: a compressed list of blank lines or comments, of a few hundred kilobytes, ends at the bound of lines.
func TestManyLines(t *testing.T) {
	const zone = "$ORIGIN z.\n@ SOA . . 1 1 1 1 1\na.example CNAME .\n"
	for what, c := range map[string]struct {
		format      format.Format
		first, line string
		max         int // 0: the default
	}{
		"plain, blank":      {format.Plain, "a.example\n", "\n", 0},
		"plain, CRLF":       {format.Plain, "a.example\n", "\r\n", 1 << 20},
		"plain, space":      {format.Plain, "a.example\n", " \n", 1 << 20},
		"plain, names":      {format.Plain, "a.example\n", "very.long.name.example\n", 1 << 20},
		"hosts, comment":    {format.Hosts, "0.0.0.0 a.example\n", "#\n", 1 << 20},
		"adblock, blank":    {format.Adblock, "||a.example^\n", "\n", 1 << 20},
		"dnsmasq, comment":  {format.Dnsmasq, "address=/a.example/\n", "#\n", 1 << 20},
		"pack, comment":     {format.Pack, "a.example\tsuffix\tservice\tx\ty\n", "#\n", 1 << 20},
		"zone, blank":       {format.RPZ, zone, "\n", 1 << 20},
		"zone, comment":     {format.RPZ, zone, ";\n", 1 << 20},
		"zone, parentheses": {format.RPZ, zone + "b.example CNAME (\n", "\n", 1 << 20},
		"auto, bad lines":   {format.Auto, "a.example\n", "!\n", 1 << 20},
	} {
		lines := max(c.max, syntax.MaxLines/8)
		if c.max == 0 {
			lines = syntax.MaxLines
		}
		text, made := bomb(t, c.first, c.line, lines+1<<16), time.Now()
		stats, err := format.Read(bytes.NewReader(text), format.Options{File: "list.gz", Format: c.format, MaxSkipped: 1, MaxLines: c.max},
			func(entry.Entry) error { return nil })
		if !errors.Is(err, syntax.ErrTooManyLines) || !strings.Contains(err.Error(), "list.gz:") {
			t.Errorf("%s: %v", what, err)
		}
		t.Logf("%s: %d octets; %d lines in %v", what, len(text), stats.Lines, time.Since(made))
	}
}

// TestSlowList: the reading of a list ends when its time is up.
func TestSlowList(t *testing.T) {
	for f, first := range map[format.Format]string{format.Plain: "a.example\n", format.Hosts: "0.0.0.0 a.example\n", format.RPZ: "a.example CNAME .\n"} {
		if f == format.RPZ {
			first = "$ORIGIN z.\n@ SOA . . 1 1 1 1 1\n" + first
		}
		text := bomb(t, first, strings.Repeat(" ", 20)+"#\n", 1<<17)
		o := format.Options{File: "list.gz", Format: f, MaxSkipped: 1, Until: time.Now().Add(-time.Second)}
		if _, err := format.Read(bytes.NewReader(text), o, func(entry.Entry) error { return nil }); !errors.Is(err, syntax.ErrTooSlow) {
			t.Errorf("%s: %v", f, err)
		}
	}
}
