package format_test

import (
	"strings"
	"testing"

	"rideau/blocklists/format"
)

func TestPlain(t *testing.T) {
	long := strings.Repeat("a", 63)
	testGood(t, format.Options{}, []goodCase{
		{"suffix", "example.com\n", []string{"1 suffix example.com."}},
		{"exact", "=example.com\n", []string{"1 exact example.com."}},
		{"below", "*.example.com\n", []string{"1 below example.com."}},
		{"letter case", "WeChat.COM\n", []string{"1 suffix wechat.com."}},
		{"final dot", "example.com.\n=a.example.\n*.b.example.\n", []string{"1 suffix example.com.", "2 exact a.example.", "3 below b.example."}},
		{"white space around", "  example.com\t\n", []string{"1 suffix example.com."}},
		{"service labels", "_dns._udp.example.com\nr3---sn-x.example\n-a-.example\n", []string{"1 suffix _dns._udp.example.com.", "2 suffix r3---sn-x.example.", "3 suffix -a-.example."}},
		{"comments and blanks", "# head\n\n  # indented\nexample.com # why\nexample.net\t#why\n#\n", []string{"4 suffix example.com.", "5 suffix example.net."}},
		{"no newline at the end", "example.com\nexample.net", []string{"1 suffix example.com.", "2 suffix example.net."}},
		{"line ends of two octets", "example.com\r\n\r\nexample.net\r\n", []string{"1 suffix example.com.", "3 suffix example.net."}},
		{"byte order mark", "\ufeffexample.com\n", []string{"1 suffix example.com."}},
		{"byte order mark and comment", "\ufeff# head\nexample.com\n", []string{"2 suffix example.com."}},
		{"addresses", "192.0.2.1\n2001:db8::1\n::ffff:192.0.2.2\n", []string{"1 192.0.2.1/32", "2 2001:db8::1/128", "3 192.0.2.2/32"}},
		{"blocks of addresses", "192.0.2.0/24 # net\n2001:DB8::/32\n::ffff:198.51.100.0/120\n", []string{"1 192.0.2.0/24", "2 2001:db8::/32", "3 198.51.100.0/24"}},
		{"digits that are no address", "1.2.3.4.example\n360.cn\n", []string{"1 suffix 1.2.3.4.example.", "2 suffix 360.cn."}},
		{"longest label", long + ".example\n", []string{"1 suffix " + long + ".example."}},
		{"internationalised", "bücher.example\nBÜCHER.example\n微信.com\n=ａｂｃ.example\n*.例え。テスト\nstraße.example\n_x.bücher.example\n", []string{
			"1 suffix xn--bcher-kva.example.", "2 suffix xn--bcher-kva.example.", "3 suffix xn--vuqz89a.com.", "4 exact abc.example.",
			"5 below xn--r8jz45g.xn--zckzah.", "6 suffix xn--strae-oqa.example.", "7 suffix _x.xn--bcher-kva.example."}},
		{"decomposed", "bu\u0308cher.example\n", []string{"1 suffix xn--bcher-kva.example."}},
		{"a-label", "XN--BCHER-KVA.example\n", []string{"1 suffix xn--bcher-kva.example."}},
		{"nothing", "", nil},
	})
	testGood(t, format.Options{AllowTLD: true}, []goodCase{
		{"top-level domains allowed", "zip\n*.mov.\n=localhost\n", []string{"1 suffix zip.", "2 below mov.", "3 exact localhost."}},
	})
}

// A list of many bare names is told of an odd line as what it is. To read the list in that line's format would change all names.
func TestMixedAdvice(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"||x.example^", `list:1: "||x.example^": an adblock rule; write the name alone, or put rules into a list of their own`},
		{"0.0.0.0 x.example", `list:1: "0.0.0.0 x.example": white space inside an entry; write one entry a line`},
	} {
		_, stats, err := read(t, format.Options{Format: format.Auto, MaxSkipped: 0.5}, c.line+"\na.example\nb.example\n")
		if err != nil || len(stats.Problems) != 1 || stats.Problems[0].String() != c.want {
			t.Errorf("%v, %v, want %s", stats.Problems, err, c.want)
		}
	}
}

// A name with a dot first is that name and all below it, as proxies have it; *.NAME covers NAME if that is asked for.
func TestPlainWildcards(t *testing.T) {
	testGood(t, format.Options{}, []goodCase{
		{"a dot first", ".a.example\n.b.example # x\n", []string{"1 suffix a.example.", "2 suffix b.example."}},
		{"a star", "*.a.example\n", []string{"1 below a.example."}},
	})
	testGood(t, format.Options{WildcardIncludesName: true}, []goodCase{
		{"a star", "*.a.example\n=b.example\n*.c.example # x\nd.example\n", []string{"1 suffix a.example.", "2 exact b.example.", "3 suffix c.example.", "4 suffix d.example."}},
	})
}

func TestPlainProblems(t *testing.T) {
	const name = "; write a host name, such as example.com"
	longName := strings.Repeat(strings.Repeat("a", 49)+".", 5) + "example"
	testBad(t, format.Options{}, []badCase{
		{"a..example", `list:1: "a..example": empty label (two dots in a row, or a dot first)` + name},
		{"..example.com", `list:1: "..example.com": empty label (two dots in a row, or a dot first)` + name},
		{strings.Repeat("a", 64) + ".example", `list:1: "` + strings.Repeat("a", 64) + `.example": label longer than 63 octets` + name},
		{longName, `list:1: "` + longName[:80] + `...": name longer than 255 octets` + name},
		{".", `list:1: ".": the root covers every name; name what to block`},
		{"=", `list:1: "=": the root covers every name; name what to block`},
		{"*.", `list:1: "*.": the root covers every name; name what to block`},
		{"com", `list:1: "com": a single label covers a whole top-level domain; name what to block below it, or set allow_tld for the list`},
		{"*.com.", `list:1: "*.com.": a single label covers a whole top-level domain; name what to block below it, or set allow_tld for the list`},
		{"300.1.1.1", `list:1: "300.1.1.1": neither a name nor an address (a top-level domain is never a number); correct the address, or write a host name`},
		{"=192.0.2.1", `list:1: "=192.0.2.1": neither a name nor an address (a top-level domain is never a number); correct the address, or write a host name`},
		{"192.0.2.1/24", `list:1: "192.0.2.1/24": an address block with bits set beyond its length; write the block's first address, such as 192.0.2.0/24`},
		{"192.0.2.0/33", `list:1: "192.0.2.0/33": not an address block; write it as 192.0.2.0/24 or 2001:db8::/32`},
		{"::/0", `list:1: "::/0": an address block that covers every address; name what to block`},
		{"fe80::1%eth0", `list:1: "fe80::1%eth0": an address with a zone identifier; write the address without %zone`},
		{"a.*.example", `list:1: "a.*.example": a star is allowed only as the whole first label; write *.example.com for what is below a name`},
		{"=*.example", `list:1: "=*.example": a star is allowed only as the whole first label; write *.example.com for what is below a name`},
		{"a=b.example", `list:1: "a=b.example": an equals sign is allowed only before a whole name; write =example.com for one name alone`},
		{"0.0.0.0 a.example", `list:1: "0.0.0.0 a.example": white space inside an entry; write one entry a line; for lines of address and name set the list's format to hosts`},
		{"||a.example^", `list:1: "||a.example^": an adblock rule; set the list's format to adblock`},
		{"https://a.example/x", `list:1: "https://a.example/x": a slash in a name: a URL, or a path, which DNS does not see; write the host name alone, or an address block as 192.0.2.0/24`},
		{"/", `list:1: "/": a slash in a name: a URL, or a path, which DNS does not see; write the host name alone, or an address block as 192.0.2.0/24`},
		{"a.example:443", `list:1: "a.example:443": a colon in a name: a port, which DNS does not see; write the host name alone`},
		{"a.ex\x01ample", `list:1: "a.ex?ample": a character that no host name has` + name},
		{"a\\.b.example", `list:1: "a\\.b.example": a character that no host name has` + name},
		{"a\xff.example", `list:1: "a?.example": text that is not UTF-8; save the file as UTF-8`},
		{"a\u200db.example", `list:1: "a?b.example": not a valid internationalised name; correct it, or write its A-label form (xn--...)`},
		{strings.Repeat("a", 64<<10+1), `list:1: "` + strings.Repeat("a", 80) + `...": line longer than 64 KiB; write one entry a line`},
	})
}
