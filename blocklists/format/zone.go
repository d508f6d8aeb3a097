package format

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// inPassing reads a line that is a record of the usual form: an owner that is
// a host name or has a wildcard, and a CNAME whose target is one of the actions. Nearly all lines
// of feeds are, and the parser takes twenty times as long for one. It reports
// false for all others, and for those of which something else has to be said.
func (z *zoneReader) inPassing(line, text []byte) bool {
	if z.zone == "" || isSpace(line[0]) || !strings.EqualFold(z.origin, z.zone) || bytes.IndexByte(text, '(') >= 0 {
		return false
	}
	owner, rest := field(text)
	if bytes.HasSuffix(owner, []byte(".")) || isTrigger(owner) {
		return false
	}
	name, match := owner, Exact
	if below, ok := bytes.CutPrefix(owner, []byte("*.")); ok {
		name, match = below, Below
	}
	for _, b := range name {
		if !hostChar[b] {
			return false
		}
	}
	word, rest := field(rest)
	for ttl, class := false, false; ; word, rest = field(rest) { // both may be missing
		switch number := len(word) < 10 && allDigits(word); {
		case number && !ttl && len(word) > 0:
			ttl = true
			continue
		case !class && bytes.EqualFold(word, []byte("IN")):
			class = true
			continue
		}
		break
	}
	target, rest := field(rest)
	if !bytes.EqualFold(word, []byte("CNAME")) || len(rest) > 0 && rest[0] != ';' {
		return false
	}
	action, ok := actionOf(target)
	if !ok || len(name) == 0 {
		return false
	}
	wired, f := z.parseName(name)
	if !f.ok() || match == Below && !z.opt.AllowTLD && mayBeSuffix(wired) {
		return false // the long way has more to say
	}
	z.rule = Rule{Action: action}
	if err := z.emit(Entry{Name: wired, Match: match}); err != nil {
		z.err, z.rest = err, nil
	}
	z.past = append(z.past[:0], line...)
	return true
}

// isTrigger reports whether the last label of an owner, in any letter case, begins as those of the triggers do that are no names.
func isTrigger(owner []byte) bool {
	last, prefix := topLabel(owner), []byte("rpz-")
	return len(last) > len(prefix) && bytes.EqualFold(last[:len(prefix)], prefix)
}

// actionOf is the action that a CNAME's target stands for.
func actionOf(target []byte) (Action, bool) {
	switch string(target) {
	case ".":
		return NXDomain, true
	case "*.":
		return NoData, true
	case "rpz-drop.":
		return Drop, true
	case "rpz-passthru.":
		return Passthru, true
	case "rpz-tcp-only.":
		return TCPOnly, true
	}
	return 0, false
}

// action fills in what a record says to do.
func (z *zoneReader) action(rr dns.RR, trigger string) fault {
	z.rule = Rule{Action: Local}
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
		target := strings.ToLower(rr.Target)
		if a, ok := actionOf([]byte(target)); ok {
			z.rule.Action = a
			return fault{}
		}
		switch {
		case target == "" || strings.Contains(target, "\n"):
			return faultRecord // the parser takes a line's end for a name
		case target == trigger+".", target == plainTrigger(trigger)+".":
			z.rule.Action = Passthru // as it was written once
			return fault{}
		case strings.HasPrefix(target, "rpz-") && dns.CountLabel(target) == 1:
			return faultAction
		}
	}
	return z.pack(rr)
}

var faultMeta = fault{reason: "a record of a type that is for questions and messages, and that no zone has", remedy: "remove it"}

// plainTrigger is a trigger without the label that says what it is compared with.
func plainTrigger(trigger string) string {
	i := strings.LastIndexByte(trigger, '.')
	if i < 0 || !strings.HasPrefix(trigger[i+1:], "rpz-") {
		return trigger
	}
	return trigger[:i]
}

var faultNSData = fault{reason: "an NS record below the zone's name, which is a delegation and no policy", remedy: "remove it"}

// pack fills in a record of local data.
func (z *zoneReader) pack(rr dns.RR) fault {
	h := rr.Header()
	need := dns.Len(rr) + 1
	if cap(z.packed) < need {
		z.packed = make([]byte, 2*need)
	}
	buf := z.packed[:cap(z.packed)]
	owner := h.Name
	h.Name = "."
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	h.Name = owner
	const head = 11 // the root's name, type, class, TTL, length
	if err != nil || end < head || h.Class != dns.ClassINET {
		return faultData
	}
	z.rule.Type, z.rule.TTL, z.rule.Data = h.Rrtype, h.Ttl, buf[head:end]
	return fault{}
}

// trigger emits the entry of a trigger, given relative to the zone.
func (z *zoneReader) trigger(trigger string) error {
	head, kind := "", trigger
	if i := strings.LastIndexByte(trigger, '.'); i >= 0 {
		head, kind = trigger[:i], trigger[i+1:]
	}
	switch kind {
	case "rpz-ip":
		return z.address(head, OnAnswer)
	case "rpz-client-ip":
		return z.address(head, OnClient)
	case "rpz-nsip":
		return z.address(head, OnNSIP)
	case "rpz-nsdname":
		return z.name(head, OnNSDName)
	}
	return z.name(trigger, OnAnswer)
}

func (z *zoneReader) address(text string, t Trigger) error {
	p, f := parseIPTrigger(text)
	if !f.ok() {
		z.skip(z.text, f)
		return nil
	}
	z.rule.Trigger = t
	return z.emit(Entry{Prefix: p})
}

func (z *zoneReader) name(text string, t Trigger) error {
	if z.rule.Action == Passthru { // which blocks nothing
		defer func(tld bool) { z.opt.AllowTLD = tld }(z.opt.AllowTLD)
		z.opt.AllowTLD = true
	}
	m := Exact
	if text == "*" && z.opt.AllowTLD {
		z.rule.Trigger = t
		return z.emit(Entry{Name: []byte{0}, Match: Below})
	}
	if text == "*" {
		text = ""
	}
	if below, ok := strings.CutPrefix(text, "*."); ok {
		text, m = below, Below
	}
	name, f := z.parseName([]byte(text))
	if !f.ok() {
		z.skip(z.text, f)
		return nil
	}
	if m == Below && t == OnAnswer && !z.opt.AllowTLD && mayBeSuffix(name) && isPublicSuffix(name) {
		z.skip(z.text, faultPublic)
		return nil
	}
	z.rule.Trigger = t
	return z.emit(Entry{Name: name, Match: m})
}

// emit gives add an entry with the rule.
func (z *zoneReader) emit(e Entry) error {
	z.stats.Entries++
	e.Line, e.Rule = z.at, &z.rule
	if len(z.outer) > 0 {
		e.File = z.opt.File
	}
	if err := z.add(e); err != nil {
		return fmt.Errorf("%s:%d: %w", z.opt.File, z.at, err)
	}
	return nil
}

// parseIPTrigger reads LENGTH.ADDRESS with the address backwards; "zz" stands
// for the double colon of IPv6.
func parseIPTrigger(s string) (netip.Prefix, fault) {
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
	return checkPrefix(p)
}
