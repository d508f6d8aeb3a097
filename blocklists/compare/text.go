package compare

import (
	"strings"

	"rideau/blocklists/entry"
	"rideau/resolver/wire"
)

// text returns an entry as plain lists have it.
func text(e *entry.Entry) string {
	if e.Name == nil {
		return e.Prefix.String()
	}
	name := strings.TrimSuffix(wire.NameString(e.Name), ".")
	switch e.Match {
	case entry.Exact:
		return "=" + name
	case entry.Below:
		return "*." + name
	}
	return name
}

// ruleText returns an entry with what it says beyond that something is listed, as adblock lists and policy zones have it.
func ruleText(e *entry.Entry) string {
	s, r := text(e), e.Rule
	if r == nil {
		return s
	}
	if r.Except {
		s = "@@" + s
	}
	if r.Important {
		s += " $important"
	}
	if r.Cancel {
		s += " $badfilter"
	}
	if r.Trigger != entry.OnAnswer {
		s += " " + r.Trigger.String()
	}
	if r.Action == entry.Passthru {
		s += " " + r.Action.String()
	}
	return s
}
