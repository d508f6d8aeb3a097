// Package syslog delivers events to syslog servers (RFC 5424): over UDP (RFC
// 5426), TCP (RFC 6587, with counted octets), TLS (RFC 5425), and to a socket of
// this machine.
//
// # Messages
//
// An [Encoder] makes whole messages, so that what waits in a spool keeps its
// time and its process. A message names the event in its structured data, which
// servers can choose by without reading the rest, and has the event in the chosen
// format as its text. No library makes the message: what is needed of RFC 5424 is
// a line and an escape for three characters, and the libraries for Go neither
// bound a message nor keep its structured data whole when it is cut.
//
// # Delivery
//
// A [Stream] takes events at once, and keeps a copy of what the server may not
// have read. If the connection breaks, it gives them back, to be offered again:
// see [rideau/resolver/audit/sink.Returned]. So the end of a server, of its
// machine or of the network loses nothing, and what arrives twice has the same
// id. A [Datagrams] cannot know what arrived over UDP.
package syslog

import (
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/schema"
	"rideau/resolver/audit/sink"
	"rideau/resolver/wire"
)

// Severities (RFC 5424 section 6.2.1).
const (
	critical      = 2
	failure       = 3 // "error"
	warning       = 4
	notice        = 5
	informational = 6
)

// bom says that the text of a message is UTF-8.
const bom = "\ufeff"

// cutMark is the end of the structured data of a message that was cut.
const cutMark = ` cut="yes"]`

// Messages say how messages are made.
type Messages struct {
	// Facility is the number of the facility, from 0 to 23.
	Facility int
	// Enterprise is the private enterprise number in the id of the structured
	// data.
	Enterprise uint32
	// Max is the largest size of a message in octets, at least 480. A longer
	// message is cut: first its text, then the last of the structured data.
	Max int
	// Node is what all events have in common.
	Node *schema.Node
	// Text encodes the text.
	Text sink.Encoder
}

// Encoder makes messages of events. It is for one goroutine. It implements
// [sink.Encoder].
type Encoder struct {
	o     Messages
	host  string
	rest  string // between the host and the id of the message
	begin string // of the structured data
	head  []byte
	text  []byte
	value []byte
	whole bool // all data has found space
}

// NewEncoder makes an Encoder.
func NewEncoder(o Messages) *Encoder {
	return &Encoder{o: o, host: header(o.Node.Name, 255), rest: " rideau " + strconv.Itoa(os.Getpid()) + " ",
		begin: " [rideau@" + strconv.FormatUint(uint64(o.Enterprise), 10)}
}

// header returns a field of the header: printable ASCII, or "-" for nothing.
func header(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

// Query implements sink.Encoder.
func (e *Encoder) Query(dst []byte, r *audit.Record) []byte {
	if e.text = e.o.Text.Query(e.text[:0], r); len(e.text) == 0 {
		return dst
	}
	severity, id := informational, "query"
	switch {
	case r.Exception != nil:
		id = "excepted"
	case r.Monitored:
		id = "monitored"
	case r.Outcome == resolver.Blocked:
		severity, id = notice, "blocked"
	case r.Marks&resolver.Bypass != 0:
		severity, id = notice, "bypass"
	}
	e.start(severity, r.Time, id)
	e.value = e.o.Node.AppendQueryID(e.value[:0], r.Number)
	e.param("id", string(e.value))
	e.param("outcome", r.Outcome.String())
	if r.Ban != "" {
		e.param("ban", r.Ban)
		e.param("list", r.List)
		e.param("action", r.Action.String())
	}
	e.value = e.o.Node.AppendClient(e.value[:0], r.Client)
	e.param("client", string(e.value))
	e.param("group", r.Group)
	e.param("name", wire.NameString(r.Name()))
	if r.Ban != "" {
		if rule := r.Rule(); rule != nil {
			e.param("rule", wire.NameString(rule))
		}
	}
	if x := r.Exception; x != nil {
		e.param("exception", x.ID)
	}
	return e.end(dst)
}

// Act implements sink.Encoder.
func (e *Encoder) Act(dst []byte, a *act.Act) []byte {
	if e.text = e.o.Text.Act(e.text[:0], a); len(e.text) == 0 {
		return dst
	}
	e.start(severity(a), a.Time, header(string(a.Kind), 32))
	e.value = e.o.Node.AppendActID(e.value[:0], a.Number)
	e.param("id", string(e.value))
	outcome := "done"
	if schema.Failed(a) {
		outcome = "failed"
	}
	e.param("outcome", outcome)
	e.param("object", a.Object)
	e.param("way", string(a.Actor.Way))
	e.param("client", a.Actor.Address)
	e.param("user", a.Actor.User)
	if x := a.Exception; x != nil {
		e.param("ticket", x.Ticket)
		e.param("approver", x.Approver)
	}
	e.param("policy", a.Policy.Fingerprint)
	if x := a.Alert; x != nil {
		e.param("alert", x.ID)
		e.param("condition", x.Condition)
		e.param("severity", x.Severity)
		e.param("en", x.English)
		e.param("fr", x.French)
	}
	e.param("reason", a.Reason)
	return e.end(dst)
}

// severity is how urgent an act is.
func severity(a *act.Act) int {
	switch a.Kind {
	case act.NotReady:
		return failure
	case act.ReloadRefused, act.ListRefused, act.ListStale, act.ClockDistrusted, act.AccessDenied, act.BanEnded, act.ExceptionMade, act.ExceptionBegan:
		return warning
	}
	if x := a.Alert; x != nil && a.Kind == act.AlertRaised {
		switch x.Severity {
		case "critical":
			return critical
		case "high":
			return failure
		}
		return warning
	}
	if a.Failed {
		return warning
	}
	return notice
}

// start begins a message.
func (e *Encoder) start(severity int, at time.Time, id string) {
	b := append(e.head[:0], '<')
	b = strconv.AppendInt(b, int64(e.o.Facility*8+severity), 10)
	b = append(b, ">1 "...)
	b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, ' ')
	b = append(b, e.host...)
	b = append(b, e.rest...)
	b = append(b, id...)
	e.head, e.whole = append(b, e.begin...), true
}

// param adds a parameter of the structured data, unless it is empty or there is
// no space for it.
func (e *Encoder) param(name, value string) {
	if value == "" {
		return
	}
	before := len(e.head)
	b := append(e.head, ' ')
	b = append(b, name...)
	b = append(b, '=', '"')
	for i, r := range value {
		switch {
		case r == '"' || r == '\\' || r == ']':
			b = append(b, '\\', byte(r))
		case unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			b = append(b, "\ufffd"...)
		case r == utf8.RuneError:
			b = append(b, "\ufffd"...) // also for what is not UTF-8
		default:
			_, n := utf8.DecodeRuneInString(value[i:])
			b = append(b, value[i:i+n]...)
		}
	}
	b = append(b, '"')
	if e.head = b; len(b)+len(cutMark) > e.o.Max {
		e.head, e.whole = b[:before], false
	}
}

// end appends the message to dst.
func (e *Encoder) end(dst []byte) []byte {
	dst = append(dst, e.head...)
	text := schema.Plain(e.text)
	left := e.o.Max - len(e.head) - len("] ") - len(bom)
	if e.whole && len(text) <= left {
		dst = append(dst, "] "+bom...)
		return append(dst, text...)
	}
	dst = append(dst, cutMark...)
	left -= len(cutMark) - len("]")
	if left <= 0 {
		return dst
	}
	for left = min(left, len(text)); left > 0 && left < len(text) && !utf8.RuneStart(text[left]); {
		left--
	}
	dst = append(dst, " "+bom...)
	return append(dst, text[:left]...)
}
