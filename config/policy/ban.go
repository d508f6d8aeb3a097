package policy

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"rideau/config/node"
	"rideau/config/value"
)

// How many bans and exceptions a configuration may have.
const (
	MaxBans       = 64
	MaxExceptions = 128
)

const (
	maxTitle = 256  // bytes: a title goes into responses
	maxText  = 1024 // bytes
)

// Mode says how far a ban goes.
type Mode string

// Modes of bans.
const (
	ModeEnforce Mode = "enforce" // banned names are answered by the ban's action
	ModeMonitor Mode = "monitor" // banned names are answered as usual, counted and logged
	ModeOff     Mode = "off"     // the ban has no effect
)

// Action says how queries for a banned name are answered.
type Action string

// Actions of bans.
const (
	ActionNXDomain Action = "nxdomain" // the name does not exist
	ActionNoData   Action = "nodata"   // the name exists and has no data
	ActionSinkhole Action = "sinkhole" // the ban's addresses for A and AAAA, no data for other types
	ActionRefused  Action = "refused"  // REFUSED
	ActionDrop     Action = "drop"     // no response
	ActionCNAME    Action = "cname"    // an alias of the ban's target
	ActionPage     Action = "page"     // the addresses of the block page
	// The others are for bans whose lists are response policy zones.
	ActionGiven    Action = "given"    // what the zone says
	ActionTCPOnly  Action = "tcp-only" // over UDP a truncated response, over TCP the usual one
	ActionPassthru Action = "passthru" // the usual response, whatever the zones of later bans say
)

// UnknownTypes says what becomes of queries of a ban's groups for types whose records Rideau cannot look into.
type UnknownTypes string

// What becomes of unknown types.
const (
	UnknownAllow UnknownTypes = "allow"
	UnknownBlock UnknownTypes = "block"
)

// EDE is the extended DNS error of a ban's responses, an INFO-CODE of RFC 8914 section 4.
type EDE uint16

// Extended DNS errors for policy.
const (
	EDEBlocked    EDE = 15 // the operator's own policy
	EDECensored   EDE = 16 // a requirement that another body imposes on the operator
	EDEFiltered   EDE = 17 // a filter that the client asked for
	EDEProhibited EDE = 18 // the client is not authorized
)

// String returns the word for the code in configuration files.
func (e EDE) String() string {
	if e < EDEBlocked || e > EDEProhibited {
		return "unknown"
	}
	return edeWords()[e-EDEBlocked]
}

// edeWords returns the words for the codes, beginning with EDEBlocked.
func edeWords() []string { return []string{"blocked", "censored", "filtered", "prohibited"} }

// Title is a title in the two official languages.
type Title struct {
	EN string `key:"en"` // EN is the English title.
	FR string `key:"fr"` // FR is the French title; it may be empty.
}

// Sinkhole has the addresses to which banned names lead.
type Sinkhole struct {
	IPv4 netip.Addr `key:"ipv4"` // IPv4 answers A.
	IPv6 netip.Addr `key:"ipv6"` // IPv6 answers AAAA.
}

// Ban is a decision that some names must not be resolved, and the facts about that decision.
type Ban struct {
	// ID is the name of the ban in logs, metrics and responses.
	ID string `key:"id"`
	// Title says what is banned; EN is never empty.
	Title Title `key:"title"`
	// Authority is who decided.
	Authority string `key:"authority"`
	// Instrument is the law, order or direction by which it was decided.
	Instrument string `key:"instrument"`
	// URL is where the instrument can be read; http or https, or empty.
	URL string `key:"url"`
	// Effective is when the ban begins, in UTC; zero if it has no beginning.
	Effective time.Time `key:"effective"`
	// Expires is when the ban ends, in UTC; zero if it has no end. It is after Effective.
	Expires time.Time `key:"expires"`
	// Contact is the person or service to ask about the ban.
	Contact string `key:"contact"`
	// Mode says how far the ban goes.
	Mode Mode `key:"mode"`
	// Modes are the modes for groups for which it is not Mode.
	Modes []GroupMode `key:"modes"`
	// Action says how queries are answered.
	Action Action `key:"action"`
	// CNAME is the target of ActionCNAME, a name with or without a final dot. If it begins with "*.", the Qname replaces the asterisk.
	CNAME string `key:"cname"`
	// Sinkhole has the addresses for ActionSinkhole.
	Sinkhole Sinkhole `key:"sinkhole"`
	// EDE is the extended DNS error of the responses.
	EDE EDE `key:"ede"`
	// SubError is told with EDE to clients that ask for structured errors.
	SubError SubError `key:"sub_error"`
	// TTL is the TTL of the responses, in whole seconds.
	TTL time.Duration `key:"ttl"`
	// Groups are the ids of the groups that the ban is for; GroupAll by default. GroupEnforced stands for the groups for which another ban
	// is enforced.
	Groups []string `key:"groups"`
	// Lists are the ids of the lists that are banned; at least one, unless there is AllBut.
	Lists []string `key:"lists"`
	// AllBut are the ids of the lists whose names alone are let through: the ban is on all others. No ban has one of them in Lists.
	AllBut []string `key:"all_but"`
	// Bypass says that the ban is about ways to go around this resolver. Devices that try one are counted.
	Bypass bool `key:"bypass"`
	// StripECH removes the key for encrypted Client Hello from responses to the ban's groups.
	StripECH bool `key:"strip_ech"`
	// UnknownTypes says what becomes of queries for types that Rideau does not know.
	UnknownTypes UnknownTypes `key:"unknown_types"`
	// Canary is a name that the ban blocks, in presentation form, by which Rideau tests itself; empty for one of its lists.
	Canary string `key:"canary"`
	// Line is the line where the ban begins.
	Line int `key:"-"`
}

// GroupMode is the mode of a ban for some groups.
type GroupMode struct {
	// Groups are ids of groups; at least one.
	Groups []string `key:"groups"`
	// Mode is their mode.
	Mode Mode `key:"mode"`
}

// Exception lets names through that a ban would block.
type Exception struct {
	// ID is the name of the exception in logs and metrics.
	ID string `key:"id"`
	// Title says what is let through; it may be empty.
	Title Title `key:"title"`
	// Reason is why it is let through.
	Reason string `key:"reason"`
	// Ticket is where it was requested.
	Ticket string `key:"ticket"`
	// Approver is who approved it.
	Approver string `key:"approver"`
	// Contact is the person or service to ask about the exception.
	Contact string `key:"contact"`
	// Groups are the ids of the groups that the exception is for; GroupAll by default.
	Groups []string `key:"groups"`
	// Effective is when the exception begins, in UTC; zero if it has no beginning.
	Effective time.Time `key:"effective"`
	// Expires is when the exception ends, in UTC; zero if it has no end. It is after Effective.
	Expires time.Time `key:"expires"`
	// Lists are the ids of the lists that are let through. No ban uses one of them. Lists, Names or both have an element.
	Lists []string `key:"lists"`
	// Names are entries in the plain format.
	Names []string `key:"names"`
	// NameLines has the line of each of Names.
	NameLines []int `key:"-"`
	// Line is the line where the exception begins.
	Line int `key:"-"`
}

func defaultBan() Ban {
	return Ban{
		Mode:     ModeEnforce,
		Action:   ActionNXDomain,
		Sinkhole: Sinkhole{IPv4: netip.IPv4Unspecified(), IPv6: netip.IPv6Unspecified()},
		EDE:      EDEBlocked,
		SubError: SubErrorNone,
		TTL:      30 * time.Second,
		Groups:   []string{GroupAll},

		UnknownTypes: UnknownAllow,
	}
}

func (s *Sections) readBan(v node.Value) (Ban, bool) {
	m := v.Mapping()
	b := defaultBan()
	b.Line = v.Line()
	node.Set(m, "id", &b.ID, value.Identifier("ban or exception"))
	m.Section("title", b.Title.read)
	node.Set(m, "authority", &b.Authority, node.Text(maxText))
	node.Set(m, "instrument", &b.Instrument, node.Text(maxText))
	node.Set(m, "url", &b.URL, value.WebAddress)
	readSpan(m, &b.Effective, &b.Expires)
	node.Set(m, "contact", &b.Contact, node.Text(maxText))
	node.Set(m, "mode", &b.Mode, node.Word("a mode", ModeEnforce, ModeMonitor, ModeOff))
	node.Set(m, "action", &b.Action, node.Word("an action", ActionNXDomain, ActionNoData, ActionSinkhole, ActionRefused, ActionDrop,
		ActionCNAME, ActionPage, ActionGiven, ActionTCPOnly, ActionPassthru))
	node.Set(m, "cname", &b.CNAME, value.AliasTarget)
	node.Set(m, "modes", &b.Modes, node.List(0, MaxGroups, readGroupMode))
	m.Section("sinkhole", b.Sinkhole.read)
	if m.Has("sinkhole") && b.Action != ActionSinkhole {
		m.At("sinkhole").Problem("write action: sinkhole, or remove the addresses", "the action %s has no use for addresses", b.Action)
	}
	switch alias := b.Action == ActionCNAME; {
	case alias && !m.Has("cname"):
		m.At("action").Problem("write the name after cname:", "the action %s needs a name", b.Action)
	case !alias && m.Has("cname"):
		m.At("cname").Problem("write action: cname, or remove the name", "the action %s has no use for a name", b.Action)
	}
	node.Set(m, "ede", &b.EDE, ede)
	b.readSubError(m)
	node.Set(m, "ttl", &b.TTL, node.TTL(time.Second, time.Hour))
	node.Set(m, "groups", &b.Groups, node.List(1, MaxGroups, node.Distinct(value.Reference("group", GroupAll, GroupEnforced))))
	node.Set(m, "lists", &b.Lists, node.List(1, MaxLists, node.Distinct(value.Reference("list"))))
	node.Set(m, "all_but", &b.AllBut, node.List(1, MaxLists, node.Distinct(s.exceptedList)))
	node.Set(m, "bypass", &b.Bypass, node.Boolean)
	node.Set(m, "strip_ech", &b.StripECH, node.Boolean)
	node.Set(m, "unknown_types", &b.UnknownTypes, node.Word("a rule", UnknownAllow, UnknownBlock))
	node.Set(m, "canary", &b.Canary, value.Domain)
	m.Done()
	m.Require("id", "give the ban an id")
	m.Require("title", "say in title.en what is banned")
	b.checkLists(m)
	s.checkZones(m, &b)
	checkModes(m, &b)
	return b, m.Sound()
}

// checkLists refuses a ban that has not exactly one of lists and all_but.
func (b *Ban) checkLists(m *node.Mapping) {
	switch {
	case !m.Has("all_but"):
		m.Require("lists", "list the ids of the lists to ban")
	case m.Has("lists"):
		m.At("all_but").Problem("write two bans, one with lists and one with all_but", "the ban has lists already, and bans all names but those on its lists")
	case b.Action == ActionGiven || b.Action == ActionTCPOnly || b.Action == ActionPassthru:
		m.At("action").Problem("use another action", "the action %s is for response policy zones, and the ban is on all names but those on its lists", b.Action)
	}
}

// checkModes reports groups with two modes, and groups with a mode that the ban is not for.
func checkModes(m *node.Mapping, b *Ban) {
	seen := map[string]bool{}
	for _, g := range b.Modes {
		for _, id := range g.Groups {
			if seen[id] {
				m.At("modes").Problem("keep one of them", "the group %q has two modes", id)
			}
			seen[id] = true
			if !slices.Contains(b.Groups, GroupAll) && !slices.Contains(b.Groups, GroupEnforced) && !slices.Contains(b.Groups, id) {
				m.At("modes").Warn("add it to groups, or take its mode out", "the ban is not for the group %q, so the mode has no effect", id)
			}
		}
	}
}

// checkZones refuses actions of policy zones for bans without such lists. It makes given the action of a ban that has such lists and names
// no action. The lists have to be read before.
func (s *Sections) checkZones(m *node.Mapping, b *Ban) {
	zones, others := 0, 0
	for _, id := range b.Lists {
		for i := range *s.Lists {
			switch l := &(*s.Lists)[i]; {
			case l.ID != id:
			case l.Format == FormatRPZ || l.Format == FormatAuto:
				zones++
			default:
				others++
			}
		}
	}
	switch {
	case !m.Has("action") && zones > 0:
		b.Action = ActionGiven
	case b.Action == ActionGiven && zones == 0 && others > 0:
		m.At("action").Problem("use another action, or lists of the format rpz", "none of the ban's lists says how to answer")
	case (b.Action == ActionTCPOnly || b.Action == ActionPassthru) && others > 0:
		m.At("action").Problem("put lists of the format rpz into a ban of their own", "the action %s is for response policy zones, and not all of the ban's lists are", b.Action)
	}
}

func readGroupMode(v node.Value) (GroupMode, bool) {
	m := v.Mapping()
	var g GroupMode
	node.Set(m, "groups", &g.Groups, node.List(1, MaxGroups, node.Distinct(value.Reference("group"))))
	node.Set(m, "mode", &g.Mode, node.Word("a mode", ModeEnforce, ModeMonitor, ModeOff))
	m.Done()
	m.Require("groups", "list the ids of the groups that it is for")
	m.Require("mode", "say how far the ban goes for them")
	return g, m.Sound()
}

func (s *Sections) readException(v node.Value) (Exception, bool) {
	m := v.Mapping()
	e := Exception{Groups: []string{GroupAll}, Line: v.Line()}
	node.Set(m, "id", &e.ID, value.Identifier("ban or exception"))
	m.Section("title", e.Title.read)
	node.Set(m, "reason", &e.Reason, node.Text(maxText))
	node.Set(m, "ticket", &e.Ticket, node.Text(maxText))
	node.Set(m, "approver", &e.Approver, node.Text(maxText))
	node.Set(m, "contact", &e.Contact, node.Text(maxText))
	node.Set(m, "groups", &e.Groups, groupReferences())
	readSpan(m, &e.Effective, &e.Expires)
	node.Set(m, "lists", &e.Lists, node.List(1, MaxLists, node.Distinct(s.exceptedList)))
	e.Names, e.NameLines = readEntries(m)
	m.Done()
	m.Require("id", "give the exception an id")
	if m.Sound() && !m.Has("lists") && !m.Has("names") {
		m.Problem("write the names to let through, or list the ids of lists that hold them", "the exception lets nothing through")
	}
	return e, m.Sound()
}

func groupReferences() node.Parse[[]string] {
	return node.List(1, MaxGroups, node.Distinct(value.Reference("group", GroupAll)))
}

// readRemoved parses the id of something that the file no longer has.
func (s *Sections) readRemoved(v node.Value) (string, bool) {
	id, ok := node.Text(64)(v)
	if ok && slices.ContainsFunc(*s.Bans, func(b Ban) bool { return b.ID == id }) {
		v.Warn("take it out of removed; to switch the ban off, write mode: off", "the file still has the ban %q, so removed says nothing about it", id)
	}
	return id, ok
}

// exceptedList parses a reference to a list that lets names through and that no ban blocks: an exception wins over a ban, so the ban would
// have no effect.
func (s *Sections) exceptedList(v node.Value) (string, bool) {
	id, ok := value.Reference("list")(v)
	if ok {
		v.Finally(func() {
			for _, b := range *s.Bans {
				if slices.Contains(b.Lists, id) {
					v.Problem("put the names to let through in a list of their own", "the list %q is banned by %s", id, b.ID)
					return
				}
			}
		})
	}
	return id, ok
}

func (t *Title) read(m *node.Mapping) {
	node.Set(m, "en", &t.EN, node.Text(maxTitle))
	node.Set(m, "fr", &t.FR, node.Text(maxTitle))
	m.Require("en", "write an English title")
	if s, _ := m.At("en").Scalar(); m.Has("en") && m.At("en").IsText() && strings.TrimSpace(s) == "" {
		m.At("en").Problem("write an English title", "the title is empty")
	}
}

func (s *Sinkhole) read(m *node.Mapping) {
	node.Set(m, "ipv4", &s.IPv4, value.Sinkhole4)
	node.Set(m, "ipv6", &s.IPv6, value.Sinkhole6)
}

// ede parses the word or the number of an extended DNS error.
func ede(v node.Value) (EDE, bool) {
	s, ok := v.Scalar()
	for i, w := range edeWords() {
		code := EDEBlocked + EDE(i)
		if ok && (s == w || s == []string{"15", "16", "17", "18"}[i]) {
			return code, true
		}
	}
	const codes = " (15, 16, 17, 18)"
	if !ok {
		v.Wrong("an extended DNS error", "use one of "+strings.Join(edeWords(), ", ")+codes)
		return 0, false
	}
	v.Problem(node.Suggest(s, edeWords())+codes, "unknown extended DNS error %s", node.Quote(s))
	return 0, false
}

// readSpan reads the keys effective and expires.
func readSpan(m *node.Mapping, effective, expires *time.Time) {
	node.Set(m, "effective", effective, node.Instant)
	node.Set(m, "expires", expires, node.Instant)
	if !effective.IsZero() && !expires.IsZero() && !expires.After(*effective) {
		m.At("expires").Problem("write a later one, or remove it", "%s is not after effective, %s",
			expires.Format(time.RFC3339), effective.Format(time.RFC3339))
	}
}
