package resolvertest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/resolver"
	"rideau/resolver/wire"
)

// decode parses the response.
func (x *exchange) decode() {
	if len(x.out) == 0 {
		return
	}
	m := new(dns.Msg)
	if x.err = m.Unpack(x.out); x.err == nil {
		x.msg = m
	}
}

// violations checks a response against the rules for all responses, whatever the
// scenario is about.
func (r *run) violations(x *exchange) []error {
	silent := x.outcome.Kind == resolver.Dropped || x.outcome.Kind == resolver.Limited && len(x.out) == 0
	switch {
	case x.outcome.Kind == resolver.Pending:
		return []error{errors.New("Resolve leaves the query pending")}
	case len(x.out) == 0 && !silent:
		return []error{fmt.Errorf("outcome %v, and no answer", x.outcome.Kind)}
	case silent && len(x.out) != 0:
		return []error{errors.New("outcome dropped, and an answer")}
	case silent:
		return nil
	case x.err != nil:
		return []error{fmt.Errorf("the answer cannot be read: %w", x.err)}
	}
	v := violations{x: x, m: x.msg}
	v.header()
	switch x.msg.Opcode {
	case dns.OpcodeQuery, dns.OpcodeNotify, dns.OpcodeUpdate: // what follows the header of other opcodes is unknown
		v.question()
		v.edns(r.policy)
	}
	v.size(r.policy.udpSize)
	v.local()
	v.ttl(uint32(max(r.policy.cache.MaxTTL.Seconds(), 0)))
	v.chain()
	v.policy()
	return v.errs
}

// violations collects what is wrong with one response.
type violations struct {
	x    *exchange
	m    *dns.Msg
	errs []error
}

func (v *violations) check(ok bool, format string, args ...any) {
	if !ok {
		v.errs = append(v.errs, fmt.Errorf(format, args...))
	}
}

// header: RFC 1035 section 4.1.1, for a resolver without zones of its own.
func (v *violations) header() {
	flags := binary.BigEndian.Uint16(v.x.sent[2:])
	v.check(v.m.Id == binary.BigEndian.Uint16(v.x.sent), "the id is not the query's")
	v.check(v.m.Response, "QR is not set")
	v.check(v.m.RecursionAvailable, "RA is not set")
	v.check(!v.m.Authoritative, "AA is set")
	v.check(!v.m.Zero, "Z is set")
	v.check(v.m.Opcode == int(flags>>11&0xF), "the opcode is not the query's")
	v.check(v.m.RecursionDesired == (flags&wire.FlagRD != 0), "RD is not the query's")
	v.check(v.m.CheckingDisabled == (flags&wire.FlagCD != 0), "CD is not the query's")
}

// question: it is echoed octet by octet, so in the client's letter case.
func (v *violations) question() {
	q := v.x.query
	if q == nil || len(q.Question) != 1 {
		return
	}
	// The library reads some questions that are malformed.
	k := v.x.outcome.Kind
	unread := len(v.m.Question) == 0 && (k == resolver.Malformed || k == resolver.Denied || q.Opcode != dns.OpcodeQuery)
	v.check(len(v.m.Question) == 1 || unread, "%d questions in the answer", len(v.m.Question))
	if len(v.m.Question) == 1 {
		v.check(v.m.Question[0] == q.Question[0], "the question is not the query's")
	}
}

// edns: an OPT record if and only if the query had one (RFC 6891 section 7), with
// options of our own only.
func (v *violations) edns(p *policy) {
	var all []*dns.OPT
	for _, rr := range v.m.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			all = append(all, opt)
		}
	}
	q := v.x.query
	if q == nil || len(q.Question) != 1 {
		return
	}
	asked := q.IsEdns0()
	if asked == nil {
		v.check(len(all) == 0, "an OPT record that was not asked for")
		return
	}
	// A malformed query may be so before its OPT record.
	v.check(len(all) == 1 || v.x.outcome.Kind == resolver.Malformed && len(all) == 0, "%d OPT records", len(all))
	for _, opt := range all {
		v.check(opt.Version() == 0, "EDNS version %d", opt.Version())
		v.check(opt.Hdr.Ttl&0x7FFF == 0, "EDNS flags other than DO: %#x", opt.Hdr.Ttl) // RFC 6891 section 6.1.4
		v.check(opt.UDPSize() == p.udpSize, "UDP size %d", opt.UDPSize())
		// RFC 3225 section 3. Of two OPT records, or one that is malformed,
		// either reading is right: the answer is FORMERR.
		v.check(opt.Do() == asked.Do() || v.x.outcome.Kind == resolver.Malformed, "DO is not the query's")
		isPadding := func(o dns.EDNS0) bool { return o.Option() == dns.EDNS0PADDING }
		wanted := v.x.transport.Encrypted() && slices.ContainsFunc(asked.Option, isPadding)
		padded := slices.ContainsFunc(opt.Option, isPadding)
		v.check(wanted == padded || v.x.outcome.Kind == resolver.Malformed, "padded: %v, and it is to be %v", padded, wanted)
		v.check(!padded || len(v.x.out)%468 == 0 || len(v.x.out) == dns.MaxMsgSize, "padded to %d octets", len(v.x.out))
		for _, o := range opt.Option {
			code := o.Option()
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				v.check(utf8.ValidString(e.ExtraText), "an extended error's text that is not UTF-8: %q", e.ExtraText)
			}
			ours := code == dns.EDNS0EDE || code == dns.EDNS0TCPKEEPALIVE ||
				code == dns.EDNS0PADDING && v.x.transport.Encrypted() || code == dns.EDNS0COOKIE && len(p.cookies) > 0 || code == dns.EDNS0NSID && p.nsid != ""
			v.check(ours, "EDNS option %d, which is upstream's", code)
		}
	}
}

// size: within what the client accepts, and within what we send at most.
func (v *violations) size(udpSize uint16) {
	limit := dns.MaxMsgSize
	if v.x.transport == resolver.UDP {
		limit = dns.MinMsgSize
		if q := v.x.query; q != nil && q.IsEdns0() != nil {
			limit = max(limit, int(min(q.IsEdns0().UDPSize(), udpSize)))
		}
	}
	v.check(len(v.x.out) <= limit, "%d octets; the limit is %d", len(v.x.out), limit)
}

// local: a response that is made here claims no validation, and if it is negative,
// caches may store it (RFC 2308 section 3).
func (v *violations) local() {
	switch v.x.outcome.Kind {
	case resolver.Forwarded, resolver.Cached, resolver.Stale:
		asked := v.x.query != nil && (v.x.query.AuthenticatedData || v.x.query.IsEdns0() != nil && v.x.query.IsEdns0().Do())
		v.check(!v.m.AuthenticatedData || asked, "AD is set, and the client did not ask for it") // RFC 6840 section 5.8
		return
	}
	v.check(!v.m.AuthenticatedData, "AD is set on an answer that was made here")
	negative := v.m.Rcode == dns.RcodeNameError || v.m.Rcode == dns.RcodeSuccess && len(v.m.Answer) == 0
	if !negative || v.m.Truncated || len(v.m.Question) == 0 || v.x.outcome.Action == blocklists.LocalData {
		return
	}
	v.check(len(v.m.Ns) == 1, "a negative answer with %d records in its authority section", len(v.m.Ns))
	for _, rr := range v.m.Ns {
		soa, ok := rr.(*dns.SOA)
		v.check(ok, "a negative answer without SOA")
		if ok {
			v.check(soa.Hdr.Ttl == soa.Minttl, "the SOA's TTL is %d, its minimum %d", soa.Hdr.Ttl, soa.Minttl)
			v.check(len(v.m.Answer) > 0 || dns.IsSubDomain(soa.Hdr.Name, v.m.Question[0].Name), "an SOA of another zone: %s", soa.Hdr.Name)
		}
	}
}

// ttl: no record lives longer than the configured maximum.
func (v *violations) ttl(limit uint32) {
	if limit == 0 {
		limit = 7 * 24 * 3600
	}
	for _, rr := range append(append(append([]dns.RR{}, v.m.Answer...), v.m.Ns...), v.m.Extra...) {
		if h := rr.Header(); h.Rrtype != dns.TypeOPT {
			v.check(h.Ttl <= limit, "a TTL above %d: %v", limit, rr)
		}
	}
}

// chain: an answer section has the records asked for and nothing else, in an order
// in which one pass leads from the question's name to the end of its aliases.
func (v *violations) chain() {
	if len(v.m.Question) != 1 || v.m.Question[0].Qtype == dns.TypeANY {
		return
	}
	q := v.m.Question[0]
	led := []string{dns.CanonicalName(q.Name)} // names; with a dot in front, a name and all below it
	known := func(name string) bool {
		return slices.ContainsFunc(led, func(n string) bool {
			return n == name || n[0] == '.' && dns.IsSubDomain(n[1:], name)
		})
	}
	for _, rr := range v.m.Answer {
		h := rr.Header()
		owner := dns.CanonicalName(h.Name)
		above := slices.ContainsFunc(led, func(n string) bool { return n[0] != '.' && dns.IsSubDomain(owner, n) }) || known(owner)
		switch rr := rr.(type) {
		case *dns.DNAME:
			v.check(above, "a DNAME record for other names: %v", rr)
			led = append(led, "."+dns.CanonicalName(rr.Target))
		case *dns.RRSIG:
			v.check(above, "a signature for other names: %v", rr)
		case *dns.CNAME:
			v.check(known(owner), "nothing before this leads to it: %v", rr)
			led = append(led, dns.CanonicalName(rr.Target))
		default:
			v.check(known(owner), "nothing before this leads to it: %v", rr)
			v.check(h.Rrtype == q.Qtype, "asked for by nobody: %v", rr)
		}
		v.check(h.Class == q.Qclass, "of another class: %v", rr)
	}
}

// policy: a banned name is answered by its ban only, and no answer has a banned
// name or address.
func (v *violations) policy() {
	q, x := v.x.query, v.x
	if q == nil || len(v.m.Question) != 1 {
		return
	}
	switch x.outcome.Kind {
	case resolver.Denied, resolver.Malformed, resolver.NotImplemented:
		return // policy does not apply to them
	}
	name := v.m.Question[0].Name
	asked := x.model.name(name, x.client, x.answered)
	switch x.outcome.Kind {
	case resolver.Forwarded, resolver.Cached, resolver.Stale, resolver.Failed, resolver.Shed:
		v.check(!asked.banned, "a banned name was not stopped")
	case resolver.Blocked:
		v.check(!asked.allowed, "a name was stopped that an exception names")
	}
	if asked.allowed {
		return
	}
	for _, rr := range append(append(append([]dns.RR{}, v.m.Answer...), v.m.Ns...), v.m.Extra...) {
		v.record(rr, x.outcome)
	}
}

// record looks for banned names and addresses in one record.
func (v *violations) record(rr dns.RR, o resolver.Outcome) {
	x := v.x
	for _, name := range names(rr) {
		if fold(name) == fold(v.m.Question[0].Name) {
			continue
		}
		v.check(!x.model.target(v.m.Question[0].Name, name, x.client, x.answered).banned, "the answer tells a banned name, %s: %v", name, rr)
	}
	if o.Kind == resolver.Blocked && o.Action == blocklists.Sinkhole {
		return
	}
	for _, a := range addresses(rr) {
		v.check(!x.model.addr(v.m.Question[0].Name, a, x.client, x.answered).banned, "the answer tells a banned address: %v", rr)
	}
}

// leads are the types whose records lead a client to another name. The names in
// other records do not: those of an SOA record, for example, come with every
// negative answer.
var leads = []uint16{
	dns.TypeCNAME, dns.TypeDNAME, dns.TypeNS, dns.TypePTR, dns.TypeMX, dns.TypeSRV, dns.TypeNAPTR, dns.TypeSVCB, dns.TypeHTTPS,
	dns.TypeAFSDB, dns.TypeKX, dns.TypeRT, dns.TypeRP, dns.TypePX, dns.TypeLP, dns.TypeMINFO, dns.TypeMB, dns.TypeMG, dns.TypeMR, dns.TypeMD,
	dns.TypeMF, dns.TypeNSAPPTR, dns.TypeTALINK, dns.TypeIPSECKEY, dns.TypeAMTRELAY, dns.TypeHIP,
}

// names are the owner of a record and the names that it leads to.
func names(rr dns.RR) []string {
	if rr.Header().Rrtype == dns.TypeSOA {
		return nil
	}
	out := []string{rr.Header().Name}
	if !slices.Contains(leads, rr.Header().Rrtype) {
		return out
	}
	var walk func(reflect.Value)
	walk = func(s reflect.Value) {
		for i := range s.NumField() {
			f, field := s.Field(i), s.Type().Field(i)
			switch {
			case field.Type.Kind() == reflect.Struct:
				walk(f)
			case !strings.Contains(field.Tag.Get("dns"), "domain-name") && field.Name != "GatewayHost":
			case field.Type.Kind() == reflect.String:
				out = append(out, f.String())
			case field.Type.Kind() == reflect.Slice:
				for j := range f.Len() {
					out = append(out, f.Index(j).String())
				}
			}
		}
	}
	walk(reflect.ValueOf(rr).Elem())
	return out
}

// addresses are the addresses that a record leads to.
func addresses(rr dns.RR) []netip.Addr {
	var out []netip.Addr
	add := func(b []byte) {
		if a, ok := netip.AddrFromSlice(b); ok {
			out = append(out, a.Unmap())
		}
	}
	hints := func(s *dns.SVCB) {
		for _, kv := range s.Value {
			switch kv := kv.(type) {
			case *dns.SVCBIPv4Hint:
				for _, ip := range kv.Hint {
					add(ip)
				}
			case *dns.SVCBIPv6Hint:
				for _, ip := range kv.Hint {
					add(ip)
				}
			}
		}
	}
	switch rr := rr.(type) {
	case *dns.A:
		add(rr.A)
	case *dns.AAAA:
		add(rr.AAAA)
	case *dns.IPSECKEY:
		add(rr.GatewayAddr)
	case *dns.AMTRELAY:
		add(rr.GatewayAddr)
	case *dns.L32:
		add(rr.Locator32)
	case *dns.SVCB:
		hints(rr)
	case *dns.HTTPS:
		hints(&rr.SVCB)
	}
	return out
}
