package format

// Trigger says what an entry is compared with.
type Trigger uint8

// Triggers. The last three are those of response policy zones alone.
const (
	// OnAnswer is a name wherever names are looked at, or an address in an answer
	// (a policy zone's QNAME and RPZ-IP triggers).
	OnAnswer Trigger = iota
	// OnClient is the address of the client (RPZ-CLIENT-IP).
	OnClient
	// OnNSDName is the name of a name server of what was asked (RPZ-NSDNAME).
	OnNSDName
	// OnNSIP is the address of such a name server (RPZ-NSIP).
	OnNSIP
)

// Action is what an entry asks for.
type Action uint8

// Actions. All but the first are those of response policy zones.
const (
	Listed   Action = iota // what to do is for whoever uses the list to say
	NXDomain               // CNAME .
	NoData                 // CNAME *.
	Passthru               // CNAME rpz-passthru.
	Drop                   // CNAME rpz-drop.
	TCPOnly                // CNAME rpz-tcp-only.
	Local                  // local data: one record of it
)

// String is the trigger's word in policy zones.
func (t Trigger) String() string {
	return [...]string{"answer", "rpz-client-ip", "rpz-nsdname", "rpz-nsip"}[t]
}

// String is what the action is called.
func (a Action) String() string {
	return [...]string{"listed", "nxdomain", "nodata", "passthru", "drop", "tcp-only", "local"}[a]
}

// Rule is what some entries say beyond a name or an address.
type Rule struct {
	Trigger Trigger
	Action  Action
	// Except takes the name out of the list again, adblock's @@: it undoes
	// this list's own entries, whatever stands first, and no other list's.
	Except bool
	// Important makes the entry hold in spite of Except ($important).
	Important bool
	// Cancel takes back the same entry of the same list, that is one with the same name,
	// match, Except, Important and Types, wherever it stands ($badfilter).
	Cancel bool
	// Types are the query types that the entry is about, or with NotTypes
	// those that it is not about ($dnstype); nil is all of them. It is not written afterwards.
	Types    []uint16
	NotTypes bool
	// Type, TTL and Data are the record of the action Local: Data is its
	// RDATA, names in it uncompressed. Of a CNAME whose target's first label is an
	// asterisk the name that was asked takes the place of that label. Entries of the same
	// trigger that follow one another add records to one answer.
	Type uint16
	TTL  uint32
	Data []byte
}
