package format

import (
	"bytes"
	"net/netip"

	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
)

// localNames are names that operating systems and list makers put into every hosts
// file for the machine's own use. They are not entries.
var localNames = map[string]bool{
	"localhost": true, "localhost.localdomain": true, "localhost4": true, "localhost6": true,
	"localhost4.localdomain4": true, "localhost6.localdomain6": true, "local": true, "broadcasthost": true,
	"ip6-localhost": true, "ip6-loopback": true, "ip6-localnet": true, "ip6-mcastprefix": true,
	"ip6-allnodes": true, "ip6-allrouters": true, "ip6-allhosts": true, "0.0.0.0": true,
}

var (
	faultNoAddress   = syntax.Fault{Reason: "more than one name, and no address before them", Remedy: "write ADDRESS NAME, or one name a line"}
	faultAddressOnly = syntax.Fault{Reason: "an address without a name", Remedy: "write ADDRESS NAME; to ban an address, put it into a plain list"}
	faultHostsStar   = syntax.Fault{Reason: "a star, which hosts files do not have", Remedy: "put it into a plain list"}
)

// isLocal reports whether text may begin with a local name that has several
// labels and does not end in a number.
func isLocal(text []byte) bool { return bytes.HasPrefix(text, []byte("localhost")) }

// hosts reads a hosts file.
func (l *reader) hosts() error { return l.each(hostsShapes, l.hostsLine) }

// isHosts reports whether a line is an address and a name.
func isHosts(line []byte) bool {
	first, rest := syntax.Field(line)
	return len(rest) > 0 && isAddress(first)
}

// hostsLine reads a line of a hosts file: ADDRESS NAME..., or a bare name. The
// address is ignored: the ban decides how to answer.
func (l *reader) hostsLine(line []byte) error {
	text, _, _ := bytes.Cut(line, []byte("#"))
	if text = syntax.Trim(text); len(text) == 0 || isNote(text) {
		l.comment()
		return nil
	}
	first, names := syntax.Field(text)
	switch {
	case isAddress(first) && len(names) == 0:
		l.skip(text, faultAddressOnly)
		return nil
	case len(names) == 0:
		names = first
	case !isAddress(first):
		l.skip(text, faultNoAddress)
		return nil
	}
	for len(names) > 0 {
		first, names = syntax.Field(names)
		if localNames[string(bytes.TrimSuffix(first, []byte(".")))] {
			continue
		}
		if bytes.IndexByte(first, '*') >= 0 {
			l.skip(first, faultHostsStar)
			continue
		}
		if err := l.emit(first, first, entry.Exact); err != nil {
			return err
		}
	}
	return nil
}

// isAddress reports whether a field is an address. The addresses that nearly every
// line begins with need no allocation.
func isAddress(b []byte) bool {
	switch string(b) {
	case "0.0.0.0", "127.0.0.1", "::", "::1":
		return true
	}
	if bytes.IndexByte(b, ':') < 0 && !syntax.LikeAddress(b) {
		return false
	}
	_, err := netip.ParseAddr(string(b))
	return err == nil
}
