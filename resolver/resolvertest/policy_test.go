package resolvertest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver/cache"
	"rideau/resolver/cookie"
	"rideau/resolver/wire"
)

// policy is what a scenario's policy file says.
type policy struct {
	blocklists.Policy
	files            map[string]string // of each list, by id
	clients          []netip.Prefix
	upstreams        []string
	forwards         []forward
	cache            cache.Options
	udpSize          uint16
	staleAfter       time.Duration
	attempt, total   time.Duration // that an upstream is given, and all of them
	refusedPerSecond int
	cookies          []cookie.Secret
	nsid             string
	amplification    int
	octets           int
	trustAD          bool
	sameCase         bool // names go upstream in the case that they are in the cache
	rate, burst      int
}

// forward sends zones to upstreams of their own.
type forward struct {
	zones     []string
	upstreams []string
}

// parsePolicy parses a policy file. README.md has the defaults.
func parsePolicy(text string, first int) (*policy, error) {
	lines, err := parseLines(text, first)
	if err != nil {
		return nil, err
	}
	p := &policy{
		files:            map[string]string{},
		upstreams:        []string{"main"},
		cache:            cache.Options{Entries: 1000, Bytes: 1 << 20},
		udpSize:          1232,
		staleAfter:       1800 * time.Millisecond,
		attempt:          2 * time.Second,
		total:            5 * time.Second,
		refusedPerSecond: 100,
	}
	for i := range lines {
		l := &lines[i]
		words := l.words
		for _, in := range l.block { // a line that continues
			more, err := split(in.text)
			if err != nil {
				return nil, &lineError{in.at, err}
			}
			words = append(words, more...)
		}
		if err := p.directive(words[0], words[1:]); err != nil {
			return nil, &lineError{l.at, fmt.Errorf("%s: %w", words[0], err)}
		}
	}
	if p.clients == nil {
		p.clients, _ = prefixes([]string{"127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16", "::1/128"})
	}
	return p, nil
}

func (p *policy) directive(name string, words []string) error {
	switch {
	case len(words) > 0:
	case name == "trust-ad":
		p.trustAD = true
		return nil
	case name == "same-case":
		p.sameCase = true
		return nil
	}
	if len(words) == 0 {
		return errors.New("says nothing")
	}
	switch name {
	case "clients":
		all, err := prefixes(words)
		p.clients = append(p.clients, all...)
		return err
	case "group":
		all, err := prefixes(words[1:])
		p.Groups = append(p.Groups, blocklists.Group{ID: words[0], Clients: all})
		return err
	case "list":
		return p.list(words)
	case "ban":
		return p.ban(words)
	case "exception":
		return p.exception(words)
	case "upstreams":
		p.upstreams = words
		return nil
	case "forward":
		f := forward{}
		n := slices.Index(words, "to")
		if n < 1 || n == len(words)-1 {
			return errors.New("ZONE... to UPSTREAM...")
		}
		f.zones, f.upstreams = words[:n], words[n+1:]
		p.forwards = append(p.forwards, f)
		return nil
	case "cache":
		return p.setCache(words)
	case "udp-size":
		return setUint16(&p.udpSize)(words[0])
	case "stale-after":
		return setDuration(&p.staleAfter)(words[0])
	case "patience":
		return options(words, map[string]func(string) error{
			"attempt": setDuration(&p.attempt), "total": setDuration(&p.total),
		})
	case "refused-per-second":
		return setInt(&p.refusedPerSecond)(words[0])
	case "cookies":
		for _, w := range words {
			k, err := cookie.ParseSecret(w)
			if err != nil {
				return err
			}
			p.cookies = append(p.cookies, k)
		}
		return nil
	case "rate":
		if len(words) != 2 {
			return errors.New("N BURST")
		}
		return errors.Join(setInt(&p.rate)(words[0]), setInt(&p.burst)(words[1]))
	case "nat64":
		var err error
		p.NAT64, err = prefixes(words)
		return err
	case "nsid":
		return setString(&p.nsid)(words[0])
	case "amplification":
		return setInt(&p.amplification)(words[0])
	case "octets":
		return setInt(&p.octets)(words[0])
	}
	return errors.New("unknown; README.md has the list")
}

func prefixes(words []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, w := range words {
		x, err := netip.ParsePrefix(w)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}

func (p *policy) list(words []string) error {
	if len(words) < 2 {
		return errors.New("ID FILE [OPTION...]")
	}
	// The guards are strict unless a scenario says otherwise.
	l := input.List{ID: words[0], Source: words[1], MaxSkipped: 0, MaxShrink: 0.5}
	p.files[l.ID] = words[1]
	err := options(words[2:], map[string]func(string) error{
		"format":      func(s string) (err error) { l.Format, err = format.ParseFormat(s); return err },
		"tiers":       setStrings(&l.Tiers),
		"max-skipped": setFloat(&l.MaxSkipped),
		"max-shrink":  setFloat(&l.MaxShrink),
		"allow-tld":   setBool(&l.AllowTLD),
		"unguarded":   setBool(&l.Unguarded),
	})
	p.Lists = append(p.Lists, l)
	return err
}

func (p *policy) ban(words []string) error {
	b := blocklists.Ban{ID: words[0], EDE: 15, TTL: time.Minute, Groups: []string{blocklists.GroupAll}}
	err := options(words[1:], map[string]func(string) error{
		"lists":     setStrings(&b.Lists),
		"all-but":   setStrings(&b.AllBut),
		"groups":    setStrings(&b.Groups),
		"title":     setString(&b.TitleEN),
		"ede":       setUint16(&b.EDE),
		"ttl":       setDuration(&b.TTL),
		"effective": setTime(&b.Effective),
		"expires":   setTime(&b.Expires),
		"sinkhole":  func(s string) error { return setSinkhole(&b, s) },
		"action": func(s string) error {
			return choose(&b.Action, s, blocklists.NXDomain, blocklists.NoData, blocklists.Sinkhole, blocklists.Refuse, blocklists.Drop,
				blocklists.Given, blocklists.Passthru, blocklists.TCPOnly)
		},
		"cname": func(s string) (err error) {
			b.Action = blocklists.LocalData
			b.CNAME, err = wire.AppendName(nil, []byte(s))
			return err
		},
		"modes":         func(s string) error { return setModes(&b, s) },
		"bypass":        setBool(&b.Bypass),
		"strip-ech":     setBool(&b.StripECH),
		"unknown-types": func(s string) error { b.UnknownTypes = s == "block"; return nil },
		"mode": func(s string) error {
			return choose(&b.Mode, s, blocklists.Enforce, blocklists.Monitor, blocklists.Off)
		},
	})
	p.Bans = append(p.Bans, b)
	return err
}

// setModes reads GROUP:MODE,...
func setModes(b *blocklists.Ban, s string) error {
	b.Modes = map[string]blocklists.Mode{}
	for _, s := range strings.Split(s, ",") {
		group, mode, _ := strings.Cut(s, ":")
		var m blocklists.Mode
		if err := choose(&m, mode, blocklists.Enforce, blocklists.Monitor, blocklists.Off); err != nil {
			return err
		}
		b.Modes[group] = m
	}
	return nil
}

func setSinkhole(b *blocklists.Ban, s string) error {
	b.Action = blocklists.Sinkhole
	for _, s := range strings.Split(s, ",") {
		var a netip.Addr
		if err := setAddr(&a)(s); err != nil {
			return err
		}
		if a.Is4() {
			b.Sinkhole4 = a
		} else {
			b.Sinkhole6 = a
		}
	}
	return nil
}

// choose sets p to the value that s names.
func choose[T fmt.Stringer](p *T, s string, values ...T) error {
	for _, v := range values {
		if v.String() == s {
			*p = v
			return nil
		}
	}
	return fmt.Errorf("unknown; use one of %v", values)
}

func (p *policy) exception(words []string) error {
	e := blocklists.Exception{ID: words[0], Groups: []string{blocklists.GroupAll}}
	err := options(words[1:], map[string]func(string) error{
		"lists":     setStrings(&e.Lists),
		"groups":    setStrings(&e.Groups),
		"effective": setTime(&e.Effective),
		"expires":   setTime(&e.Expires),
	})
	p.Exceptions = append(p.Exceptions, e)
	return err
}

func (p *policy) setCache(words []string) error {
	o := &p.cache
	bytes := int(o.Bytes)
	err := options(words, map[string]func(string) error{
		"entries":          setInt(&o.Entries),
		"bytes":            setInt(&bytes),
		"min-ttl":          setDuration(&o.MinTTL),
		"max-ttl":          setDuration(&o.MaxTTL),
		"max-negative-ttl": setDuration(&o.MaxNegativeTTL),
		"failure-ttl":      setDuration(&o.FailureTTL),
		"failure-max-ttl":  setDuration(&o.FailureMaxTTL),
		"prefetch-after":   setInt(&o.PrefetchAfter),
		"max-stale":        setDuration(&o.MaxStale),
		"no-cut":           setBool(&o.NoCut),
		"stale-ttl":        setDuration(&o.StaleTTL),
	})
	o.Bytes = int64(bytes)
	return err
}

// The functions below make setters for options, as those of text.go do.

func setString(p *string) func(string) error {
	return func(s string) error { *p = s; return nil }
}

func setStrings(p *[]string) func(string) error {
	return func(s string) error { *p = strings.Split(s, ","); return nil }
}

func setUint16(p *uint16) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 16)
		*p = uint16(n)
		return err
	}
}

func setFloat(p *float64) func(string) error {
	return func(s string) (err error) { *p, err = strconv.ParseFloat(s, 64); return err }
}

func setTime(p *time.Time) func(string) error {
	return func(s string) (err error) { *p, err = time.Parse(time.RFC3339, s); return err }
}

func setAddr(p *netip.Addr) func(string) error {
	return func(s string) (err error) { *p, err = netip.ParseAddr(s); return err }
}
