package compile_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
)

// TestMuchAboutOneName: a list that says too much about one name is refused before it fills the memory, and the report names it. A usual list
// beside it is not refused, whichever comes first.
func TestMuchAboutOneName(t *testing.T) {
	const apex = "$TTL 300\n@ SOA localhost. h.example. 1 3600 600 86400 300\n"
	times := func(head string, n int, line func(i int) string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xFF, i&0xFF) }
	for _, c := range []struct {
		name    string
		format  format.Format
		text    string
		refused bool
	}{
		{"records of one name", format.RPZ, times(apex, 6000, func(i int) string { return "one.example A " + address(i) + "\n" }), true},
		{"records of two names in turn", format.RPZ, times(apex, 8000, func(i int) string { return fmt.Sprintf("n%d.example A %s\n", i&1, address(i)) }), true},
		{"long records", format.RPZ, times(apex, 200, func(i int) string {
			return fmt.Sprintf("one.example TXT %d%s\n", i, strings.Repeat(` "`+strings.Repeat("x", 250)+`"`, 200))
		}), true},
		{"a record set", format.RPZ, times(apex, 500, func(i int) string { return "one.example A " + address(i) + "\n" }), false},
		{"names with data of their own", format.RPZ, times(apex, 20_000, func(i int) string { return fmt.Sprintf("n%d.example A %s\n", i, address(i)) }), false},
		{"more such names than have a number", format.RPZ, times(apex, 70_000, func(i int) string { return fmt.Sprintf("n%d.example A %s\n", i, address(i)) }), true},
		{"query types of one name", format.Adblock, times("! list\n", 300, func(i int) string {
			types := []string{"A"}
			for bit, name := range []string{"NS", "MX", "TXT", "SRV", "PTR", "AAAA", "CAA", "HTTPS", "SVCB"} {
				if i>>bit&1 == 1 {
					types = append(types, name)
				}
			}
			return "||one.example^$dnstype=" + strings.Join(types, "|") + "\n"
		}), true},
		{"names of many labels", format.RPZ, times(apex, 12_000, func(i int) string {
			return strings.Repeat(fmt.Sprintf("%c.%c.", 'a'+i%26, 'a'+i/26%26), 50) + fmt.Sprintf("a%d.example CNAME .\n", i)
		}), true},
		{"names of some labels", format.RPZ, times(apex, 50_000, func(i int) string {
			return fmt.Sprintf("%d.ads.eu.cdn%d.example CNAME .\n*.%d.ads.eu.cdn%d.example CNAME .\n", i, i, i, i)
		}), false},
	} {
		for _, last := range []bool{false, true} {
			big := list("big")
			big.Format = c.format
			big.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c.text)), nil }
			lists := []input.List{big, list("own", "own.example")}
			if last {
				lists[0], lists[1] = lists[1], lists[0]
			}
			p := blocklists.Policy{Lists: lists, Bans: []blocklists.Ban{ban("b", "big", "own")}}
			peak := peakHeap(func() {
				_, report, err := compile.Load(context.Background(), p, nil, compile.Options{Now: time.Now(), Slots: new(blocklists.Slots)})
				var at *compile.ListError
				switch {
				case (err != nil) != c.refused:
					t.Errorf("%s, last %t: refused %t, want %t: %v", c.name, last, err != nil, c.refused, err)
				case c.refused && (!errors.As(err, &at) || at.List != "big" || len(report.Failed) != 1 || report.Failed[0].List != "big"):
					t.Errorf("%s, last %t: %v, failed %v; want the list big blamed alone", c.name, last, err, report.Failed)
				}
			})
			if peak > 200<<20 {
				t.Errorf("%s, last %t: took %d MiB", c.name, last, peak>>20)
			}
		}
	}
}
