package resolvertest

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/resolver"
	"rideau/resolver/cache"
	"rideau/resolver/listener"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
)

// TestForwardsLikePeers sends the same queries to Rideau, Unbound and BIND,
// which forward to the same server. Their responses differ as forwardDifferences
// says, and in nothing else.
func TestForwardsLikePeers(t *testing.T) {
	up := serveWorld(t)
	ours := serveSockets(t, up)
	peers := []struct{ name, addr string }{{"unbound", forwardUnbound(t, up)}, {"bind", forwardBIND(t, up)}}
	n := 4000
	if testing.Short() {
		n = 400
	}
	addrs := []string{ours, peers[0].addr, peers[1].addr}
	questions := slices.Concat(askings(1, n), oddQuestions(), coldQuestions())
	all := askAll(addrs, questions)
	warm := warmQuestions(questions)
	all = append(all, askAll(addrs, warm)...)
	questions = append(questions, warm...)

	met := make([]int, len(forwardDifferences))
	unknown := map[string][]string{}
	differences := 0
	for i, q := range questions {
		for k, p := range peers {
			mine, theirs := all[i][0], all[i][1+k]
			for _, field := range mine.differs(theirs) {
				differences++
				known := slices.IndexFunc(forwardDifferences, func(d forwardDifference) bool {
					return (d.peer == "" || d.peer == p.name) && slices.Contains(strings.Fields(d.fields), field) && d.is(q, mine, theirs)
				})
				if known >= 0 {
					met[known]++
					continue
				}
				letter, n, _ := worldLabel(q.name)
				if letter == 'o' {
					n %= 14
				}
				kind := fmt.Sprintf("%s: %s of %c", p.name, field, letter)
				unknown[kind] = append(unknown[kind], fmt.Sprintf("%d: %v\n  rideau  %.250s\n  %-7s %.250s", n, q, mine[field], p.name, theirs[field]))
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(unknown)) {
		t.Errorf("%s, %d times\n%s", kind, len(unknown[kind]), strings.Join(unknown[kind][:min(2, len(unknown[kind]))], "\n"))
	}
	t.Logf("%d questions to each of three, %d differences", len(questions), differences)
	for i, d := range forwardDifferences {
		t.Logf("%5d  %s", met[i], d.what)
		if met[i] == 0 && !testing.Short() {
			t.Errorf("not met with: %s", d.what)
		}
	}
}

// forwardDifference is a way in which Rideau answers differently from a peer.
type forwardDifference struct {
	what   string
	peer   string // both if empty
	fields string // which may differ
	is     func(q asking, rideau, peer answerView) bool
}

// forwardDifferences are all differences from Unbound 1.17 and BIND 9.18. README.md
// gives the reasons.
var forwardDifferences = []forwardDifference{
	{"ANY gets one small record that says why (RFC 8482 section 4.2), whatever there is", "", "rcode tc answer flags",
		func(q asking, _, _ answerView) bool { return q.qtype == dns.TypeANY && q.class == dns.ClassINET }},
	{"classes other than IN are refused and not forwarded", "", "rcode flags",
		func(q asking, r, _ answerView) bool { return q.class != dns.ClassINET && r["rcode"] == "REFUSED" }},
	{"transfers, types of one hop only and those that went out of use are refused", "", "rcode flags edns",
		func(q asking, r, _ answerView) bool {
			return slices.Contains([]uint16{0, dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILB, dns.TypeTKEY, dns.TypeTSIG}, q.qtype) && (r["rcode"] == "REFUSED" || q.version > 0)
		}},
	{"RA says what is offered in every answer; BIND does not set it in some that are errors", "bind", "flags",
		func(_ asking, r, p answerView) bool {
			return r["rcode"] != "NOERROR" && strings.Replace(p["flags"], "ra=false", "ra=true", 1) == r["flags"]
		}},
	{"AD is never made up; BIND sets it in truncated answers that are empty", "bind", "flags",
		func(q asking, r, p answerView) bool {
			return r["tc"] == "true" && strings.Replace(p["flags"], "ad=true", "ad=false", 1) == r["flags"]
		}},
	{"what RD=0 finds not in the cache is refused, and says why (RFC 8914 section 4.21)", "", "rcode",
		func(q asking, r, _ answerView) bool { return !q.rd && r["rcode"] == "REFUSED" }},
	{"RD comes back as it came; Unbound sets it in answers to queries without it", "unbound", "flags",
		func(q asking, r, p answerView) bool {
			return !q.rd && strings.Replace(p["flags"], "rd=true", "rd=false", 1) == r["flags"]
		}},
	{"a response goes to the client as upstream has encoded it: one that would fit if it were compressed is truncated", "", "tc",
		func(q asking, r, _ answerView) bool { return r["tc"] == "true" && !q.tcp && worldSize(q) > q.limit() }},
	{"what fits is not truncated; BIND's answer is a little longer", "bind", "tc",
		func(q asking, r, _ answerView) bool { return r["tc"] == "false" && r["size"] == "fits=true" }},
	{"an answer that says that an alias leads to itself has no alias in it", "bind", "answer",
		func(_ asking, r, p answerView) bool {
			return r["rcode"] == "SERVFAIL" && r["answer"] == "" && strings.Contains(p["answer"], " cname ")
		}},
	{"a chain of aliases that upstream gives whole is whole, also where it is longer than others follow it", "", "rcode",
		func(q asking, r, p answerView) bool {
			letter, n, _ := worldLabel(q.name)
			return letter == 'l' && n > othersFollow && r["rcode"] == "NOERROR" && p["rcode"] == "SERVFAIL"
		}},
	{"a record that upstream sends twice comes once", "unbound", "answer",
		func(q asking, r, p answerView) bool { return q.oddity(3) && len(r["answer"]) < len(p["answer"]) }},
	{"YXDOMAIN is an answer: the name that a DNAME leads to is too long (RFC 6672 section 2.2)", "bind", "rcode",
		func(_ asking, r, p answerView) bool { return r["rcode"] == "YXDOMAIN" && p["rcode"] == "SERVFAIL" }},
	{"NXDOMAIN with an answer before it is handed on; it may be about the end of an alias", "bind", "rcode",
		func(q asking, r, p answerView) bool { return q.oddity(6) && r["rcode"] == "NXDOMAIN" }},
	{"name servers that upstream tells beside an answer are handed on", "", "authority",
		func(q asking, r, p answerView) bool {
			return (q.oddity(5) || q.oddity(12)) && strings.Contains(r["authority"], " ns ")
		}},
	{"TTLs are bounded by a day, in BIND by a week; one with its top bit set counts as 0 (RFC 2181 section 8)", "bind", "ttl",
		func(_ asking, r, p answerView) bool {
			return sameTTLs(r["ttl"], p["ttl"], func(r, p int) bool { return p > 604000 && (r == 0 || r > 86300) })
		}},
	{"records of one set with several TTLs keep them", "bind", "ttl",
		func(q asking, _, _ answerView) bool { return q.oddity(10) }},
	{"DNAME of a name below one leads on like any other type", "", "rcode answer authority",
		func(q asking, r, _ answerView) bool {
			letter, _, below := worldLabel(q.name)
			return letter == 'd' && below > 0 && q.qtype == dns.TypeDNAME && strings.Contains(r["answer"], " cname ")
		}},
	{"the CNAME record that follows from a DNAME has the DNAME's TTL (RFC 6672 section 3.1), in Unbound's cache none", "unbound", "ttl",
		func(q asking, r, p answerView) bool { return strings.Contains(r["answer"], " dname ") }},
}

// othersFollow is how many aliases Unbound and BIND follow.
const othersFollow = 11

// limit is the largest response that the client accepts.
func (a asking) limit() int {
	switch {
	case a.tcp:
		return dns.MaxMsgSize
	case a.edns:
		return max(512, min(1232, int(a.size)))
	}
	return 512
}

// oddity reports whether the response is odd in this way.
func (a asking) oddity(n int) bool {
	letter, number, _ := worldLabel(a.name)
	return letter == 'o' && number%14 == n
}

// worldSize is the length of the response as the server encodes it.
func worldSize(a asking) int {
	q := a.msg()
	q.Question[0].Name = strings.ToLower(a.name)
	b, err := worldReply(q, true).Pack()
	if err != nil {
		panic(err)
	}
	return len(b)
}

// oddQuestions ask for each of the odd responses.
func oddQuestions() (out []asking) {
	for i := range 28 {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeMX} {
			out = append(out, asking{name: fmt.Sprintf("o%d.%s", i, world), qtype: qtype, class: dns.ClassINET, rd: true, edns: true, size: 1232})
		}
	}
	return out
}

// coldQuestions have RD=0 and no answer in any cache.
func coldQuestions() (out []asking) {
	for i := range 20 {
		out = append(out, asking{name: fmt.Sprintf("a%d.%s", 1000+i, world), qtype: dns.TypeA, class: dns.ClassINET, edns: i%2 == 0, size: 1232})
	}
	return out
}

// warmQuestions repeat, with RD=0, questions whose answers stay in every cache
// for minutes.
func warmQuestions(asked []asking) (out []asking) {
	for _, q := range asked {
		letter, n, _ := worldLabel(q.name)
		ttl := worldTTLs[n%len(worldTTLs)]
		if strings.ContainsRune("aem", rune(letter)) && (q.qtype == dns.TypeA || q.qtype == dns.TypeTXT) && ttl >= 300 && ttl < 1<<31 && q.rd && q.version == 0 && q.class == dns.ClassINET && len(out) < 300 {
			q.rd = false
			out = append(out, q)
		}
	}
	return out
}

// askAll sends the same query to all of addrs.
func askAll(addrs []string, questions []asking) [][]answerView {
	all := make([][]answerView, len(questions))
	var wg sync.WaitGroup
	gate := make(chan struct{}, 8)
	for i, q := range questions {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			for _, addr := range addrs {
				all[i] = append(all[i], askView(addr, q))
			}
		})
	}
	wg.Wait()
	return all
}

// answerView is what is compared of a response, by name of the field.
type answerView map[string]string

// differs returns the fields in which two responses differ. If the codes differ,
// or one is truncated, the rest is not compared.
func (v answerView) differs(w answerView) (fields []string) {
	for _, field := range []string{"rcode", "tc", "question", "edns", "flags", "size", "answer", "ttl", "authority", "poison"} {
		if field == "answer" && v["tc"] == "true" {
			break
		}
		if v[field] == w[field] || field == "ttl" && nearTTL(v[field], w[field]) {
			continue
		}
		fields = append(fields, field)
		if field == "rcode" || field == "tc" || field == "answer" {
			break
		}
	}
	return fields
}

// askView sends a query, again if there is no response, and returns the view of
// the response.
func askView(addr string, a asking) answerView {
	network := "udp"
	if a.tcp {
		network = "tcp"
	}
	q := a.msg()
	msg, err := q.Pack()
	if err != nil {
		panic(err)
	}
	var raw []byte
	for range 2 {
		if raw = exchangeRaw(network, addr, msg, 4*time.Second); raw != nil {
			break
		}
	}
	m := new(dns.Msg)
	switch {
	case raw == nil:
		return answerView{"rcode": "silence"}
	case m.Unpack(raw) != nil:
		return answerView{"rcode": "unreadable"}
	}
	v := answerView{
		"rcode": cmp.Or(dns.RcodeToString[m.Rcode], fmt.Sprint(m.Rcode)),
		"flags": fmt.Sprintf("aa=%v rd=%v ra=%v ad=%v cd=%v z=%v opcode=%d", m.Authoritative, m.RecursionDesired, m.RecursionAvailable, m.AuthenticatedData, m.CheckingDisabled, m.Zero, m.Opcode),
		"tc":    fmt.Sprint(m.Truncated),
	}
	if len(m.Question) > 0 {
		v["question"] = m.Question[0].String()
	}
	if o := m.IsEdns0(); o != nil {
		v["edns"] = fmt.Sprintf("version=%d do=%v flags=%x", o.Version(), o.Do(), o.Hdr.Ttl&0x7FFF)
	}
	v["size"] = fmt.Sprint("fits=", len(raw) <= a.limit())
	var ttl, answer, authority []string
	for _, rr := range m.Answer {
		text := strings.ToLower(viewRecord(rr))
		answer = append(answer, text)
		ttl = append(ttl, fmt.Sprintf("%s=%d", text, rr.Header().Ttl))
	}
	for _, rr := range m.Ns {
		authority = append(authority, strings.ToLower(viewRecord(rr)))
	}
	slices.Sort(answer)
	slices.Sort(ttl)
	slices.Sort(authority)
	v["answer"] = strings.Join(answer, "; ")
	v["ttl"] = strings.Join(ttl, "; ")
	v["authority"] = strings.Join(authority, "; ")
	v["poison"] = fmt.Sprint(strings.Contains(m.String(), "203.0.113.")) // see oddity
	return v
}

// viewRecord is a record without its TTL.
func viewRecord(rr dns.RR) string {
	rr = dns.Copy(rr)
	rr.Header().Ttl = 0
	return strings.Join(strings.Fields(rr.String()), " ")
}

// nearTTL reports whether two lists of TTLs are the same except for the time
// that has passed.
func nearTTL(a, b string) bool {
	return sameTTLs(a, b, func(int, int) bool { return false })
}

// sameTTLs is nearTTL, and also accepts pairs that are equivalent.
func sameTTLs(a, b string, good func(a, b int) bool) bool {
	x, y := strings.Split(a, "; "), strings.Split(b, "; ")
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		var n, m int
		r1, t1, _ := cutLast(x[i])
		r2, t2, _ := cutLast(y[i])
		if _, err := fmt.Sscan(t1, &n); err != nil || r1 != r2 {
			return false
		}
		if _, err := fmt.Sscan(t2, &m); err != nil || (n-m > 35 || m-n > 35) && !good(n, m) {
			return false
		}
	}
	return true
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '=')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// exchangeRaw sends octets and returns the response with the same id, or nil.
func exchangeRaw(network, addr string, msg []byte, patience time.Duration) []byte {
	c, err := net.Dial(network, addr)
	if err != nil {
		return nil
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if network == "tcp" {
		if _, err := c.Write(frame(msg)); err != nil {
			return nil
		}
		return readFrame(c)
	}
	if _, err := c.Write(msg); err != nil {
		return nil
	}
	buf := make([]byte, 65535)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil
		}
		if n >= 2 && len(msg) >= 2 && buf[0] == msg[0] && buf[1] == msg[1] {
			return buf[:n]
		}
	}
}

// frame encodes messages for TCP.
func frame(msgs ...[]byte) (out []byte) {
	for _, m := range msgs {
		out = append(out, byte(len(m)>>8), byte(len(m)))
		out = append(out, m...)
	}
	return out
}

// readFrame reads a message from TCP; nil if there is none.
func readFrame(r io.Reader) []byte {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil
	}
	msg := make([]byte, int(n[0])<<8|int(n[1]))
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil
	}
	return msg
}

// serveSockets serves a resolver that forwards to one server, and returns its
// address.
func serveSockets(t *testing.T, up netip.AddrPort) string {
	t.Helper()
	return serveListener(t, up, listener.Options{Addrs: []string{"127.0.0.1:0"}}).Addr().String()
}

func serveListener(t *testing.T, up netip.AddrPort, o listener.Options) *listener.Listener {
	t.Helper()
	snap, _, err := compile.Load(t.Context(), blocklists.Policy{}, nil, compile.Options{Now: time.Now(), Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	g := upstream.NewGroup("main", upstream.Options{}, do53.New(up, do53.Options{}))
	t.Cleanup(g.Close)
	st, err := resolver.NewState(resolver.StateOptions{Policy: snap, Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, Upstream: g, UDPSize: 1232})
	if err != nil {
		t.Fatal(err)
	}
	r := resolver.New(resolver.Options{State: st, Cache: cache.New(cache.Options{Entries: 100000, Bytes: 1 << 26, MaxStale: time.Hour, MaxTTL: 24 * time.Hour}), RefusedPerSecond: 100})
	l, err := listener.Listen(r, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("listener: %v", err)
		}
	})
	return l
}

// forwardUnbound runs Unbound as a forwarder.
func forwardUnbound(t *testing.T, up netip.AddrPort) (addr string) {
	t.Helper()
	startPeer(t, "unbound", func(dir string, port int) []string {
		addr = fmt.Sprintf("127.0.0.1:%d", port)
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
  module-config: "iterator"
  max-udp-size: 1232
  rrset-roundrobin: no
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: %s@%d
`, port, dir, up.Addr(), up.Port())
		writeFile(t, filepath.Join(dir, "unbound.conf"), conf)
		return []string{"-d", "-c", filepath.Join(dir, "unbound.conf")}
	})
	return addr
}

// forwardBIND runs BIND as a forwarder.
func forwardBIND(t *testing.T, up netip.AddrPort) (addr string) {
	t.Helper()
	startPeer(t, "named", func(dir string, port int) []string {
		addr = fmt.Sprintf("127.0.0.1:%d", port)
		conf := fmt.Sprintf(`options {
	directory %q; pid-file none; session-keyfile none; managed-keys-directory %q;
	listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion yes; allow-query { any; }; allow-recursion { any; }; allow-query-cache { any; };
	forward only; forwarders port %d { %s; };
	dnssec-validation no; empty-zones-enable no; qname-minimization off; minimal-responses yes;
	max-udp-size 1232; edns-udp-size 1232; answer-cookie no; max-records-per-type 0;
};
controls { };
`, dir, dir, port, up.Port(), up.Addr())
		writeFile(t, filepath.Join(dir, "named.conf"), conf)
		return []string{"-g", "-4", "-n", "1", "-c", filepath.Join(dir, "named.conf")}
	})
	return addr
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
