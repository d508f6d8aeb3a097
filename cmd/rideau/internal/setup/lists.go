package setup

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/extratext"
	"rideau/blocklists/fetch"
	"rideau/blocklists/format"
	"rideau/blocklists/group"
	"rideau/blocklists/input"
	"rideau/blocklists/pack"
	"rideau/blocklists/source"
	"rideau/config"
	"rideau/config/policy"
	"rideau/resolver/wire"
)

// Lists returns what a configuration says about lists, without how they are downloaded; [Downloads] says that.
func Lists(c *config.Config) *source.Plan {
	p := &source.Plan{Policy: policyOf(c), Dir: c.State.Dir, Protected: c.Protected.All()}
	for i := range c.Lists {
		p.Lists = append(p.Lists, list(c.File, &c.Lists[i]))
	}
	for i := range c.Exceptions {
		if e := &c.Exceptions[i]; len(e.Names) > 0 {
			l := policy.List{ID: exceptionList(e), Names: e.Names, NameLines: e.NameLines, Line: e.Line, AllowTLD: true}
			p.Lists = append(p.Lists, list(c.File, &l))
		}
	}
	return p
}

// WatchedFiles returns the paths whose change may change a list of a configuration. It is called often, and reads nothing but folders.
func WatchedFiles(c *config.Config) []string {
	var out []string
	for i := range c.Lists {
		l := &c.Lists[i]
		s := source.List{File: l.File, Folder: l.Folder, Match: l.Match, SignatureFile: l.SignatureFile}
		out = append(out, s.Watched()...)
	}
	return out
}

// exceptionList returns the ID of the list of an exception's own names. No list of a configuration can have it.
func exceptionList(e *policy.Exception) string { return "exception:" + e.ID }

// Downloads returns how lists are downloaded. agent is the User-Agent.
func Downloads(c *config.Config, p UpstreamPlan, agent string) fetch.Options {
	o := fetch.Options{Bootstrap: bootstrap(c, p), CAFile: c.Fetch.CAFile, UserAgent: agent, Timeout: c.Fetch.Timeout}
	if c.Fetch.Proxy != "" {
		o.Proxy, _ = url.Parse(c.Fetch.Proxy) // the configuration has checked it
	}
	return o
}

// bootstrap returns the resolvers that are asked for the addresses of the lists' servers. Rideau itself is never one of them. Unless the
// configuration names them, they are the upstream servers that are asked in plain text: no other server sees these names in plain text.
func bootstrap(c *config.Config, p UpstreamPlan) []netip.AddrPort {
	servers := c.Fetch.Bootstrap
	if len(servers) == 0 {
		servers = Plain(p.Servers)
	}
	return slices.DeleteFunc(slices.Clone(servers), func(a netip.AddrPort) bool { return a.Addr() != ContainerDNS && IsSelf(c, a) })
}

// LoadPolicy reads all lists of a configuration, those with a URL from their last good copies. It downloads nothing and writes nothing. prev
// is the Snapshot that they are compared with; nil for none. The instants decide which bans are in force; see [ReadClock].
func LoadPolicy(ctx context.Context, c *config.Config, prev *blocklists.Snapshot, force input.Forced, now []time.Time) (*blocklists.Snapshot, compile.Report, error) {
	return source.Load(ctx, Lists(c), source.PrepareOptions{Previous: prev, Slots: new(blocklists.Slots), Force: force, Now: now})
}

// policyOf returns the policy of a configuration, without its lists.
func policyOf(c *config.Config) blocklists.Policy {
	p := blocklists.Policy{NAT64: c.NAT64.Prefixes, Errors: structured(&c.Errors), PageGroups: c.BlockPage.Groups}
	for _, g := range c.Groups {
		x := blocklists.Group{ID: g.ID, Clients: g.Clients, Path: g.Path, Name: g.SNI, MayWeaken: g.MayWeaken}
		for _, c := range g.Certificates {
			x.Certificates = append(x.Certificates, group.Certificate{SAN: c.SAN, Issuer: c.Issuer})
		}
		p.Groups = append(p.Groups, x)
	}
	for i := range c.Bans {
		b := ban(&c.Bans[i])
		if b.Page = c.Bans[i].Action == policy.ActionPage; b.Page {
			b.Sinkhole4, b.Sinkhole6 = c.BlockPage.IPv4, c.BlockPage.IPv6
		}
		p.Bans = append(p.Bans, b)
	}
	for i := range c.Exceptions {
		e := &c.Exceptions[i]
		x := blocklists.Exception{
			ID: e.ID, Title: e.Title.EN, Reason: e.Reason, Contact: e.Contact, Ticket: e.Ticket, Approver: e.Approver,
			Effective: e.Effective, Expires: e.Expires, Groups: e.Groups, Lists: e.Lists,
		}
		if len(e.Names) > 0 {
			x.Lists = append(slices.Clone(x.Lists), exceptionList(e))
		}
		p.Exceptions = append(p.Exceptions, x)
	}
	return p
}

func structured(e *policy.Errors) extratext.Structured {
	out := extratext.Structured{Option: uint16(e.Option), French: e.Language == policy.ErrorFrench, Organization: e.Organization, Databases: e.Databases}
	if e.Format == policy.ErrorStructured25 {
		out.Version = extratext.Draft25
	}
	return out
}

func subError(s policy.SubError) extratext.SubError {
	return map[policy.SubError]extratext.SubError{policy.SubErrorMalware: extratext.Malware, policy.SubErrorPhishing: extratext.Phishing,
		policy.SubErrorSpam: extratext.Spam, policy.SubErrorSpyware: extratext.Spyware, policy.SubErrorNetwork: extratext.NetworkOperator,
		policy.SubErrorDNS: extratext.DNSOperator}[s]
}

func ban(b *policy.Ban) blocklists.Ban {
	out := blocklists.Ban{
		ID: b.ID, TitleEN: b.Title.EN, TitleFR: b.Title.FR, Authority: b.Authority, Instrument: b.Instrument,
		URL: b.URL, Contact: b.Contact, Effective: b.Effective, Expires: b.Expires, Mode: mode(b.Mode),
		Action: action(b.Action), Sinkhole4: b.Sinkhole.IPv4, Sinkhole6: b.Sinkhole.IPv6, EDE: uint16(b.EDE), SubError: subError(b.SubError),
		TTL: b.TTL, Groups: b.Groups, Lists: b.Lists, AllBut: b.AllBut, Bypass: b.Bypass, StripECH: b.StripECH,
		UnknownTypes: b.UnknownTypes == policy.UnknownBlock, Canary: b.Canary,
	}
	if b.CNAME != "" {
		out.CNAME, _ = wire.AppendName(nil, []byte(b.CNAME)) // the configuration has checked it
	}
	for _, m := range b.Modes {
		for _, g := range m.Groups {
			if out.Modes == nil {
				out.Modes = map[string]blocklists.Mode{}
			}
			out.Modes[g] = mode(m.Mode)
		}
	}
	return out
}

func mode(m policy.Mode) blocklists.Mode {
	switch m {
	case policy.ModeMonitor:
		return blocklists.Monitor
	case policy.ModeOff:
		return blocklists.Off
	}
	return blocklists.Enforce
}

func action(a policy.Action) blocklists.Action {
	switch a {
	case policy.ActionNoData:
		return blocklists.NoData
	case policy.ActionSinkhole, policy.ActionPage:
		return blocklists.Sinkhole
	case policy.ActionRefused:
		return blocklists.Refuse
	case policy.ActionDrop:
		return blocklists.Drop
	case policy.ActionCNAME:
		return blocklists.LocalData
	case policy.ActionGiven:
		return blocklists.Given
	case policy.ActionTCPOnly:
		return blocklists.TCPOnly
	case policy.ActionPassthru:
		return blocklists.Passthru
	}
	return blocklists.NXDomain
}

// list returns a list to acquire. file is the path of the configuration.
func list(file string, l *policy.List) source.List {
	out := source.List{List: input.List{ID: l.ID, Format: format.Format(l.Format), AllowTLD: l.AllowTLD,
		EmptyOK: l.EmptyOK, WildcardIncludesName: l.WildcardIncludesName, WildcardMeant: l.WildcardMeant,
		MaxSkipped: l.MaxSkipped, MaxShrink: l.MaxShrink,
		Guards: input.Guards{MaxGrowth: l.MaxGrowth, MaxEntries: l.MaxEntries, RequireSerial: l.RequireSerial}},
		Pack: l.Pack, File: l.File, Folder: l.Folder, Match: l.Match, URL: l.URL, Refresh: l.Refresh, Insecure: l.InsecureHTTP,
		SHA256: l.SHA256, PublicKey: l.PublicKey, SignatureURL: l.SignatureURL, SignatureFile: l.SignatureFile,
		MayBlockProtected: l.MayBlockProtected}
	for _, t := range l.Tiers {
		out.Tiers = append(out.Tiers, string(t))
	}
	switch {
	case l.Pack != "":
		out.Source = pack.File(l.Pack)
	case l.URL != "":
		out.Source, out.MaxBytes = l.Name(), l.MaxBytes
	case l.File != "" || l.Folder != "":
		out.Source = l.Name()
	default:
		out.Source, out.Text = inline(file, l)
		out.Unguarded = true
	}
	return out
}

// inline returns the names that are written in a configuration as the text of a list. If each has a line of its own, it has the same line
// in the text, so that messages name the right line.
func inline(file string, l *policy.List) (source, text string) {
	var b strings.Builder
	at := 1
	for i, name := range l.Names {
		if i >= len(l.NameLines) || l.NameLines[i] < at+min(i, 1) {
			return fmt.Sprintf("%s:%d (list %s, in order)", file, l.Line, l.ID), strings.Join(l.Names, "\n")
		}
		for ; at < l.NameLines[i]; at++ {
			b.WriteByte('\n')
		}
		b.WriteString(name)
	}
	return file, b.String()
}
