package format

import (
	"bytes"

	"rideau/blocklists/entry"
	"rideau/blocklists/format/policyzone"
	"rideau/blocklists/format/syntax"
)

// policyZone reads a response policy zone.
func (l *reader) policyZone() error {
	z := policyzone.New(&l.lines, policyzone.Options{File: l.opt.File, AllowTLD: l.opt.AllowTLD, Include: l.opt.Include}, zoneHandler{l})
	err := z.Read()
	l.content = z.Content
	l.stats.Serial, l.stats.HasSerial = uint64(z.Serial), z.HasSerial
	if err != nil {
		l.opt.File, l.at = z.Place()
		return l.fail(err)
	}
	return nil
}

// isZoneLine reports whether a line can only be of a zone file: a directive, or
// an SOA record. Its other lines may look like anything.
func isZoneLine(line []byte) bool {
	first, rest := syntax.Field(line)
	for _, d := range [...]string{"$TTL", "$ORIGIN", "$INCLUDE", "$GENERATE"} {
		if bytes.EqualFold(first, []byte(d)) && len(rest) > 0 {
			return true
		}
	}
	for range 4 { // owner, which may be on the line before, TTL, class, type
		if bytes.EqualFold(first, []byte("SOA")) {
			server, mail := syntax.Field(rest)
			return len(server) > 0 && len(mail) > 0
		}
		first, rest = syntax.Field(rest)
	}
	return false
}

// zoneHandler receives what the reader of a policy zone finds.
type zoneHandler struct{ *reader }

// Entry implements policyzone.Handler.
func (h zoneHandler) Entry(file string, e entry.Entry) error {
	h.opt.File, h.at = file, e.Line
	h.stats.Entries++
	if err := h.f(e); err != nil {
		return h.stopped(err)
	}
	return nil
}

// Skip implements policyzone.Handler.
func (h zoneHandler) Skip(file string, line int, text []byte, f syntax.Fault, again bool) {
	h.opt.File, h.at, h.bad = file, line, again
	h.skip(text, f)
}
