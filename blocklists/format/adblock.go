package format

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"

	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
)

const remedyWhole = "write ||example.com^ if the whole name is to be blocked"

var (
	faultModifier = syntax.Fault{Reason: "a rule with a modifier that is not known here", Remedy: remedyWhole}
	faultClient   = syntax.Fault{Reason: "a rule for some clients", Remedy: "name the clients in the ban's groups"}
	faultRewrite  = syntax.Fault{Reason: "a rule that rewrites answers", Remedy: "write ||example.com^ to block the name"}
	faultDeny     = syntax.Fault{Reason: "a rule that blocks all but some names", Remedy: "name what to block"}
	faultDNSType  = syntax.Fault{Reason: "not query types", Remedy: "write $dnstype=A or $dnstype=~AAAA, with | between several"}
	faultCosmetic = syntax.Aside("a rule about a page's contents, which DNS does not see")
	faultRegexp   = syntax.Fault{Reason: "a regular expression", Remedy: "write the names it is meant for"}
	faultPattern  = syntax.Aside("a pattern for URLs, which DNS does not see")
	faultWildcard = syntax.Fault{Reason: "a name with a wildcard within", Remedy: "write the names it is meant for; ||*.example.com^ is all below a name"}
	faultPage     = syntax.Aside("a rule for some requests of a page, which DNS does not see")
)

// adblock reads a list of adblock rules.
func (l *reader) adblock() error { return l.each(adblockShapes, l.adblockLine) }

// isAdblock reports whether a line can only be a rule of an adblock list.
func isAdblock(line []byte) bool {
	return line[0] == '|' || bytes.HasPrefix(line, []byte("@@")) || line[len(line)-1] == '^' || line[0] == '/' && isRegexp(line) || isModified(line) || cosmeticAt(line) >= 0
}

// isModified reports whether a line ends in modifiers, which no name has.
func isModified(line []byte) bool {
	i := bytes.IndexByte(line, '$')
	return i > 0 && i < len(line)-1 && !syntax.IsSpace(line[i-1])
}

// adblockLine reads a rule of adblock syntax as far as it is about names:
// ||NAME^ is a name and all below, |NAME^ and a bare NAME one name alone. With @@ or a modifier a bare NAME is a
// pattern, which any part of a name may match: it is taken for the name and all below. A rule that begins
// with @@ takes names out of the list again. Lines of address and name are read as in hosts files.
func (l *reader) adblockLine(line []byte) error {
	if isAdblockComment(line) {
		l.comment()
		return nil
	}
	if cosmeticAt(line) >= 0 {
		l.aside(faultCosmetic)
		return nil
	}
	if first, rest := syntax.Field(line); len(rest) > 0 && isAddress(first) {
		return l.hostsLine(line)
	}
	text, except := bytes.CutPrefix(withoutNote(line), []byte("@@"))
	if len(text) > 1 && text[0] == '/' && bytes.IndexByte(text[1:], '/') >= 0 {
		if isRegexp(text) {
			l.skip(line, faultRegexp)
		} else {
			l.aside(faultPattern)
		}
		return nil
	}
	text, modifiers, modified := bytes.Cut(text, []byte("$"))
	r := entry.Rule{Except: except}
	var more []string
	if modified {
		var f syntax.Fault
		if more, f = adblockModifiers(&r, modifiers); !f.OK() {
			l.leave(line, f)
			return nil
		}
	}
	return l.adblockPattern(line, text, more, &r)
}

// leave skips the line at hand, or counts it as not about names, as the fault says.
func (l *reader) leave(line []byte, f syntax.Fault) {
	if f.Aside {
		l.aside(f)
		return
	}
	l.skip(line, f)
}

// adblockPattern reads the pattern of a rule: what it is about. more are modifiers that change nothing but how the rule is written.
func (l *reader) adblockPattern(line, text []byte, more []string, r *entry.Rule) error {
	p := parsePattern(text)
	if p.isBare(text) && (r.Except || r.Important || r.Types != nil || len(more) > 0) {
		p.match = entry.Suffix
	}
	r.Spelling = spelling(text, &p, more)
	plain := !r.Except && !r.Important && !r.Cancel && r.Types == nil
	if syntax.LikeAddress(p.name) && plain {
		return l.emitEither(line, p.name, p.match)
	}
	if f := patternFault(&p); !f.OK() {
		l.leave(line, f)
		return nil
	}
	name, f := l.names.Parse(p.name, l.opt.AllowTLD || r.Except) // which blocks nothing
	switch {
	case !f.OK():
		l.skip(line, f)
		return nil
	case plain && r.Spelling == 0:
		return l.emitName(name, p.match)
	}
	return l.emitRule(name, p.match, r)
}

// withoutNote removes a comment at the end of a line: no rule about names has white space.
func withoutNote(line []byte) []byte {
	for i, b := range line[:len(line)-1] {
		if syntax.IsSpace(b) && (line[i+1] == '#' || line[i+1] == '!') {
			return syntax.Trim(line[:i])
		}
	}
	return line
}

// isRegexp reports whether text is /a regular expression/, with or without modifiers, and not a
// path.
func isRegexp(text []byte) bool {
	end := bytes.LastIndexByte(text, '/')
	return end > 0 && (end == len(text)-1 || text[end+1] == '$')
}

// adblockModifiers sets r to what modifiers say. more are those that add
// nothing to "the name is blocked": for whole pages, or with answers that block.
func adblockModifiers(r *entry.Rule, text []byte) (more []string, f syntax.Fault) {
	for next := true; next; {
		var m []byte
		m, text, next = bytes.Cut(text, []byte(","))
		m = syntax.Trim(m)
		key, value, _ := bytes.Cut(m, []byte("="))
		switch string(key) {
		case "all", "document", "doc", "popup":
			more = append(more, string(m))
		case "important":
			r.Important = true
		case "badfilter":
			r.Cancel = true
		case "dnstype":
			if f := setTypes(r, value); !f.OK() {
				return nil, f
			}
		case "client", "ctag":
			return nil, faultClient
		case "dnsrewrite":
			if !isBlock(value) {
				return nil, faultRewrite
			}
			more = append(more, string(m))
		case "denyallow":
			return nil, faultDeny
		default:
			if slices.Contains(pageModifiers, string(bytes.TrimPrefix(key, []byte("~")))) {
				return nil, faultPage
			}
			return nil, faultModifier
		}
	}
	return more, syntax.Fault{}
}

// isBlock reports whether a rule that rewrites answers only blocks the name: it answers with an
// error, no data, or the unspecified address. How to answer is decided by the ban.
func isBlock(rewrite []byte) bool {
	switch string(bytes.TrimSuffix(bytes.ToUpper(rewrite), []byte(";;"))) {
	case "NXDOMAIN", "REFUSED", "SERVFAIL", "NOERROR", "0.0.0.0", "::", "NOERROR;A;0.0.0.0", "NOERROR;AAAA;::":
		return true
	}
	return false
}

// pageModifiers narrow a rule to some requests of a page, or change the page.
var pageModifiers = []string{"third-party", "3p", "first-party", "1p", "script", "image", "stylesheet", "css", "object",
	"xmlhttprequest", "xhr", "subdocument", "frame", "ping", "beacon", "websocket", "webrtc", "font", "media", "other", "domain", "from", "to",
	"match-case", "csp", "redirect", "redirect-rule", "rewrite", "removeparam", "queryprune", "generichide", "ghide", "elemhide",
	"ehide", "specifichide", "shide", "genericblock", "inline-script", "inline-font", "popunder", "sitekey", "app", "method",
	"header", "permissions", "replace", "cookie", "stealth", "jsinject", "content", "urlblock", "extension", "empty", "mp4", "network",
	"strict1p", "strict3p", "strict-first-party", "strict-third-party", "removeheader", "hls", "jsonprune", "xmlprune", "referrerpolicy", "urltransform", "uritransform", "urlskip", "reason", "noop", "_"}

// setTypes reads query types with | between them, each with or each without a
// tilde in front.
func setTypes(r *entry.Rule, text []byte) syntax.Fault {
	for more, first := true, true; more; first = false {
		var t []byte
		t, text, more = bytes.Cut(text, []byte("|"))
		t, not := bytes.CutPrefix(syntax.Trim(t), []byte("~"))
		n, ok := dns.StringToType[string(bytes.ToUpper(t))]
		if !ok || !first && not != r.NotTypes {
			return faultDNSType
		}
		r.Types, r.NotTypes = append(r.Types, n), not
	}
	slices.Sort(r.Types) // so that rules with the same meaning are equal
	r.Types = slices.Compact(r.Types)
	return syntax.Fault{}
}

// isAdblockComment reports whether a line is a comment, or a header such as [Adblock Plus 2.0]. A line that
// begins with # is a comment, unless that begins a cosmetic rule (see cosmeticAt).
func isAdblockComment(line []byte) bool {
	switch line[0] {
	case '!':
		return true
	case '[':
		return line[len(line)-1] == ']'
	case '#':
		return cosmeticAt(line) != 0 || bytes.HasPrefix(line, []byte("####"))
	}
	return false
}

// cosmeticAt returns where in the line the separator of a cosmetic or scriptlet rule
// is: ##, #@#, #?#, #$#, #%# and those of two marks such as #@?#; -1 if
// there is none.
func cosmeticAt(line []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(line[from:], '#')
		if i < 0 {
			return -1
		}
		i += from
		rest := bytes.TrimLeft(line[i+1:], "@?$%")
		if len(rest) > 0 && rest[0] == '#' {
			return i
		}
		from = i + 1
	}
}
