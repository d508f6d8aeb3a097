package format_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rideau/blocklists/format"
)

// The naive readers below are how one would write a format down with regular
// expressions, without a thought for speed, memory or messages. They share no
// code with the real ones.

var (
	naiveName  = regexp.MustCompile(`^(?:[a-z0-9_-]{1,63}\.)+[a-z0-9_-]{1,63}\.?$`)
	naiveIPv4  = regexp.MustCompile(`^\d{1,3}(\.\d{1,3}){3}$`)
	naiveDigit = regexp.MustCompile(`(^|\.)[0-9]+\.?$`)
)

// naiveEntry is an entry of a name if it is a good one.
func naiveEntry(line int, match, name, more string) []string {
	name = strings.ToLower(name)
	if strings.Contains(more, "except") && regexp.MustCompile(`^[a-z0-9_-]{1,63}\.?$`).MatchString(name) && !naiveDigit.MatchString(name) {
		return []string{fmt.Sprintf("%d %s %s.%s", line, match, strings.TrimSuffix(name, "."), more)}
	}
	if !naiveName.MatchString(name) || naiveDigit.MatchString(name) || len(strings.TrimSuffix(name, ".")) > 253 {
		return nil
	}
	if match != "exact" && !strings.Contains(more, "except") && slices.Contains([]string{"co.uk", "github.io"}, strings.TrimSuffix(name, ".")) {
		return nil
	}
	return []string{fmt.Sprintf("%d %s %s.%s", line, match, strings.TrimSuffix(name, "."), more)}
}

func naivePlain(n int, line string) []string {
	line = regexp.MustCompile(`(^|\s)#.*`).ReplaceAllString(line, "")
	line = strings.TrimSpace(line)
	switch {
	case strings.HasPrefix(line, "="):
		return naiveEntry(n, "exact", line[1:], "")
	case strings.HasPrefix(line, "*."):
		return naiveEntry(n, "below", line[2:], "")
	}
	return naiveEntry(n, "suffix", line, "")
}

func naiveHosts(n int, line string) (out []string) {
	line, _, _ = strings.Cut(line, "#")
	f := strings.Fields(line)
	switch {
	case len(f) == 1 && !naiveIPv4.MatchString(f[0]) && strings.TrimSuffix(f[0], ".") != "localhost.localdomain":
		return naiveEntry(n, "exact", f[0], "")
	case len(f) < 2 || !naiveIPv4.MatchString(f[0]):
		return nil
	}
	for _, name := range f[1:] {
		if strings.TrimSuffix(name, ".") != "localhost.localdomain" {
			out = append(out, naiveEntry(n, "exact", name, "")...)
		}
	}
	return out
}

var naiveRule = regexp.MustCompile(`^(@@)?(\|\||\|)?(\*\.)?([^\s|^$/*]*)\^?\|?(?:\$([a-z-]+(?:,[a-z-]+)*))?$`)

func naiveAdblock(n int, line string) []string {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "!") || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") || strings.Contains(line, "##") {
		return nil
	}
	if f := strings.Fields(line); len(f) > 1 && naiveIPv4.MatchString(f[0]) {
		return naiveHosts(n, line)
	}
	m := naiveRule.FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	match, more := "exact", ""
	switch {
	case m[3] != "":
		match = "below"
	case m[2] == "||":
		match = "suffix"
	}
	if m[1] != "" {
		more += " except"
	}
	words := strings.Split(m[5], ",")
	for _, w := range words {
		if !slices.Contains([]string{"", "important", "badfilter", "all", "popup"}, w) {
			return nil
		}
	}
	for _, w := range [][2]string{{"important", " important"}, {"badfilter", " cancel"}} {
		if slices.Contains(words, w[0]) {
			more += w[1]
		}
	}
	return naiveEntry(n, match, m[4], more)
}

var naiveOption = regexp.MustCompile(`^(?:--)?(address|server|local)\s*=\s*/(.*)/([^/]*)$`)

func naiveDnsmasq(n int, line string) (out []string) {
	line = regexp.MustCompile(`(^|\s)#.*`).ReplaceAllString(line, "")
	m := naiveOption.FindStringSubmatch(strings.TrimSpace(line))
	if m == nil || m[1] != "address" && strings.TrimSpace(m[3]) != "" {
		return nil
	}
	for _, name := range strings.Split(m[2], "/") {
		out = append(out, naiveEntry(n, "suffix", strings.TrimPrefix(strings.TrimPrefix(name, "*."), "."), "")...)
	}
	return out
}

func naivePack(n int, line string) []string {
	line = strings.TrimSpace(line)
	f := strings.Split(line, "\t")
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	if strings.HasPrefix(line, "#") || len(f) < 3 || len(f) > 5 || !slices.Contains([]string{"service", "web", "cdn"}, f[2]) ||
		!slices.Contains([]string{"suffix", "exact", "below"}, f[1]) {
		return nil
	}
	return naiveEntry(n, f[1], f[0], "")
}

// TestAgainstNaive reads generated lists, good lines among bad ones, in both
// ways.
func TestAgainstNaive(t *testing.T) {
	// Each line is one of these with names for N, or several after one another.
	pieces := map[format.Format][]string{
		format.Plain: {"N", "=N", "*.N", "N # why", " N ", "#N", "==N", "*N", "N N", "N#x"},
		format.Hosts: {"0.0.0.0 N", "127.0.0.1\tN", "192.0.2.1  N N", "N", "0.0.0.0 N # N", "#N", "0.0.0.0 localhost.localdomain", "N N", "0.0.0.0 N#x"},
		format.Adblock: {"||N^", "||N", "|N^", "N", "@@||N^", "@@N", "||N^|", "||N^$important", "||N^$badfilter", "||N^$all,important", "||N^$script", "N##.ad",
			"! N", "||*.N^", "||N/x", "0.0.0.0 N", "[N]", "||N^$", "|N", "||NN^"},
		format.Dnsmasq: {"address=/N/", "address=/N/0.0.0.0", "address=/N/N/#", "server=/N/", "server=/N/192.0.2.1", "local=/N/", "--address=/N/", "address=/*.N/",
			"address=/.N/", "no-resolv", "address=/N/ # N", "address=N", "N", "address = /N/", "#address=/N/"},
		format.Pack: {"N\tsuffix\tservice\tp\ts", "N\texact\tweb", "N\tbelow\tcdn\tp", "N\tsuffix\tshared\tp\ts", "N\tother\tweb", "#N\tsuffix\tweb", "N\tsuffix",
			"N\tsuffix\tweb\tp\ts\tx", " N \t exact \t web ", "N suffix web"},
	}
	names := []string{"a.example", "B.Example.NET.", "x_y.z-1.example", "co.uk", "github.io", "com", "a..b", "bad!name.example", "", ".",
		strings.Repeat("l", 63) + ".example", strings.Repeat("l", 64) + ".example", "1.2.x3", "deep.er.still.example.org", strings.Repeat("long.", 60) + "example"}
	naive := map[format.Format]func(int, string) []string{
		format.Plain: naivePlain, format.Hosts: naiveHosts, format.Adblock: naiveAdblock, format.Dnsmasq: naiveDnsmasq, format.Pack: naivePack,
	}
	for form, read1 := range naive {
		rnd := rand.New(rand.NewPCG(3, uint64(len(form))))
		var lines []string
		for range 20_000 {
			line := ""
			for line == "" || rnd.IntN(20) == 0 {
				line += pieces[form][rnd.IntN(len(pieces[form]))]
			}
			for strings.Contains(line, "N") {
				line = strings.Replace(line, "N", strings.ReplaceAll(names[rnd.IntN(len(names))], "N", "n"), 1)
			}
			lines = append(lines, line)
		}
		var want []string
		for i, line := range lines {
			want = append(want, read1(i+1, line)...)
		}
		for _, end := range []string{"\n", "\r\n"} {
			got, _, err := read(t, format.Options{Format: form, MaxSkipped: 1}, strings.Join(lines, end)+end)
			if err != nil {
				t.Fatal(form, err)
			}
			if len(want) < 1000 {
				t.Errorf("%s: only %d entries: the lines say nothing", form, len(want))
			}
			got = slices.DeleteFunc(got, func(e string) bool { return strings.Contains(e, "/") }) // addresses
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					at := 0
					fmt.Sscan(append(slices.Clone(got), want...)[min(i, len(got)+len(want)-1)], &at)
					t.Errorf("%s: entry %d: %q, naive %q; line %d is %q", form, i, got[min(i, len(got)-1)], want[min(i, len(want)-1)], at, lines[max(at-1, 0)])
					break
				}
			}
		}
	}
}
