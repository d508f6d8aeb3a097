package policyzone

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
)

// shortcut reads a line that is a record of the usual form: an owner that is
// a host name or has a wildcard, and a CNAME whose target is one of the actions. Nearly all lines
// of feeds are, and the parser takes twenty times as long for one. It reports
// false for all others, and for those that are wrong: then the parser reads the line.
func (z *Reader) shortcut(line, text []byte) bool {
	if z.zone == "" || syntax.IsSpace(line[0]) || !strings.EqualFold(z.origin, z.zone) || bytes.IndexByte(text, '(') >= 0 {
		return false
	}
	owner, rest := syntax.Field(text)
	if bytes.HasSuffix(owner, []byte(".")) || isTrigger(owner) {
		return false
	}
	name, match := owner, entry.Exact
	if below, ok := bytes.CutPrefix(owner, []byte("*.")); ok {
		name, match = below, entry.Below
	}
	for _, b := range name {
		if !syntax.HostChar[b] {
			return false
		}
	}
	word, rest := syntax.Field(rest)
	for ttl, class := false, false; ; word, rest = syntax.Field(rest) { // TTL and class may be missing
		switch number := len(word) < 10 && syntax.AllDigits(word); {
		case number && !ttl && len(word) > 0:
			ttl = true
			continue
		case !class && bytes.EqualFold(word, []byte("IN")):
			class = true
			continue
		}
		break
	}
	target, rest := syntax.Field(rest)
	if !bytes.EqualFold(word, []byte("CNAME")) || len(rest) > 0 && rest[0] != ';' {
		return false
	}
	action, ok := actionOf(target)
	if !ok || len(name) == 0 {
		return false
	}
	wired, f := z.names.Parse(name, z.opt.AllowTLD)
	if !f.OK() || match == entry.Below && !z.opt.AllowTLD && syntax.MayBePublicSuffix(wired) {
		return false // name says what is wrong
	}
	z.rule = entry.Rule{Action: action}
	if err := z.emit(entry.Entry{Name: wired, Match: match}); err != nil {
		z.err, z.rest = err, nil
	}
	z.past = append(z.past[:0], line...)
	return true
}

// isTrigger reports whether the last label of an owner, in any letter case, begins with "rpz-", as in triggers that are no query names.
func isTrigger(owner []byte) bool {
	last, prefix := syntax.TopLabel(owner), []byte("rpz-")
	return len(last) > len(prefix) && bytes.EqualFold(last[:len(prefix)], prefix)
}

// actionOf returns the action that a CNAME's target stands for.
func actionOf(target []byte) (entry.Action, bool) {
	switch string(target) {
	case ".":
		return entry.NXDomain, true
	case "*.":
		return entry.NoData, true
	case "rpz-drop.":
		return entry.Drop, true
	case "rpz-passthru.":
		return entry.Passthru, true
	case "rpz-tcp-only.":
		return entry.TCPOnly, true
	}
	return 0, false
}

// action sets the rule to what a record says to do.
func (z *Reader) action(rr dns.RR, trigger string) syntax.Fault {
	z.rule = entry.Rule{Action: entry.Local}
	if t := rr.Header().Rrtype; t == 0 || t == dns.TypeOPT || 128 <= t && t <= 255 { // RFC 6895 section 3.1
		return faultMeta
	}
	switch rr := rr.(type) {
	case *dns.A:
		if rr.A == nil {
			return faultRecord
		}
	case *dns.AAAA:
		if rr.AAAA == nil {
			return faultRecord
		}
	case *dns.NS:
		return faultNSData
	case *dns.DNAME:
		return faultDNAME
	case *dns.CNAME:
		target := unescaped(rr.Target)
		if a, ok := actionOf([]byte(target)); ok {
			z.rule.Action = a
			return syntax.Fault{}
		}
		switch {
		case target == "" || strings.Contains(target, "\n"):
			return faultRecord // the parser accepts the end of a line as a name
		case target == trigger+".", target == plainTrigger(trigger)+".":
			z.rule.Action = entry.Passthru // an older notation
			return syntax.Fault{}
		case strings.HasPrefix(target, "rpz-") && dns.CountLabel(target) == 1:
			return faultAction
		}
	}
	return z.encode(rr)
}

// unescaped returns a name in lower case, with what is written \DDD or \X as the character (RFC 1035 section 5.1), if that is one of a host
// name's labels, or an asterisk. Other escapes stay, and make the name unusable.
func unescaped(name string) string {
	if strings.IndexByte(name, '\\') < 0 {
		return strings.ToLower(name)
	}
	out := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		c, n := name[i], 0
		if c == '\\' && i+1 < len(name) {
			c, n = name[i+1], 1
			if code, err := strconv.ParseUint(name[i+1:min(i+4, len(name))], 10, 8); err == nil && i+4 <= len(name) {
				c, n = byte(code), 3
			}
			if c == '.' || c != '*' && !syntax.HostChar[c] {
				out = append(out, name[i:i+1+n]...)
				i += n
				continue
			}
		}
		out = append(out, c)
		i += n
	}
	return strings.ToLower(string(out))
}

var faultMeta = syntax.Fault{Reason: "a record of a type that is for questions and messages, and that no zone has", Remedy: "remove it"}

// plainTrigger returns a trigger without the label that says what it is compared with.
func plainTrigger(trigger string) string {
	i := strings.LastIndexByte(trigger, '.')
	if i < 0 || !strings.HasPrefix(trigger[i+1:], "rpz-") {
		return trigger
	}
	return trigger[:i]
}

var faultNSData = syntax.Fault{Reason: "an NS record below the zone's name, which is a delegation and no policy", Remedy: "remove it"}

// encode sets the rule to a record of local data.
func (z *Reader) encode(rr dns.RR) syntax.Fault {
	h := rr.Header()
	need := dns.Len(rr) + 1
	if cap(z.encoded) < need {
		z.encoded = make([]byte, 2*need)
	}
	buf := z.encoded[:cap(z.encoded)]
	owner := h.Name
	h.Name = "."
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	h.Name = owner
	const head = 11 // the root's name, type, class, TTL, length
	if err != nil || end < head || h.Class != dns.ClassINET {
		return faultData
	}
	z.rule.Type, z.rule.TTL, z.rule.Data = h.Rrtype, h.Ttl, buf[head:end]
	return syntax.Fault{}
}

// trigger emits the entry of a trigger, which is relative to the zone.
func (z *Reader) trigger(trigger string) error {
	head, kind := "", trigger
	if i := strings.LastIndexByte(trigger, '.'); i >= 0 {
		head, kind = trigger[:i], trigger[i+1:]
	}
	switch kind {
	case "rpz-ip":
		return z.address(head, entry.OnAnswer)
	case "rpz-client-ip":
		return z.address(head, entry.OnClient)
	case "rpz-nsip":
		return z.address(head, entry.OnNSIP)
	case "rpz-nsdname":
		return z.name(head, entry.OnNSDName)
	}
	return z.name(trigger, entry.OnAnswer)
}

// address emits the entry of a trigger on addresses.
func (z *Reader) address(text string, t entry.Trigger) error {
	p, f := parseIPTrigger(text)
	if !f.OK() {
		z.skip(z.text, f)
		return nil
	}
	z.rule.Trigger = t
	return z.emit(entry.Entry{Prefix: p})
}

// name emits the entry of a trigger on names.
func (z *Reader) name(text string, t entry.Trigger) error {
	tld := z.opt.AllowTLD || z.rule.Action == entry.Passthru // which blocks nothing
	m := entry.Exact
	if text == "*" && tld {
		z.rule.Trigger = t
		return z.emit(entry.Entry{Name: []byte{0}, Match: entry.Below})
	}
	if text == "*" {
		text = ""
	}
	if below, ok := strings.CutPrefix(text, "*."); ok {
		text, m = below, entry.Below
	}
	name, f := z.names.Parse([]byte(text), tld)
	if !f.OK() {
		z.skip(z.text, f)
		return nil
	}
	if m == entry.Below && t == entry.OnAnswer && !tld && syntax.IsPublicSuffix(name) {
		z.skip(z.text, syntax.FaultPublicSuffix)
		return nil
	}
	z.rule.Trigger = t
	return z.emit(entry.Entry{Name: name, Match: m})
}

// parseIPTrigger parses LENGTH.ADDRESS, with the parts of the address in reverse order; "zz" stands
// for the double colon of IPv6.
func parseIPTrigger(s string) (netip.Prefix, syntax.Fault) {
	length, backwards, _ := strings.Cut(s, ".")
	bits, err := strconv.Atoi(length)
	if err != nil {
		return netip.Prefix{}, faultIPTrigger
	}
	parts := strings.Split(backwards, ".")
	slices.Reverse(parts)
	text := strings.Join(parts, ".")
	if len(parts) != 4 || slices.Contains(parts, "zz") {
		text = ":" + strings.Join(parts, ":") + ":"
		text = strings.Replace(text, ":zz:", "::", 1)
		if !strings.HasPrefix(text, "::") {
			text = text[1:]
		}
		if !strings.HasSuffix(text, "::") {
			text = text[:len(text)-1]
		}
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, faultIPTrigger
	}
	p := netip.PrefixFrom(a, bits)
	if !p.IsValid() {
		return netip.Prefix{}, faultIPTrigger
	}
	return syntax.CheckPrefix(p)
}
