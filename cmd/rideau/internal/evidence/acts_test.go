package evidence

import (
	"testing"

	"rideau/resolver/audit/act"
	"rideau/resolver/ops"
)

// TestReloadSaysWhere: the act of a reload has file and line of each difference.
func TestReloadSaysWhere(t *testing.T) {
	t.Parallel()
	c := ops.Change{File: "rideau.yaml", Line: 12, Key: "bans[chat].mode", Before: "enforce", After: "off", Applies: "lists"}
	acts := Reloaded(act.Actor{Way: act.ByFile}, "rideau.yaml", false, ops.ReloadResult{Changed: true, Changes: []ops.Change{c}}, nil)
	if len(acts) != 1 || len(acts[0].Changes) != 1 {
		t.Fatalf("%+v", acts)
	}
	if want := (act.Change{File: c.File, Line: 12, Key: c.Key, Before: "enforce", After: "off"}); acts[0].Changes[0] != want {
		t.Errorf("%+v, want %+v", acts[0].Changes[0], want)
	}
}
