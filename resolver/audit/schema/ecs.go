package schema

import (
	"strconv"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
)

// ECSVersion is the version of the schema that ECS writes.
const ECSVersion = "9.0.0"

// ECS encodes events in the Elastic Common Schema, version 9. What the schema has
// no field for is in the object rideau. Use NewECS.
type ECS struct {
	node   *Node
	time   timestamp
	client client
	// observer is what all events have in common.
	observer []byte
}

// NewECS makes an encoder. It is for one goroutine.
func NewECS(n *Node) *ECS {
	b := append([]byte(`,"ecs":{"version":"`+ECSVersion+`"},"observer":{"name":`), appendString(nil, n.Name)...)
	b = append(b, `,"type":"dns","vendor":"Rideau","product":"Rideau"`...)
	if n.Version != "" {
		b = key(b, "version", n.Version)
	}
	return &ECS{node: n, observer: append(b, '}')}
}

// Query appends a query. It is an alert if a ban named it.
func (e *ECS) Query(b []byte, r *audit.Record) []byte {
	e.client.read(e.node, r.Client)
	b = append(b, `{"@timestamp":"`...)
	b = append(e.time.append(b, r.Time), '"')
	b = append(b, e.observer...)
	b = e.event(b, r)
	b = append(b, `,"dns":{"type":"`...)
	if answered(r) {
		b = append(b, `answer"`...)
		b = key(b, "response_code", e.node.RcodeName(uint16(r.Rcode)))
	} else {
		b = append(b, `query"`...)
	}
	b = append(b, `,"question":{"class":"IN","name":"`...)
	b = append(undotted(appendName(b, r.Name()), len(b)), '"')
	b = key(b, "type", e.node.TypeName(uint16(r.Type)))
	b = append(b, '}', '}')
	b = e.places(b, r)
	b = append(b, `,"network":{"protocol":"dns","type":"`...)
	if r.Client.Is4() {
		b = append(b, `ipv4"`...)
	} else {
		b = append(b, `ipv6"`...)
	}
	b = append(key(b, "transport", r.Transport.Carrier()), '}')
	if r.Ban != "" {
		b = e.rule(b, r)
	}
	return append(e.own(b, r), '}')
}

// event appends what kind of event it is.
func (e *ECS) event(b []byte, r *audit.Record) []byte {
	v := verdictOf(r)
	b = append(b, `,"event":{"id":"`...)
	b = e.node.appendID(b, queryLetter, r.Number)
	switch {
	case v == enforced || v == modified || v == monitored || r.Marks&resolver.Bypass != 0:
		b = append(b, `","kind":"alert","category":["network"],"type":["protocol",`...)
	default:
		b = append(b, `","kind":"event","category":["network"],"type":["protocol",`...)
	}
	switch {
	case v == enforced || v == modified || r.Outcome == resolver.Denied || r.Outcome == resolver.Refused:
		b = append(b, `"denied"]`...)
	case v == monitored:
		b = append(b, `"info"]`...)
	default:
		b = append(b, `"allowed"]`...)
	}
	if unserved(r) {
		b = append(b, `,"outcome":"failure"`...)
	} else {
		b = append(b, `,"outcome":"success"`...)
	}
	b = append(b, `,"module":"rideau","dataset":"rideau.query"`...)
	b = key(b, "action", r.Outcome.String())
	b = append(b, `,"duration":`...)
	return append(strconv.AppendInt(b, r.Duration.Nanoseconds(), 10), '}')
}

// places appends the client, and the names and addresses to search for.
func (e *ECS) places(b []byte, r *audit.Record) []byte {
	told := e.client.text
	if len(told) > 0 {
		b = append(b, `,"client":{"address":"`...)
		b = append(append(b, told...), '"')
		if e.client.isAddress {
			b = append(b, `,"ip":"`...)
			b = append(b, told...)
			b = append(b, `"},"source":{"ip":"`...)
			b = append(append(b, told...), '"')
		}
		b = append(b, '}')
	}
	b = append(b, `,"related":{"hosts":["`...)
	b = append(undotted(appendName(b, r.Name()), len(b)), '"', ']')
	if e.client.isAddress {
		b = append(b, `,"ip":["`...)
		b = append(append(b, told...), '"', ']')
	}
	return append(b, '}')
}

// rule appends the ban and the entry of its list.
func (e *ECS) rule(b []byte, r *audit.Record) []byte {
	b = append(b, `,"rule":{"id":`...)
	b = appendString(b, r.Ban)
	b = key(b, "ruleset", r.List)
	if rule := r.Rule(); rule != nil {
		b = append(b, `,"name":"`...)
		b = append(undotted(appendName(b, rule), len(b)), '"')
	}
	if r.Policy.Fingerprint != "" {
		b = key(b, "version", r.Policy.Fingerprint)
	}
	return append(b, '}')
}

// own appends the facts that the schema has no field for.
func (e *ECS) own(b []byte, r *audit.Record) []byte {
	b = append(b, `,"labels":{"group":`...)
	b = append(appendString(b, r.Group), '}')
	b = append(b, `,"rideau":{"policy":{"generation":`...)
	b = strconv.AppendUint(b, r.Policy.Generation, 10)
	b = append(key(b, "fingerprint", r.Policy.Fingerprint), '}')
	if r.Ban != "" {
		b = key(b, "action", r.Action.String())
		if r.InAnswer {
			b = append(b, `,"in_answer":true`...)
		}
		if r.ByZone {
			b = key(b, "trigger", r.Trigger.String())
		}
		if r.Monitored {
			b = append(b, `,"monitored":true`...)
		}
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
	return append(b, '}')
}

// Act appends an act. All that our own format says of it is in rideau.
func (e *ECS) Act(b []byte, a *act.Act) []byte {
	event := object{"id": string(e.node.appendID(nil, actLetter, a.Number)), "kind": "event", "module": "rideau", "dataset": "rideau.act",
		"action": a.Kind, "outcome": "success"}
	event["category"], event["type"] = ecsCategory(a.Kind)
	if a.Kind == act.AlertRaised {
		event["kind"] = "alert"
	}
	if Failed(a) {
		event["outcome"] = "failure"
	}
	if a.Reason != "" {
		event["reason"] = a.Reason
	}
	observer := object{"name": e.node.Name, "type": "dns", "vendor": "Rideau", "product": "Rideau"}
	if e.node.Version != "" {
		observer["version"] = e.node.Version
	}
	o := object{"@timestamp": string(e.time.append(nil, a.Time)), "ecs": object{"version": ECSVersion}, "message": sentence(a),
		"event": event, "observer": observer, "rideau": newActJSON(e.node, &e.time, a)}
	if a.Actor.User != "" {
		o["user"] = object{"name": a.Actor.User}
		if a.Actor.Way == act.BySocket {
			o["user"] = object{"id": a.Actor.User}
		}
		o["related"] = object{"user": []string{a.Actor.User}}
	}
	if a.Actor.Process != 0 {
		o["process"] = object{"pid": a.Actor.Process}
	}
	if a.Actor.Address != "" {
		source := object{"address": a.Actor.Address}
		if x, ok := address(a.Actor.Address); ok {
			source["ip"] = x
		}
		o["source"] = source
	}
	if a.Kind == act.BanBegan || a.Kind == act.BanEnded {
		o["rule"] = object{"id": a.Object, "version": a.Policy.Fingerprint}
	}
	return marshal(b, o)
}

// ecsCategory returns the categories and the types of an act.
func ecsCategory(k act.Kind) (category, types []string) {
	switch k {
	case act.Start:
		return []string{"process"}, []string{"start"}
	case act.Stop:
		return []string{"process"}, []string{"end"}
	case act.AccessDenied:
		return []string{"api"}, []string{"access", "denied"}
	case act.SignIn:
		return []string{"authentication"}, []string{"start"}
	case act.SignOut:
		return []string{"authentication"}, []string{"end"}
	case act.Flush, act.ExceptionRemoved:
		return []string{"configuration"}, []string{"deletion"}
	case act.ExceptionMade:
		return []string{"configuration"}, []string{"creation"}
	case act.ExceptionUsed, act.PageShown:
		return []string{"configuration"}, []string{"access"}
	case act.ClockDistrusted, act.ClockTrusted, act.NotReady, act.Ready, act.ListStale, act.Seal, act.AlertRaised, act.AlertResolved:
		return []string{"configuration"}, []string{"info"}
	}
	return []string{"configuration"}, []string{"change"}
}
