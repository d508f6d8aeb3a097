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

// The naive readers below describe a format with regular
// expressions, without regard for speed, memory or messages. They share no
// code with the real ones.

var (
	naiveName  = regexp.MustCompile(`^(?:[a-z0-9_-]{1,63}\.)+[a-z0-9_-]{1,63}\.?$`)
	naiveIPv4  = regexp.MustCompile(`^\d{1,3}(\.\d{1,3}){3}$`)
	naiveDigit = regexp.MustCompile(`(^|\.)[0-9]+\.?$`)
)

// naiveEntry returns an entry of a name, if it is a valid one.
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
	return naiveEntry(n, "suffix", strings.TrimPrefix(line, "."), "")
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

var naiveRule = regexp.MustCompile(`^(@@)?(\|\||\|)?(\*\.)?([^\s|^$/*]*)(\^?\|?)(?:\$([a-z-]+(?:,[a-z-]+)*))?$`)

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
	if unanchored := m[2]+m[3] == ""; unanchored && (m[5] != "" || strings.HasPrefix(m[4], "-")) || strings.HasSuffix(m[4], ".") {
		return nil
	}
	if m[2]+m[3]+m[5] == "" && (m[1] != "" || strings.Trim(strings.ReplaceAll(m[6], "badfilter", ""), ",") != "") {
		match = "suffix" // a bare name in a pattern
	}
	words := strings.Split(m[6], ",")
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
		match := "suffix"
		if strings.HasPrefix(name, "*.") {
			match = "below"
		}
		out = append(out, naiveEntry(n, match, strings.TrimPrefix(strings.TrimPrefix(name, "*."), "."), "")...)
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

var naiveTrigger = regexp.MustCompile(`^(\S+)\s+(?:\d+\s+)?(?:IN\s+)?(CNAME|A)\s+(\S+)\s*(?:;.*)?$`)

func naiveZone(n int, line string) []string {
	m := naiveTrigger.FindStringSubmatch(line)
	if m == nil || strings.HasSuffix(m[1], ".") && m[1] != "." {
		return nil // an owner outside the zone
	}
	action, ok := map[string]string{"CNAME .": "nxdomain", "CNAME *.": "nodata", "CNAME rpz-drop.": "drop", "CNAME rpz-passthru.": "passthru",
		"CNAME rpz-tcp-only.": "tcp-only", "A 192.0.2.1": "local 60 IN A 192.0.2.1", "CNAME garden.example.": "local 60 IN CNAME garden.example."}[m[2]+" "+m[3]]
	if !ok {
		return nil
	}
	owner, trigger := strings.ToLower(m[1]), ""
	if rest, ok := strings.CutSuffix(owner, ".rpz-nsdname"); ok {
		owner, trigger = rest, " rpz-nsdname"
	}
	if p := regexp.MustCompile(`^24\.0\.(\d+)\.(\d+)\.(\d+)\.rpz-(ip|nsip|client-ip)$`).FindStringSubmatch(owner); p != nil {
		kind := map[string]string{"ip": ""}[p[4]]
		if p[4] != "ip" {
			kind = " rpz-" + p[4]
		}
		return []string{fmt.Sprintf("%d %s.%s.%s.0/24%s %s", n, p[3], p[2], p[1], kind, action)}
	}
	if regexp.MustCompile(`\.rpz-(ip|nsip|client-ip)$`).MatchString(owner) {
		return nil
	}
	match := "exact"
	if rest, ok := strings.CutPrefix(owner, "*."); ok {
		owner, match = rest, "below"
	}
	more := trigger + " " + action
	if action == "passthru" {
		more += " except" // it may cover a public suffix
	}
	out := naiveEntry(n, match, owner, more)
	if trigger != "" && len(out) == 0 && strings.Contains(owner, ".") { // the servers of a public suffix are no public suffix
		out = naiveEntry(n, match, owner, more+" except")
	}
	for i := range out {
		out[i] = strings.TrimSuffix(out[i], " except")
	}
	return out
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
		format.RPZ: {"R CNAME .", "R CNAME *.", "*.R CNAME .", "R 60 IN CNAME rpz-drop.", "R CNAME rpz-passthru. ; why", "*.R IN CNAME rpz-tcp-only.", "R A 192.0.2.1",
			"R CNAME garden.example.", "R CNAME rpz-other.", "R.rpz-nsdname CNAME .", "24.0.2.0.192.rpz-ip CNAME .", "24.0.3.0.10.rpz-client-ip A 192.0.2.1",
			"24.0.9.51.198.rpz-nsip CNAME *.", "25.1.9.51.198.rpz-ip CNAME .", "R DNAME .", "R A 1.2.3", "; R CNAME ."},
	}
	names := []string{"a.example", "B.Example.NET.", "x_y.z-1.example", "co.uk", "github.io", "com", "a..b", "bad!name.example", "", ".",
		strings.Repeat("l", 63) + ".example", strings.Repeat("l", 64) + ".example", "1.2.x3", "deep.er.still.example.org", strings.Repeat("long.", 60) + "example"}
	naive := map[format.Format]func(int, string) []string{
		format.Plain: naivePlain, format.Hosts: naiveHosts, format.Adblock: naiveAdblock, format.Dnsmasq: naiveDnsmasq, format.Pack: naivePack, format.RPZ: naiveZone,
	}
	for form, read1 := range naive {
		rnd := rand.New(rand.NewPCG(3, uint64(len(form))))
		var lines []string
		for range 20_000 {
			line := ""
			for line == "" || form != format.RPZ && rnd.IntN(20) == 0 {
				line += pieces[form][rnd.IntN(len(pieces[form]))]
			}
			if form == format.RPZ {
				line = strings.SplitN(line, "R", 2)[0] + strings.Repeat([]string{"a.example", "B.Example.net", "co.uk", "com", "x_y.z-1.example", "a..b", "deep.er.example.org"}[rnd.IntN(7)], strings.Count(line, "R")&1) +
					strings.Join(strings.SplitN(line, "R", 2)[1:], "")
				lines = append(lines, line)
				continue
			}
			for strings.Contains(line, "N") {
				line = strings.Replace(line, "N", strings.ReplaceAll(names[rnd.IntN(len(names))], "N", "n"), 1)
			}
			lines = append(lines, line)
		}
		var want []string
		if form == format.RPZ {
			lines = slices.Concat([]string{"$TTL 60", "@ SOA . . 1 2 3 4 5"}, lines)
		}
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
			got = slices.DeleteFunc(got, func(e string) bool { return form != format.RPZ && strings.Contains(e, "/") }) // addresses
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
