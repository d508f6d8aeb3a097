// Package reason answers questions about a configuration and its policy: what a
// client is answered and why, what is wrong with a file or a list, what a change
// would do. It takes values and returns values, which encode as the JSON that the
// commands print; it prints nothing.
package reason

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/group"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/text"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

// Question is a query to explain.
type Question struct {
	Name   *wire.Name
	Type   wire.Type
	Client netip.Addr
	Claims *blocklists.Claims // what the client shows or asks for beside its address; nil: nothing
	DO     bool               // the DNSSEC OK bit
	// Address is set where Name is its reverse name, and answers with the address are to be explained, too.
	Address netip.Addr
	// Now is the time that tells which bans are not yet, or no longer, in force; by default the system's.
	Now time.Time
}

// Explanation says what a client is answered, and why. Fields that do not apply
// are empty.
type Explanation struct {
	Name     string     `json:"name"`
	Type     string     `json:"type"`
	Client   string     `json:"client"`
	Group    string     `json:"group"`
	By       string     `json:"group_by,omitempty"`  // certificate, path or name, if the client is in Group by one of them
	Passed   []string   `json:"not_group,omitempty"` // groups whose path or name the client asks for, and that block less than Group
	Verdict  string     `json:"verdict"`             // banned, monitored, excepted, special, not served, refused, forwarded
	Rcode    string     `json:"rcode,omitempty"`
	Answer   []string   `json:"answer,omitempty"`
	EDE      string     `json:"ede,omitempty"`
	Zone     string     `json:"zone,omitempty"` // the special-use zone
	Upstream string     `json:"upstream,omitempty"`
	Note     Note       `json:"note,omitempty"`
	Ban      *BannedBy  `json:"ban,omitempty"`
	Except   string     `json:"exception,omitempty"`
	Ticket   string     `json:"ticket,omitempty"`
	Approver string     `json:"approver,omitempty"`
	Until    string     `json:"exception_expires,omitempty"`
	Rule     *DecidedBy `json:"rule,omitempty"`
	// InAnswers is what becomes of answers with the Question's Address.
	InAnswers *AddressVerdict `json:"in_answers,omitempty"`
	// Near are the bans and exceptions that name what was asked and do not decide about it.
	Near []NearMiss `json:"near,omitempty"`
	// Clock says why the system's clock is distrusted.
	Clock string `json:"clock,omitempty"`
	// Kind is the policy's verdict on the name.
	Kind blocklists.Kind `json:"-"`
}

// Note is something to know about a verdict, as a code.
type Note string

// Notes.
const (
	NoteUnknownType Note = "unknown-type" // the ban blocks types that Rideau does not know
	NoteUnlisted    Note = "unlisted"     // the ban is on all names but those on its lists, and this one is not on them
	NoteOnNetwork   Note = "on-network"   // the name is that of on_network
	NoteMayWait     Note = "may-wait"     // a policy zone of an earlier ban may decide otherwise when it sees upstream's answer
)

// BannedBy is the ban that decides, or that an exception overrules.
type BannedBy struct {
	ID         string `json:"id"`
	TitleEN    string `json:"title_en"`
	TitleFR    string `json:"title_fr,omitempty"`
	Authority  string `json:"authority,omitempty"`
	Instrument string `json:"instrument,omitempty"`
	URL        string `json:"url,omitempty"`
	Effective  string `json:"effective,omitempty"`
	Expires    string `json:"expires,omitempty"`
	Mode       string `json:"mode"`
	Action     string `json:"action"`
	Contact    string `json:"contact,omitempty"`
}

// DecidedBy is the entry of a list that decides.
type DecidedBy struct {
	Entry string `json:"entry"`
	Match string `json:"match"`
	List  string `json:"list"`
	File  string `json:"file"`
	Line  int    `json:"line"`
}

// Explain answers a question with the policy of a configuration. It sends
// nothing: a resolver without an upstream answers the query, so that the explanation
// is what clients get.
func Explain(cfg *config.Config, snap *blocklists.Snapshot, q Question) (*Explanation, error) {
	upstreams, _ := setup.UpstreamNames(cfg)
	st, err := setup.PolicyState(cfg, snap)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Name: q.Name.String(), Type: dns.Type(q.Type).String(), Client: q.Client.String(), Group: blocklists.GroupAll}
	q.Client = q.Client.Unmap().WithZone("")
	id := e.find(snap, &q)
	if !st.Serves(q.Client) {
		e.Verdict = "not served"
	}
	kind, err := e.answer(st, q)
	if err != nil {
		return nil, err
	}
	if q.Now.IsZero() {
		q.Now = time.Now()
	}
	ask := blocklists.Ask{Name: q.Name, Type: q.Type, Client: q.Client, Group: id}
	if q.Address.IsValid() {
		e.InAnswers = address(snap, &ask, q.Address)
	}
	zone, route := st.Zone(q.Name, q.Type)
	switch kind {
	case resolver.Special:
		e.Verdict, e.Zone = "special", zone
		switch {
		case zone != "":
		case uint16(q.Type) != dns.TypeANY:
			e.Note = NoteOnNetwork
		default:
			e.Zone = "." // ANY, which is answered here for every name
		}
		return e, nil
	case resolver.Denied, resolver.Refused:
		if e.Verdict == "" {
			e.Verdict = "refused"
		}
		return e, nil
	case resolver.Pending:
		e.Verdict, e.Upstream = "forwarded", upstreams[route]
	}
	e.policy(snap, ask, kind == resolver.Pending)
	e.Near = near(snap, &ask, e.Kind, q.Now)
	return e, nil
}

// find notes the client's group, and returns it.
func (e *Explanation) find(snap *blocklists.Snapshot, q *Question) blocklists.GroupID {
	id, by := snap.FindGroup(q.Client, q.Claims)
	e.Group = snap.GroupName(id)
	if by > group.ByAddress {
		e.By = by.String()
	}
	for i, g := range snap.Policy().Groups {
		if q.Claims != nil && g.ID != e.Group && (g.Path != "" && g.Path == q.Claims.Path || g.Name != "" && g.Name == q.Claims.Name) && !snap.Stricter(blocklists.GroupID(i+1), id) {
			e.Passed = append(e.Passed, g.ID)
		}
	}
	return id
}

// answer puts the query to a resolver, and notes its response.
func (e *Explanation) answer(st *resolver.State, q Question) (resolver.Kind, error) {
	r := resolver.New(resolver.Options{State: st, Cache: cache.New(cache.Options{}), RefusedPerSecond: 1})
	m := new(dns.Msg).SetQuestion(q.Name.String(), uint16(q.Type))
	m.SetEdns0(4096, q.DO)
	query, err := m.Pack()
	if err != nil {
		return 0, err
	}
	out, o := r.Answer(nil, &resolver.Query{Msg: query, Client: q.Client, Claims: q.Claims, Transport: resolver.UDP, Received: time.Now()})
	if len(out) > 0 {
		var response dns.Msg
		if err := response.Unpack(out); err != nil {
			return 0, err
		}
		e.read(&response)
	}
	return o.Kind, nil
}

// policy notes what the policy says of the name. pending says that the resolver
// asks upstream nevertheless.
func (e *Explanation) policy(snap *blocklists.Snapshot, q blocklists.Ask, pending bool) {
	v := snap.Question(&q)
	e.Kind = v.Kind
	if v.Kind == blocklists.Pass {
		return
	}
	switch {
	case v.ByType:
		e.Note = NoteUnknownType
	case v.Unlisted:
		e.Note = NoteUnlisted
	default:
		e.Rule = decided(snap, &q, v)
	}
	switch v.Kind {
	case blocklists.Allow:
		x := &snap.Policy().Exceptions[v.Exception]
		e.Verdict, e.Except, e.Ticket, e.Approver, e.Until = "excepted", x.ID, x.Ticket, x.Approver, text.Date(x.Expires)
		if v.Overruled {
			e.Ban = describe(snap.Ban(v.Ban), e.Group, snap.Ban(v.Ban).Action)
		}
		return
	case blocklists.WouldBlock:
		e.Verdict = "monitored"
	case blocklists.Block:
		e.Verdict = "banned"
		if pending && v.Action == blocklists.LocalData {
			e.Rcode = "NOERROR"
			for _, l := range snap.LocalData(v) {
				e.Answer = append(e.Answer, fmt.Sprintf("%s %d IN %s %s, and what that has", q.Name, l.TTL, dns.Type(l.Type), wire.NameString(l.Data)))
			}
		}
		if v.Wait {
			e.Note = NoteMayWait
		}
	}
	e.Ban = describe(snap.Ban(v.Ban), e.Group, v.Action)
}

// read notes a response.
func (e *Explanation) read(m *dns.Msg) {
	e.Rcode = dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		e.Answer = append(e.Answer, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	if o := m.IsEdns0(); o != nil {
		for _, opt := range o.Option {
			if ede, ok := opt.(*dns.EDNS0_EDE); ok {
				e.EDE = fmt.Sprintf("%d (%s): %s", ede.InfoCode, dns.ExtendedErrorCodeToString[ede.InfoCode], ede.ExtraText)
			}
		}
	}
}

// describe returns a ban as it is for a group; action is what it does about the
// question.
func describe(b *blocklists.Ban, group string, action blocklists.Action) *BannedBy {
	mode, ok := b.Modes[group]
	if !ok {
		mode = b.Mode
	}
	return &BannedBy{ID: b.ID, TitleEN: b.TitleEN, TitleFR: b.TitleFR, Authority: b.Authority, Instrument: b.Instrument,
		URL: b.URL, Effective: text.Date(b.Effective), Expires: text.Date(b.Expires), Mode: mode.String(),
		Action: action.String(), Contact: b.Contact}
}

var errFound = errors.New("found")

// Claims are those of a client that shows a certificate with a name and an issuer, and asks at a path and for a name in TLS, each of which
// may be empty. They are nil if all are.
func Claims(san, issuer, path, name string) *blocklists.Claims {
	if san+issuer+path+name == "" {
		return nil
	}
	c := &blocklists.Claims{Path: path, Name: strings.ToLower(strings.TrimSuffix(name, "."))}
	if san != "" {
		if !strings.ContainsAny(san, "@:") {
			san = strings.ToLower(san)
		}
		c.SANs = []string{san}
	}
	if issuer != "" {
		c.Issuers = []string{issuer}
	}
	return c
}
