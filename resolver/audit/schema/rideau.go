package schema

import (
	"strconv"
	"time"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
)

// Rideau encodes events in our own format. Use NewRideau.
type Rideau struct {
	node *Node
	time timestamp
}

// NewRideau makes an encoder. It is for one goroutine.
func NewRideau(n *Node) *Rideau { return &Rideau{node: n} }

// Query appends the JSON of a query.
func (e *Rideau) Query(b []byte, r *audit.Record) []byte {
	b = append(b, `{"schema":"`+Version+`","event":"query","id":"`...)
	b = e.node.appendID(b, queryLetter, r.Number)
	b = append(b, `","time":"`...)
	b = e.time.append(b, r.Time)
	b = append(b, '"')
	b = key(b, "node", e.node.Name)
	begin := len(b)
	b = append(b, `,"client":"`...)
	if told := e.node.appendClient(b, r.Client); len(told) > len(b) {
		b = append(told, '"')
	} else {
		b = b[:begin]
	}
	b = key(b, "group", r.Group)
	b = nameKey(b, "name", r.Name())
	b = key(b, "type", e.node.TypeName(uint16(r.Type)))
	b = key(b, "transport", r.Transport.String())
	b = key(b, "outcome", r.Outcome.String())
	if r.Outcome != resolver.Dropped {
		b = key(b, "rcode", e.node.RcodeName(uint16(r.Rcode)))
	}
	b = append(b, `,"duration_us":`...)
	b = strconv.AppendInt(b, r.Duration.Microseconds(), 10)
	if r.Ban != "" {
		b = e.verdict(b, r)
	}
	if r.Route != "" {
		b = key(b, "route", r.Route)
	}
	if r.Upstream != "" {
		b = key(b, "upstream", r.Upstream)
	}
	b = append(b, `,"policy":{"generation":`...)
	b = strconv.AppendUint(b, r.Policy.Generation, 10)
	b = key(b, "fingerprint", r.Policy.Fingerprint)
	return append(b, '}', '}')
}

// verdict appends what decided.
func (e *Rideau) verdict(b []byte, r *audit.Record) []byte {
	b = key(b, "ban", r.Ban)
	b = key(b, "action", r.Action.String())
	b = key(b, "list", r.List)
	if rule := r.Rule(); rule != nil {
		b = nameKey(b, "rule", rule)
	}
	if r.InAnswer {
		b = append(b, `,"in_answer":true`...)
	}
	if r.ByZone {
		b = key(b, "trigger", r.Trigger.String())
	}
	if r.Monitored {
		b = append(b, `,"monitored":true`...)
	}
	if r.Marks&resolver.Bypass != 0 {
		b = append(b, `,"bypass":true`...)
	}
	return exception(b, r)
}

// exception appends the exception that let a query pass.
func exception(b []byte, r *audit.Record) []byte {
	x := r.Exception
	if x == nil {
		return b
	}
	b = append(b, `,"exception":{"id":`...)
	b = appendString(b, x.ID)
	b = key(b, "ticket", x.Ticket)
	b = key(b, "approver", x.Approver)
	return append(b, '}')
}

// actJSON is an act in our own format.
type actJSON struct {
	Schema  string       `json:"schema"`
	Event   act.Kind     `json:"event"`
	ID      string       `json:"id"`
	Time    string       `json:"time"`
	Node    string       `json:"node"`
	Version string       `json:"version"`
	Actor   actorJSON    `json:"actor"`
	Object  string       `json:"object,omitempty"`
	Failed  bool         `json:"failed,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Clock   string       `json:"clock,omitempty"` // distrusted
	Changes []changeJSON `json:"changes,omitempty"`
	// Exception is an object of the same key as that of a query, with more in it.
	Exception   *exceptionJSON   `json:"exception,omitempty"`
	Certificate *certificateJSON `json:"certificate,omitempty"`
	Alert       *alertJSON       `json:"alert,omitempty"`
	Visit       *visitJSON       `json:"visit,omitempty"`
	Bans        []banJSON        `json:"bans,omitempty"`
	Policy      policyJSON       `json:"policy"`
	Config      string           `json:"config,omitempty"`
	Uptime      int64            `json:"uptime_ms,omitempty"`
}

type actorJSON struct {
	Way     act.Way `json:"way"`
	Address string  `json:"address,omitempty"`
	User    string  `json:"user,omitempty"`
	Process int     `json:"process,omitempty"`
}

type exceptionJSON struct {
	ID        string   `json:"id"`
	Ticket    string   `json:"ticket"`
	Approver  string   `json:"approver"`
	Contact   string   `json:"contact,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Lists     []string `json:"lists,omitempty"`
	Effective string   `json:"effective,omitempty"`
	Expires   string   `json:"expires,omitempty"`
	InForce   bool     `json:"in_force"`
	Uses      uint64   `json:"uses,omitempty"`
}

type alertJSON struct {
	ID         string   `json:"id"`
	Condition  string   `json:"condition"`
	Severity   string   `json:"severity"`
	Text       textJSON `json:"text"`
	Since      string   `json:"since"`
	Count      uint64   `json:"count,omitempty"`
	Client     string   `json:"client,omitempty"`
	Suppressed uint64   `json:"suppressed,omitempty"`
	Again      bool     `json:"again,omitempty"`
	Test       bool     `json:"test,omitempty"`
}

type visitJSON struct {
	Reference string `json:"reference"`
	Client    string `json:"client,omitempty"`
}

type textJSON struct {
	English string `json:"en"`
	French  string `json:"fr"`
}

type certificateJSON struct {
	Use         string `json:"use"`
	File        string `json:"file,omitempty"`
	Subject     string `json:"subject"`
	Issuer      string `json:"issuer"`
	Serial      string `json:"serial"`
	Fingerprint string `json:"fingerprint"`
	NotBefore   string `json:"not_before"`
	NotAfter    string `json:"not_after"`
}

type changeJSON struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Key    string `json:"key"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

type banJSON struct {
	ID       string     `json:"id"`
	Enforced bool       `json:"enforced"`
	Mode     string     `json:"mode"`
	Lists    []listJSON `json:"lists,omitempty"`

	Groups     []string  `json:"groups,omitempty"`
	TitleEN    string    `json:"title_en,omitempty"`
	TitleFR    string    `json:"title_fr,omitempty"`
	Authority  string    `json:"authority,omitempty"`
	Instrument string    `json:"instrument,omitempty"`
	URL        string    `json:"url,omitempty"`
	Effective  time.Time `json:"effective,omitzero"`
	Expires    time.Time `json:"expires,omitzero"`
	Bypass     bool      `json:"bypass,omitempty"`
}

type listJSON struct {
	ID       string `json:"id"`
	Hash     string `json:"hash,omitempty"`
	Entries  int    `json:"entries"`
	LastGood bool   `json:"last_good,omitempty"`
}

type policyJSON struct {
	Generation  uint64 `json:"generation"`
	Fingerprint string `json:"fingerprint"`
}

// Act appends the JSON of an act.
func (e *Rideau) Act(b []byte, a *act.Act) []byte { return marshal(b, newActJSON(e.node, &e.time, a)) }

func newActJSON(n *Node, t *timestamp, a *act.Act) actJSON {
	out := actJSON{Schema: Version, Event: a.Kind, ID: string(n.appendID(nil, actLetter, a.Number)), Time: string(t.append(nil, a.Time)),
		Node: n.Name, Version: n.Version, Actor: actorJSON(a.Actor), Object: a.Object, Failed: Failed(a), Reason: a.Reason,
		Policy: policyJSON(a.Policy), Config: a.Config, Uptime: a.Uptime.Milliseconds()}
	if a.Distrusted {
		out.Clock = "distrusted"
	}
	for _, c := range a.Changes {
		out.Changes = append(out.Changes, changeJSON(c))
	}
	if x := a.Exception; x != nil {
		out.Exception = &exceptionJSON{ID: x.ID, Ticket: x.Ticket, Approver: x.Approver, Contact: x.Contact, Reason: x.Reason, Groups: x.Groups, Lists: x.Lists,
			Effective: date(x.Effective), Expires: date(x.Expires), InForce: x.InForce, Uses: x.Uses}
	}
	if c := a.Certificate; c != nil {
		out.Certificate = &certificateJSON{Use: c.Use, File: c.File, Subject: c.Subject, Issuer: c.Issuer, Serial: c.Serial, Fingerprint: c.Fingerprint,
			NotBefore: date(c.NotBefore), NotAfter: date(c.NotAfter)}
	}
	if x := a.Alert; x != nil {
		out.Alert = &alertJSON{ID: x.ID, Condition: x.Condition, Severity: x.Severity, Text: textJSON{x.English, x.French}, Since: date(x.Since), Count: x.Count,
			Suppressed: x.Suppressed, Again: x.Again, Test: x.Test}
		if x.Client.IsValid() {
			out.Alert.Client = string(n.appendClient(nil, x.Client))
		}
	}
	if x := a.Visit; x != nil {
		out.Visit = &visitJSON{x.Reference, string(n.appendClient(nil, x.Client))}
	}
	for _, n := range a.Bans {
		ban := banJSON{ID: n.ID, Enforced: n.Enforced, Mode: n.Mode, Groups: n.Groups, TitleEN: n.TitleEN, TitleFR: n.TitleFR,
			Authority: n.Authority, Instrument: n.Instrument, URL: n.URL, Effective: n.Effective, Expires: n.Expires, Bypass: n.Bypass}
		for _, l := range n.Lists {
			ban.Lists = append(ban.Lists, listJSON(l))
		}
		out.Bans = append(out.Bans, ban)
	}
	return out
}

// date writes a time that may be zero.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
