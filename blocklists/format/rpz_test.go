package format_test

import (
	"slices"
	"strings"
	"testing"

	"rideau/blocklists/format"
)

const zoneHead = "$TTL 300\n$ORIGIN rpz.example.\n@ SOA localhost. root.localhost. 1 3600 600 86400 300\n  NS localhost.\n"

func TestRPZ(t *testing.T) {
	testGood(t, format.Options{Format: format.RPZ}, []goodCase{
		{"actions", zoneHead + "a.example CNAME .\nb.example CNAME *.\nc.example CNAME rpz-drop.\nd.example A 192.0.2.1\ne.example AAAA 2001:db8::1\n", []string{
			"5 exact a.example.", "6 exact b.example.", "7 exact c.example.", "8 exact d.example.", "9 exact e.example."}},
		{"wildcards", zoneHead + "a.example CNAME .\n*.a.example CNAME .\n", []string{"5 exact a.example.", "6 below a.example."}},
		{"one trigger, several records", zoneHead + "a.example A 192.0.2.1\n A 192.0.2.2\n AAAA 2001:db8::1\n*.a.example A 192.0.2.1\n", []string{"5 exact a.example.", "8 below a.example."}},
		{"absolute owners and letter case", zoneHead + "A.Example.RPZ.example. IN 60 CNAME .\n", []string{"5 exact a.example."}},
		{"addresses in answers", zoneHead + "24.0.2.0.192.rpz-ip CNAME .\n32.1.2.0.192.RPZ-IP CNAME .\n48.zz.101.db8.2001.rpz-ip CNAME .\n128.1.zz.db8.2001.rpz-ip CNAME .\n128.1.zz.rpz-ip CNAME .\n128.zz.rpz-ip CNAME .\n128.8.7.6.5.4.3.2.1.rpz-ip CNAME .\n", []string{
			"5 192.0.2.0/24", "6 192.0.2.1/32", "7 2001:db8:101::/48", "8 2001:db8::1/128", "9 ::1/128", "10 ::/128", "11 1:2:3:4:5:6:7:8/128"}},
		{"no origin", "$TTL 30\n@ SOA localhost. root.localhost. 1 3600 600 86400 300\n@ NS localhost.\na.example CNAME .\n*.a.example CNAME .\n", []string{"4 exact a.example.", "5 below a.example."}},
		{"record over several lines", "@ 300 IN SOA localhost. root.localhost. (\n 1 ; serial\n 3600 600\n 86400 300 )\na.example CNAME . ; why\n", []string{"5 exact a.example."}},
		{"origin changes", zoneHead + "$ORIGIN example.rpz.example.\na CNAME .\n$ORIGIN net\nb CNAME .\n", []string{"6 exact a.example.", "8 exact b.net.example."}},
		{"the zone's own data", zoneHead + "@ TXT \"made by hand\"\na.example CNAME .\n", []string{"6 exact a.example."}},
		{"no newline at the end", zoneHead + "a.example CNAME .", []string{"5 exact a.example."}},
		{"line ends of two octets", strings.ReplaceAll(zoneHead+"a.example CNAME .\n", "\n", "\r\n"), []string{"5 exact a.example."}},
		{"byte order mark", "\ufeff" + zoneHead + "a.example CNAME .\n", []string{"5 exact a.example."}},
		{"comments", "; head\n\n" + zoneHead + "  ; x\na.example CNAME .\n", []string{"8 exact a.example."}},
	})
}

func TestRPZProblems(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"a.example CNAME rpz-passthru.", "a passthru record, which lets a name through; put the name into the list of an exception"},
		{"a.example CNAME a.example.", "a passthru record, which lets a name through; put the name into the list of an exception"},
		{"a.example CNAME rpz-tcp-only.", "a record that asks for TCP, which is not a ban; set the ban's action, or leave it out"},
		{"a.example CNAME rpz-what.", "an action that is not known; write CNAME . to ban the name"},
		{"a.example CNAME safe.example.", "a record that sends a name elsewhere; write CNAME . to ban the name"},
		{"a.example TXT x", "local data other than addresses; write CNAME . to ban the name"},
		{"32.1.2.0.192.rpz-client-ip CNAME .", "a trigger on the client's address; name the clients in the ban's groups; write an exception for clients to leave alone"},
		{"ns.example.rpz-nsdname CNAME .", "a trigger on a zone's name servers, which a forwarder does not see; ban the zone's name, or put what it lets through into the list of an exception"},
		{"32.1.2.0.192.rpz-nsip CNAME .", "a trigger on a zone's name servers, which a forwarder does not see; ban the zone's name, or put what it lets through into the list of an exception"},
		{"24.1.2.0.192.rpz-ip CNAME .", "an address block with bits set beyond its length; write the block's first address, such as 192.0.2.0/24"},
		{"0.0.0.0.0.rpz-ip CNAME .", "an address block that covers every address; name what to block"},
		{"33.1.2.0.192.rpz-ip CNAME .", "not the address of an rpz-ip trigger; write the length and then the address backwards: 24.0.2.0.192.rpz-ip"},
		{"rpz-ip CNAME .", "not the address of an rpz-ip trigger; write the length and then the address backwards: 24.0.2.0.192.rpz-ip"},
		{"a.example. CNAME .", "an owner outside the zone; end owners without a dot, or correct the origin"},
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
			// What comes before and after a bad record is read all the same.
			text := zoneHead + "before.example CNAME .\n" + tc.line + "\nafter.example CNAME .\n"
			got, stats, err := read(t, format.Options{Format: format.RPZ, MaxSkipped: 0.5}, text)
			if want := []string{"5 exact before.example.", "7 exact after.example."}; err != nil || !slices.Equal(got, want) {
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
	if want := []string{"5 exact a.example.", "8 exact c.example."}; err != nil || !slices.Equal(got, want) || stats.Skipped != 2 {
		t.Errorf("entries %q, stats %+v, error %v; want %q and two lines skipped", got, stats, err, want)
	}
}

// The parser takes the end of a line for rdata, and so goes on into the next
// line, which must not be lost, nor count twice.
func TestRPZLineAfterBadRecord(t *testing.T) {
	text := zoneHead + "a.example CNAME\n$ORIGIN sub\nb.example.rpz.example. CNAME\nc.example.rpz.example. CNAME\nd.example CNAME .\n"
	got, stats, err := read(t, format.Options{Format: format.RPZ, MaxSkipped: 0.5}, text)
	if want := []string{"9 exact d.example.sub."}; err != nil || !slices.Equal(got, want) || stats.Skipped != 3 {
		t.Errorf("entries %q, stats %+v, error %v; want %q and three lines skipped", got, stats, err, want)
	}
}

func TestRPZRefused(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"include", zoneHead + "$INCLUDE /etc/passwd\n", `list:5: "$INCLUDE /etc/passwd": $INCLUDE reads other files, which a list must not; put the records into this file, or make the other a list of its own`},
		{"include in small letters", "$include x\n", `list:1: "$include x": $INCLUDE reads other files, which a list must not; put the records into this file, or make the other a list of its own`},
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
