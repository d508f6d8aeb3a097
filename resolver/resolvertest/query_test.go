package resolvertest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/resolver"
)

// exchange is a query and its response.
type exchange struct {
	at        int    // line of the script
	sent      []byte // the query's octets
	query     *dns.Msg
	client    netip.Addr
	transport resolver.Transport
	keepalive uint16

	policy   *blocklists.Snapshot // in use when the response was made
	model    *model
	answered time.Time
	out      []byte   // the response; empty if none was sent
	msg      *dns.Msg // of out; nil if there is none, or it cannot be parsed
	err      error    // why not
	outcome  resolver.Outcome
	checked  bool // an expectation checked it
}

// newExchange reads the words of a query: NAME TYPE [OPTION...]
func newExchange(l *line, words []string, id uint16) (*exchange, error) {
	x := &exchange{at: l.at, client: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	if len(words) < 2 {
		return nil, errors.New("a query is NAME TYPE [OPTION...]")
	}
	qtype, err := parseType(words[1])
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg).SetQuestion(dns.Fqdn(words[0]), qtype)
	m.Id = id
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	size, version, noEDNS := uint16(1232), uint16(0), false
	err = options(words[2:], map[string]func(string) error{
		"from": setAddr(&x.client),
		"via": func(s string) error {
			return choose(&x.transport, s, resolver.UDP, resolver.TCP, resolver.DoT, resolver.DoH, resolver.DoH3, resolver.DoQ)
		},
		"keepalive": setUint16(&x.keepalive),
		"id":        setUint16(&m.Id),
		"cd":        setBool(&m.CheckingDisabled),
		"ad":        setBool(&m.AuthenticatedData),
		"-rd":       func(string) error { m.RecursionDesired = false; return nil },
		"-edns":     setBool(&noEDNS),
		"do":        func(string) error { opt.SetDo(); return nil },
		"size":      setUint16(&size),
		"version":   setUint16(&version),
		"option":    func(s string) error { return addOption(opt, s) },
		"opcode":    func(s string) error { return lookUp(&m.Opcode, dns.StringToOpcode, s) },
		"class":     func(s string) error { return lookUp(&m.Question[0].Qclass, dns.StringToClass, s) },
	})
	if err != nil {
		return nil, err
	}
	if !noEDNS {
		opt.SetUDPSize(size)
		opt.SetVersion(uint8(version))
		m.Extra = append(m.Extra, opt)
	}
	x.query = m
	x.sent, err = m.Pack()
	return x, err
}

func addOption(opt *dns.OPT, s string) error {
	code, data, _ := strings.Cut(s, ":")
	o, err := parseOption(code, data)
	opt.Option = append(opt.Option, o)
	return err
}

func lookUp[T any](p *T, from map[string]T, s string) error {
	v, ok := from[s]
	if !ok {
		return fmt.Errorf("unknown %q", s)
	}
	*p = v
	return nil
}

// newRaw makes a query of octets in hexadecimal, for messages that no library
// sends.
func newRaw(l *line, words []string) (*exchange, error) {
	sent, err := hex.DecodeString(strings.Join(words, ""))
	if err != nil {
		return nil, err
	}
	x := &exchange{at: l.at, sent: sent, client: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	if m := new(dns.Msg); m.Unpack(sent) == nil {
		x.query = m
	}
	return x, nil
}

// String describes the response, for error messages.
func (x *exchange) String() string {
	switch {
	case len(x.out) == 0:
		return fmt.Sprintf("outcome %v, nothing is sent", x.outcome.Kind)
	case x.msg == nil:
		return fmt.Sprintf("outcome %v, %x", x.outcome.Kind, x.out)
	}
	return fmt.Sprintf("outcome %v\n%v", x.outcome.Kind, x.msg)
}

// edns is the answer's OPT record, or nil.
func (x *exchange) edns() *dns.OPT {
	if x.msg == nil {
		return nil
	}
	return x.msg.IsEdns0()
}

// ede are the answer's extended errors.
func (x *exchange) ede() []*dns.EDNS0_EDE {
	var all []*dns.EDNS0_EDE
	if opt := x.edns(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				all = append(all, e)
			}
		}
	}
	return all
}
