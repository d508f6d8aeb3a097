// Package report says what bans did in a span of time: for how long each was in
// force and where, what it stopped, what was let through on whose word, and of how
// much there is evidence. It reads stores and files of events, of any number of
// nodes, and counts what several of them hold once.
package report

import (
	"time"

	"rideau/resolver/audit/inforce"
)

// Version is the value of the key schema in a report as JSON.
const Version = "rideau-report/1"

// Report is what a report says. Its keys in JSON only ever grow in number.
type Report struct {
	Schema string    `json:"schema"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"` // not part of it
	Zone   string    `json:"zone"`
	Made   time.Time `json:"made"`
	By     string    `json:"by"` // the program that made it

	Sources    []Source    `json:"sources"`
	Nodes      []Node      `json:"nodes"`
	Bans       []Ban       `json:"bans"`
	Exceptions []Exception `json:"exceptions"`
	Around     Around      `json:"ways_round"`
	Acts       []Act       `json:"acts"`
	// Omitted are acts beyond those in Acts, which are the first.
	Omitted  int        `json:"acts_omitted,omitempty"`
	Coverage []Coverage `json:"coverage"`
	Notes    []Note     `json:"notes"`
}

// Source is a store or a file that was read.
type Source struct {
	Name string `json:"name"`
	// Kind is store or events.
	Kind    string `json:"kind"`
	Queries int64  `json:"queries"`
	Acts    int64  `json:"acts"`
	// Twice are events that another source has, too; Foreign lines that are no
	// events.
	Twice   int64 `json:"twice,omitempty"`
	Foreign int64 `json:"foreign,omitempty"`
}

// Node is a server.
type Node struct {
	Name     string   `json:"name"`
	Versions []string `json:"versions"`
	Runs     int      `json:"runs"`
}

// Counts are numbers of queries by what the policy decided.
type Counts struct {
	Blocked   int64 `json:"blocked"`
	Monitored int64 `json:"monitored"`
	Excepted  int64 `json:"excepted"`
	Passed    int64 `json:"passed,omitempty"`
}

// Attempts are the queries that a ban stopped or would have.
func (c Counts) Attempts() int64 { return c.Blocked + c.Monitored + c.Excepted }

// Ban is what a report says of one ban.
type Ban struct {
	ID         string    `json:"id"`
	TitleEN    string    `json:"title_en,omitempty"`
	TitleFR    string    `json:"title_fr,omitempty"`
	Authority  string    `json:"authority,omitempty"`
	Instrument string    `json:"instrument,omitempty"`
	URL        string    `json:"url,omitempty"`
	Effective  time.Time `json:"effective,omitzero"`
	Expires    time.Time `json:"expires,omitzero"`
	Mode       string    `json:"mode,omitempty"`
	Bypass     bool      `json:"bypass,omitempty"`

	Nodes []BanNode `json:"nodes"`
	Counts
	Days    []Day   `json:"days"`
	Groups  []Group `json:"groups"`
	Names   []Top   `json:"names"`
	Clients []Top   `json:"clients"`
	// Devices is how many clients there are in all, as they are told: devices,
	// pseudonyms or networks. Unnamed are the attempts without one, by age or
	// because nothing was to be told.
	Devices int    `json:"devices"`
	Unnamed int64  `json:"unnamed,omitempty"`
	Rules   []Rule `json:"rules"`
}

// BanNode is a ban on one node.
type BanNode struct {
	Node string `json:"node"`
	// Since is when it was in force for the first time, as far as is known; zero:
	// never.
	Since  time.Time `json:"since,omitzero"`
	States []State   `json:"states"`
	// Minutes in force and not, and those of which there is no record.
	InForce    float64 `json:"minutes_in_force"`
	NotInForce float64 `json:"minutes_not_in_force"`
	Unknown    float64 `json:"minutes_unknown"`
	Distrusted float64 `json:"minutes_clock_distrusted,omitempty"`
	Gaps       []Gap   `json:"gaps"`
	Lists      []List  `json:"lists"`
	Jumps      []Jump  `json:"clock_set,omitempty"`
}

// State is for how long a ban was in a state.
type State struct {
	State   inforce.State `json:"state"`
	Minutes float64       `json:"minutes"`
}

// Gap is a span in which a ban was not in force.
type Gap struct {
	State   inforce.State `json:"state"`
	From    time.Time     `json:"from"`
	To      time.Time     `json:"to"`
	Minutes float64       `json:"minutes"`
}

// List is a version of a list with which a ban was in force.
type List struct {
	ID      string    `json:"id"`
	Hash    string    `json:"sha256"`
	Entries int       `json:"entries"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
}

// Jump says that the system's clock was set.
type Jump struct {
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
}

// Day are the counts of a day, in the report's zone.
type Day struct {
	Date string `json:"date"`
	Counts
	Groups []GroupCount `json:"groups"`
}

// GroupCount are the attempts of a group.
type GroupCount struct {
	Group    string `json:"group"`
	Attempts int64  `json:"attempts"`
}

// Group are the counts of a group of clients.
type Group struct {
	Group string `json:"group"`
	Counts
}

// Top is a name or a client with many attempts.
type Top struct {
	Text     string    `json:"text"`
	Attempts int64     `json:"attempts"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

// Rule is an entry of a list that decided.
type Rule struct {
	List  string    `json:"list"`
	Rule  string    `json:"rule"` // empty: not known, for what was in an answer
	Count int64     `json:"queries"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// Exception is an exception that was used, or that there was.
type Exception struct {
	ID       string `json:"id"`
	Ticket   string `json:"ticket,omitempty"`
	Approver string `json:"approver,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// Bans are those that it let queries pass.
	Bans      []string  `json:"bans"`
	Count     int64     `json:"queries"`
	First     time.Time `json:"first,omitzero"`
	Last      time.Time `json:"last,omitzero"`
	Effective time.Time `json:"effective,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
}

// Around are the attempts to go round the resolver.
type Around struct {
	Attempts int64    `json:"attempts"` // queries that bans on ways round decided
	Devices  int      `json:"devices"`
	Bans     []string `json:"bans"`
	Names    []Top    `json:"names"`
	Clients  []Top    `json:"clients"`
}

// Act is an act that matters for bans.
type Act struct {
	At     time.Time `json:"at"`
	Node   string    `json:"node"`
	Kind   string    `json:"kind"`
	Object string    `json:"object,omitempty"`
	Who    string    `json:"who"`
	Failed bool      `json:"failed,omitempty"`
	What   string    `json:"what,omitempty"`
}

// Coverage is what a sink was offered, within the span as far as days allow.
type Coverage struct {
	Node      string `json:"node"`
	Sink      string `json:"sink"`
	Offered   uint64 `json:"offered"`
	Delivered uint64 `json:"delivered"`
	Repeated  uint64 `json:"repeated"`
	Waiting   uint64 `json:"waiting"`
	// Dropped are events that will never be delivered, by reason.
	Dropped map[string]uint64 `json:"dropped"`
	Lost    uint64            `json:"lost"`
}

// Note is what a reader has to know: a word that formats turn into a sentence, and
// what it is about.
type Note struct {
	Note   NoteKind `json:"note"`
	Object string   `json:"object,omitempty"`
}

// NoteKind says what a Note says.
type NoteKind string

// Notes.
const (
	NoBeats      NoteKind = "no_beats"      // the node has no store: an end without a stop is known from the last event only
	ForeignLines NoteKind = "foreign_lines" // a file has lines that are no events
	SameStore    NoteKind = "same_store"    // a store has runs of another one and was left out
	Reduced      NoteKind = "reduced"       // clients and names of some events were removed by age
	ClockSet     NoteKind = "clock_set"     // the clock of a node was set
	ClockDoubted NoteKind = "clock_doubted" // the clock of a node was distrusted
	Unknown      NoteKind = "unknown"       // there is no record of some of the time of a node
	Lost         NoteKind = "lost"          // a node dropped events
	NoCoverage   NoteKind = "no_coverage"   // files do not say what was dropped
)
