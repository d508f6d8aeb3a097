package format

import (
	"bytes"

	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
)

var (
	faultElsewhere = syntax.Fault{Reason: "an option that sends names to a server, or exempts them", Remedy: "put the names into the list of an exception, or configure forward"}
	faultSetting   = syntax.Aside("a setting that blocks no name")
	faultOption    = syntax.Fault{Reason: "not an option of dnsmasq", Remedy: "write address=/example.com/, or set the list's format", Mixed: "write address=/example.com/, or put the line into a list of its own"}
	faultSlash     = syntax.Fault{Reason: "names are written between slashes", Remedy: "write address=/example.com/"}
)

// dnsmasq reads options of dnsmasq.
func (l *reader) dnsmasq() error { return l.each(nil, l.dnsmasqLine) }

// isDnsmasq reports whether a line is one of the options that block names.
func isDnsmasq(line []byte) bool {
	for _, o := range [...]string{"address=/", "server=/", "local=/"} {
		if bytes.HasPrefix(line, []byte(o)) || bytes.HasPrefix(line, []byte("--"+o)) {
			return true
		}
	}
	return false
}

// dnsmasqLine reads an option of dnsmasq's configuration: address=/NAME/ADDRESS
// answers for the name and all below it, and so do local=/NAME/ and server=/NAME/ without a
// server. The address is ignored: the ban decides how to answer.
func (l *reader) dnsmasqLine(line []byte) error {
	text := syntax.Uncomment(line)
	if len(text) == 0 {
		l.comment()
		return nil
	}
	option, value, ok := bytes.Cut(bytes.TrimPrefix(text, []byte("--")), []byte("="))
	option, value = syntax.Trim(option), syntax.Trim(value)
	name := string(option)
	switch {
	case !isWord(option):
		l.skip(text, faultOption)
		return nil
	case name != "address" && name != "server" && name != "local" || !ok:
		l.aside(faultSetting)
		return nil
	case len(value) == 0 || value[0] != '/':
		if name == "server" {
			l.aside(faultSetting) // server=192.0.2.53: for all names
			return nil
		}
		l.skip(text, faultSlash)
		return nil
	}
	end := bytes.LastIndexByte(value, '/')
	target := syntax.Trim(value[end+1:])
	if name != "address" && len(target) > 0 {
		l.skip(text, faultElsewhere)
		return nil
	}
	if end == 0 {
		l.skip(text, faultSlash)
		return nil
	}
	for more, names := true, value[1:end]; more; {
		var n []byte
		n, names, more = bytes.Cut(names, []byte("/"))
		m := entry.Suffix
		if below, ok := bytes.CutPrefix(n, []byte("*.")); ok {
			n, m = below, entry.Below
		}
		n = bytes.TrimPrefix(n, []byte("."))
		if string(n) == "#" {
			n = nil // all names
		}
		if err := l.emit(text, n, m); err != nil {
			return err
		}
	}
	return nil
}

// isWord reports whether a text can be the name of an option.
func isWord(b []byte) bool {
	for _, c := range b {
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(b) > 0
}
