package format

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/miekg/dns"
)

const remedyWhole = "write ||example.com^ if the whole name is to be blocked"

var (
	faultModifier = fault{reason: "a rule with a modifier that is not known here", remedy: remedyWhole}
	faultClient   = fault{reason: "a rule for some clients", remedy: "name the clients in the ban's groups"}
	faultRewrite  = fault{reason: "a rule that rewrites answers", remedy: "write ||example.com^ to block the name"}
	faultDeny     = fault{reason: "a rule that blocks all but some names", remedy: "name what to block"}
	faultDNSType  = fault{reason: "not query types", remedy: "write $dnstype=A or $dnstype=~AAAA, with | between several"}
	faultCosmetic = aside("a rule about a page's contents, which DNS does not see")
	faultRegexp   = fault{reason: "a regular expression", remedy: "write the names it is meant for"}
	faultPattern  = aside("a pattern for URLs, which DNS does not see")
	faultWildcard = fault{reason: "a name with a wildcard within", remedy: "write the names it is meant for; ||*.example.com^ is all below a name"}
	faultPage     = aside("a rule for some requests of a page, which DNS does not see")
)

// adblockLine reads a rule of adblock syntax as far as it is about names:
// ||NAME^ is a name and all below, |NAME^ and a bare NAME one name alone, and what begins
// with @@ is taken out of the list again. Lines of address and name are read as in hosts files.
func (l *reader) adblockLine(line []byte) error {
	if isAdblockComment(line) {
		l.comment()
		return nil
	}
	if cosmeticAt(line) >= 0 {
		l.aside(faultCosmetic)
		return nil
	}
	if first, rest := field(line); len(rest) > 0 && isAddress(first) {
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
	var rule *Rule
	if except || modified {
		r := Rule{Except: except}
		if modified {
			if f := adblockModifiers(&r, modifiers); f.aside {
				l.aside(f)
				return nil
			} else if !f.ok() {
				l.skip(line, f)
				return nil
			}
		}
		if except || r.Important || r.Cancel || r.Types != nil {
			rule = &r
		}
	}
	return l.adblockPattern(line, text, rule)
}

// adblockPattern reads what a rule is about.
func (l *reader) adblockPattern(line, text []byte, rule *Rule) error {
	text, m := adblockAnchors(text)
	if likeAddress(text) && rule == nil {
		return l.emitEither(line, text, m)
	}
	for _, b := range text {
		switch {
		case isSpace(b):
			l.skip(line, faultSpace)
			return nil
		case b == '*' && m != Exact && isNamePattern(text):
			l.skip(line, faultWildcard)
			return nil
		case !hostChar[b] && b < utf8.RuneSelf:
			l.aside(faultPattern)
			return nil
		}
	}
	if rule != nil && rule.Except { // which blocks nothing
		defer func(tld bool) { l.opt.AllowTLD = tld }(l.opt.AllowTLD)
		l.opt.AllowTLD = true
	}
	name, f := l.parseName(text)
	if !f.ok() {
		l.skip(line, f)
		return nil
	}
	return l.emitRule(name, m, rule)
}

// adblockAnchors takes off what says where in a URL the name is. What goes on
// to any path of a host is about the host.
func adblockAnchors(text []byte) ([]byte, Match) {
	m := Exact
	if rest, ok := bytes.CutPrefix(text, []byte("||")); ok {
		text, m = rest, Suffix
		for _, end := range [...]string{"^*", "/*", "/"} {
			if rest, ok := bytes.CutSuffix(text, []byte(end)); ok {
				text = rest
				break
			}
		}
	} else if rest, ok := bytes.CutPrefix(text, []byte("|")); ok {
		text = rest
	} else if len(text) > 2 && text[0] == '.' && text[len(text)-1] == '^' {
		return text[1 : len(text)-1], Below
	}
	text = bytes.TrimSuffix(text, []byte("|"))
	text = bytes.TrimSuffix(text, []byte("^"))
	if rest, ok := bytes.CutPrefix(text, []byte("*.")); ok {
		text, m = rest, Below
	}
	return text, m
}

// withoutNote takes off a comment at the end of a line: no rule about names has white space.
func withoutNote(line []byte) []byte {
	for i, b := range line[:len(line)-1] {
		if isSpace(b) && (line[i+1] == '#' || line[i+1] == '!') {
			return trim(line[:i])
		}
	}
	return line
}

// isNamePattern reports whether there is nothing in a pattern but what names
// have, and asterisks.
func isNamePattern(text []byte) bool {
	for _, b := range text {
		if b != '*' && !hostChar[b] {
			return false
		}
	}
	return true
}

// isRegexp tells /a regular expression/, with or without modifiers, from a
// path.
func isRegexp(text []byte) bool {
	end := bytes.LastIndexByte(text, '/')
	return end > 0 && (end == len(text)-1 || text[end+1] == '$')
}

// adblockModifiers fills in what modifiers say. Those for whole pages say
// nothing more than that the name is blocked.
func adblockModifiers(r *Rule, text []byte) fault {
	for more := true; more; {
		var m []byte
		m, text, more = bytes.Cut(text, []byte(","))
		key, value, _ := bytes.Cut(trim(m), []byte("="))
		switch string(key) {
		case "all", "document", "doc", "popup":
		case "important":
			r.Important = true
		case "badfilter":
			r.Cancel = true
		case "dnstype":
			if f := r.setTypes(value); !f.ok() {
				return f
			}
		case "client", "ctag":
			return faultClient
		case "dnsrewrite":
			if !isBlock(value) {
				return faultRewrite
			}
		case "denyallow":
			return faultDeny
		default:
			if slices.Contains(pageModifiers, string(bytes.TrimPrefix(key, []byte("~")))) {
				return faultPage
			}
			return faultModifier
		}
	}
	return fault{}
}

// isBlock reports whether what a rule makes of answers is none or nobody's
// address, which is to say that the name is blocked: how is for the ban to say.
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
func (r *Rule) setTypes(text []byte) fault {
	for more, first := true, true; more; first = false {
		var t []byte
		t, text, more = bytes.Cut(text, []byte("|"))
		t, not := bytes.CutPrefix(trim(t), []byte("~"))
		n, ok := dns.StringToType[string(bytes.ToUpper(t))]
		if !ok || !first && not != r.NotTypes {
			return faultDNSType
		}
		r.Types, r.NotTypes = append(r.Types, n), not
	}
	slices.Sort(r.Types) // so that rules are the same if they say the same
	r.Types = slices.Compact(r.Types)
	return fault{}
}

// isAdblockComment tells comments and headers such as [Adblock Plus 2.0]. A #
// is one too, unless it begins a cosmetic rule (see cosmeticAt).
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

// cosmeticAt is where the separator of a cosmetic or scriptlet rule is in the
// line: ##, #@#, #?#, #$#, #%# and those of two marks such as #@?#; -1 if
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
