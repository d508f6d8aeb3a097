package resolvertest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// parseRules parses an upstream file: a line for each question, with the response
// indented below it.
func parseRules(text string, first int) ([]*rule, error) {
	lines, err := parseLines(text, first)
	if err != nil {
		return nil, err
	}
	var rules []*rule
	for i := range lines {
		l := &lines[i]
		x, err := parseRule(l)
		if err != nil {
			return nil, &lineError{l.at, err}
		}
		for _, in := range l.block {
			if err := x.reply.add(in.text); err != nil {
				return nil, &lineError{in.at, err}
			}
		}
		rules = append(rules, x)
	}
	return rules, nil
}

// parseRule parses the line of a question: NAME TYPE [RCODE] [OPTION...]
func parseRule(l *line) (*rule, error) {
	if len(l.words) < 2 {
		return nil, errors.New("a question is NAME TYPE [RCODE] [OPTION...]")
	}
	qtype := dns.TypeNone
	if l.words[1] != "*" {
		var err error
		if qtype, err = parseType(l.words[1]); err != nil {
			return nil, err
		}
	}
	x := newRule(l.words[0], qtype, Reply{})
	words := l.words[2:]
	if len(words) > 0 {
		if rcode, ok := parseRcode(words[0]); ok {
			x.reply.Rcode, words = rcode, words[1:]
		}
	}
	r := &x.reply
	var when []func(Asked) bool
	cond := func(f func(Asked) bool) func(string) error {
		return func(string) error { when = append(when, f); return nil }
	}
	err := options(words, map[string]func(string) error{
		"do":      cond(func(a Asked) bool { return a.DO }),
		"-do":     cond(func(a Asked) bool { return !a.DO }),
		"cd":      cond(func(a Asked) bool { return a.CD }),
		"-cd":     cond(func(a Asked) bool { return !a.CD }),
		"edns":    cond(func(a Asked) bool { return a.EDNS }),
		"-edns":   cond(func(a Asked) bool { return !a.EDNS }),
		"udp":     cond(func(a Asked) bool { return a.Transport == "udp" }),
		"tcp":     cond(func(a Asked) bool { return a.Transport == "tcp" }),
		"times":   setInt(&r.Times),
		"aa":      setBool(&r.AA),
		"-ra":     setBool(&r.NoRA),
		"ad":      setBool(&r.AD),
		"tc":      setBool(&r.TC),
		"noedns":  setBool(&r.NoEDNS),
		"delay":   setDuration(&r.Delay),
		"drop":    setBool(&r.Drop),
		"spoofed": setBool(&r.Spoofed),
		"garbage": setBool(&r.Garbage),
	})
	if len(when) > 0 {
		r.When = func(a Asked) bool {
			for _, f := range when {
				if !f(a) {
					return false
				}
			}
			return true
		}
	}
	return x, err
}

// add reads one line of what is answered.
func (r *Reply) add(text string) error {
	word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	switch word {
	case "answer", "authority", "additional":
		rr, err := parseRecord(rest)
		if err != nil {
			return err
		}
		sections := map[string]*[]dns.RR{"answer": &r.Answer, "authority": &r.Authority, "additional": &r.Additional}
		*sections[word] = append(*sections[word], rr)
		return nil
	case "ede":
		words, err := split(rest)
		if err != nil {
			return err
		}
		e, err := parseEDE(words)
		r.Options = append(r.Options, e)
		return err
	case "option":
		code, data, _ := strings.Cut(strings.TrimSpace(rest), " ")
		o, err := parseOption(code, strings.TrimSpace(data))
		r.Options = append(r.Options, o)
		return err
	}
	if strings.HasPrefix(word, "#") || word == "" {
		return nil
	}
	return fmt.Errorf("unknown word %q; use answer, authority, additional, ede or option", word)
}

func parseRecord(s string) (dns.RR, error) {
	rr, err := dns.NewRR(s)
	if err == nil && rr == nil {
		err = errors.New("no record")
	}
	return rr, err
}

// parseType reads a type by its mnemonic or as TYPE65400 (RFC 3597 section 5).
func parseType(s string) (uint16, error) {
	if t, ok := dns.StringToType[s]; ok {
		return t, nil
	}
	if n, err := strconv.ParseUint(strings.TrimPrefix(s, "TYPE"), 10, 16); err == nil && strings.HasPrefix(s, "TYPE") {
		return uint16(n), nil
	}
	return 0, fmt.Errorf("unknown type %q", s)
}

// badVers is the name of 16 (RFC 6891 section 9), which the library calls
// BADSIG, as TSIG does.
const badVers = "BADVERS"

func parseRcode(s string) (int, bool) {
	if s == badVers {
		return dns.RcodeBadVers, true
	}
	rcode, ok := dns.StringToRcode[s]
	return rcode, ok
}

// parseEDE reads CODE [TEXT].
func parseEDE(words []string) (*dns.EDNS0_EDE, error) {
	if len(words) < 1 || len(words) > 2 {
		return nil, errors.New(`an extended error is CODE ["TEXT"]`)
	}
	code, err := strconv.ParseUint(words[0], 10, 16)
	e := &dns.EDNS0_EDE{InfoCode: uint16(code)}
	if len(words) == 2 {
		e.ExtraText = words[1]
	}
	return e, err
}

// parseOption reads an EDNS option given by code and hexadecimal data.
func parseOption(code, data string) (dns.EDNS0, error) {
	n, err := strconv.ParseUint(code, 10, 16)
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(data)
	return &dns.EDNS0_LOCAL{Code: uint16(n), Data: b}, err
}
