package config_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rideau/config"
	"rideau/config/policy"
)

// refused parses text that must not be accepted, and returns its problems.
func refused(t *testing.T, text string) config.Problems {
	t.Helper()
	_, err := config.Parse("f", []byte(text))
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("accepted, or not Problems: %v", err)
	}
	return problems
}

// TestHostile parses texts that are attacks, or not text.
func TestHostile(t *testing.T) {
	t.Run("aliases that multiply", func(t *testing.T) {
		var b strings.Builder
		b.WriteString("lists:\n- id: l0\n  names: &n [" + strings.Repeat("x,", 100_000) + "x]\n")
		for i := range 255 {
			fmt.Fprintf(&b, "- {id: l%d, names: *n}\n", i+1)
		}
		p := refused(t, b.String())
		if want := "f:23: lists[20].names: with its aliases followed the file has more than 2097152 values; write the values out, without aliases"; p.Error() != want {
			t.Errorf("got %v", p)
		}
	})
	t.Run("aliases of wide mappings", func(t *testing.T) {
		var wide strings.Builder
		for i := range 100_000 {
			fmt.Fprintf(&wide, "k%d,", i)
		}
		p := refused(t, "groups: [&g {"+wide.String()+"k}"+strings.Repeat(",*g", policy.MaxGroups-1)+"]\n")
		if len(p) != 1001 || !strings.Contains(p.Error(), "there are more problems") {
			t.Errorf("%d problems", len(p))
		}
	})
	t.Run("aliases of aliases", func(t *testing.T) {
		var b strings.Builder
		b.WriteString("a0: &a0 [x]\n")
		for i := range 60 {
			fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
		}
		b.WriteString("bans: *a60\n")
		if p := refused(t, b.String()); len(p) != 61+2 {
			t.Errorf("%d problems, want one for each unknown key and two for bans: %v", len(p), p)
		}
	})
	t.Run("more problems than anyone reads", func(t *testing.T) {
		p := refused(t, "lists: [{id: a, names: ["+strings.Repeat("5, ", 3000)+"x.example]}]\n")
		if len(p) != 1001 || p[1000].String() != "f: there are more problems; mend these first" {
			t.Errorf("%d problems, last %v", len(p), p[len(p)-1])
		}
	})
	t.Run("too many bans", func(t *testing.T) {
		var b strings.Builder
		b.WriteString("lists: [{id: l, pack: wechat}]\nbans:\n")
		for i := range policy.MaxBans + 1 {
			fmt.Fprintf(&b, "- {id: b%d, title: {en: B}, lists: [l]}\n", i)
		}
		if p := refused(t, b.String()); len(p) != 1 || p[0].Line != policy.MaxBans+3 || p[0].Message != "more than 64" {
			t.Errorf("got %v", p)
		}
	})
	texts := map[string]struct {
		text string
		want config.Problem
	}{
		"not UTF-8":         {"log:\n  level: info\n  format: \xff\n", config.Problem{Line: 3, Message: "the text is not UTF-8"}},
		"UTF-16":            {"\xff\xfel\x00o\x00g\x00:\x00 \x00", config.Problem{Line: 1, Message: "the text is not UTF-8"}},
		"control character": {"log:\n  level: in\x00fo\n", config.Problem{Line: 2, Message: "control character U+0000"}},
		"separator":         {"log:\n  level: in\u2028fo\n", config.Problem{Line: 2, Message: "line separator U+2028"}},
		"return":            {"log:\r  level: info\r", config.Problem{Line: 1, Message: "line separator U+000D"}},
		"deep":              {strings.Repeat("[", 20_000), config.Problem{Line: 1, Message: "the text is not YAML: exceeded max depth of 10000"}},
		"unclosed on page two": {"lists:\n- id: a\n  names:\n" + strings.Repeat("  - a.example\n", 500) + "  - 'b.example\n" + strings.Repeat("  - c.example\n", 500),
			config.Problem{Line: 504, Message: "the text is not YAML: found unexpected end of stream"}},
	}
	for name, tc := range texts {
		t.Run(name, func(t *testing.T) {
			p := refused(t, tc.text)
			if len(p) != 1 || p[0].Line != tc.want.Line || p[0].Message != tc.want.Message || p[0].Remedy == "" {
				t.Errorf("got %v, want line %d: %s", p, tc.want.Line, tc.want.Message)
			}
		})
	}
}

// TestByteOrderMark accepts the mark that some editors write at the beginning.
func TestByteOrderMark(t *testing.T) {
	if c := parse(t, "\ufeff"+minimal); len(c.Bans) != 1 {
		t.Errorf("bans: %v", c.Bans)
	}
}

// FuzzParse demands no panic, a remedy for every problem, and values within the limits in everything that is accepted.
func FuzzParse(f *testing.F) {
	f.Add(config.DefaultText())
	f.Add(config.ExampleText())
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse("f", text)
		if err == nil {
			checkLimits(t, c)
			if again := config.Changed(c, c); len(again) > 0 {
				t.Errorf("differs from itself: %v", again)
			}
			return
		}
		var problems config.Problems
		if c != nil || !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("no Problems: %v", err)
		}
		for _, p := range problems {
			if p.File != "f" || p.Message == "" || p.Remedy == "" || p.Line < 0 || p.Line > strings.Count(string(text), "\n")+1 {
				t.Errorf("problem %+v", p)
			}
		}
	})
}

// checkLimits checks the limits on which other packages rely.
func checkLimits(t *testing.T, c *config.Config) {
	within := func(what string, ok bool) {
		if !ok {
			t.Errorf("%s is out of its limits: %+v", what, c)
		}
	}
	within("listen", len(c.Listen.Addresses) > 0 && c.Listen.UDPSize >= 512 && c.Listen.UDPSize <= 4096 && c.Listen.Workers >= 0 &&
		c.Listen.MaxPending > 0 && c.Listen.MaxPending <= 65536 && c.Listen.TCP.IdleTimeout > 0)
	within("clients", len(c.Clients.Allow) > 0 && c.Clients.RefusedPerSecond >= 0)
	within("groups", len(c.Groups) <= policy.MaxGroups)
	within("upstream", len(c.Upstream.Servers) > 0 && c.Upstream.AttemptTimeout > 0 && c.Upstream.AttemptTimeout <= c.Upstream.Timeout)
	for _, s := range c.Upstream.Servers {
		within("server", s.Server != "" && (s.Transport == config.System) == (len(s.Addresses) == 0))
	}
	within("cache", c.Cache.MaxEntries > 0 && c.Cache.MaxBytes > 0 && c.Cache.MinTTL <= c.Cache.MaxTTL &&
		c.Cache.FailureTTL >= time.Second && c.Cache.FailureTTL <= 5*time.Minute && c.Cache.MaxStale <= 7*24*time.Hour)
	within("lists", len(c.Lists) <= policy.MaxLists)
	ids := map[string]bool{}
	for _, l := range c.Lists {
		sources := slices.DeleteFunc([]bool{l.Pack != "", l.File != "", l.Folder != "", l.URL != "", len(l.Names) > 0}, func(b bool) bool { return !b })
		within("list", len(sources) == 1 && !ids[l.ID] && l.MaxShrink >= 0 && l.MaxShrink <= 1 && l.MaxSkipped >= 0 && l.MaxSkipped <= 1 &&
			len(l.Names) == len(l.NameLines) && (l.Format == policy.FormatPack) == (len(l.Tiers) > 0))
		ids[l.ID] = true
	}
	within("bans", len(c.Bans) <= policy.MaxBans && len(c.Exceptions) <= policy.MaxExceptions)
	for _, b := range c.Bans {
		within("ban", b.ID != "" && b.Title.EN != "" && b.TTL >= time.Second && b.TTL <= time.Hour && b.EDE >= 15 && b.EDE <= 18 &&
			len(b.Lists)+len(b.AllBut) > 0 && len(b.Groups) > 0 && (b.Expires.IsZero() || b.Expires.After(b.Effective)) &&
			b.Sinkhole.IPv4.Is4() && b.Sinkhole.IPv6.Is6() && !slices.ContainsFunc(b.Lists, func(id string) bool { return !ids[id] }))
	}
	within("reload", c.Reload.Interval >= 50*time.Millisecond && c.Reload.Interval <= time.Minute)
}
