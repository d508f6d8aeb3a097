package resolvertest

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver"
	"rideau/resolver/cache"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
)

// authority answers for all names below example, whose records follow from the
// name. It is the server that all resolvers of a comparison forward to.
//
//	hN  has addresses; aN and bN are aliases over one and two steps
//	mN  has MX, sN SRV, tN TXT; nN has HTTPS; xN does not exist
//
// Names below dK have name servers of their own, nsK.srv.example.
func authority(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	question := q.Question[0]
	name := strings.ToLower(question.Name)
	for range 3 {
		target := aliasOf(name)
		if target == "" || question.Qtype == dns.TypeCNAME && name != strings.ToLower(question.Name) {
			break
		}
		m.Answer = append(m.Answer, record("%s 300 IN CNAME %s", name, target))
		name = target
	}
	found, exists := records(name, question.Qtype)
	m.Answer = append(m.Answer, found...)
	zone := zoneOfName(name)
	switch {
	case len(found) > 0 || len(m.Answer) > 0 && question.Qtype == dns.TypeCNAME:
		m.Ns = append(m.Ns, record("%s 300 IN NS %s", zone, serverOf(zone)))
		m.Extra = append(m.Extra, record("%s 300 IN A %s", serverOf(zone), serverAddr(zone)))
	default:
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = append(m.Ns, record("%s 300 IN SOA ns.srv.example. root.example. 1 3600 600 86400 300", zone))
	}
	if o := q.IsEdns0(); o != nil {
		m.SetEdns0(1232, o.Do())
	}
	_ = w.WriteMsg(m)
}

func record(f string, args ...any) dns.RR {
	rr, err := dns.NewRR(fmt.Sprintf(f, args...))
	if err != nil {
		panic(err)
	}
	return rr
}

func number(label string) int {
	n := 0
	if _, err := fmt.Sscanf(label[1:], "%d", &n); err != nil {
		h := fnv.New32()
		io.WriteString(h, label)
		return int(h.Sum32() % 1000)
	}
	return n
}

func aliasOf(name string) string {
	label, rest, _ := strings.Cut(name, ".")
	switch {
	case !strings.HasSuffix(name, ".example.") || len(label) < 2:
		return ""
	case label[0] == 'a':
		return fmt.Sprintf("h%d.%s", number(label), rest)
	case label[0] == 'b':
		return fmt.Sprintf("a%d.example.", number(label))
	}
	return ""
}

func zoneOfName(name string) string {
	labels := dns.SplitDomainName(name)
	if n := len(labels); n >= 2 && labels[n-2][0] == 'd' && labels[n-1] == "example" {
		return labels[n-2] + ".example."
	}
	return "example."
}

func serverOf(zone string) string {
	return "ns" + strings.TrimPrefix(strings.TrimSuffix(zone, "example."), "d") + "srv.example."
}

func serverAddr(zone string) string { return fmt.Sprintf("198.51.100.%d", 1+number(zone)%250) }

// records are the records of a type of a name that is no alias.
func records(name string, t uint16) (out []dns.RR, exists bool) {
	label, _, _ := strings.Cut(name, ".")
	if zone := zoneOfName(name); name == zone {
		if t == dns.TypeNS {
			out = append(out, record("%s 300 IN NS %s", zone, serverOf(zone)))
		}
		return out, true
	}
	if strings.HasSuffix(name, ".srv.example.") || name == "ns.example." {
		zone := "d" + strings.TrimPrefix(label, "ns") + ".example."
		if t == dns.TypeA {
			out = append(out, record("%s 300 IN A %s", name, serverAddr(zone)))
		}
		return out, true
	}
	n := number(label)
	add := func(want uint16, f string, args ...any) {
		if t == want {
			out = append(out, record("%s 300 IN "+f, append([]any{name}, args...)...))
		}
	}
	switch label[0] {
	case 'h':
		add(dns.TypeA, "A 192.0.2.%d", n%250)
		if n%3 == 0 {
			add(dns.TypeA, "A 203.0.113.%d", n%250)
		}
		if n%2 == 0 {
			add(dns.TypeAAAA, "AAAA 2001:db8::%x", n)
		}
		add(dns.TypeTXT, "TXT \"host %d\"", n)
	case 'm':
		add(dns.TypeMX, "MX 10 h%d.example.", n)
	case 's':
		add(dns.TypeSRV, "SRV 0 0 443 h%d.example.", n)
	case 't':
		add(dns.TypeTXT, "TXT \"text %d\"", n)
	case 'n':
		add(dns.TypeHTTPS, "HTTPS 1 . alpn=h2")
		add(dns.TypeA, "A 192.0.2.%d", n%250)
	case 'g': // the garden
		add(dns.TypeA, "A 198.18.0.%d", 1+n%250)
		add(dns.TypeTXT, "TXT \"garden\"")
	default:
		return nil, false
	}
	return out, true
}

// policyZone is a policy zone, and the action that overrides its own.
type policyZone struct {
	records  []string // relative to the zone
	override string   // in BIND's words; empty for given
}

func (z policyZone) text() string {
	return "$TTL 300\n@ IN SOA localhost. root.localhost. 1 3600 600 86400 300\n@ IN NS localhost.\n" + strings.Join(z.records, "\n") + "\n"
}

// peer answers queries; nil is no response.
type peer func(q *dns.Msg, from string) *dns.Msg

// socketPeer queries the resolver at addr.
func socketPeer(addr string) peer {
	return func(q *dns.Msg, from string) *dns.Msg {
		c := dns.Client{Timeout: 700 * time.Millisecond, Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}, Timeout: 700 * time.Millisecond}}
		m, _, err := c.Exchange(q, addr)
		if err != nil {
			return nil
		}
		return m
	}
}

// program is the path of a program. The test is skipped if it is not installed.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{"/usr/sbin/" + name, "/usr/bin/" + name, "/usr/local/sbin/" + name} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	if os.Getenv("RIDEAU_CI") == "1" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// startPeer runs a resolver until the test ends, and waits until it answers. If
// another program takes the port in between, startPeer tries another port.
func startPeer(t *testing.T, name string, configure func(dir string, port int) (args []string)) (ask peer, dir string) {
	t.Helper()
	path := program(t, name)
	var log []byte
	for try, began := 0, time.Now(); try < 10 && time.Since(began) < time.Minute; try++ {
		dir, port := t.TempDir(), int(FreeAddress(t).Port())
		out, err := os.Create(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, configure(dir, port)...)
		cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(ended)
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-ended
		})
		ask := socketPeer(fmt.Sprintf("127.0.0.1:%d", port))
		gone := func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		}
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && !gone(); time.Sleep(50 * time.Millisecond) {
			if m := ask(new(dns.Msg).SetQuestion("t9999.ready.example.", dns.TypeTXT), "127.0.0.1"); m != nil && m.Rcode == dns.RcodeSuccess {
				return ask, dir
			}
		}
		log, _ = os.ReadFile(out.Name())
	}
	t.Fatalf("%s does not answer:\n%s", name, log[max(0, len(log)-4000):])
	return nil, ""
}

func startBIND(t *testing.T, upstream netip.AddrPort, zones []policyZone) peer {
	t.Helper()
	ask, dir := startPeer(t, "named", func(dir string, port int) []string { return configureBIND(t, dir, port, upstream, zones) })
	// BIND answers before its policy is loaded.
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		if strings.Count(string(log), ": reload done: success") >= len(zones) {
			return ask
		}
		if time.Now().After(end) {
			t.Fatalf("named does not load its policy zones:\n%s", log[max(0, len(log)-4000):])
		}
	}
}

func configureBIND(t *testing.T, dir string, port int, upstream netip.AddrPort, zones []policyZone) []string {
	t.Helper()
	var policy, files strings.Builder
	for i, z := range zones {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("z%d.zone", i)), []byte(z.text()), 0o644); err != nil {
			t.Fatal(err)
		}
		override := z.override
		if override == "" {
			override = "given"
		}
		fmt.Fprintf(&policy, "zone \"z%d\" policy %s; ", i, override)
		fmt.Fprintf(&files, "zone \"z%d\" { type primary; file \"z%d.zone\"; check-names ignore; };\n", i, i)
	}
	conf := fmt.Sprintf(`options {
	directory %q; pid-file none; session-keyfile none; managed-keys-directory %q;
	listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion yes; allow-query { any; }; allow-recursion { any; };
	forward only; forwarders port %d { %s; };
	dnssec-validation no; empty-zones-enable no; qname-minimization off; minimal-responses yes;
	max-recursion-queries 1000;
	response-policy { %s } break-dnssec yes recursive-only no qname-wait-recurse yes min-ns-dots 1;
};
controls { };
%s`, dir, dir, port, upstream.Port(), upstream.Addr(), policy.String(), files.String())
	if err := os.WriteFile(filepath.Join(dir, "named.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{"-g", "-4", "-n", "1", "-c", filepath.Join(dir, "named.conf")}
}

func startUnbound(t *testing.T, upstream netip.AddrPort, zones []policyZone) peer {
	t.Helper()
	ask, _ := startPeer(t, "unbound", func(dir string, port int) []string { return configureUnbound(t, dir, port, upstream, zones) })
	return ask
}

func configureUnbound(t *testing.T, dir string, port int, upstream netip.AddrPort, zones []policyZone) []string {
	t.Helper()
	var policy strings.Builder
	for i, z := range zones {
		text := strings.Replace(z.text(), "@ IN SOA", fmt.Sprintf("$ORIGIN z%d.\n@ IN SOA", i), 1)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("z%d.zone", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&policy, "rpz:\n  name: z%d\n  zonefile: %q\n", i, filepath.Join(dir, fmt.Sprintf("z%d.zone", i)))
		if word, target, _ := strings.Cut(z.override, " "); word != "" {
			fmt.Fprintf(&policy, "  rpz-action-override: %s\n", word)
			if target != "" {
				fmt.Fprintf(&policy, "  rpz-cname-override: %s.\n", target)
			}
		}
	}
	conf := fmt.Sprintf(`server:
  interface: 127.0.0.1
  port: %d
  do-ip6: no
  num-threads: 1
  username: ""
  chroot: ""
  directory: %q
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  access-control: 127.0.0.0/8 allow_snoop
  do-not-query-localhost: no
  module-config: "respip iterator"
%s
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: %s@%d
`, port, dir, policy.String(), upstream.Addr(), upstream.Port())
	if err := os.WriteFile(filepath.Join(dir, "unbound.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{"-d", "-c", filepath.Join(dir, "unbound.conf")}
}

// startRideau makes a resolver in this process.
func startRideau(t *testing.T, addr netip.AddrPort, zones []policyZone) peer {
	t.Helper()
	var p blocklists.Policy
	for i, z := range zones {
		id := fmt.Sprint("z", i)
		text := z.text()
		p.Lists = append(p.Lists, input.List{ID: id, Source: id, Format: format.RPZ, AllowTLD: true,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }})
		b := blocklists.Ban{ID: id, EDE: 15, TTL: 300 * time.Second, Groups: []string{blocklists.GroupAll}, Lists: []string{id}, Action: blocklists.Given}
		switch word, target, _ := strings.Cut(z.override, " "); word {
		case "disabled":
			b.Mode = blocklists.Monitor
		case "passthru":
			b.Action = blocklists.Passthru
		case "nxdomain":
			b.Action = blocklists.NXDomain
		case "nodata":
			b.Action = blocklists.NoData
		case "drop":
			b.Action = blocklists.Drop
		case "tcp-only":
			b.Action = blocklists.TCPOnly
		case "cname":
			b.Action = blocklists.LocalData
			b.CNAME = packName(t, target+".")
		}
		p.Bans = append(p.Bans, b)
	}
	snap, report, err := compile.Load(context.Background(), p, nil, compile.Options{Now: time.Now(), Slots: new(blocklists.Slots)})
	if err != nil || len(report.Problems) > 0 {
		t.Fatal(err, report.Problems)
	}
	g := upstream.NewGroup("peer", upstream.Options{}, do53.New(addr, do53.Options{}))
	t.Cleanup(g.Close)
	st, err := resolver.NewState(resolver.StateOptions{Policy: snap, Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Upstream: g, UDPSize: 1232})
	if err != nil {
		t.Fatal(err)
	}
	r := resolver.New(resolver.Options{State: st, Cache: cache.New(cache.Options{Entries: 10000, Bytes: 1 << 24})})
	return func(q *dns.Msg, from string) *dns.Msg {
		msg, err := q.Pack()
		if err != nil {
			t.Error(err)
			return nil
		}
		query := resolver.Query{Msg: msg, Client: netip.MustParseAddr(from), Received: time.Now()}
		out, o := r.Answer(nil, &query)
		if o.Kind == resolver.Pending {
			out, _ = r.Resolve(context.Background(), nil, &query)
		}
		m := new(dns.Msg)
		if len(out) == 0 || m.Unpack(out) != nil {
			return nil
		}
		return m
	}
}

func packName(t *testing.T, name string) []byte {
	t.Helper()
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(name, buf, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// serveAuthority serves authority on one port of 127.0.0.1.
func serveAuthority(t *testing.T) netip.AddrPort {
	t.Helper()
	var pc net.PacketConn
	var l net.Listener
	for tries := 0; l == nil; tries++ { // closed connections keep ports, of TCP only
		var err error
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err != nil {
			pc.Close()
			if tries == 100 {
				t.Fatal(err)
			}
		}
	}
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: dns.HandlerFunc(authority)}, {Listener: l, Handler: dns.HandlerFunc(authority)}} {
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return netip.MustParseAddrPort(pc.LocalAddr().String())
}

// summary is what is compared of a response.
func summary(m *dns.Msg) string {
	if m == nil {
		return "nothing"
	}
	var out []string
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == dns.TypeRRSIG {
			continue
		}
		f := strings.Fields(rr.String())
		out = append(out, strings.ToLower(strings.Join(slices.Concat(f[:1], f[3:]), " ")))
	}
	slices.Sort(out)
	s := dns.RcodeToString[m.Rcode]
	if m.Truncated {
		return s + " tc"
	}
	return s + " " + strings.Join(slices.Compact(out), "; ")
}

// question is one query of a comparison.
type question struct {
	name  string
	qtype uint16
	from  string
	do    bool
	cd    bool
}

func (q question) msg() *dns.Msg {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(q.name), q.qtype)
	m.SetEdns0(1232, q.do)
	m.CheckingDisabled = q.cd
	return m
}

func (q question) String() string {
	return fmt.Sprintf("%s %s from %s do=%v cd=%v", q.name, dns.TypeToString[q.qtype], q.from, q.do, q.cd)
}

// compare sends the same query to all peers, and returns how each response differs
// from the first.
func compare(peers []peer, questions []question) [][]string {
	out := make([][]string, len(questions))
	var wg sync.WaitGroup
	gate := make(chan struct{}, 8)
	for i, q := range questions {
		wg.Add(1)
		gate <- struct{}{}
		go func() {
			defer func() { <-gate; wg.Done() }()
			out[i] = make([]string, len(peers))
			for k, p := range peers {
				out[i][k] = summary(p(q.msg(), q.from))
			}
		}()
	}
	wg.Wait()
	return out
}

// generatedZones are policy zones with random entries, and questions that match
// many of them.
func generatedZones(seed uint64, zones, entries int) ([]policyZone, []question) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	host := func() string { return fmt.Sprintf("%c%d", "hhhabmstn"[rnd.IntN(9)], rnd.IntN(60)) }
	below := func() string {
		return []string{"", "", "w1.", "w2.", "e.w1.", "d1.", "d2."}[rnd.IntN(7)] + "example"
	}
	action := func() string {
		switch rnd.IntN(12) {
		case 0, 1:
			return "CNAME *."
		case 2, 3:
			return "CNAME rpz-passthru."
		case 4:
			return "CNAME rpz-tcp-only."
		case 5:
			return fmt.Sprintf("A 198.18.1.%d", rnd.IntN(250))
		case 6:
			return "TXT \"no\""
		case 7:
			return "CNAME g1.example."
		case 8:
			return "CNAME *.g.example."
		case 9:
			if rnd.IntN(8) == 0 {
				return "CNAME rpz-drop."
			}
		}
		return "CNAME ."
	}
	var out []policyZone
	prefixes := map[string]bool{} // each in one zone, see knownDifferences
	for range zones {
		var z policyZone
		owners := map[string]bool{}
		for range entries {
			var owner string
			switch rnd.IntN(10) {
			case 0, 1:
				owner = "*." + []string{"w1.example", "w2.example", "e.w1.example", "h3.w1.example"}[rnd.IntN(4)]
			case 2, 3:
				owner = fmt.Sprintf("32.%d.2.0.192.rpz-ip", rnd.IntN(60))
			case 4:
				owner = []string{"28.16.2.0.192.rpz-ip", "27.32.2.0.192.rpz-ip", "24.0.113.0.203.rpz-ip", "124.zz.db8.2001.rpz-ip", "128.a.zz.db8.2001.rpz-ip"}[rnd.IntN(5)]
			case 5:
				owner = fmt.Sprintf("32.%d.0.0.127.rpz-client-ip", 2+rnd.IntN(6))
			default:
				owner = host() + "." + below()
			}
			a := action()
			if strings.Contains(a, "*.g.") && strings.Contains(owner, "rpz-") {
				a = "CNAME ."
			}
			if !owners[owner] && !prefixes[owner] {
				owners[owner], prefixes[owner] = true, strings.HasSuffix(owner, ".rpz-ip")
				z.records = append(z.records, owner+" "+a)
			}
		}
		out = append(out, z)
	}
	var questions []question
	for range 6 * zones * entries {
		questions = append(questions, question{
			name: host() + "." + below(), qtype: []uint16{dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeSRV, dns.TypeHTTPS}[rnd.IntN(8)],
			from: fmt.Sprintf("127.0.0.%d", []int{1, 1, 1, 2 + rnd.IntN(6)}[rnd.IntN(4)]), do: rnd.IntN(4) == 0, cd: rnd.IntN(6) == 0,
		})
	}
	return out, questions
}
