// Package compliance compares a configuration with published guides: each item of a guide that a resolver can answer for passes, fails, does
// not apply, or is for a person to judge.
//
// # Sources
//
// stig is the DISA BIND 9.x Security Technical Implementation Guide, version 3, release 1, of 4 March 2026. Ids are those of its rules; severities
// are given where the published data have them. Rideau is not BIND: an item passes if Rideau does what the rule is for. Rules about authoritative
// zones, their keys and the files of BIND are left out, but for a few that are often asked about.
//
// itsg33 is ITSG-33, IT Security Risk Management: A Lifecycle Approach, Annex 3A, Security Control Catalogue, of December 2014, by the
// Communications Security Establishment. Ids are those of its controls. A resolver answers for a part of each of them only.
//
// 800-81r3 is NIST SP 800-81r3, Secure Domain Name System (DNS) Deployment Guide, of 19 March 2026. It numbers no requirements: ids are ours, and
// are its subjects.
//
// Titles are our own words, in both official languages.
package compliance

import (
	"crypto/fips140"
	"fmt"

	"rideau/config"
)

// Status is what became of an item.
type Status string

// Statuses.
const (
	Pass          Status = "pass"
	Fail          Status = "fail"
	NotApplicable Status = "not_applicable"
	Manual        Status = "manual" // for a person to judge
)

// Text is a sentence in both languages.
type Text struct {
	English string `json:"en"`
	French  string `json:"fr"`
}

// In returns the sentence in a language: en or fr.
func (t Text) In(language string) string {
	if language == "fr" {
		return t.French
	}
	return t.English
}

// Setting is a key of the configuration that decided.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"` // of the key, or of the section that would have it; 0 if it is not known
}

// Result is what became of one item.
type Result struct {
	ID       string    `json:"id"`
	Severity string    `json:"severity,omitempty"`
	Title    Text      `json:"title"`
	Status   Status    `json:"status"`
	Settings []Setting `json:"settings,omitempty"`
	Why      Text      `json:"why"`
	Remedy   *Text     `json:"remedy,omitempty"`
}

// Report is a comparison with one guide.
type Report struct {
	Profile string         `json:"profile"`
	Source  string         `json:"source"`
	Config  string         `json:"config"`
	Counts  map[Status]int `json:"counts"`
	Items   []Result       `json:"items"`
}

// Facts are what is compared beside the configuration.
type Facts struct {
	// FIPS says that the program runs in the mode that FIPS 140-3 demands.
	FIPS bool
}

// Here returns the facts of this program.
func Here() Facts { return Facts{FIPS: fips140.Enabled()} }

// Profiles are the names of the guides.
func Profiles() []string { return []string{"stig", "800-81r3", "itsg33"} }

// Compare compares a configuration with a guide.
func Compare(profile string, cfg *config.Config, f Facts) (*Report, error) {
	g, ok := guides()[profile]
	if !ok {
		return nil, fmt.Errorf("unknown profile %q; use one of %v", profile, Profiles())
	}
	r := &Report{Profile: profile, Source: g.source, Config: cfg.File, Counts: map[Status]int{Pass: 0, Fail: 0, NotApplicable: 0, Manual: 0}}
	for _, i := range g.items {
		v := &view{Config: cfg, facts: f}
		out := i.check(v)
		item := Result{ID: i.id, Severity: i.severity, Title: i.title, Status: out.status, Settings: v.settings, Why: out.why}
		if out.status == Fail || out.status == Manual {
			item.Remedy = &out.remedy
		}
		r.Counts[item.Status]++
		r.Items = append(r.Items, item)
	}
	return r, nil
}

// guide is a published guide.
type guide struct {
	source string
	items  []item
}

// item is one of its items.
type item struct {
	id, severity string
	title        Text
	check        func(*view) outcome
}

// outcome is what a check found.
type outcome struct {
	status      Status
	why, remedy Text
}

// view is the configuration as a check sees it. It notes which keys were looked at.
type view struct {
	*config.Config
	facts    Facts
	settings []Setting
}

// see notes a key and its value.
func (v *view) see(key string, value any) {
	v.settings = append(v.settings, Setting{Key: key, Value: fmt.Sprint(value), File: v.File, Line: v.Line(key)})
}

// judge is pass if ok, and fail otherwise. remedy is for a failure.
func judge(ok bool, pass, fail, remedy Text) outcome {
	if ok {
		return outcome{status: Pass, why: pass}
	}
	return outcome{Fail, fail, remedy}
}

// t is a sentence in both languages.
func t(english, french string) Text { return Text{english, french} }
