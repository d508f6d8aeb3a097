package evidence

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"rideau/config/node"
	"rideau/config/value"
)

// Facility is where a message of syslog says that it comes from.
type Facility string

// facilities are those that may be chosen, by their numbers (RFC 5424 section 6.2.1).
func facilities() map[Facility]int {
	out := map[Facility]int{"user": 1, "daemon": 3, "auth": 4, "authpriv": 10, "audit": 13}
	for i := range 8 {
		out[Facility(fmt.Sprint("local", i))] = 16 + i
	}
	return out
}

// Number is the number of a facility in messages.
func (f Facility) Number() int { return facilities()[f] }

// facility parses a facility.
func facility(v node.Value) (Facility, bool) {
	var words []Facility
	for f := range facilities() {
		words = append(words, f)
	}
	slices.Sort(words)
	return node.Word("a facility", words...)(v)
}

// Remote returns the scheme of the address, and what follows it.
func (s *Sink) Remote() (scheme, address string) {
	scheme, address, _ = strings.Cut(s.Address, "://")
	return scheme, address
}

// readRemote reads the keys of a sink that is a server.
func (s *Sink) readRemote(m *node.Mapping) {
	if s.Kind == Webhook {
		node.Set(m, "address", &s.Address, webAddress)
	} else {
		node.Set(m, "address", &s.Address, address)
	}
	node.Set(m, "url", &s.URL, webURL)
	node.Set(m, "secret_file", &s.SecretFile, value.FileOrNone)
	node.Set(m, "name", &s.Name, value.Domain)
	node.Set(m, "ca_file", &s.CAFile, value.FileOrNone)
	node.Set(m, "pins", &s.Pins, node.List(0, 16, node.Distinct(value.Pin)))
	node.Set(m, "certificate", &s.Certificate, value.FileOrNone)
	node.Set(m, "key", &s.Key, value.FileOrNone)
	node.Set(m, "facility", &s.Facility, facility)
	node.Set(m, "enterprise", &s.Enterprise, node.Integer(1, 1<<31-1))
	node.Set(m, "max_message", &s.MaxMessage, node.Integer(480, 65000))
}

// checkRemote checks the keys of a sink that is a server together. It reports whether there is an address.
func (s *Sink) checkRemote(m *node.Mapping) bool {
	scheme, _ := s.Remote()
	if s.Address == "" {
		return false
	}
	for _, k := range []string{"name", "ca_file", "pins", "certificate", "key"} {
		if m.Has(k) && scheme != "tls" {
			m.At(k).Problem("take it out, or write the address as tls://", "%s is for addresses that begin with tls://", k)
		}
	}
	s.checkPair(m)
	if !m.Has("spool") && scheme != "udp" {
		m.At("address").Warn("write spool: 1GiB, and evidence.dir; or spool: 0 if this may be", "without a spool, events are lost while the server takes none")
	}
	return true
}

// checkPair refuses a certificate without a key, and the other way round.
func (s *Sink) checkPair(m *node.Mapping) {
	if (s.Certificate == "") == (s.Key == "") {
		return
	}
	have, lack := "certificate", "key"
	if s.Certificate == "" {
		have, lack = lack, have
	}
	m.At(have).Problem(fmt.Sprintf("write the file of the %s too, or take %s out", lack, have), "there is a %s and no %s", have, lack)
}

// checkSyslog checks the keys of a sink of kind syslog together.
func (s *Sink) checkSyslog(m *node.Mapping) {
	m.Require("address", "write where the server is, as in tls://192.0.2.1:6514")
	scheme, _ := s.Remote()
	if s.checkRemote(m) && !m.Has("max_message") {
		if s.MaxMessage = 8192; scheme == "udp" {
			s.MaxMessage = 2048
		}
	}
}

// checkDnstap checks the keys of a sink of kind dnstap together.
func (s *Sink) checkDnstap(m *node.Mapping) {
	const remedy = "write unix:///run/dnstap.sock, tcp://192.0.2.1:6000 or tls://192.0.2.1:6000"
	const file = "write either where a reader is, or the path of a file"
	switch toFile, toReader := m.Has("path"), m.Has("address"); {
	case toFile && toReader:
		m.At("path").Problem(file, "dnstap goes to a reader or to a file")
	case toReader:
		for _, k := range []string{"max_bytes", "max_age", "keep_files", "keep_days", "compress"} {
			if m.Has(k) {
				m.At(k).Problem("take it out, or write path in place of address", "%s is for a file of dnstap", k)
			}
		}
	case toFile:
		for _, k := range []string{"name", "ca_file", "pins", "certificate", "key"} {
			if m.Has(k) {
				m.At(k).Problem("take it out, or write address in place of path", "%s is for a reader of dnstap", k)
			}
		}
	default:
		m.Problem(file, "there is neither an address nor a path")
	}
	if s.Events == Acts || s.Events == OnlyAlerts {
		m.At("events").Problem("write banned or all, or let a sink of another kind take them", "dnstap has no events for acts")
	}
	if !s.checkRemote(m) {
		return
	}
	scheme, _ := s.Remote()
	text, _ := m.At("address").Scalar()
	_, host, _ := strings.Cut(text, "://")
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && scheme != "udp" {
		m.At("address").Problem(remedy, "%s has no port, and dnstap has none of its own", node.Quote(text))
	}
	if scheme == "udp" {
		m.At("address").Problem(remedy, "dnstap needs a stream, which UDP is not")
	}
}

// address parses the address of a server.
func address(v node.Value) (string, bool) {
	const remedy = "write udp://192.0.2.1, tcp://192.0.2.1:601, tls://192.0.2.1:6514 or unix:///dev/log"
	s, ok := v.Scalar()
	scheme, rest, cut := strings.Cut(s, "://")
	if !ok || !cut {
		v.Wrong("the address of a server", remedy)
		return "", false
	}
	port, known := map[string]uint16{"udp": 514, "tcp": 601, "tls": 6514}[scheme]
	switch {
	case known:
		a, ok := value.HostAddress(v, rest, port)
		return scheme + "://" + a.String(), ok
	case scheme != "unix":
		v.Problem(remedy, "unknown scheme %s", node.Quote(scheme))
	case !strings.HasPrefix(rest, "/") || len(rest) > 100:
		v.Problem("write the whole path, of up to 100 bytes, as in unix:///dev/log", "%s is not the path of a socket", node.Quote(rest))
	default:
		return s, true
	}
	return "", false
}
