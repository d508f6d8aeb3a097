package format_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"rideau/blocklists/format"
)

const zoneHead = "$TTL 300\n$ORIGIN rpz.example.\n@ SOA localhost. root.localhost. 1 3600 600 86400 300\n  NS localhost.\n"

func TestRPZ(t *testing.T) {
	testGood(t, format.Options{Format: format.RPZ}, []goodCase{
		{"actions", zoneHead + "a.example CNAME .\nb.example CNAME *.\nc.example CNAME rpz-drop.\nd.example CNAME rpz-tcp-only.\ne.example CNAME RPZ-Passthru.\nf.example CNAME f.example.\n", []string{
			"5 exact a.example. nxdomain", "6 exact b.example. nodata", "7 exact c.example. drop", "8 exact d.example. tcp-only", "9 exact e.example. passthru", "10 exact f.example. passthru"}},
		{"escapes", zoneHead + "\\097.example CNAME .\n\\042.b.example CNAME *.\nc\\-d.ex\\065mple CNAME rpz-p\\097ssthru.\n24.0.2.0.192.rpz-\\105p CNAME .\n", []string{
			"5 exact a.example. nxdomain", "6 below b.example. nodata", "7 exact c-d.example. passthru", "8 192.0.2.0/24 nxdomain"}},
		{"local data", zoneHead + "a.example A 192.0.2.1\n 60 A 192.0.2.2\n AAAA 2001:db8::1\n TXT \"why\"\n MX 10 mail.example.\n*.a.example CNAME *.garden.example.\nb.example CNAME garden.example.\nc.example TYPE65280 \\# 2 ABCD\n", []string{
			"5 exact a.example. local 300 IN A 192.0.2.1", "6 exact a.example. local 60 IN A 192.0.2.2", "7 exact a.example. local 300 IN AAAA 2001:db8::1",
			`8 exact a.example. local 300 IN TXT "why"`, "9 exact a.example. local 300 IN MX 10 mail.example.",
			"10 below a.example. local 300 IN CNAME *.garden.example.", "11 exact b.example. local 300 IN CNAME garden.example.", `12 exact c.example. local 300 CLASS1 TYPE65280 \# 2 abcd`}},
		{"wildcards", zoneHead + "a.example CNAME .\n*.a.example CNAME .\n", []string{"5 exact a.example. nxdomain", "6 below a.example. nxdomain"}},
		{"absolute owners and letter case", zoneHead + "A.Example.RPZ.example. IN 60 CNAME .\n", []string{"5 exact a.example. nxdomain"}},
		{"addresses in answers", zoneHead + "24.0.2.0.192.rpz-ip CNAME .\n32.1.2.0.192.RPZ-IP CNAME .\n48.zz.101.db8.2001.rpz-ip CNAME .\n128.1.zz.db8.2001.rpz-ip CNAME .\n128.1.zz.rpz-ip CNAME .\n128.zz.rpz-ip CNAME .\n128.8.7.6.5.4.3.2.1.rpz-ip A 192.0.2.9\n", []string{
			"5 192.0.2.0/24 nxdomain", "6 192.0.2.1/32 nxdomain", "7 2001:db8:101::/48 nxdomain", "8 2001:db8::1/128 nxdomain", "9 ::1/128 nxdomain", "10 ::/128 nxdomain", "11 1:2:3:4:5:6:7:8/128 local 300 IN A 192.0.2.9"}},
		{"triggers in any letter case", zoneHead + "24.0.2.0.192.Rpz-Ip CNAME .\nns.example.rPZ-nsdname CNAME .\nrpz-ip.example CNAME .\n", []string{
			"5 192.0.2.0/24 nxdomain", "6 exact ns.example. rpz-nsdname nxdomain", "7 exact rpz-ip.example. nxdomain"}},
		{"what blocks nothing may be as wide as it likes", zoneHead + "com CNAME rpz-passthru.\n*.co.uk CNAME rpz-passthru.\n", []string{"5 exact com. passthru", "6 below co.uk. passthru"}},
		{"passthru as it was written once", zoneHead + "www.example CNAME www.example.\n32.1.2.0.192.rpz-ip CNAME 32.1.2.0.192.\nns.example.rpz-nsdname CNAME NS.example.\n32.2.2.0.192.rpz-ip CNAME 32.1.2.0.192.\n", []string{
			"5 exact www.example. passthru", "6 192.0.2.1/32 passthru", "7 exact ns.example. rpz-nsdname passthru", "8 192.0.2.2/32 local 300 IN CNAME 32.1.2.0.192."}},
		{"other triggers", zoneHead + "24.0.2.0.192.rpz-client-ip CNAME rpz-drop.\nns.example.rpz-nsdname CNAME .\n*.ns.example.rpz-nsdname CNAME *.\n32.1.2.0.192.rpz-nsip CNAME rpz-passthru.\n", []string{
			"5 192.0.2.0/24 rpz-client-ip drop", "6 exact ns.example. rpz-nsdname nxdomain", "7 below ns.example. rpz-nsdname nodata", "8 192.0.2.1/32 rpz-nsip passthru"}},
		{"no origin", "$TTL 30\n@ SOA localhost. root.localhost. 1 3600 600 86400 300\n@ NS localhost.\na.example CNAME .\n*.a.example CNAME .\n", []string{"4 exact a.example. nxdomain", "5 below a.example. nxdomain"}},
		{"record over several lines", "@ 300 IN SOA localhost. root.localhost. (\n 1 ; serial\n 3600 600\n 86400 300 )\na.example CNAME . ; why\n", []string{"5 exact a.example. nxdomain"}},
		{"origin changes", zoneHead + "$ORIGIN example.rpz.example.\na CNAME .\n$ORIGIN net\nb CNAME .\n", []string{"6 exact a.example. nxdomain", "8 exact b.net.example. nxdomain"}},
		{"the zone's own data", zoneHead + "@ TXT \"made by hand\"\na.example CNAME .\n", []string{"6 exact a.example. nxdomain"}},
		{"no newline at the end", zoneHead + "a.example CNAME .", []string{"5 exact a.example. nxdomain"}},
		{"line ends of two octets", strings.ReplaceAll(zoneHead+"a.example CNAME .\n", "\n", "\r\n"), []string{"5 exact a.example. nxdomain"}},
		{"byte order mark", "\ufeff" + zoneHead + "a.example CNAME .\n", []string{"5 exact a.example. nxdomain"}},
		{"comments", "; head\n\n" + zoneHead + "  ; x\na.example CNAME .\n", []string{"8 exact a.example. nxdomain"}},
	})
}

func TestRPZProblems(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"a.example CNAME rpz-what.", "an action that is not known; use CNAME with ., *., rpz-passthru., rpz-drop. or rpz-tcp-only., or local data"},
		{"24.1.2.0.192.rpz-ip CNAME .", "an address block with bits set beyond its length; write the block's first address, such as 192.0.2.0/24"},
		{"0.0.0.0.0.rpz-ip CNAME .", "an address block that covers every address; name what to block"},
		{"33.1.2.0.192.rpz-ip CNAME .", "not the address of a trigger; write the length and then the address backwards: 24.0.2.0.192.rpz-ip"},
		{"rpz-ip CNAME .", "not the address of a trigger; write the length and then the address backwards: 24.0.2.0.192.rpz-ip"},
		{"a.example. CNAME .", "an owner outside the zone; end owners without a dot, or correct the origin"},
		{"33.1.2.0.192.rpz-client-ip CNAME .", "not the address of a trigger; write the length and then the address backwards: 24.0.2.0.192.rpz-ip"},
		{"*.rpz-nsdname CNAME .", "the root covers every name; name what to block"},
		{"a.example DNAME b.example.", "a DNAME record, which policy zones do not have; write a CNAME with a wildcard owner and target"},
		{"a.example NS b.example.", "an NS record below the zone's name, which is a delegation and no policy; remove it"},
		{`a.example TYPE41 \# 0`, "a record of a type that is for questions and messages, and that no zone has; remove it"},
		{`a.example TYPE250 \# 0`, "a record of a type that is for questions and messages, and that no zone has; remove it"},
		{"a.example SOA a. b. 1 2 3 4 5", "an SOA record of another zone; give each zone a list of its own"},
		{"a.example CH A 192.0.2.1", "local data that cannot be written into a response; correct the record"},
		{"* CNAME .", "the root covers every name; name what to block"},
		{"com CNAME .", "a single label covers a whole top-level domain; name what to block below it, or set allow_tld for the list"},
		{`a\.b.example CNAME .`, "a character that no host name has; write a host name, such as example.com"},
		{"a.example CNAME", `not a record (unexpected newline: "\n"); correct it; the syntax is that of zone files (RFC 1035 section 5)`},
		{"a.example A", `not a record (unexpected newline: "\n"); correct it; the syntax is that of zone files (RFC 1035 section 5)`},
		{"a.example A 300.1.1.1", `not a record (bad A A: "300.1.1.1"); correct it; the syntax is that of zone files (RFC 1035 section 5)`},
		{"a..example CNAME .", `not a record (bad owner name: "a..example"); correct it; the syntax is that of zone files (RFC 1035 section 5)`},
		{"$GENERATE 1-9 a$.example CNAME .", "$GENERATE is not read; write the records out"},
		{"a." + strings.Repeat("x", 65<<10), "line longer than 64 KiB; write one entry a line"},
	} {
		t.Run(tc.want, func(t *testing.T) {
			// Records before and after a bad record are read.
			text := zoneHead + "before.example CNAME .\n" + tc.line + "\nafter.example CNAME .\n"
			got, stats, err := read(t, format.Options{Format: format.RPZ, MaxSkipped: 0.5}, text)
			if want := []string{"5 exact before.example. nxdomain", "7 exact after.example. nxdomain"}; err != nil || !slices.Equal(got, want) {
				t.Fatalf("entries %q, error %v; want %q", got, err, want)
			}
			if stats.Skipped != 1 || len(stats.Problems) != 1 {
				t.Fatalf("stats %+v, want one problem", stats)
			}
			p := stats.Problems[0]
			if got := p.Reason + "; " + p.Remedy; got != tc.want || p.Line != 6 || p.File != "list" {
				t.Errorf("%s:%d: %s\nwant\n list:6: %s", p.File, p.Line, got, tc.want)
			}
		})
	}
}

// After a bad record a record without an owner would belong to it.
func TestRPZOwnerAfterBadRecord(t *testing.T) {
	got, stats, err := read(t, format.Options{Format: format.RPZ, MaxSkipped: 0.5}, zoneHead+"a.example CNAME .\nb..example A 192.0.2.1\n A 192.0.2.2\nc.example CNAME .\n")
	if want := []string{"5 exact a.example. nxdomain", "8 exact c.example. nxdomain"}; err != nil || !slices.Equal(got, want) || stats.Skipped != 2 {
		t.Errorf("entries %q, stats %+v, error %v; want %q and two lines skipped", got, stats, err, want)
	}
}

// The parser accepts the end of a line as RDATA, and reads on into the next
// line, which must not be lost or count twice.
func TestRPZLineAfterBadRecord(t *testing.T) {
	text := zoneHead + "a.example CNAME\n$ORIGIN sub\nb.example.rpz.example. CNAME\nc.example.rpz.example. CNAME\nd.example CNAME .\n"
	got, stats, err := read(t, format.Options{Format: format.RPZ, MaxSkipped: 0.5}, text)
	if want := []string{"9 exact d.example.sub. nxdomain"}; err != nil || !slices.Equal(got, want) || stats.Skipped != 3 {
		t.Errorf("entries %q, stats %+v, error %v; want %q and three lines skipped", got, stats, err, want)
	}
}

// Directives hold after a bad record, too.
func TestRPZDirectivesAfterBadRecord(t *testing.T) {
	got, _, err := read(t, format.Options{Format: format.RPZ, MaxSkipped: 0.5}, strings.Replace(zoneHead, "300", "1h30m ; x", 1)+"bad..example A 192.0.2.1\na.example A 192.0.2.1\n")
	if want := []string{"6 exact a.example. local 5400 IN A 192.0.2.1"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRPZRefused(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"include", zoneHead + "$INCLUDE /etc/passwd\n", `list:5: "$INCLUDE /etc/passwd": $INCLUDE reads other files, which this list must not; put the records into this file, or make the other a list of its own`},
		{"include in small letters", "$include x\n", `list:1: "$include x": $INCLUDE reads other files, which this list must not; put the records into this file, or make the other a list of its own`},
		{"no SOA", "$TTL 30\na.example CNAME .\n", `list:2: "a.example CNAME .": a trigger before the zone's SOA record, which says where the zone begins; begin the file with the SOA record`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, err := read(t, format.Options{Format: format.RPZ, MaxSkipped: 1}, tc.text)
			if err == nil || err.Error() != tc.want || len(got) != 0 {
				t.Errorf("entries %q, error\n %v\nwant\n %s", got, err, tc.want)
			}
		})
	}
}

// An included file has its own line numbers and may have its own origin; the origin
// of the outer file stays (RFC 1035 section 5.1).
func TestRPZInclude(t *testing.T) {
	files := map[string]string{
		"one.zone":   "a.example CNAME .\n$ORIGIN sub\nb.example CNAME .\n$INCLUDE two.zone deeper ; here\nc.example CNAME .",
		"two.zone":   "\n\nd.example CNAME .\nbad..example CNAME .\n",
		"again.zone": "$INCLUDE again.zone\n",
	}
	opt := format.Options{Format: format.RPZ, MaxSkipped: 0.5, File: "lists/list", Include: func(name string) (io.ReadCloser, error) {
		text, ok := files[name]
		if !ok {
			return nil, os.ErrNotExist
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}}
	got, stats, err := read(t, opt, zoneHead+"$INCLUDE one.zone\ne.example CNAME .\nf..example CNAME .\n")
	if want := []string{"1 exact a.example. nxdomain", "3 exact b.example.sub. nxdomain", "3 exact d.example.deeper.sub. nxdomain",
		"5 exact c.example.sub. nxdomain", "6 exact e.example. nxdomain"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("entries %q, error %v\nwant %q", got, err, want)
	}
	var places []string
	for _, p := range stats.Problems {
		places = append(places, fmt.Sprintf("%s:%d", p.File, p.Line))
	}
	if want := []string{"lists/two.zone:4", "lists/list:7"}; !slices.Equal(places, want) {
		t.Errorf("problems at %q, want %q", places, want)
	}
	for text, want := range map[string]string{
		"$INCLUDE missing.zone\n": "lists/list:5: $INCLUDE: file does not exist; the file has to be in the list's own folder",
		"$INCLUDE again.zone\n":   `lists/again.zone:1: "$INCLUDE again.zone": $INCLUDE of files within files goes too deep; put the records into one file`,
	} {
		if _, _, err := read(t, opt, zoneHead+text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestRPZSerial(t *testing.T) {
	_, stats, err := read(t, format.Options{Format: format.RPZ}, strings.Replace(zoneHead, " 1 ", " 2026112301 ", 1))
	if err != nil || !stats.HasSerial || stats.Serial != 2026112301 {
		t.Errorf("%+v, %v", stats, err)
	}
}

// TestRPZShortcut reads generated zones twice: as they are, where the parser does not see lines of the usual
// form, and with a comment at the end of each line, so that the parser sees all of
// them.
func TestRPZShortcut(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var b bytes.Buffer
		b.WriteString([]string{zoneHead, "$TTL 60\n@ SOA . . 1 2 3 4 5\n", "$TTL 60\n$ORIGIN Rpz.Example.\n@ SOA . . 1 2 3 4 5\n"}[rnd.IntN(3)])
		for range 1 + rnd.IntN(30) {
			name := []string{"a.example", "*.b.example", "C.Example", "*.co.uk", "com", "a..b", "*.*.x.example", "d.example.", "24.0.2.0.192.rpz-ip", "*", "e_f.example", "24.0.2.0.192.Rpz-Ip", "a.RPZ-nsdname"}[rnd.IntN(13)]
			b.WriteString([]string{
				name + " CNAME .", name + " 300 IN CNAME *.", name + "\tIN 60 cname rpz-drop.", name + " CNAME RPZ-PASSTHRU.", name + " CNAME rpz-passthru. ; why",
				name + " CNAME rpz-tcp-only.", name + " A 192.0.2.1", " CNAME .", " A 192.0.2.2", "\tTXT x", "$ORIGIN sub", "$ORIGIN rpz.example.", "$TTL 5", name + " CNAME x.",
				name + " CNAME", name + " 1 2 CNAME .", "; comment", "", name + " TXT ( a\n b )", name + " CNAME . x", name + " CH CNAME .",
			}[rnd.IntN(21)])
			b.WriteString([]string{"\n", "\r\n"}[rnd.IntN(2)])
		}
		slow := strings.NewReplacer("\r\n", " ;(\r\n", "\n", " ;(\n").Replace(b.String())
		opt := format.Options{Format: format.RPZ, MaxSkipped: 1, AllowTLD: rnd.IntN(2) == 0}
		got, gotStats, gotErr := read(t, opt, b.String())
		want, wantStats, wantErr := read(t, opt, slow)
		if !slices.Equal(got, want) || gotStats.Skipped != wantStats.Skipped || (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("seed %d: %q, %d skipped, %v\nby the parser %q, %d, %v\nof %s", seed, got, gotStats.Skipped, gotErr, want, wantStats.Skipped, wantErr, b.String())
		}
	}
}
