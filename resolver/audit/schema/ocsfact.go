package schema

import (
	"net/netip"

	"rideau/resolver/audit/act"
)

// object is a JSON object of an act. Acts are rare, and need no speed.
type object map[string]any

// ocsfClass is a class of events and one of its activities.
type ocsfClass struct {
	category     int
	categoryName string
	class        int
	className    string
	activity     int
	activityName string
}

func entityManagement(activity int, name string) ocsfClass {
	return ocsfClass{3, "Identity & Access Management", 3004, "Entity Management", activity, name}
}

func lifecycle(activity int, name string) ocsfClass {
	return ocsfClass{6, "Application Activity", 6002, "Application Lifecycle", activity, name}
}

func apiActivity(activity int, name string) ocsfClass {
	return ocsfClass{6, "Application Activity", 6003, "API Activity", activity, name}
}

func detectionFinding(activity int, name string) ocsfClass {
	return ocsfClass{2, "Findings", 2004, "Detection Finding", activity, name}
}

func stateChange() ocsfClass {
	return ocsfClass{5, "Discovery", 5019, "Device Config State Change", 1, "Log"}
}

// ocsfClassOf returns the class of an act. What changes the policy is Entity
// Management of it or of a part of it: that class has a comment, an entity with a
// version, and activities for what begins and ends by date, and needs no address of
// a caller, which the others that would do require. Calls of the operators' HTTP that
// change no policy are API Activity; what befalls the server itself is Application
// Lifecycle or a Device Config State Change.
func ocsfClassOf(k act.Kind) ocsfClass {
	switch k {
	case act.Start:
		return lifecycle(3, "Start")
	case act.Stop:
		return lifecycle(4, "Stop")
	case act.BanBegan, act.ExceptionBegan:
		return entityManagement(10, "Activate")
	case act.BanEnded, act.ExceptionEnded:
		return entityManagement(11, "Deactivate")
	case act.ExceptionMade:
		return entityManagement(1, "Create")
	case act.ExceptionRemoved:
		return entityManagement(4, "Delete")
	case act.ExceptionUsed, act.PageShown:
		return entityManagement(2, "Read")
	case act.Flush:
		return apiActivity(4, "Delete")
	case act.AlertRaised:
		return detectionFinding(1, "Create")
	case act.AlertResolved:
		return detectionFinding(3, "Close")
	case act.AccessDenied:
		return apiActivity(0, "Unknown")
	case act.SignIn: // of a session; the class Authentication requires a user, and who fails to sign in may be none
		return apiActivity(1, "Create")
	case act.SignOut:
		return apiActivity(4, "Delete")
	case act.ClockDistrusted, act.ClockTrusted, act.NotReady, act.Ready, act.Seal:
		return stateChange()
	}
	return entityManagement(3, "Update")
}

// Act appends an act in the class that fits it. All that our own format says of it
// is in unmapped.
func (e *OCSF) Act(b []byte, a *act.Act) []byte {
	c := ocsfClassOf(a.Kind)
	o := object{
		"category_uid": c.category, "category_name": c.categoryName, "class_uid": c.class, "class_name": c.className,
		"activity_id": c.activity, "activity_name": c.activityName, "type_uid": c.class*100 + c.activity,
		"time": a.Time.UnixMilli(), "message": sentence(a), "device": object{"name": e.node.Name, "type_id": 1, "type": "Server"},
		"metadata": object{"version": OCSFVersion, "product": e.productObject(), "profiles": []string{"host"}, "log_name": "act",
			"uid": string(e.node.appendID(nil, actLetter, a.Number)), "event_code": a.Kind},
		"status_id": 1, "status": "Success", "unmapped": newActJSON(e.node, &e.time, a), "actor": ocsfActor(a),
	}
	o["severity_id"], o["severity"] = severityOf(a)
	if Failed(a) {
		o["status_id"], o["status"] = 2, "Failure"
	}
	if a.Reason != "" {
		o["status_detail"] = a.Reason
	}
	switch c.class {
	case 2004:
		o["finding_info"], o["is_alert"] = finding(a), a.Kind == act.AlertRaised
		o["status_id"], o["status"] = 1, "New"
		if a.Kind == act.AlertResolved {
			o["status_id"], o["status"] = 4, "Resolved"
		} else if a.Alert != nil && a.Alert.Again {
			o["status_id"], o["status"] = 2, "In Progress"
			o["activity_id"], o["activity_name"], o["type_uid"] = 2, "Update", 200402
		}
		delete(o, "actor") // the class has none
	case 3004:
		o["entity"] = entity(a)
		if a.Reason != "" {
			o["comment"] = a.Reason
		}
		if src := source(a); src != nil {
			o["src_endpoint"] = src
		}
	case 6002:
		o["app"] = e.productObject()
	case 6003:
		o["api"] = object{"operation": a.Kind}
		if o["src_endpoint"] = source(a); source(a) == nil {
			o["src_endpoint"] = object{"name": a.Actor.Way}
		}
	case 5019:
		o["state_id"], o["state"] = ocsfOther, a.Kind
	}
	return marshal(b, o)
}

func (e *OCSF) productObject() object {
	p := object{"name": "Rideau", "vendor_name": "Rideau"}
	if e.node.Version != "" {
		p["version"] = e.node.Version
	}
	return p
}

func ocsfActor(a *act.Act) object {
	o := object{"app_name": a.Actor.Way}
	switch {
	case a.Actor.User == "":
	case a.Actor.Way == act.BySocket:
		o["user"] = object{"uid": a.Actor.User}
	default:
		o["user"] = object{"name": a.Actor.User}
	}
	if a.Actor.Process != 0 {
		o["process"] = object{"pid": a.Actor.Process}
	}
	return o
}

// source is where an act was asked for; nil if that is no place in a network.
func source(a *act.Act) object {
	if a.Actor.Address == "" {
		return nil
	}
	if x, ok := address(a.Actor.Address); ok {
		return object{"ip": x}
	}
	return object{"name": a.Actor.Address}
}

// address returns the address in text that may have a port.
func address(text string) (string, bool) {
	if p, err := netip.ParseAddrPort(text); err == nil {
		return p.Addr().String(), true
	}
	x, err := netip.ParseAddr(text)
	return x.String(), err == nil
}

// entity is what an act changed.
func entity(a *act.Act) object {
	const policyType, otherType = 5, 99
	switch a.Kind {
	case act.BanBegan, act.BanEnded:
		p := object{"uid": a.Object, "name": a.Object, "version": a.Policy.Fingerprint}
		return object{"type_id": policyType, "type": "Policy", "uid": a.Object, "name": a.Object, "version": a.Policy.Fingerprint, "policy": p}
	case act.ExceptionMade, act.ExceptionRemoved, act.ExceptionBegan, act.ExceptionEnded, act.ExceptionUsed:
		return object{"type_id": otherType, "type": "Exception", "uid": a.Object, "name": a.Object}
	case act.ListRefused, act.ListStale:
		return object{"type_id": otherType, "type": "List", "uid": a.Object, "name": a.Object}
	case act.CertificateChanged:
		return object{"type_id": otherType, "type": "Certificate", "uid": a.Object, "name": a.Object}
	}
	p := object{"name": "policy", "version": a.Policy.Fingerprint}
	o := object{"type_id": policyType, "type": "Policy", "name": "policy", "version": a.Policy.Fingerprint, "policy": p}
	if a.Object != "" { // a list or a ban that was accepted by force
		o["uid"], p["uid"] = a.Object, a.Object
	}
	return o
}

// finding is what an alert found.
func finding(a *act.Act) object {
	o := object{"uid": a.Object, "title": sentence(a)}
	if x := a.Alert; x != nil {
		o["uid"], o["desc"] = x.ID, x.English
		o["types"] = []string{x.Condition}
		if !x.Since.IsZero() {
			o["first_seen_time"] = x.Since.UnixMilli()
		}
	}
	return o
}

// severityOf returns how much an act matters.
func severityOf(a *act.Act) (id int, caption string) {
	if x := a.Alert; x != nil && a.Kind == act.AlertRaised {
		switch x.Severity {
		case "critical":
			return 5, "Critical"
		case "high":
			return 4, "High"
		case "low":
			return 2, "Low"
		}
		return 3, "Medium"
	}
	switch {
	case Failed(a) || a.Kind == act.ListStale || a.Kind == act.NotReady || a.Kind == act.ClockDistrusted:
		return 3, "Medium"
	case a.Kind == act.Stop || a.Kind == act.Force || a.Kind == act.BanEnded || a.Kind == act.Flush || a.Kind == act.ExceptionMade || a.Kind == act.ExceptionBegan:
		return 2, "Low"
	}
	return 1, "Informational"
}

// sentence is an act in words.
func sentence(a *act.Act) string {
	texts := map[act.Kind]string{act.Start: "Rideau answers", act.Stop: "Rideau was told to stop", act.Reload: "a configuration was put in force",
		act.ReloadRefused: "a configuration was refused", act.ListRefused: "a list was refused", act.ListStale: "a list was not confirmed for too long",
		act.BanBegan: "a ban came into force", act.BanEnded: "a ban ended", act.ExceptionBegan: "an exception came into force",
		act.ExceptionEnded: "an exception ended", act.ExceptionMade: "an exception was made or changed", act.ExceptionRemoved: "an exception was removed",
		act.ExceptionUsed: "an exception let queries through", act.Flush: "the cache was flushed", act.Force: "the loss of a list or of a ban was accepted by force",
		act.ClockDistrusted: "the clock is distrusted", act.ClockTrusted: "the clock is trusted again",
		act.CertificateChanged: "a certificate changed", act.AccessDenied: "an operator's request was denied",
		act.SignIn: "a sign-in", act.SignOut: "a session ended",
		act.NotReady: "Rideau is not ready", act.Ready: "Rideau is ready again", act.Seal: "a file of evidence was sealed",
		act.AlertRaised: "an alert", act.AlertResolved: "an alert is resolved", act.PageShown: "the block page was shown"}
	text, ok := texts[a.Kind]
	if !ok {
		text = string(a.Kind)
	}
	if a.Alert != nil {
		return a.Alert.English
	}
	if a.Object != "" {
		text += ": " + a.Object
	}
	return text
}
