package policy

import (
	"rideau/config/node"
)

// ErrorFormat is the format in which responses to banned names say why.
type ErrorFormat string

// Formats of errors.
const (
	ErrorText         ErrorFormat = "text"          // text for people
	ErrorStructured25 ErrorFormat = "structured-25" // for clients that ask for it, draft-ietf-dnsop-structured-dns-error-25; else text
)

// Errors says how responses to banned names say why, beside the code of RFC 8914.
type Errors struct {
	// Format is the format.
	Format ErrorFormat `key:"format" applies:"lists"`
	// Option is the number of the EDNS option by which clients ask for structured errors, one of those for local use (RFC 6891 section 9).
	Option int `key:"option" applies:"lists"`
	// Language is the language of the justification.
	Language ErrorLanguage `key:"language" applies:"lists"`
	// Organization is who blocks; it may be empty.
	Organization string `key:"organization" applies:"lists"`
	// Databases are the identifiers of databases that describe the bans by their ids (draft-ietf-dnsop-filtering-transparency-00).
	Databases []string `key:"databases" applies:"lists"`
}

// ErrorLanguage is a language of structured errors.
type ErrorLanguage string

// Languages of errors.
const (
	ErrorEnglish ErrorLanguage = "en"
	ErrorFrench  ErrorLanguage = "fr"
)

// SubError says more than the extended error why a name is blocked (section 11.4 of the draft).
type SubError string

// Sub-errors.
const (
	SubErrorNone     SubError = "none"
	SubErrorMalware  SubError = "malware"
	SubErrorPhishing SubError = "phishing"
	SubErrorSpam     SubError = "spam"
	SubErrorSpyware  SubError = "spyware"
	SubErrorNetwork  SubError = "network-operator"
	SubErrorDNS      SubError = "dns-operator"
)

// DefaultErrors returns the defaults.
func DefaultErrors() Errors {
	return Errors{Format: ErrorText, Option: 65001, Language: ErrorEnglish}
}

// Read reads the section.
func (e *Errors) Read(m *node.Mapping) {
	node.Set(m, "format", &e.Format, node.Word("a format", ErrorText, ErrorStructured25))
	node.Set(m, "option", &e.Option, node.Integer(65001, 65534))
	node.Set(m, "language", &e.Language, node.Word("a language", ErrorEnglish, ErrorFrench))
	node.Set(m, "organization", &e.Organization, node.Text(80))
	node.Set(m, "databases", &e.Databases, node.List(0, 4, node.Distinct(node.Text(32))))
}

// readSubError reads the sub-error of a ban, which has to fit its extended error.
func (b *Ban) readSubError(m *node.Mapping) {
	node.Set(m, "sub_error", &b.SubError, node.Word("a sub-error", SubErrorNone, SubErrorMalware, SubErrorPhishing, SubErrorSpam, SubErrorSpyware,
		SubErrorNetwork, SubErrorDNS))
	switch operator := b.SubError == SubErrorNetwork || b.SubError == SubErrorDNS; {
	case b.SubError == SubErrorNone || b.EDE == EDEBlocked || b.EDE == EDEFiltered && !operator:
	case operator:
		m.At("sub_error").Problem("use ede: blocked, or remove the sub-error", "the sub-error %s is not for the extended error %s", b.SubError, b.EDE)
	default:
		m.At("sub_error").Problem("use ede: blocked or filtered, or remove the sub-error", "the sub-error %s is not for the extended error %s", b.SubError, b.EDE)
	}
}
