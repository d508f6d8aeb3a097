// Package schema writes evidence as JSON, in the formats that other programs read.
//
// [Rideau] is our own: every fact of a record and of an act, under short names.
// Its keys only ever grow in number; what a key means does not change.
package schema

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"rideau/resolver/audit/act"
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

// appendString appends s as a JSON string. Octets that are not UTF-8 become
// U+FFFD; names of the DNS have escapes instead, see [wire.NameString].
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // never fails for a string
			return append(b, text...)
		}
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

// failed reports whether what was asked for did not happen.
func failed(a *act.Act) bool {
	return a.Failed || a.Kind == act.ReloadRefused || a.Kind == act.ListRefused || a.Kind == act.AccessDenied
}
