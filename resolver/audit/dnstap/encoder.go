// Package dnstap delivers queries to programs that read dnstap: Protocol Buffers
// messages in Frame Streams.
//
// A query is a message of type CLIENT_RESPONSE, or CLIENT_QUERY if there was no
// response. Rideau keeps no DNS messages, and makes up none: query_message and
// response_message are absent. What a ban decided is in the Policy message, with
// the entry of the list as rule and the query's name as value. The field extra has
// the event in our own JSON, with the name, the type, the response code and the id.
// Acts have no place in dnstap; other sinks deliver them.
//
// The types of github.com/dnstap/golang-dnstap are those of 2021, without Policy and
// without DNS over QUIC, and take an allocation for each field. So messages are
// appended with protowire, field by field, as dnstap.proto numbers them. Frames are
// github.com/farsightsec/golang-framestream's, which golang-dnstap uses, too.
package dnstap

import (
	"net/netip"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/schema"
)

// Numbers of fields and values of enumerations in dnstap.proto.
const (
	identityField = 1
	versionField  = 2
	extraField    = 3
	messageField  = 14
	kindField     = 15
	kindMessage   = 1

	typeField          = 1
	clientQuery        = 5
	clientResponse     = 6
	familyField        = 2
	inet, inet6        = 1, 2
	protocolField      = 3
	queryAddressField  = 4
	queryTimeField     = 8
	queryNanosField    = 9
	responseTimeField  = 12
	responseNanosField = 13
	policyField        = 15
	policyTypeField    = 1
	policyRuleField    = 2
	policyActionField  = 3
	policyMatchField   = 4
	policyValueField   = 5
	matchQname         = 1
	matchClientIP      = 2
	matchNSName        = 4
	matchNSIP          = 5
	actionNXDomain     = 1
	actionNoData       = 2
	actionPass         = 3
	actionDrop         = 4
	actionTruncate     = 5
	actionLocalData    = 6
	noValue            = 0
)

// protocols are the values of SocketProtocol. DoH has one whatever the version of HTTP.
var protocols = [...]uint64{
	resolver.UDP: 1, resolver.TCP: 2, resolver.DoT: 3, resolver.DoH: 4, resolver.DoH3: 4, resolver.DoQ: 7,
}

// Encoder makes dnstap messages of queries. It is for one goroutine. It implements
// [rideau/resolver/audit/sink.Encoder].
type Encoder struct {
	node    *schema.Node
	json    *schema.Rideau
	version string
	message []byte
	policy  []byte
	extra   []byte
	told    []byte
}

// NewEncoder makes an Encoder.
func NewEncoder(n *schema.Node) *Encoder {
	return &Encoder{node: n, json: schema.NewRideau(n), version: "Rideau " + n.Version}
}

// Act appends nothing: dnstap has no such events.
func (e *Encoder) Act(b []byte, _ *act.Act) []byte { return b }

// Query appends a query.
func (e *Encoder) Query(b []byte, r *audit.Record) []byte {
	e.message = e.appendMessage(e.message[:0], r)
	e.extra = e.json.Query(e.extra[:0], r)
	b = protowire.AppendString(protowire.AppendTag(b, identityField, protowire.BytesType), e.node.Name)
	b = protowire.AppendString(protowire.AppendTag(b, versionField, protowire.BytesType), e.version)
	b = octets(b, extraField, e.extra)
	b = octets(b, messageField, e.message)
	return number(b, kindField, kindMessage)
}

func (e *Encoder) appendMessage(b []byte, r *audit.Record) []byte {
	answered := r.Outcome != resolver.Dropped
	if answered {
		b = number(b, typeField, clientResponse)
	} else {
		b = number(b, typeField, clientQuery)
	}
	if r.Client.Is4() {
		b = number(b, familyField, inet)
	} else {
		b = number(b, familyField, inet6)
	}
	b = number(b, protocolField, protocols[r.Transport])
	b = e.appendClient(b, r)
	b = moment(b, queryTimeField, queryNanosField, r.Time)
	if answered {
		b = moment(b, responseTimeField, responseNanosField, r.Time.Add(r.Duration))
	}
	if r.Ban != "" {
		e.policy = appendPolicy(e.policy[:0], r)
		b = octets(b, policyField, e.policy)
	}
	return b
}

// appendClient appends the client's address, if what may be told is an address.
func (e *Encoder) appendClient(b []byte, r *audit.Record) []byte {
	a := r.Client
	if e.node.Client != nil {
		e.told = e.node.Client(e.told[:0], r.Client)
		told, err := netip.ParseAddr(string(e.told))
		if err != nil {
			return b
		}
		a = told
	}
	if a.Is4() {
		v := a.As4()
		return octets(b, queryAddressField, v[:])
	}
	v := a.As16()
	return octets(b, queryAddressField, v[:])
}

// appendPolicy appends what a ban decided.
func appendPolicy(b []byte, r *audit.Record) []byte {
	kind := "ban"
	if r.ByZone {
		kind = "RPZ"
	}
	b = protowire.AppendString(protowire.AppendTag(b, policyTypeField, protowire.BytesType), kind)
	if rule := r.Rule(); rule != nil {
		b = octets(b, policyRuleField, rule)
	}
	if a := action(r); a != noValue {
		b = number(b, policyActionField, a)
	}
	m := match(r)
	if m != noValue {
		b = number(b, policyMatchField, m)
	}
	if m == matchQname {
		b = octets(b, policyValueField, r.Name())
	}
	return b
}

// action is what became of the query; REFUSED has no value in dnstap.
func action(r *audit.Record) uint64 {
	if r.Monitored || r.Exception != nil {
		return actionPass
	}
	switch r.Action {
	case blocklists.NXDomain:
		return actionNXDomain
	case blocklists.NoData:
		return actionNoData
	case blocklists.Passthru:
		return actionPass
	case blocklists.Drop:
		return actionDrop
	case blocklists.TCPOnly:
		return actionTruncate
	case blocklists.Sinkhole, blocklists.LocalData:
		return actionLocalData
	}
	return noValue
}

// match is what the list compared. Of what the answer holds, it is not known
// whether a name or an address was on the list.
func match(r *audit.Record) uint64 {
	if r.ByZone {
		switch r.Trigger {
		case entry.OnClient:
			return matchClientIP
		case entry.OnNSDName:
			return matchNSName
		case entry.OnNSIP:
			return matchNSIP
		}
	}
	if r.InAnswer {
		return noValue
	}
	return matchQname
}

func number(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func octets(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func moment(b []byte, seconds, nanos protowire.Number, t time.Time) []byte {
	b = number(b, seconds, uint64(t.Unix()))
	return protowire.AppendFixed32(protowire.AppendTag(b, nanos, protowire.Fixed32Type), uint32(t.Nanosecond()))
}
