package querylog

import (
	"bytes"
	"encoding/json"
)

// Reasons why a line that holds a question cannot be read.
const (
	badClient = "its client is not an IP address"
	badType   = "its query type is not known"
)

// rideau reads a line that log.queries wrote, or a line about a query in Rideau's own log in
// JSON.
func (s *reader) rideau(line []byte) (result, string) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return foreign, ""
	}
	if client, name, qtype, transport, ok := plain(line); ok {
		s.q.TCP = string(transport) == "tcp"
		return s.query(name, qtype, client, true)
	}
	var l struct {
		Name      *string `json:"name"`
		Type      string  `json:"type"`
		Client    string  `json:"client"`
		Transport string  `json:"transport"`
		Message   string  `json:"msg"`
		Lost      int     `json:"lost"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return broken, err.Error()
	}
	switch {
	case l.Message != "" && (l.Name == nil || l.Client == ""), l.Lost > 0:
		return other, ""
	case l.Name == nil:
		return broken, "it has no name"
	}
	s.q.TCP = l.Transport != "" && l.Transport != "udp"
	return s.query([]byte(*l.Name), []byte(l.Type), []byte(l.Client), true)
}

// plain parses a line as log.queries writes it if no text needs
// escapes, which is nearly always. It is several times as fast as parsing JSON. ok is false for
// all other lines.
func plain(line []byte) (client, name, qtype, transport []byte, ok bool) {
	if bytes.IndexByte(line, '\\') >= 0 {
		return nil, nil, nil, nil, false
	}
	var v [7][]byte
	for i, key := range [...]string{`{"time":"`, `,"client":"`, `,"group":"`, `,"name":"`, `,"type":"`, `,"transport":"`, `,"outcome":"`} {
		rest, found := bytes.CutPrefix(line, []byte(key))
		end := bytes.IndexByte(rest, '"')
		if !found || end < 0 {
			return nil, nil, nil, nil, false
		}
		v[i], line = rest[:end], rest[end+1:]
	}
	// What follows is not about the question, but must be whole.
	return v[1], v[3], v[4], v[5], len(line) > 0 && line[len(line)-1] == '}'
}

// query parses the parts of a query into s.q.
func (s *reader) query(name, qtype, client []byte, escapes bool) (result, string) {
	if !s.client(client) {
		return broken, badClient
	}
	if !s.typeOf(qtype) {
		return broken, badType
	}
	if fault := s.name(name, escapes); fault != "" {
		return broken, fault
	}
	return asked, ""
}

// dnsmasq reads "query[A] name from 192.0.2.1". dnsmasq writes names as
// they are, spaces and backslashes included, and no class.
func (s *reader) dnsmasq(line []byte) (result, string) {
	at := bytes.Index(line, []byte("query["))
	if at < 0 {
		at = bytes.Index(line, []byte("auth["))
	}
	if at < 0 || at > 0 && line[at-1] != ' ' {
		if bytes.Contains(line, []byte(" dnsmasq")) {
			return other, ""
		}
		return foreign, ""
	}
	rest := line[at+bytes.IndexByte(line[at:], '[')+1:]
	qtype, rest, ok := bytes.Cut(rest, []byte("] "))
	from := bytes.LastIndex(rest, []byte(" from "))
	if !ok || from < 0 {
		return foreign, ""
	}
	name, client := rest[:from], rest[from+len(" from "):]
	client, _, _ = bytes.Cut(client, []byte{' '})
	if string(name) == "<name unprintable>" {
		return broken, "dnsmasq did not write the name"
	}
	if n, unknown := bytes.CutPrefix(qtype, []byte("type=")); unknown {
		var buf [16]byte
		qtype = append(append(buf[:0], "TYPE"...), n...)
	}
	s.q.TCP = false
	return s.query(name, qtype, client, false)
}

// bind reads "client @0x7f 192.0.2.1#5353 (name): view v: query: name IN A +E(0)K (192.0.2.53)",
// with anything before it. The name is written by the rules of master files,
// so it has no space.
func (s *reader) bind(line []byte) (result, string) {
	at := bytes.Index(line, []byte("client "))
	if at > 0 && line[at-1] != ' ' {
		at = -1
	}
	mark := bytes.LastIndex(line, []byte(": query: "))
	if at < 0 || mark < at {
		if bytes.Contains(line, []byte(" named[")) || at >= 0 && bytes.Contains(line[at:], []byte("client @0x")) {
			return other, ""
		}
		return foreign, ""
	}
	from := line[at+len("client ") : mark]
	if bytes.HasPrefix(from, []byte{'@'}) {
		_, from, _ = bytes.Cut(from, []byte{' '})
	}
	client, _, ok := bytes.Cut(from, []byte{'#'})
	if !ok {
		return foreign, ""
	}
	name, rest, _ := bytes.Cut(line[mark+len(": query: "):], []byte{' '})
	class, rest, _ := bytes.Cut(rest, []byte{' '})
	qtype, rest, _ := bytes.Cut(rest, []byte{' '})
	flags, _, _ := bytes.Cut(rest, []byte{' '})
	if string(class) != "IN" {
		return other, "" // policy is about the class IN only
	}
	s.q.TCP = bytes.IndexByte(flags, 'T') >= 0
	return s.query(name, qtype, client, true)
}

// unbound reads "info: 192.0.2.1 name. A IN", with anything before it, and
// "query:" or "reply:" instead of "info:". A reply has more after the class, and counts only
// if queries are not logged. Unbound writes a question mark for each octet that is no letter, digit or hyphen.
func (s *reader) unbound(line []byte) (result, string) {
	at := -1
	for _, tag := range [...]string{" info: ", " query: ", " reply: "} {
		if at = bytes.Index(line, []byte(tag)); at >= 0 {
			line, at = line[at+len(tag):], 0
			break
		}
	}
	if at < 0 {
		if bytes.Contains(line, []byte(" unbound")) {
			return other, ""
		}
		return foreign, ""
	}
	var field [5][]byte
	n := 0
	for rest := line; n < len(field) && len(rest) > 0; n++ {
		field[n], rest, _ = bytes.Cut(rest, []byte{' '})
	}
	if n < 4 || !s.client(field[0]) {
		return other, "" // Unbound logs much else at the level info
	}
	switch reply := n > 4; {
	case string(field[3]) != "IN", reply && s.asked:
		return other, ""
	case !reply:
		s.asked = true
	}
	s.q.TCP = false
	if bytes.IndexByte(field[1], '?') >= 0 {
		return broken, "Unbound did not write the name's octets"
	}
	return s.query(field[1], field[2], field[0], true)
}
