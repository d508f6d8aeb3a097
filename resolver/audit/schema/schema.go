// Package schema writes evidence as JSON, in the formats that other programs read.
//
//   - [Rideau] is our own: every fact of a record and of an act, under short names.
//     Its keys only ever grow in number; what a key means does not change.
//   - [OCSF] is the Open Cybersecurity Schema Framework, version 1.8.0.
//   - [ECS] is the Elastic Common Schema, version 9.
//
// The latter two hold every fact, too: what they have no field for is in their
// places for such facts.
package schema

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/wire"
)

// Version is the value of the key schema.
const Version = "rideau/1"

// Node is what all events of one run of the program have in common. It is not
// changed while an encoder uses it.
type Node struct {
	// Name tells the node from others of the same network.
	Name string
	// Run tells this run of the program from others: random, in hexadecimal. With
	// a number it is the id of an event.
	Run     string
	Version string
	// TypeName is the name of a type of records, RcodeName that of a response code.
	TypeName  func(uint16) string
	RcodeName func(uint16) string
	// Client appends what may be told of a client's address, in text without
	// characters that JSON escapes; nothing if nothing may be told. nil: the
	// whole address is told.
	Client func(dst []byte, a netip.Addr) []byte
}

// appendClient appends what may be told of an address.
func (n *Node) appendClient(dst []byte, a netip.Addr) []byte {
	if n.Client == nil {
		return a.AppendTo(dst)
	}
	return n.Client(dst, a)
}

// Letters before the number in the id of an event.
const (
	queryLetter = 'q'
	actLetter   = 'a'
)

// appendID appends the id of an event: the same event has the same id wherever it
// is delivered, and however often.
func (n *Node) appendID(dst []byte, letter byte, number uint64) []byte {
	dst = append(dst, n.Run...)
	dst = append(dst, '-', letter)
	return strconv.AppendUint(dst, number, 10)
}

// timestamp appends times, in UTC and to the microsecond (RFC 3339). Most events
// have the second of the one before in common.
type timestamp struct {
	second int64  // Unix time
	text   []byte // second as text
}

func (s *timestamp) append(dst []byte, t time.Time) []byte {
	if u := t.Unix(); u != s.second || s.text == nil {
		s.second, s.text = u, t.UTC().AppendFormat(s.text[:0], "2006-01-02T15:04:05.")
	}
	dst = append(dst, s.text...)
	micro := t.Nanosecond() / 1000
	for unit := 100000; unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+micro/unit%10))
	}
	return append(dst, 'Z')
}

// What an octet needs an escape in.
const (
	inString = 1 << iota // of JSON
	inLabel              // of a name within a JSON string
)

// escapes has for each octet what it needs an escape in.
var escapes = func() (t [256]uint8) {
	for c := range t {
		if c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, byte(c)) >= 0 {
			t[c] |= inString
		}
		if len(appendOctet(nil, byte(c))) > 1 {
			t[c] |= inLabel
		}
	}
	return t
}()

// appendString appends s as a JSON string. Octets that are not UTF-8 become
// U+FFFD; names of the DNS have escapes instead, see [wire.NameString].
func appendString(b []byte, s string) []byte {
	var escaped uint8
	for i := range len(s) {
		escaped |= escapes[s[i]]
	}
	if escaped&inString != 0 {
		text, _ := json.Marshal(s) // never fails for a string
		return append(b, Plain(text)...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// key appends a key and a string, after another one.
func key(b []byte, k, v string) []byte {
	b = append(b, ',', '"')
	b = append(b, k...)
	b = append(b, '"', ':')
	return appendString(b, v)
}

// Failed reports whether what was asked for did not happen.
func Failed(a *act.Act) bool {
	return a.Failed || a.Kind == act.ReloadRefused || a.Kind == act.ListRefused || a.Kind == act.AccessDenied
}

// nameKey appends a key and a name in wire form, as [wire.NameString] writes it.
func nameKey(b []byte, k string, name []byte) []byte {
	b = append(b, ',', '"')
	b = append(b, k...)
	b = append(b, '"', ':', '"')
	return append(appendName(b, name), '"')
}

// appendName appends a name as [wire.NameString] writes it, within a JSON string.
// It allocates nothing.
func appendName(b, name []byte) []byte {
	if len(name) == 1 && name[0] == 0 {
		return append(b, '.')
	}
	begin := len(b)
	for i := 0; ; {
		if i >= len(name) {
			return append(b[:begin], '?')
		}
		n := int(name[i])
		if n == 0 {
			return b
		}
		if n > wire.MaxLabel || i+1+n > len(name) {
			return append(b[:begin], '?')
		}
		label, escaped := name[i+1:i+1+n], uint8(0)
		for _, c := range label {
			escaped |= escapes[c]
		}
		if escaped&inLabel == 0 {
			b = append(b, label...)
		} else {
			for _, c := range label {
				b = appendOctet(b, c)
			}
		}
		b = append(b, '.')
		i += 1 + n
	}
}

// appendOctet appends an octet of a label: with the escapes of RFC 1035 section
// 5.1, and those of JSON for these.
func appendOctet(b []byte, c byte) []byte {
	switch {
	case c == '"':
		return append(b, `\\\"`...)
	case c == '\\':
		return append(b, `\\\\`...)
	case c == '.' || c == ';' || c == '(' || c == ')' || c == '@' || c == '$':
		return append(b, '\\', '\\', c)
	case c <= ' ' || c > '~':
		return append(b, '\\', '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
	case c == '<' || c == '>' || c == '&':
		const hex = "0123456789abcdef"
		return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
	return append(b, c)
}

// undotted removes the final dot of a name that was appended from begin on, as
// other schemas write names; the root keeps its.
func undotted(b []byte, begin int) []byte {
	if n := len(b); n-begin > 1 && b[n-1] == '.' {
		return b[:n-1]
	}
	return b
}

// client is what may be told of the client of one query.
type client struct {
	text      []byte // empty: nothing may be told
	isAddress bool   // and not a pseudonym or a prefix
}

func (c *client) read(n *Node, a netip.Addr) {
	c.text = n.appendClient(c.text[:0], a)
	c.isAddress = bytes.ContainsAny(c.text, ".:") && len(bytes.Trim(c.text, "0123456789abcdef.:")) == 0
}

// verdict is what became of a query by the policy.
type verdict uint8

const (
	unnamed   verdict = iota // no ban names it
	enforced                 // a ban kept the usual answer from it
	modified                 // a ban made the client ask again over TCP
	passed                   // a policy zone lets it pass
	monitored                // a ban would have stopped it
	excepted                 // an exception lets it pass
)

func verdictOf(r *audit.Record) verdict {
	switch {
	case r.Ban == "":
		return unnamed
	case r.Exception != nil:
		return excepted
	case r.Monitored:
		return monitored
	case r.Action == blocklists.Passthru:
		return passed
	case r.Action == blocklists.TCPOnly:
		return modified
	}
	return enforced
}

// answered reports whether the client got a response.
func answered(r *audit.Record) bool { return r.Outcome != resolver.Dropped }

// unserved reports whether the server could not do what it is for.
func unserved(r *audit.Record) bool {
	return r.Outcome == resolver.Failed || r.Outcome == resolver.Shed
}

// marshal appends v as JSON.
func marshal(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return b // strings and numbers always have JSON
	}
	return append(b, Plain(text)...)
}
