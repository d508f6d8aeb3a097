package schema

import (
	"strconv"
	"time"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/wire"
)

// OCSFVersion is the version of the schema that OCSF writes.
const OCSFVersion = "1.8.0"

// OCSF encodes events in the Open Cybersecurity Schema Framework, version 1.8.0.
// A query is a DNS Activity (4003) with the profiles host and security_control.
// What the schema has no attribute for is in the object unmapped. Use NewOCSF.
type OCSF struct {
	node   *Node
	time   timestamp
	client client
	// What all events have in common: a part of metadata, and the device.
	product, device []byte
}

// NewOCSF makes an encoder. It is for one goroutine.
func NewOCSF(n *Node) *OCSF {
	p := key([]byte(`"product":{"name":"Rideau"`), "vendor_name", "Rideau")
	if n.Version != "" {
		p = key(p, "version", n.Version)
	}
	d := append(appendString([]byte(`{"name":`), n.Name), `,"type_id":1,"type":"Server"}`...)
	return &OCSF{node: n, product: append(p, '}'), device: d}
}

// Values of attributes. Their captions are those of the schema.
const (
	ocsfQuery   = `"activity_id":1,"activity_name":"Query","type_uid":400301`
	ocsfTraffic = `"activity_id":6,"activity_name":"Traffic","type_uid":400306`

	ocsfInformational = `,"severity_id":1,"severity":"Informational"`
	ocsfLow           = `,"severity_id":2,"severity":"Low"`
	ocsfMedium        = `,"severity_id":3,"severity":"Medium"`

	ocsfSuccess = `,"status_id":1,"status":"Success"`
	ocsfFailure = `,"status_id":2,"status":"Failure"`
)

// Query appends a DNS Activity: Traffic, which is a query with its response, or
// Query if there was no response.
func (e *OCSF) Query(b []byte, r *audit.Record) []byte {
	e.client.read(e.node, r.Client)
	if answered(r) {
		b = append(b, `{`+ocsfTraffic...)
	} else {
		b = append(b, `{`+ocsfQuery...)
	}
	b = append(b, `,"category_uid":4,"category_name":"Network Activity","class_uid":4003,"class_name":"DNS Activity"`...)
	b = append(b, e.severity(r)...)
	if unserved(r) {
		b = append(b, ocsfFailure...)
	} else {
		b = append(b, ocsfSuccess...)
	}
	b = e.times(b, r)
	b = append(b, `,"metadata":{"version":"`+OCSFVersion+`",`...)
	b = append(b, e.product...)
	b = append(b, `,"profiles":["host","security_control"],"log_name":"query","uid":"`...)
	b = e.node.appendID(b, queryLetter, r.Number)
	b = append(b, `"},"device":`...)
	b = append(b, e.device...)
	b = e.endpoints(b, r)
	b = e.question(b, r)
	b = append(b, ocsfControl(r)...)
	if r.Ban != "" {
		b = e.policy(b, r)
	}
	b = e.unmapped(b, r)
	return append(b, '}')
}

func (e *OCSF) severity(r *audit.Record) string {
	switch v := verdictOf(r); {
	case r.Marks&resolver.Bypass != 0:
		return ocsfMedium
	case v == enforced || v == modified || v == monitored:
		return ocsfLow
	}
	return ocsfInformational
}

// times appends the times of the query and of the response, in milliseconds.
func (e *OCSF) times(b []byte, r *audit.Record) []byte {
	b = milliseconds(b, `,"time":`, r.Time)
	b = milliseconds(b, `,"query_time":`, r.Time)
	if answered(r) {
		b = milliseconds(b, `,"response_time":`, r.Time.Add(r.Duration))
	}
	b = append(b, `,"duration":`...)
	return strconv.AppendInt(b, r.Duration.Milliseconds(), 10)
}

func milliseconds(b []byte, k string, t time.Time) []byte {
	return strconv.AppendInt(append(b, k...), t.UnixMilli(), 10)
}

// endpoints appends the client, this server and the connection.
func (e *OCSF) endpoints(b []byte, r *audit.Record) []byte {
	if len(e.client.text) > 0 {
		if e.client.isAddress {
			b = append(b, `,"src_endpoint":{"ip":"`...)
		} else {
			b = append(b, `,"src_endpoint":{"uid":"`...)
		}
		b = append(append(b, e.client.text...), '"', '}')
	}
	b = append(appendString(append(b, `,"dst_endpoint":{"name":`...), e.node.Name), '}')
	if r.Transport.OverTCP() {
		b = append(b, `,"connection_info":{"direction_id":1,"direction":"Inbound","protocol_num":6,"protocol_name":"tcp","protocol_ver_id":`...)
	} else {
		b = append(b, `,"connection_info":{"direction_id":1,"direction":"Inbound","protocol_num":17,"protocol_name":"udp","protocol_ver_id":`...)
	}
	if r.Client.Is4() {
		return append(b, '4', '}')
	}
	return append(b, '6', '}')
}

// question appends what was asked, and with which code it was answered.
func (e *OCSF) question(b []byte, r *audit.Record) []byte {
	b = append(b, `,"query":{"hostname":"`...)
	b = undotted(appendName(b, r.Name()), len(b))
	b = append(b, `","class":"IN"`...)
	b = append(key(b, "type", e.node.TypeName(uint16(r.Type))), '}')
	if !answered(r) {
		return b
	}
	id, caption := ocsfRcode(r.Rcode)
	b = append(b, `,"rcode_id":`...)
	b = strconv.AppendInt(b, int64(id), 10)
	if id == ocsfOther {
		caption = e.node.RcodeName(uint16(r.Rcode))
	}
	return key(b, "rcode", caption)
}

const (
	ocsfUnassigned = 24
	ocsfReserved   = 25
	ocsfOther      = 99
)

// ocsfRcode returns the identifier and the caption of a response code (RFC 6895).
func ocsfRcode(r wire.Rcode) (id int, caption string) {
	switch n := int(r); {
	case n <= 11:
		return n, [...]string{"NoError", "FormError", "ServError", "NXDomain", "NotImp", "Refused", "YXDomain", "YXRRSet", "NXRRSet", "NotAuth", "NotZone", "DSOTYPENI"}[n]
	case n >= 16 && n <= 23:
		return n, [...]string{"BADSIG_VERS", "BADKEY", "BADTIME", "BADMODE", "BADNAME", "BADALG", "BADTRUNC", "BADCOOKIE"}[n-16]
	case n < 3841 || n >= 4096 && n < 65535:
		return ocsfUnassigned, "Unassigned"
	case n < 4096 || n == 65535:
		return ocsfReserved, "Reserved"
	}
	return ocsfOther, ""
}

// ocsfControl returns the attributes of what the policy, or the server, decided.
func ocsfControl(r *audit.Record) string {
	const (
		allowed  = `,"action_id":1,"action":"Allowed","disposition_id":1,"disposition":"Allowed","is_alert":false`
		blocked  = `,"action_id":2,"action":"Denied","disposition_id":2,"disposition":"Blocked","is_alert":true`
		dropped  = `,"action_id":2,"action":"Denied","disposition_id":6,"disposition":"Dropped","is_alert":true`
		detected = `,"action_id":3,"action":"Observed","disposition_id":15,"disposition":"Detected","is_alert":true`
		changed  = `,"action_id":4,"action":"Modified","disposition_id":7,"disposition":"Custom Action","is_alert":true`

		ignored      = `,"action_id":2,"action":"Denied","disposition_id":6,"disposition":"Dropped","is_alert":false`
		rejected     = `,"action_id":2,"action":"Denied","disposition_id":25,"disposition":"Rejected","is_alert":false`
		unauthorized = `,"action_id":2,"action":"Denied","disposition_id":26,"disposition":"Unauthorized","is_alert":false`
		failed       = `,"action_id":1,"action":"Allowed","disposition_id":27,"disposition":"Error","is_alert":false`
	)
	switch verdictOf(r) {
	case enforced:
		if r.Outcome == resolver.Dropped {
			return dropped
		}
		return blocked
	case modified:
		return changed
	case monitored:
		return detected
	}
	switch r.Outcome {
	case resolver.Denied:
		return unauthorized
	case resolver.Malformed, resolver.NotImplemented, resolver.Refused:
		return rejected
	case resolver.Dropped, resolver.Limited:
		return ignored
	case resolver.Failed, resolver.Shed:
		return failed
	}
	return allowed
}

// policy appends the ban as policy, and the entry of its list as rule.
func (e *OCSF) policy(b []byte, r *audit.Record) []byte {
	b = append(b, `,"policy":{"name":`...)
	b = appendString(b, r.Ban)
	b = key(b, "uid", r.Ban)
	if r.Policy.Fingerprint != "" {
		b = key(b, "version", r.Policy.Fingerprint)
	}
	b = append(b, `},"firewall_rule":{"uid":`...)
	b = appendString(b, r.List)
	if rule := r.Rule(); rule != nil {
		b = append(b, `,"name":"`...)
		b = append(undotted(appendName(b, rule), len(b)), '"')
	}
	if r.ByZone {
		b = append(b, `,"type":"policy zone"`...)
		b = key(b, "condition", r.Trigger.String())
	} else {
		b = append(b, `,"type":"list"`...)
	}
	if r.InAnswer {
		b = append(b, `,"match_location":"answer"}`...)
	} else {
		b = append(b, `,"match_location":"query"}`...)
	}
	b = append(b, `,"observables":[{"name":"query.hostname","type_id":1,"type":"Hostname","value":"`...)
	b = undotted(appendName(b, r.Name()), len(b))
	b = append(b, '"', '}')
	if e.client.isAddress {
		b = append(b, `,{"name":"src_endpoint.ip","type_id":2,"type":"IP Address","value":"`...)
		b = append(append(b, e.client.text...), '"', '}')
	}
	return append(b, ']')
}

// unmapped appends the facts that the schema has no attribute for.
func (e *OCSF) unmapped(b []byte, r *audit.Record) []byte {
	b = append(b, `,"unmapped":{"outcome":"`...)
	b = append(append(b, r.Outcome.String()...), '"')
	b = key(b, "group", r.Group)
	b = append(b, `,"duration_us":`...)
	b = strconv.AppendInt(b, r.Duration.Microseconds(), 10)
	if r.Ban != "" {
		b = key(b, "action", r.Action.String())
		b = exception(b, r)
	}
	if r.Marks&resolver.Bypass != 0 {
		b = append(b, `,"bypass":true`...)
	}
	if r.Route != "" {
		b = key(b, "route", r.Route)
	}
	if r.Upstream != "" {
		b = key(b, "upstream", r.Upstream)
	}
	b = append(b, `,"policy_generation":`...)
	b = strconv.AppendUint(b, r.Policy.Generation, 10)
	b = key(b, "policy_fingerprint", r.Policy.Fingerprint)
	return append(b, '}')
}
