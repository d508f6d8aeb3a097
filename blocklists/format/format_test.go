package format_test

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/miekg/dns"

	"rideau/blocklists/entry"
	"rideau/blocklists/format"
	"rideau/resolver/wire"
)

// show returns an entry as the tests write it: LINE MATCH NAME, or LINE PREFIX.
func show(e entry.Entry) string {
	if e.Name == nil {
		return fmt.Sprintf("%d %v%s", e.Line, e.Prefix, showRule(e.Rule))
	}
	return fmt.Sprintf("%d %v %s%s", e.Line, e.Match, wire.NameString(e.Name), showRule(e.Rule))
}

// showRule returns what an entry says beyond its name or address.
func showRule(r *entry.Rule) string {
	if r == nil {
		return ""
	}
	s := ""
	if r.Trigger != entry.OnAnswer {
		s += " " + r.Trigger.String()
	}
	if r.Action != entry.Listed {
		s += " " + r.Action.String()
	}
	if r.Except {
		s += " except"
	}
	if r.Important {
		s += " important"
	}
	if r.Cancel {
		s += " cancel"
	}
	if r.Types != nil {
		s += fmt.Sprint(" types=", r.Types)
		if r.NotTypes {
			s += " inverted"
		}
	}
	if r.Action == entry.Local {
		rr, _, err := dns.UnpackRR(append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(
			append([]byte{0}, byte(r.Type>>8), byte(r.Type), 0, 1), r.TTL), uint16(len(r.Data))), r.Data...), 0)
		if err != nil {
			return s + " " + err.Error()
		}
		s += " " + strings.Join(strings.Fields(rr.String())[1:], " ")
	}
	return s
}

// read reads a list given as text and returns its entries as show writes them.
func read(t *testing.T, opt format.Options, text string) ([]string, format.Stats, error) {
	t.Helper()
	if opt.File == "" {
		opt.File = "list"
	}
	var entries []string
	stats, err := format.Read(strings.NewReader(text), opt, func(e entry.Entry) error {
		entries = append(entries, show(e))
		return nil
	})
	if stats.Entries != len(entries) {
		t.Errorf("Stats.Entries = %d, but add was called %d times", stats.Entries, len(entries))
	}
	if stats.Skipped < len(stats.Problems) && opt.Format != format.Hosts {
		t.Errorf("%d problems for %d skipped lines", len(stats.Problems), stats.Skipped)
	}
	return entries, stats, err
}

// A goodCase is a list of which every line can be used.
type goodCase struct {
	name string
	text string
	want []string
}

func testGood(t *testing.T, opt format.Options, cases []goodCase) {
	for _, tc := range cases {
		testGoodCase(t, opt, tc)
		// If much more text follows, lines are read eight octets at a step.
		if opt.Format != format.RPZ && strings.HasSuffix(tc.text, "\n") {
			tc.name += ", more to come"
			tc.text += padding(opt.Format)
			testGoodCase(t, opt, tc)
		}
	}
}

// padding is a comment that is longer than the end of the input that is read line by line.
func padding(f format.Format) string {
	mark := "#"
	if f == format.Adblock {
		mark = "!"
	}
	return mark + strings.Repeat(" ", 200) + "\n"
}

func testGoodCase(t *testing.T, opt format.Options, tc goodCase) {
	t.Run(tc.name, func(t *testing.T) {
		got, stats, err := read(t, opt, tc.text)
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("entries:\n %s\nwant:\n %s", strings.Join(got, "\n "), strings.Join(tc.want, "\n "))
		}
		if stats.Skipped != 0 {
			t.Errorf("skipped %d lines: %v", stats.Skipped, stats.Problems)
		}
	})
}

// A badCase is a single line that cannot be used, and its whole message.
type badCase struct{ line, want string }

func testBad(t *testing.T, opt format.Options, cases []badCase) {
	opt.MaxSkipped = 1
	for _, tc := range cases {
		t.Run(tc.want, func(t *testing.T) {
			more := ""
			if opt.Format != format.RPZ {
				more = padding(opt.Format)
			}
			entries, stats, err := read(t, opt, tc.line+"\n"+more)
			if err != nil || len(entries) != 0 || stats.Skipped != 1 || len(stats.Problems) != 1 {
				t.Fatalf("entries %q, stats %+v, error %v; want one problem", entries, stats, err)
			}
			if got := stats.Problems[0].String(); got != tc.want {
				t.Errorf("problem\n %s\nwant\n %s", got, tc.want)
			}
		})
	}
}

func TestParseFormat(t *testing.T) {
	for _, s := range []string{"plain", "pack", "hosts", "adblock", "rpz", "dnsmasq", "auto"} {
		if f, err := format.ParseFormat(s); err != nil || string(f) != s {
			t.Errorf("ParseFormat(%q) = %q, %v", s, f, err)
		}
	}
	if f, err := format.ParseFormat(""); err != nil || f != format.Plain {
		t.Errorf("ParseFormat of nothing = %q, %v; want plain", f, err)
	}
	const want = `format "csv" is unknown; use auto, plain, pack, hosts, adblock, dnsmasq or rpz`
	if _, err := format.ParseFormat("csv"); err == nil || err.Error() != want {
		t.Errorf("ParseFormat(csv): error %v, want %s", err, want)
	}
	if _, _, err := read(t, format.Options{Format: "csv"}, "x.example\n"); err == nil || err.Error() != "list: "+want {
		t.Errorf("Read as csv: error %v", err)
	}
}

func TestPack(t *testing.T) {
	const head = "#domain\tmatch\ttier\tpurpose\tsource(s)\n"
	testGood(t, format.Options{Format: format.Pack}, []goodCase{
		{"matches", head + "a.example\tsuffix\tservice\tp # q\ts\nb.example\texact\tweb\tp\ts\nc.example\tbelow\tcdn\tp\ts\n", []string{"2 suffix a.example.", "3 exact b.example.", "4 below c.example."}},
		{"addresses", head + "192.0.2.0/24\taddress\tservice\tp\ts\n2001:db8::1\taddress\tservice\tp\ts\n", []string{"2 192.0.2.0/24", "3 2001:db8::1/128"}},
		{"purpose and source left out", head + "a.example\tsuffix\tservice\n", []string{"2 suffix a.example."}},
		{"no header", "a.example\tsuffix\tservice\tp\ts\n", []string{"1 suffix a.example."}},
		{"shared left out", head + "a.example\tsuffix\tshared\tp\ts\n", nil},
	})
	testGood(t, format.Options{Format: format.Pack, Tiers: []string{"shared", "web"}}, []goodCase{
		{"tiers asked for", head + "a.example\tsuffix\tshared\tp\ts\nb.example\tsuffix\tservice\tp\ts\nc.example\tsuffix\tweb\tp\ts\n", []string{"2 suffix a.example.", "4 suffix c.example."}},
	})
	_, stats, err := read(t, format.Options{Format: format.Pack}, head+"a.example\tsuffix\tshared\tp\ts\nb.example\tsuffix\tservice\tp\ts\n")
	if err != nil || stats.OtherTier != 1 || stats.Skipped != 0 || stats.Lines != 3 {
		t.Errorf("stats %+v, error %v; want one line of another tier", stats, err)
	}
	if got := format.DefaultTiers(); !slices.Equal(got, []string{"service", "web", "cdn"}) {
		t.Errorf("DefaultTiers() = %q", got)
	}
}

func TestPackProblems(t *testing.T) {
	const columns = "; write domain, match, tier, purpose and source with one tab between each"
	testBad(t, format.Options{Format: format.Pack}, []badCase{
		{"a.example", `list:1: "a.example": not the five columns of a pack, divided by tabs` + columns},
		{"a.example\tsuffix\tservice\tp\ts\tx", `list:1: "a.example suffix service p s x": not the five columns of a pack, divided by tabs` + columns},
		{"a.example\tprefix\tservice\tp\ts", `list:1: "a.example prefix service p s": unknown match; write suffix, exact or below, or address for an address or block of addresses`},
		{"a.example\tsuffix\tcore\tp\ts", `list:1: "a.example suffix core p s": unknown tier; write service, web, cdn or shared`},
		{"a.example\taddress\tweb\tp\ts", `list:1: "a.example address web p s": not an address; write an address or a block of addresses, or set match to suffix, exact or below`},
		{"192.0.2.1\tsuffix\tweb\tp\ts", `list:1: "192.0.2.1 suffix web p s": an address with a match that is for names; set match to address`},
		{"com\tsuffix\tweb\tp\ts", `list:1: "com suffix web p s": a single label covers a whole top-level domain; name what to block below it, or set allow_tld for the list`},
	})
	_, _, err := read(t, format.Options{Format: format.Pack, MaxSkipped: 1}, "#domain\ttier\tmatch\n")
	if want := `list:1: "#domain tier match": the header names other columns than a pack has` + columns; err == nil || err.Error() != want {
		t.Errorf("header: error %v, want %s", err, want)
	}
	_, _, err = read(t, format.Options{Format: format.Pack, Tiers: []string{"core"}}, "")
	if want := `list: tier "core" is unknown; use service, web, cdn, shared`; err == nil || err.Error() != want {
		t.Errorf("tier: error %v, want %s", err, want)
	}
}

func TestHosts(t *testing.T) {
	testGood(t, format.Options{Format: format.Hosts}, []goodCase{
		{"sinkhole addresses", "0.0.0.0 a.example\n127.0.0.1\tb.example\n:: c.example\n::1 d.example\n", []string{"1 exact a.example.", "2 exact b.example.", "3 exact c.example.", "4 exact d.example."}},
		{"other addresses", "192.0.2.1 a.example\nfe80::1%lo0 b.example\n", []string{"1 exact a.example.", "2 exact b.example."}},
		{"several names", "0.0.0.0 a.example b.example\tc.example # d.example\n", []string{"1 exact a.example.", "1 exact b.example.", "1 exact c.example."}},
		{"bare name", "a.example\n", []string{"1 exact a.example."}},
		{"comment without space", "0.0.0.0 a.example#b\n#0.0.0.0 c.example\n", []string{"1 exact a.example."}},
		{"the machine's own lines", "127.0.0.1 localhost localhost.localdomain local\n255.255.255.255 broadcasthost\n::1 ip6-localhost ip6-loopback\nfe80::1%lo0 localhost\nff02::1 ip6-allnodes\n0.0.0.0 0.0.0.0\n", nil},
		{"line ends of two octets", "0.0.0.0 a.example\r\n", []string{"1 exact a.example."}},
	})
	testBad(t, format.Options{Format: format.Hosts}, []badCase{
		{"a.example b.example", `list:1: "a.example b.example": more than one name, and no address before them; write ADDRESS NAME, or one name a line`},
		{"192.0.2.1", `list:1: "192.0.2.1": an address without a name; write ADDRESS NAME; to ban an address, put it into a plain list`},
		{"0.0.0.0 *.example.com", `list:1: "*.example.com": a star, which hosts files do not have; put it into a plain list`},
		{"0.0.0.0 printer", `list:1: "printer": a single label covers a whole top-level domain; name what to block below it, or set allow_tld for the list`},
	})
	got, stats, err := read(t, format.Options{Format: format.Hosts, MaxSkipped: 1}, "0.0.0.0 a..example b.example c/d e.example\n")
	if want := []string{"1 exact b.example.", "1 exact e.example."}; err != nil || !slices.Equal(got, want) || stats.Skipped != 1 || len(stats.Problems) != 2 {
		t.Errorf("entries %q, stats %+v, error %v; want %q and one line skipped for two names", got, stats, err, want)
	}
}

func TestAdblock(t *testing.T) {
	testGood(t, format.Options{Format: format.Adblock}, []goodCase{
		{"rules", "||a.example^\n|b.example^\nc.example\n||d.example\n||*.e.example^\n||f.example^|\n", []string{"1 suffix a.example.", "2 exact b.example.", "3 exact c.example.", "4 suffix d.example.", "5 below e.example.", "6 suffix f.example."}},
		{"comments", "[Adblock Plus 2.0]\n! Title: x\n# comment with ## inside\n#comment\n##### line\n||a.example^\n", []string{"6 suffix a.example."}},
		{"addresses", "||192.0.2.1^\n|192.0.2.0/24^\n||2001:db8::1^\n", []string{"1 192.0.2.1/32", "2 192.0.2.0/24", "3 2001:db8::1/128"}},
		{"internationalised", "||bücher.example^\n", []string{"1 suffix xn--bcher-kva.example."}},
		{"exceptions", "@@||a.example^\n@@b.example\n# x\n@@||github.io^$important\n", []string{"1 suffix a.example. except", "2 suffix b.example. except", "4 suffix github.io. except important"}},
		{"modifiers", "||a.example^$important\n||b.example^$badfilter\n||c.example^$dnstype=aaaa|A|AAAA\n||d.example^$dnstype=~HTTPS,important\n||e.example^$all\n||f.example^$document,popup\n||g.example^$dnsrewrite=NXDOMAIN\n@@||h.example^$badfilter\n", []string{
			"1 suffix a.example. important", "2 suffix b.example. cancel", "3 suffix c.example. types=[1 28]", "4 suffix d.example. important types=[65] inverted",
			"5 suffix e.example.", "6 suffix f.example.", "7 suffix g.example.", "8 suffix h.example. except cancel"}},
		{"lines of hosts files", "||a.example^\n0.0.0.0 b.example c.example # d.example\n127.0.0.1 localhost\n", []string{"1 suffix a.example.", "2 exact b.example.", "2 exact c.example."}},
		{"any path of a host", "||a.example/\n||b.example/*\n||c.example^*\n||d.example|\n.e.example^\n||*.f.example/\n", []string{
			"1 suffix a.example.", "2 suffix b.example.", "3 suffix c.example.", "4 suffix d.example.", "5 below e.example.", "6 below f.example."}},
		{"bare names in patterns", "a.example$important\n@@b.example$badfilter\nc.example$dnstype=A\nd.example$all,badfilter\ne.example$badfilter\nf.example\n@@|g.example\n", []string{
			"1 suffix a.example. important", "2 suffix b.example. except cancel", "3 suffix c.example. types=[1]", "4 suffix d.example. cancel", "5 exact e.example. cancel",
			"6 exact f.example.", "7 exact g.example. except"}},
		{"comments behind rules", "||a.example^ # why\n@@||b.example^\t! why\n||c.example^$important # why\nd.example #\n", []string{
			"1 suffix a.example.", "2 suffix b.example. except", "3 suffix c.example. important", "4 exact d.example."}},
		{"answers that block", "||a.example^$dnsrewrite=NXDOMAIN;;\n||b.example^$dnsrewrite=refused;;\n||c.example^$dnsrewrite=NOERROR;;\n||d.example^$dnsrewrite=NOERROR;A;0.0.0.0\n||e.example^$dnsrewrite=::,important\n", []string{
			"1 suffix a.example.", "2 suffix b.example.", "3 suffix c.example.", "4 suffix d.example.", "5 suffix e.example. important"}},
		{"what is not about names", "a.example##.ad\n##.ad\na.example#@?#.ad\n||a.example/path^\n|https://a.example^\n/banner.gif\n/ads/banner.gif\n||a.example^$third-party\n||b.example^$script,domain=c.example\n@@||c.example^$~image\n||d.example^\n", []string{"11 suffix d.example."}},
	})
	const whole = "; write ||example.com^ if the whole name is to be blocked"
	testBad(t, format.Options{Format: format.Adblock}, []badCase{
		{"||a.example^$what", `list:1: "||a.example^$what": a rule with a modifier that is not known here` + whole},
		{"||a.example^$client=10.0.0.1", `list:1: "||a.example^$client=10.0.0.1": a rule for some clients; name the clients in the ban's groups`},
		{"||a.example^$dnsrewrite=192.0.2.1", `list:1: "||a.example^$dnsrewrite=192.0.2.1": a rule that rewrites answers; write ||example.com^ to block the name`},
		{"*$denyallow=a.example", `list:1: "*$denyallow=a.example": a rule that blocks all but some names; name what to block`},
		{"||a.example^$dnstype=A|~AAAA", `list:1: "||a.example^$dnstype=A|~AAAA": not query types; write $dnstype=A or $dnstype=~AAAA, with | between several`},
		{"||a.example^$dnstype=", `list:1: "||a.example^$dnstype=": not query types; write $dnstype=A or $dnstype=~AAAA, with | between several`},
		{`/^ads[0-9]+\./`, `list:1: "/^ads[0-9]+\\./": a regular expression; write the names it is meant for`},
		{`@@/ads/$important`, `list:1: "@@/ads/$important": a regular expression; write the names it is meant for`},
		{"||bank.example.", `list:1: "||bank.example.": a pattern for names that go on after the dot; write the names it is meant for: ||example.com^ is a name and all below it`},
		{"||bank.example.^", `list:1: "||bank.example.^": a pattern for names that go on after the dot; write the names it is meant for: ||example.com^ is a name and all below it`},
		{"@@||bank.example.$important", `list:1: "@@||bank.example.$important": a pattern for names that go on after the dot; write the names it is meant for: ||example.com^ is a name and all below it`},
		{"bank.example.", `list:1: "bank.example.": a pattern for names that go on after the dot; write the names it is meant for: ||example.com^ is a name and all below it`},
		{"-x.example^", `list:1: "-x.example^": a pattern that begins within a label; write the names it is meant for: ||example.com^ is a name and all below it`},
		{"-x.example", `list:1: "-x.example": a pattern that begins within a label; write the names it is meant for: ||example.com^ is a name and all below it`},
		{"shop.example^", `list:1: "shop.example^": a pattern for every name that ends so, such as myexample.com; write ||example.com^ for the name and all below it`},
		{"@@shop.example|", `list:1: "@@shop.example|": a pattern for every name that ends so, such as myexample.com; write ||example.com^ for the name and all below it`},
		{"*x.example^", `list:1: "*x.example^": a name with a wildcard within; write the names it is meant for; ||*.example.com^ is all below a name`},
		{"x.*", `list:1: "x.*": a name with a wildcard within; write the names it is meant for; ||*.example.com^ is all below a name`},
		{"-ads*.example^", `list:1: "-ads*.example^": a name with a wildcard within; write the names it is meant for; ||*.example.com^ is all below a name`},
		{"://x.example^", `list:1: "://x.example^": a pattern with the end of a URL's scheme; write ||example.com^ if the whole name is to be blocked`},
		{"@@://x.", `list:1: "@@://x.": a pattern with the end of a URL's scheme; write ||example.com^ if the whole name is to be blocked`},
		{"||ads*.a.example^", `list:1: "||ads*.a.example^": a name with a wildcard within; write the names it is meant for; ||*.example.com^ is all below a name`},
		{"@@||a.*^", `list:1: "@@||a.*^": a name with a wildcard within; write the names it is meant for; ||*.example.com^ is all below a name`},
		{"||a.example^$dnsrewrite=NOERROR;CNAME;b.example", `list:1: "||a.example^$dnsrewrite=NOERROR;CNAME;b.example": a rule that rewrites answers; write ||example.com^ to block the name`},
		{"||com^", `list:1: "||com^": a single label covers a whole top-level domain; name what to block below it, or set allow_tld for the list`},
		{"||github.io^", `list:1: "github.io.": a suffix under which anybody can have a name (a public suffix); name what to block below it, or set allow_tld for the list`},
		{"||", `list:1: "||": the root covers every name; name what to block`},
	})
	_, stats, err := read(t, format.Options{Format: format.Adblock, MaxSkipped: 0.5}, "! Version: 202611230100\na.example##.x\nb.example##.x\n||c.example^$third-party\n||d.example^\n||e..example^\n")
	if err != nil || stats.NotDNS != 3 || stats.Skipped != 1 || !stats.HasSerial || stats.Serial != 202611230100 {
		t.Errorf("stats %+v, error %v", stats, err)
	}
	if want := []format.Reason{{"a rule about a page's contents, which DNS does not see", 2, true}, {"a rule for some requests of a page, which DNS does not see", 1, true},
		{"empty label (two dots in a row, or a dot first)", 1, false}}; !slices.Equal(stats.Reasons, want) {
		t.Errorf("reasons %+v", stats.Reasons)
	}
}

func TestDnsmasq(t *testing.T) {
	testGood(t, format.Options{Format: format.Dnsmasq}, []goodCase{
		{"options", "address=/a.example/\naddress=/b.example/0.0.0.0\naddress=/c.example/#\nlocal=/d.example/\nserver=/e.example/\n--address=/f.example/::\n", []string{
			"1 suffix a.example.", "2 suffix b.example.", "3 suffix c.example.", "4 suffix d.example.", "5 suffix e.example.", "6 suffix f.example."}},
		{"several names", "address=/a.example/b.example/*.c.example/.d.example/192.0.2.1\n", []string{"1 suffix a.example.", "1 suffix b.example.", "1 below c.example.", "1 suffix d.example."}},
		{"comments", "# address=/a.example/\naddress=/b.example/ # why\n", []string{"2 suffix b.example."}},
		{"settings", "no-resolv\nserver=192.0.2.53\ncache-size=1000\naddress=/a.example/\n", []string{"4 suffix a.example."}},
	})
	testBad(t, format.Options{Format: format.Dnsmasq}, []badCase{
		{"server=/a.example/192.0.2.53", `list:1: "server=/a.example/192.0.2.53": an option that sends names to a server, or exempts them; put the names into the list of an exception, or configure forward`},
		{"server=/a.example/#", `list:1: "server=/a.example/#": an option that sends names to a server, or exempts them; put the names into the list of an exception, or configure forward`},
		{"address=a.example", `list:1: "address=a.example": names are written between slashes; write address=/example.com/`},
		{"address=/", `list:1: "address=/": names are written between slashes; write address=/example.com/`},
		{"address=/#/0.0.0.0", `list:1: "address=/#/0.0.0.0": the root covers every name; name what to block`},
		{"address=/co.uk/", `list:1: "co.uk.": a suffix under which anybody can have a name (a public suffix); name what to block below it, or set allow_tld for the list`},
		{"||a.example^", `list:1: "||a.example^": not an option of dnsmasq; write address=/example.com/, or set the list's format`},
	})
}

// The format is detected by marks; bare names are marks of none.
func TestDetect(t *testing.T) {
	for _, c := range []struct {
		text string
		want format.Format
	}{
		{"", format.Plain},
		{"# a comment\n\na.example\n*.b.example\n=c.example\n", format.Plain},
		{"a.example\n192.0.2.1\n2001:db8::/32\n", format.Plain},
		{"# hosts\n127.0.0.1 localhost\n0.0.0.0 a.example\n0.0.0.0 b.example # x\n", format.Hosts},
		{"\ufeff0.0.0.0\ta.example\r\n", format.Hosts},
		{"0.0.0.0 a.example\nb.example\nc.example\n", format.Plain},
		{"[Adblock Plus 2.0]\na.example\nb.example\nc.example\n", format.Adblock},
		{"! Title: x\n||a.example^\nb.example\n0.0.0.0 c.example\n", format.Adblock},
		{"a.example##.ad\n", format.Adblock},
		{"# x ## y\na.example\n", format.Plain},
		{"address=/a.example/\naddress=/b.example/0.0.0.0\n", format.Dnsmasq},
		{"no-resolv\ncache-size=100\naddress=/a.example/\n", format.Dnsmasq},
		{"#domain\tmatch\ttier\tpurpose\n", format.Pack},
		{"a.example\tsuffix\tservice\n", format.Pack},
		{"$TTL 300\n@ SOA a. b. 1 2 3 4 5\na.example CNAME .\n", format.RPZ},
		{"; feed\nrpz.example. 300 IN SOA a. b. (\n1 2 3 4 5)\n", format.RPZ},
		{"soa.example\nb.example\n", format.Plain},
		{"a.example\n$TT", format.Plain}, // the last line is not whole
		{"soa\nb.example\n", format.Plain},
		{"soa\n", format.Plain},
		{"a.example soa b.example\n", format.Plain},
		{"rpz.example.\n SOA a. b. 1 2 3 4 5\n", format.RPZ},
		{"! a note\n", format.Plain},
		{"! a note\n0.0.0.0 a.example\n", format.Hosts},
		{".a.example\n||b.example^\nc.example\n", format.Plain},
		{"-ads.\n/banner/\n||a.example^\n&ad=\nb.example^$third-party\n", format.Adblock},
	} {
		if got := format.Detect([]byte(c.text)); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
	many := strings.Repeat("name.example\n", 2000)
	for _, one := range []string{"! a note", "||x.example^", "@@||x.example^", "x.example##.ad", "##.ad", "|x.example^", "x.example$important", "/ads/",
		"0.0.0.0 x.example", "address=/x.example/", "x.example\tsuffix\tservice", "#domain\tmatch\ttier", "x.example IN SOA a. b. 1 2 3 4 5", "$TTL 300", "soa", "SOA a. b."} {
		for _, text := range []string{"x.example\n" + one + "\n" + many, many + one + "\n"} {
			got, stats, err := read(t, format.Options{Format: format.Auto, MaxSkipped: 0.1}, text)
			if err != nil || stats.Format != format.Plain || !slices.Contains(got, "1000 suffix name.example.") || stats.Skipped > 1 {
				t.Errorf("%q among bare names: read as %s, %d skipped, %v", one, stats.Format, stats.Skipped, err)
			}
		}
	}
	_, stats, err := read(t, format.Options{Format: format.Auto}, "address=/a.example/\n")
	if err != nil || stats.Format != format.Dnsmasq || stats.Entries != 1 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestGzip(t *testing.T) {
	pack := func(text string) string {
		var b strings.Builder
		z := gzip.NewWriter(&b)
		z.Write([]byte(text))
		z.Close()
		return b.String()
	}
	list := "a.example\n||b.example^\n"
	got, stats, err := read(t, format.Options{Format: format.Auto}, pack("! x\n"+list))
	if want := []string{"2 exact a.example.", "3 suffix b.example."}; err != nil || !slices.Equal(got, want) || stats.Format != format.Adblock {
		t.Errorf("%q, %+v, %v", got, stats, err)
	}
	for _, c := range []struct{ text, want string }{
		{pack(list)[:20], "list:1: the compressed list is cut off or damaged (unexpected EOF); fetch it again, or compress it anew"},
		{"\x1f\x8b\x00", "list:1: begins like a compressed file, and is none; check what the list's address delivers"},
		{pack(strings.Repeat("a.example\n", 100)), "list:10: the compressed list expands to more than the list may have (99 octets); check what it is, or raise max_bytes for the list"},
	} {
		_, _, err := read(t, format.Options{MaxBytes: 99, MaxSkipped: 1}, c.text)
		if err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if _, _, err := read(t, format.Options{MaxBytes: 1000}, pack(strings.Repeat("a.example\n", 100))); err != nil {
		t.Errorf("what just fits: %v", err)
	}
}

// A NUL makes its line unusable, and no other.
func TestNUL(t *testing.T) {
	text := strings.Repeat("a.example\n", 100)
	got, stats, err := read(t, format.Options{MaxSkipped: 0.1}, text+"b.\x00example\n"+text)
	if err != nil || len(got) != 200 || stats.Skipped != 1 || stats.Problems[0].Line != 101 {
		t.Errorf("%d entries, %+v, %v", len(got), stats, err)
	}
	if _, _, err := read(t, format.Options{}, "\xff\xfea\x00.\x00"); err == nil || err.Error() != "list:1: text in UTF-16; save the file as UTF-8" {
		t.Error(err)
	}
}

func TestNoList(t *testing.T) {
	const page = "looks like a web page, not a list; check the list's address: it may ask to sign in, or have moved"
	const binary = "looks like a binary file, not a list (it has a NUL octet); check what the list's address delivers; it must be uncompressed UTF-8 text"
	for _, f := range []format.Format{format.Plain, format.Pack, format.Hosts, format.Adblock, format.RPZ, format.Dnsmasq, format.Auto} {
		for _, tc := range []struct{ name, text, want string }{
			{"doctype", "\n <!DOCTYPE html>\n<p>", `list:2: "<!DOCTYPE html>": ` + page},
			{"html", "\ufeff<HTML lang=en>\n", `list:1: "<HTML lang=en>": ` + page},
			{"binary", "# x\n\nPK\x03\x04\x00\x00\n", "list:3: " + binary},
			{"binary at the end", "# x\n\x00", "list:2: " + binary},
		} {
			t.Run(string(f)+"/"+tc.name, func(t *testing.T) {
				_, _, err := read(t, format.Options{Format: f, MaxSkipped: 1}, tc.text)
				if err == nil || err.Error() != tc.want {
					t.Errorf("error\n %v\nwant\n %s", err, tc.want)
				}
			})
		}
	}
}

func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	got, stats, err := read(t, format.Options{MaxSkipped: 0.5}, "# "+long+"\na.example\n"+long+"\nb.example\n"+long)
	if want := []string{"2 suffix a.example.", "4 suffix b.example."}; err != nil || !slices.Equal(got, want) || stats.Skipped != 2 || stats.Lines != 5 {
		t.Errorf("entries %q, %d skipped of %d, error %v; want %q", got, stats.Skipped, stats.Lines, err, want)
	}
	fits := "a.example # " + strings.Repeat("x", 64<<10-len("a.example # "))
	if got, stats, err := read(t, format.Options{}, fits+"\r\n"+fits+"\n"); err != nil || len(got) != 2 {
		t.Errorf("lines of 64 KiB: entries %q, stats %+v, error %v", got, stats, err)
	}
}

func TestMaxSkipped(t *testing.T) {
	text := "# comment\na.example\nb..example\n\nc.example\nd.example\n"
	const want = `list: 1 of 4 lines (25.0 %) are unusable, more than the 20.0 % allowed; the first: ` +
		`list:3: "b..example": empty label (two dots in a row, or a dot first); write a host name, such as example.com`
	_, stats, err := read(t, format.Options{MaxSkipped: 0.2}, text)
	if err == nil || err.Error() != want {
		t.Errorf("error\n %v\nwant\n %s", err, want)
	}
	var p format.Problem
	if !errors.As(err, &p) || p.Line != 3 || p.File != "list" {
		t.Errorf("the error does not hold the first problem: %+v", p)
	}
	if stats.Lines != 6 || stats.Entries != 3 || stats.Skipped != 1 {
		t.Errorf("stats %+v", stats)
	}
	if _, _, err := read(t, format.Options{MaxSkipped: 0.25}, text); err != nil {
		t.Errorf("the share allowed itself is refused: %v", err)
	}
	if _, _, err := read(t, format.Options{}, text); err == nil {
		t.Error("a zero share lets a bad line through")
	}
}

func TestProblemsBounded(t *testing.T) {
	_, stats, err := read(t, format.Options{MaxSkipped: 1}, strings.Repeat("bad line\n", 1000))
	if err != nil || stats.Skipped != 1000 || len(stats.Problems) != format.MaxProblems {
		t.Errorf("%d skipped, %d problems, error %v", stats.Skipped, len(stats.Problems), err)
	}
	if p := stats.Problems[19]; p.Line != 20 {
		t.Errorf("problem 20 is of line %d", p.Line)
	}
}

func TestAddError(t *testing.T) {
	full := errors.New("full")
	for _, f := range []format.Format{format.Plain, format.Hosts, format.Adblock} {
		calls := 0
		stats, err := format.Read(strings.NewReader("# x\na.example\nb.example\n"), format.Options{File: "list", Format: f}, func(entry.Entry) error {
			calls++
			return full
		})
		if !errors.Is(err, full) || err.Error() != "list:2: full" || calls != 1 || stats.Entries != 1 {
			t.Errorf("%s: error %v after %d calls, stats %+v; want list:2: full after one", f, err, calls, stats)
		}
	}
}

func TestReaderError(t *testing.T) {
	broken := errors.New("connection reset")
	for _, f := range []format.Format{format.Plain, format.Pack, format.Hosts, format.Adblock, format.RPZ, format.Dnsmasq, format.Auto} {
		r := io.MultiReader(strings.NewReader("# x\n# y\n"), iotest.ErrReader(broken))
		_, err := format.Read(r, format.Options{File: "list", Format: f, MaxSkipped: 1}, func(entry.Entry) error { return nil })
		if !errors.Is(err, broken) || err.Error() != "list:3: read: connection reset" {
			t.Errorf("%s: error %v, want list:3: read: connection reset", f, err)
		}
	}
	r := io.MultiReader(strings.NewReader(strings.Repeat("x", 100<<10)), iotest.ErrReader(broken))
	if _, err := format.Read(r, format.Options{File: "list"}, nil); !errors.Is(err, broken) || err.Error() != "list:1: read: connection reset" {
		t.Errorf("in a long line: error %v", err)
	}
}
