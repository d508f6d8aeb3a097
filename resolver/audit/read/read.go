// Package read reads events that package schema wrote in our own format. It
// accepts keys and kinds that it does not know, so that it reads what later
// versions write.
package read

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/names"
)

// ID identifies an event: a run of the program, and the event's number in it.
// Queries and acts are numbered apart.
type ID struct {
	Run    string
	Number uint64
}

// Query is the event of a query. Texts are as they were written: Name and Rule end
// with a dot, and Client is what may be told of the client.
type Query struct {
	ID
	Time                                  time.Time // in UTC
	Node, Client, Group                   string
	Name, Type, Transport, Outcome, Rcode string
	Ban, Action, List, Rule, Trigger      string
	InAnswer, Monitored, Bypass           bool
	Exception, Ticket, Approver           string
	Fingerprint                           string
}

// Verdict is what became of a query by the policy.
type Verdict string

// Verdicts.
const (
	Blocked   Verdict = "blocked"   // a ban kept the usual answer from the client
	Monitored Verdict = "monitored" // a ban in mode monitor would have
	Excepted  Verdict = "excepted"  // a ban would have, but for an exception
	Passed    Verdict = "passed"    // a policy zone lets it pass
	Allowed   Verdict = "allowed"   // no ban names it
)

// Verdict returns what became of the query by the policy.
func (q *Query) Verdict() Verdict {
	switch {
	case q.Ban == "":
		return Allowed
	case q.Exception != "":
		return Excepted
	case q.Monitored:
		return Monitored
	case q.Action == "passthru":
		return Passed
	}
	return Blocked
}

// Act is the event of an act.
type Act struct {
	act.Act
	ID            ID
	Node, Version string
	// Line is the event as it was written. It is valid until the next Parse.
	Line []byte
}

// maxTexts bounds how many texts a Parser shares among events.
const maxTexts = 1 << 16

// Parser reads events. Equal texts of the events that it read are the same in
// memory. It is for one goroutine. The zero value is ready.
type Parser struct {
	query Query
	act   Act
	texts map[string]string
}

// ErrForeign is the error for a line that is no event in our own format.
var ErrForeign = errors.New("not an event of schema rideau/1")

// Parse reads a line. Exactly one of query and act is not nil, unless there is an
// error; both are valid until the next call.
func (p *Parser) Parse(line []byte) (query *Query, a *Act, err error) {
	line = bytes.TrimSpace(line)
	s := scanner{b: line}
	s.open()
	var event []byte
	ours := false
	p.query = Query{}
	q := &p.query
	for first := true; ; first = false {
		key, ok := s.next(first)
		if !ok {
			break
		}
		switch string(key) {
		case "schema":
			ours = bytes.HasPrefix(s.text(), []byte("rideau/1"))
		case "event":
			if event = s.text(); string(event) != "query" {
				return p.parseAct(line)
			}
		default:
			p.field(&s, q, key)
		}
	}
	switch {
	case s.bad || !ours || string(event) != "query":
		return nil, nil, ErrForeign
	case s.space() != 0 || s.i < len(s.b):
		return nil, nil, errors.New("there is more after the event")
	case q.Run == "" || q.Time.IsZero():
		return nil, nil, errors.New("an event has no id or no time")
	}
	return q, nil, nil
}

// field reads the value of a key of a query.
func (p *Parser) field(s *scanner, q *Query, key []byte) {
	if text := q.text(key); text != nil {
		*text = p.share(s.text())
		return
	}
	switch string(key) {
	case "id":
		q.ID = p.id(s.text(), 'q')
	case "time":
		t, err := parseTime(s.text())
		s.bad = s.bad || err != nil
		q.Time = t
	case "in_answer":
		q.InAnswer = s.truth()
	case "monitored":
		q.Monitored = s.truth()
	case "bypass":
		q.Bypass = s.truth()
	case "exception":
		p.texts3(s, "id", &q.Exception, "ticket", &q.Ticket, "approver", &q.Approver)
	case "policy":
		var none string
		p.texts3(s, "fingerprint", &q.Fingerprint, "", &none, "", &none)
	default:
		s.skip()
	}
}

// text returns where the text of a key belongs; nil if it has none.
func (q *Query) text(key []byte) *string {
	switch string(key) {
	case "node":
		return &q.Node
	case "client":
		return &q.Client
	case "group":
		return &q.Group
	case "name":
		return &q.Name
	case "type":
		return &q.Type
	case "transport":
		return &q.Transport
	case "outcome":
		return &q.Outcome
	case "rcode":
		return &q.Rcode
	case "ban":
		return &q.Ban
	case "action":
		return &q.Action
	case "list":
		return &q.List
	case "rule":
		return &q.Rule
	case "trigger":
		return &q.Trigger
	}
	return nil
}

// texts3 reads an object of which three texts matter.
func (p *Parser) texts3(s *scanner, k1 string, v1 *string, k2 string, v2 *string, k3 string, v3 *string) {
	s.open()
	for first := true; ; first = false {
		key, ok := s.next(first)
		if !ok {
			return
		}
		switch string(key) {
		case k1:
			*v1 = p.share(s.text())
		case k2:
			*v2 = p.share(s.text())
		case k3:
			*v3 = p.share(s.text())
		default:
			s.skip()
		}
	}
}

// share returns a text that does not refer to the line.
func (p *Parser) share(b []byte) string {
	if t, ok := p.texts[string(b)]; ok {
		return t
	}
	if p.texts == nil || len(p.texts) >= maxTexts {
		p.texts = map[string]string{}
	}
	t := string(b)
	p.texts[t] = t
	return t
}

// id parses the id of an event; an empty ID if it is none.
func (p *Parser) id(b []byte, letter byte) ID {
	i := bytes.LastIndexByte(b, '-')
	if i <= 0 || i+2 > len(b) || b[i+1] != letter {
		return ID{}
	}
	n, err := strconv.ParseUint(string(b[i+2:]), 10, 63)
	if err != nil {
		return ID{}
	}
	return ID{p.share(b[:i]), n}
}

// parseTime parses RFC 3339, and what schema writes fast.
func parseTime(b []byte) (time.Time, error) {
	const form = "0000-00-00T00:00:00.000000Z"
	var n [7]int
	field := 0
	for i := range b {
		if len(b) != len(form) {
			break
		}
		switch c := b[i]; {
		case form[i] != '0' && c == form[i]:
			field++
		case form[i] == '0' && c >= '0' && c <= '9':
			n[field] = n[field]*10 + int(c-'0')
		default:
			return time.Parse(time.RFC3339Nano, string(b))
		}
	}
	if field != 7 || n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > 28 || n[3] > 23 || n[4] > 59 || n[5] > 59 {
		t, err := time.Parse(time.RFC3339Nano, string(b))
		return t.UTC(), err
	}
	return time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1000, time.UTC), nil
}

// actJSON is what is read of an act.
type actJSON struct {
	Schema  string
	Event   act.Kind
	ID      string
	Time    time.Time
	Node    string
	Version string
	Actor   struct {
		Way           act.Way
		Address, User string
		Process       int
	}
	Object  string
	Failed  bool
	Reason  string
	Clock   string
	Changes []struct {
		File, Key, Before, After string
		Line                     int
	}
	Exception *struct {
		ID, Ticket, Approver, Contact, Reason string
		Groups, Lists                         []string
		Effective, Expires                    time.Time
		InForce                               bool `json:"in_force"`
		Uses                                  uint64
	}
	Bans   []banJSON
	Policy struct {
		Generation  uint64
		Fingerprint string
	}
	Config string
	Uptime int64 `json:"uptime_ms"`
}

type banJSON struct {
	ID       string
	Enforced bool
	Mode     string
	Lists    []struct {
		ID, Hash string
		Entries  int
		LastGood bool `json:"last_good"`
	}
	Groups     []string
	TitleEN    string `json:"title_en"`
	TitleFR    string `json:"title_fr"`
	Authority  string
	Instrument string
	URL        string
	Effective  time.Time
	Expires    time.Time
	Bypass     bool
}

func (p *Parser) parseAct(line []byte) (*Query, *Act, error) {
	var j actJSON
	if err := json.Unmarshal(line, &j); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	id := p.id([]byte(j.ID), 'a')
	if !strings.HasPrefix(j.Schema, "rideau/1") || j.Event == "" || id.Run == "" || j.Time.IsZero() {
		return nil, nil, ErrForeign
	}
	p.act = Act{ID: id, Node: j.Node, Version: j.Version, Line: line, Act: act.Act{
		Number: id.Number, Time: j.Time.UTC(), Kind: j.Event, Actor: act.Actor(j.Actor), Object: j.Object, Failed: j.Failed, Reason: j.Reason,
		Policy: names.Policy(j.Policy), Config: j.Config, Distrusted: j.Clock == "distrusted", Uptime: time.Duration(j.Uptime) * time.Millisecond}}
	for _, c := range j.Changes {
		p.act.Changes = append(p.act.Changes, act.Change{File: c.File, Line: c.Line, Key: c.Key, Before: c.Before, After: c.After})
	}
	if j.Exception != nil {
		x := act.Exception(*j.Exception)
		p.act.Exception = &x
	}
	for _, b := range j.Bans {
		ban := act.Ban{ID: b.ID, Enforced: b.Enforced, Mode: b.Mode, Groups: b.Groups, TitleEN: b.TitleEN, TitleFR: b.TitleFR, Authority: b.Authority,
			Instrument: b.Instrument, URL: b.URL, Effective: b.Effective, Expires: b.Expires, Bypass: b.Bypass}
		for _, l := range b.Lists {
			ban.Lists = append(ban.Lists, act.List(l))
		}
		p.act.Bans = append(p.act.Bans, ban)
	}
	return nil, &p.act, nil
}
