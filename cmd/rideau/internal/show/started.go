package show

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"rideau/blocklists"
	"rideau/blocklists/enforced"
	"rideau/blocklists/fingerprint"
	"rideau/cmd/rideau/internal/lang"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/server"
	"rideau/cmd/rideau/internal/setup"
)

// Started tells what is served: in a record of the log, and unless that is for machines, in a few lines for people.
func Started(w io.Writer, version string, f server.Facts) {
	if !f.JSON {
		banner(w, version, f)
	}
	var addrs, bans []string
	for _, a := range f.Addrs {
		addrs = append(addrs, a.String())
	}
	for _, b := range f.Policy.Bans() {
		if b.Active {
			bans = append(bans, b.Ban.ID)
		}
	}
	f.Log.Info("started", "version", version, "addresses", addrs, "ops", f.Ops, "bans_in_force", bans,
		"generation", f.Policy.Generation(), "fingerprint", fingerprint.Of(f.Policy)[:12])
}

// banner prints in a few lines what is served.
func banner(w io.Writer, version string, f server.Facts) {
	var addrs []string
	for _, a := range f.Addrs {
		addrs = append(addrs, a.String())
	}
	p := lang.New(lang.Language(f.Language))
	line := func(label, text string) { fmt.Fprintf(w, "  %s %s\n", p.Label(label), text) }
	fmt.Fprintln(w, p.Say("rideau %s serves DNS on %s (UDP and TCP)", version, strings.Join(addrs, ", ")))
	for _, e := range f.Encrypted {
		text := e.String()
		if e.SelfSigned {
			text += p.Say(" (with a certificate that no device trusts)")
		}
		line("encrypted", text)
	}
	if f.Ops != "" {
		line("ops HTTP", "http://"+f.Ops)
	}
	if f.Clock.Distrusted != "" {
		line("clock", p.Say("distrusted: %s", f.Clock.Distrusted))
	}
	bans, exceptions := reason.Bans(f.Policy, f.Clock.Now()), reason.Exceptions(f.Policy, f.Clock.Now())
	for i := range bans {
		line("ban", Ban(p, &bans[i]))
	}
	for i := range exceptions {
		line("exception", Exception(p, &exceptions[i]))
	}
	if !enforced.Any(f.Policy) {
		line("ban", p.Say(enforced.None))
	}
	ups := p.Say("none")
	if len(f.Upstreams) > 0 {
		ups = setup.ServerList(f.Upstreams)
	}
	line("upstreams", ups)
	for _, z := range f.Forward {
		line("forward", p.Say("%s to %s", strings.Join(z.Zones, ", "), setup.ServerList(z.Servers)))
	}
	if try := try(f); try != "" {
		line("try", try)
	}
}

// try returns a command that shows a ban at work, from this machine; without a ban, one that shows an answer. It is empty if this machine's
// queries are not answered.
func try(f server.Facts) string {
	host := f.Addrs[0].Addr()
	if host.IsUnspecified() {
		host = netip.MustParseAddr("127.0.0.1")
		if f.Addrs[0].Addr().Is6() {
			host = netip.IPv6Loopback()
		}
	}
	client := host // by which the system sends to its own address
	if host.Is4() && host.IsLoopback() {
		client = netip.MustParseAddr("127.0.0.1")
	}
	if !f.Serves(client) {
		return ""
	}
	name := reason.Example(f.Policy, blocklists.Ask{Type: 1, Client: client, Group: f.Policy.Group(client, nil)}, "web.wechat.com")
	if name == "" {
		name = "canada.ca"
	}
	return fmt.Sprintf("dig @%s -p %d %s", host, f.Addrs[0].Port(), name)
}
