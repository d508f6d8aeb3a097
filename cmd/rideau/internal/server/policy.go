package server

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/blocklists/pack"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/wire"
)

// policy turns configuration into what blocklists takes.
func policy(c *config.Config) blocklists.Policy {
	var p blocklists.Policy
	for _, g := range c.Groups {
		p.Groups = append(p.Groups, blocklists.Group{ID: g.ID, Clients: g.Clients})
	}
	for i := range c.Lists {
		p.Lists = append(p.Lists, list(c.File, &c.Lists[i]))
	}
	for i := range c.Bans {
		p.Bans = append(p.Bans, ban(&c.Bans[i]))
	}
	for i := range c.Exceptions {
		e := &c.Exceptions[i]
		x := blocklists.Exception{
			ID: e.ID, Title: e.Title.EN, Reason: e.Reason, Contact: e.Contact, Ticket: e.Ticket, Approver: e.Approver,
			Effective: e.Effective, Expires: e.Expires, Groups: e.Groups, Lists: e.Lists,
		}
		if len(e.Names) > 0 {
			// No list of the configuration can have an id like that.
			l := config.List{ID: "exception:" + e.ID, Names: e.Names, NameLines: e.NameLines, Line: e.Line, AllowTLD: true}
			p.Lists = append(p.Lists, list(c.File, &l))
			x.Lists = append(slices.Clone(x.Lists), l.ID)
		}
		p.Exceptions = append(p.Exceptions, x)
	}
	return p
}

func ban(b *config.Ban) blocklists.Ban {
	out := blocklists.Ban{
		ID: b.ID, TitleEN: b.Title.EN, TitleFR: b.Title.FR, Authority: b.Authority, Instrument: b.Instrument,
		URL: b.URL, Contact: b.Contact, Effective: b.Effective, Expires: b.Expires, Mode: mode(b.Mode),
		Action: action(b.Action), Sinkhole4: b.Sinkhole.IPv4, Sinkhole6: b.Sinkhole.IPv6, EDE: uint16(b.EDE),
		TTL: b.TTL, Groups: b.Groups, Lists: b.Lists, Bypass: b.Bypass, StripECH: b.StripECH,
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

func mode(m config.Mode) blocklists.Mode {
	switch m {
	case config.ModeMonitor:
		return blocklists.Monitor
	case config.ModeOff:
		return blocklists.Off
	}
	return blocklists.Enforce
}

func action(a config.Action) blocklists.Action {
	switch a {
	case config.ActionNoData:
		return blocklists.NoData
	case config.ActionSinkhole:
		return blocklists.Sinkhole
	case config.ActionRefused:
		return blocklists.Refuse
	case config.ActionDrop:
		return blocklists.Drop
	case config.ActionCNAME:
		return blocklists.LocalData
	case config.ActionGiven:
		return blocklists.Given
	case config.ActionTCPOnly:
		return blocklists.TCPOnly
	case config.ActionPassthru:
		return blocklists.Passthru
	}
	return blocklists.NXDomain
}

func list(file string, l *config.List) input.List {
	out := input.List{ID: l.ID, Format: format.Format(l.Format), AllowTLD: l.AllowTLD,
		MaxSkipped: l.MaxSkipped, MaxShrink: l.MaxShrink}
	for _, t := range l.Tiers {
		out.Tiers = append(out.Tiers, string(t))
	}
	switch {
	case l.Pack != "":
		name := l.Pack
		out.Source = pack.File(name)
		out.Open = func() (io.ReadCloser, error) { return pack.Open(name) }
	case l.File != "":
		path := l.File
		out.Source = path
		out.Open = func() (io.ReadCloser, error) { return openList(path) }
		out.Include = includeFrom(filepath.Dir(path))
	case l.Folder != "":
		folder, match := l.Folder, l.Match
		out.Source = l.Name()
		out.Parts = func() ([]input.Part, error) { return openFolder(folder, match) }
		out.Include = includeFrom(folder)
	case l.URL != "":
		out.Source, out.MaxBytes = l.Name(), l.MaxBytes // where its content is, only Sources know
	default:
		source, text := inline(file, l)
		out.Source, out.Unguarded = source, true
		out.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	}
	return out
}

// inline is the text of a list that is written in the configuration. Where
// each name has a line of its own there, it lies in the same line of the text,
// so that messages name the place to go to.
func inline(file string, l *config.List) (source, text string) {
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

// openList opens a list's file.
func openList(path string) (io.ReadCloser, error) {
	if err := setup.Regular(path); err != nil {
		return nil, fmt.Errorf("%w; put the list there, or correct its file in the configuration", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w; let the user that rideau runs as read it", err)
	}
	return f, nil
}

// LoadPolicy reads all lists of a configuration for a command: what was
// fetched before is read, and nothing is fetched or written.
func LoadPolicy(ctx context.Context, c *config.Config, prev *blocklists.Snapshot, slots *blocklists.Slots, force bool) (*blocklists.Snapshot, compile.Report, error) {
	return NewSources(nil, false, "").Load(ctx, c, prev, slots, LoadOptions{Force: force})
}
