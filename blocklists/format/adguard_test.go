package format_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/AdguardTeam/urlfilter"

	"rideau/blocklists/entry"
	"rideau/blocklists/format"
)

// What the reader of Adblock rules makes of a rule covers the names that AdGuard's own reader blocks by it. A rule that Rideau skips is not
// compared: what cannot be said by names is left out, with its reason.
func TestAdblockLikeAdGuard(t *testing.T) {
	var compared, skipped int
	differences := map[string]int{}
	for _, start := range []string{"", "|", "||", "*", "||*.", "|*.", ".", "-", "://", "//", "*.", "||www.", "@@||"} {
		for _, end := range []string{"", "^", "|", "^|", ".", ".^", "*", "^*", "/", "^$important", "$important", "^$all", "^$badfilter", "^$third-party", "^$script", "^$domain=other.example", "^$~third-party"} {
			rule := start + "n1.example" + end
			var entries []entry.Entry
			_, err := format.Read(strings.NewReader("||first.example^\n"+rule+"\n"), format.Options{File: "list", Format: format.Adblock, MaxSkipped: 1}, func(e entry.Entry) error {
				if e.Line == 2 {
					e.Name = bytes.Clone(e.Name)
					entries = append(entries, e)
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", rule, err)
			}
			if r := ruleOf(entries); len(entries) == 0 || r.Except || r.Cancel || len(r.Types) > 0 {
				skipped++
				continue
			}
			compared++
			storage, err := urlfilter.NewRuleStorage([]urlfilter.RuleList{&urlfilter.StringRuleList{ID: 1, RulesText: rule + "\n"}})
			if err != nil {
				t.Fatal(err)
			}
			engine := urlfilter.NewDNSEngine(storage)
			for _, prefix := range []string{"", "a.", "b.a.", "x", "x-", "www.", "a.www.", "xwww."} {
				for _, suffix := range []string{"", ".test", "x"} {
					q := prefix + "n1.example" + suffix
					_, want := engine.Match(q)
					got := covered(t, entries, q)
					if got == want {
						continue
					}
					why := difference(start, end, prefix, suffix, got)
					if why == "" {
						t.Errorf("%s: %s: AdGuard blocks it: %v, covered: %v", rule, q, want, got)
					}
					differences[why]++
				}
			}
			storage.Close()
		}
	}
	t.Logf("%d rules compared, %d skipped; differences, by name: %v", compared, skipped, differences)
	if compared < 50 {
		t.Errorf("only %d rules were compared", compared)
	}
}

// difference says why what Rideau covers by a rule differs from what AdGuard blocks by it; "" for no good reason.
func difference(start, end, before, after string, covered bool) string {
	switch open := end == "" || end == "$important"; {
	case !covered && open && after != "":
		return "AdGuard also blocks names that go on after the rule's, which its authors do not mean"
	case !covered && start == "" && end == "$important" && strings.HasPrefix(before, "x"):
		return "to AdGuard a name with an option and without an anchor is any part of a name; Rideau takes the name and all below it"
	case covered && end == "^$all":
		return "this version of AdGuard's reader does not know $all, which its documents have"
	case covered && end == "/":
		return "AdGuard's reader finds no path in a question; in lists for browsers this is the whole site"
	}
	return ""
}

func ruleOf(entries []entry.Entry) entry.Rule {
	if len(entries) == 0 || entries[0].Rule == nil {
		return entry.Rule{}
	}
	return *entries[0].Rule
}
