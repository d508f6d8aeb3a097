package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"rideau/config"
	"rideau/config/policy"
)

// minimal is a short configuration without a warning.
const minimal = `
lists: [{id: a, pack: wechat}]
bans: [{id: a, title: {en: A}, lists: [a]}]
`

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("rideau.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefault(t *testing.T) {
	c := config.Default()
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	want := []struct {
		id   string
		mode policy.Mode
		ede  policy.EDE
		list policy.List
	}{
		{"ca-2023-wechat", policy.ModeEnforce, policy.EDECensored, policy.List{Pack: "wechat"}},
		{"ca-2023-kaspersky", policy.ModeEnforce, policy.EDECensored, policy.List{Pack: "kaspersky"}},
		{"ca-2023-tiktok", policy.ModeOff, policy.EDECensored, policy.List{Pack: "tiktok"}},
		{"bypass", policy.ModeEnforce, policy.EDEBlocked, policy.List{Pack: "doh-bypass"}},
	}
	if len(c.Bans) != len(want) || len(c.Lists) != len(want) {
		t.Fatalf("%d bans and %d lists, want %d", len(c.Bans), len(c.Lists), len(want))
	}
	for i, w := range want {
		b, l := c.Bans[i], c.Lists[i]
		if b.ID != w.id || b.Mode != w.mode || b.EDE != w.ede || b.Action != policy.ActionNXDomain || !slices.Equal(b.Lists, []string{l.ID}) {
			t.Errorf("ban %d is %+v, want %+v", i, b, w)
		}
		if b.Title.EN == "" || b.Title.FR == "" || b.Authority == "" {
			t.Errorf("ban %s does not say what it is: %+v", b.ID, b)
		}
		if l.Pack != w.list.Pack || !slices.Equal(l.Tiers, []policy.Tier{policy.TierService, policy.TierWeb, policy.TierCDN}) {
			t.Errorf("list %d is %+v, want pack %s with the default tiers", i, l, w.list.Pack)
		}
	}
	if want := time.Date(2023, 10, 30, 0, 0, 0, 0, time.UTC); !c.Bans[0].Effective.Equal(want) || !c.Bans[1].Effective.Equal(want) {
		t.Errorf("effective %s and %s, want %s", c.Bans[0].Effective, c.Bans[1].Effective, want)
	}
	// Except for its bans, the file has the default values.
	if got := config.Changed(parse(t, minimal), c); !slices.Equal(got, []string{"lists", "bans"}) {
		t.Errorf("default.yaml changes %v", got)
	}
}

func TestGood(t *testing.T) {
	want := map[string]func(t *testing.T, c *config.Config){
		"json": func(t *testing.T, c *config.Config) {
			equal(t, c.Listen.Addresses, addrPorts("[::1]:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:5300"))
			equal(t, c.Listen.Workers, 2)
			equal(t, c.Listen.TCP.MaxConnectionsPerClient, 8) // lowered with max_connections
			equal(t, c.Lists[0].Names, []string{"a.example", "*.b.example"})
			equal(t, c.Lists[0].NameLines, []int{2, 2})
			equal(t, c.Lists[0].Format, policy.FormatPlain)
			equal(t, len(c.Warnings), 0)
		},
		"anchors": func(t *testing.T, c *config.Config) {
			equal(t, c.Lists[1].Tiers, []policy.Tier{policy.TierService, policy.TierShared})
			equal(t, c.Bans[1].Title, policy.Title{EN: "A", FR: "À"})
			equal(t, c.Bans[1].EDE, policy.EDEFiltered)
		},
		"values": checkValues,
	}
	for name, check := range want {
		t.Run(name, func(t *testing.T) {
			check(t, parse(t, string(read(t, "testdata/good/"+name+".yaml"))))
		})
	}
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) != len(want) {
		t.Errorf("%d files in testdata/good and %d checks (%v)", len(files), len(want), err)
	}
}

func checkValues(t *testing.T, c *config.Config) {
	equal(t, c.Listen.Addresses, addrPorts("0.0.0.0:53", "[::]:53"))
	equal(t, c.Listen.UDPSize, 1400)
	equal(t, c.Cache.MaxTTL, 24*time.Hour)
	equal(t, fmt.Sprint(c.Clients.Allow), "[0.0.0.0/0 ::/0 192.0.2.1/32 192.0.2.0/24 127.0.0.0/8 ::1/128]")
	equal(t, fmt.Sprint(c.Groups[0].Clients), "[192.0.2.0/24 2001:db8::1/128]")
	equal(t, fmt.Sprint(c.Upstream.Servers),
		"[192.0.2.1:53 192.0.2.2:5353 [2001:db8::1]:53 [2001:db8::2]:53 [2001:db8::3]:5353 system]")
	equal(t, c.Upstream.AttemptTimeout, time.Second) // lowered with timeout
	equal(t, c.Upstream.ProbeName, "example.com")
	equal(t, c.Forward[0].Zones, []string{"corp.example", "0/25.2.0.192.in-addr.arpa", "_sip.example"})
	equal(t, fmt.Sprint(c.Forward[0].Servers), "[[fd00::1]:53]")
	equal(t, c.Lists[0].File, "/etc/rideau/list.rpz")
	equal(t, []float64{c.Lists[0].MaxShrink, c.Lists[0].MaxSkipped, c.Lists[1].MaxShrink, c.Lists[1].MaxSkipped}, []float64{1, 0, 0.25, 0.5})
	equal(t, c.Lists[0].Tiers, nil)
	equal(t, c.Lists[1].Tiers, []policy.Tier{policy.TierService, policy.TierWeb, policy.TierCDN})
	equal(t, c.Lists[0].AllowTLD, true)
	b := c.Bans[0]
	equal(t, b.Title.EN, "A: a title")
	equal(t, b.Effective, time.Date(2023, 10, 30, 0, 0, 0, 0, time.UTC))
	equal(t, b.Expires, time.Date(2023, 10, 30, 0, 30, 0, 0, time.UTC))
	equal(t, fmt.Sprint(b.Sinkhole), "{0.0.0.0 2001:db8::80}")
	equal(t, b.Mode, policy.ModeOff)
	equal(t, b.EDE, policy.EDEProhibited)
	equal(t, b.TTL, time.Minute)
	equal(t, b.Groups, []string{"one", "all"})
	equal(t, c.Exceptions[0].Groups, []string{policy.GroupAll})
	equal(t, c.Ops, config.Ops{Listen: ":5380", Pprof: true, Socket: config.AutoSocket, SelfTest: 24 * time.Hour})
	equal(t, c.Log, config.Log{Level: slog.LevelDebug, Format: config.LogJSON, Language: config.LogFrench, QueriesMaxBytes: 1 << 30, QueriesMaxRate: 50000,
		Blocked: true, BlockedMaxRate: 20, Clients: config.ClientAddress})
	var warnings []string
	for _, w := range c.Warnings {
		warnings = append(warnings, w.String())
	}
	equal(t, warnings, []string{
		`rideau.yaml:10: clients.allow[0]: "any" answers the whole Internet: an open resolver is used in reflection attacks (RFC 5358); list the networks you serve, unless a firewall does`,
		`rideau.yaml:28: lists[3]: no ban and no exception uses the list "unused"; name it in a ban's lists, or remove it`,
		`rideau.yaml:29: bans: no ban is enforced: every name is resolved; add a ban, or write mode: enforce`,
		`rideau.yaml:43: ops.listen: other machines can reach the operators' service, and it asks for no token; set ops.token_file, or listen on 127.0.0.1`,
	})
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if gv, wv := reflect.ValueOf(got), reflect.ValueOf(want); !wv.IsValid() && gv.Kind() == reflect.Slice && gv.IsNil() {
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func addrPorts(text ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range text {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rideau.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("lists: [{id: a, file: lists/a.txt}, {id: b, file: /b.txt}]\nbans: [{id: a, title: {en: A}, lists: [a, b]}]\nops: {token_file: ../token}\n")
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, c.File, path)
	equal(t, c.Lists[0].File, filepath.Join(dir, "lists/a.txt"))
	equal(t, c.Lists[1].File, "/b.txt")
	equal(t, c.Ops.TokenFile, filepath.Join(filepath.Dir(dir), "token"))

	write("log: {level: loud}\n")
	_, err = config.Load(path)
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error is %T, want Problems", err)
	}
	equal(t, problems, config.Problems{{File: path, Line: 1, Key: "log.level", Message: `unknown level "loud"`, Remedy: "use one of debug, info, warn, error"}})

	if _, err := config.Load(filepath.Join(dir, "missing.yaml")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := config.Load(dir); err == nil || errors.As(err, &problems) {
		t.Errorf("directory: %v", err)
	}
	write("# " + strings.Repeat("x", config.MaxSize))
	if _, err := config.Load(path); !errors.As(err, &problems) || problems[0].Message != "the file is larger than 4 MiB" {
		t.Errorf("large file: %v", err)
	}
}

func TestChanged(t *testing.T) {
	before := parse(t, minimal)
	cases := []struct {
		text string
		want []string
	}{
		{minimal, nil},
		{"# a line more\n\n" + minimal + "forward: []\n", nil},
		{minimal + "listen: {addresses: [':53'], tcp: {idle_timeout: 1s}}\n", []string{"listen.addresses", "listen.tcp.idle_timeout"}},
		{minimal + "upstream: {servers: [system]}\nlog: {level: info}\n", nil},
		{minimal + "clients: {allow: [loopback]}\nops: {listen: ''}\n", []string{"clients.allow", "ops.listen"}},
		{minimal + "groups: [{id: g, clients: [10.0.0.1]}]\n", []string{"groups"}},
		{strings.Replace(minimal, "en: A", "en: A, fr: B", 1), []string{"bans"}},
		{strings.Replace(minimal, "title", "expires: 2030-01-01, title", 1), []string{"bans"}},
		{minimal + "reload: {max_shrink: 0.1}\n", []string{"lists", "reload.max_shrink"}},
	}
	for _, tc := range cases {
		if got := config.Changed(before, parse(t, tc.text)); !slices.Equal(got, tc.want) {
			t.Errorf("changed %v, want %v, by\n%s", got, tc.want, tc.text)
		}
	}
}

func TestProblemString(t *testing.T) {
	p := config.Problem{File: "f", Message: "m"}
	equal(t, p.String(), "f: m")
	p.Line, p.Key, p.Remedy = 3, "a.b", "r"
	equal(t, p.String(), "f:3: a.b: m; r")
	equal(t, config.Problems{p, p}.Error(), "f:3: a.b: m; r\nf:3: a.b: m; r")
}

// TestLineEnds accepts files with CRLF, with the same line numbers.
func TestLineEnds(t *testing.T) {
	c := parse(t, strings.ReplaceAll(minimal, "\n", "\r\n"))
	equal(t, c.Bans[0].Line, 3)
	equal(t, c.Bans[0].Title.EN, "A")
}

func TestEDE(t *testing.T) {
	for code := policy.EDEBlocked; code <= policy.EDEProhibited; code++ {
		for _, text := range []string{code.String(), fmt.Sprint(uint16(code))} {
			c := parse(t, strings.Replace(minimal, "title", "ede: "+text+", title", 1))
			equal(t, c.Bans[0].EDE, code)
		}
	}
	equal(t, policy.EDE(3).String(), "unknown")
}
