package blocklists

import (
	"testing"

	"rideau/blocklists/internal/rule"
)

// TestDecide tests the rule of precedence: allow beats block, then the more
// specific name, then order; and a monitored ban never hides an enforced one.
func TestDecide(t *testing.T) {
	const early, late, watched, excepted = 0, 1, 2, 3 // lists
	set := func(lists ...int) (s rule.Set) {
		for _, i := range lists {
			s.Add(i)
		}
		return s
	}
	sc := scope{allow: set(excepted), enforce: set(early, late), monitor: set(watched)}
	sc.enforceBan[early], sc.enforceBan[late], sc.monitorBan[watched] = 10, 11, 12

	for _, c := range []struct {
		name  string
		nodes [][]int // the lists that name each node, from the root down
		want  finding
	}{
		{"nothing", [][]int{{}, {}}, finding{}},
		{"a list of no ban", [][]int{{7}}, finding{}},
		{"one list", [][]int{{late}}, finding{Block, 11, late, 1}},
		{"two lists: order", [][]int{{late, early}}, finding{Block, 10, early, 1}},
		{"more specific wins over order", [][]int{{early}, {late}}, finding{Block, 11, late, 2}},
		{"and nothing below changes it", [][]int{{early}, {late}, {}}, finding{Block, 11, late, 2}},
		{"allow on the same node", [][]int{{early, excepted}}, finding{Allow, 0, excepted, 1}},
		{"allow below block", [][]int{{early}, {excepted}}, finding{Allow, 0, excepted, 2}},
		{"allow above block", [][]int{{excepted}, {early}}, finding{Allow, 0, excepted, 1}},
		{"monitor alone", [][]int{{watched}}, finding{WouldBlock, 12, watched, 1}},
		{"monitor below block", [][]int{{early}, {watched}}, finding{Block, 10, early, 1}},
		{"monitor above block", [][]int{{watched}, {early}}, finding{Block, 10, early, 2}},
		{"monitor and allow", [][]int{{watched}, {excepted}}, finding{Allow, 0, excepted, 2}},
	} {
		var v finding
		for i, lists := range c.nodes {
			s := set(lists...)
			v = sc.decide(v, &s, i+1)
		}
		if v.kind == Allow {
			v.ban = 0
		}
		if v != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, v, c.want)
		}
	}
	// The ban's order counts, not the list's.
	sc.enforceBan[early], sc.enforceBan[late] = 5, 4
	s := set(early, late)
	if v := sc.decide(finding{}, &s, 1); v.ban != 4 || v.list != late {
		t.Errorf("%+v", v)
	}
}
