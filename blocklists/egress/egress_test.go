package egress_test

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rideau/blocklists/egress"
)

var update = flag.Bool("update", false, "write the golden files")

func addrs(texts ...string) (out []netip.Addr) {
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func servers(texts ...string) (out []netip.AddrPort) {
	for _, s := range texts {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

// network is a plan with everything in it, and with duplicates, ranges
// within others, and loopback addresses.
func network() egress.Plan {
	return egress.Plan{
		Rideau:    addrs("192.0.2.54", "192.0.2.53", "::ffff:192.0.2.53", "2001:db8::53", "127.0.0.1", "::"),
		Clients:   prefixes("10.0.0.0/8", "10.1.0.0/16", "127.0.0.0/8", "::1/128", "192.0.2.0/24", "2001:db8:1::/48", "198.51.100.7/32"),
		Upstreams: servers("9.9.9.9:53", "203.0.113.1:5353", "[2620:fe::fe]:53", "9.9.9.9:53", "127.0.0.53:53"),
		Public: []egress.Public{
			{"Quad9", addrs("9.9.9.9", "149.112.112.112", "2620:fe::fe")},
			{"Another\nwith ümlaut", addrs("192.0.2.99")},
			{"The same again", addrs("9.9.9.9", "2620:fe::9")},
		},
		Banned:  prefixes("203.0.112.0/24", "203.0.112.128/25", "2001:db8:bad::/48"),
		Console: true,
		Notes:   []string{"A note.\n} evil"},
	}
}

func write(t *testing.T, f egress.Format, p egress.Plan) string {
	t.Helper()
	var b bytes.Buffer
	if err := egress.Write(&b, f, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, f := range egress.Formats() {
		for name, p := range map[string]egress.Plan{"network": network(), "empty": {}} {
			got := write(t, f, p)
			if again := write(t, f, p); again != got {
				t.Errorf("%s: two runs differ", f)
			}
			path := filepath.Join("testdata", name+"."+string(f))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is not what is written; look at it, and if it is right run go test -update\n%s", path, got)
			}
			for i, r := range got {
				if r > '~' || r < ' ' && r != '\n' && r != '\t' {
					t.Errorf("%s: octet %d is %q", f, i, r)
				}
			}
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	var b bytes.Buffer
	err := egress.Write(&b, "iptables", network())
	if want := `format "iptables" is unknown; use nftables, pf, cisco-acl`; err == nil || err.Error() != want || b.Len() > 0 {
		t.Errorf("%v, and %d octets", err, b.Len())
	}
}

// packet is the first packet of a connection, as it arrives at a firewall between the network and
// the outside.
type packet struct {
	src, dst netip.Addr
	proto    string
	port     int
}

// decisions is what the rules of network say, by their numbers in EGRESS.md.
// TCP and UDP are both tried where proto is empty.
var decisions = []struct {
	src, dst, proto string
	port            int
	pass            bool
}{
	// 1 and 2
	{"192.0.2.53", "9.9.9.9", "", 53, true},
	{"192.0.2.54", "203.0.113.1", "", 5353, true},
	{"2001:db8::53", "2620:fe::fe", "", 53, true},
	{"192.0.2.53", "9.9.9.9", "", 443, false},
	{"192.0.2.53", "9.9.9.9", "", 853, false},
	{"192.0.2.53", "8.8.8.8", "", 53, false},
	{"192.0.2.53", "203.0.113.1", "", 53, false},
	{"2001:db8::53", "2620:fe::9", "", 53, false},
	// 3
	{"10.200.3.4", "192.0.2.53", "", 53, true},
	{"10.1.3.4", "192.0.2.54", "", 853, true},
	{"198.51.100.7", "192.0.2.53", "", 53, true},
	{"2001:db8:1::9", "2001:db8::53", "", 53, true},
	{"198.51.100.8", "192.0.2.53", "", 53, false},
	{"2001:db8:2::9", "2001:db8::53", "", 53, false},
	// 4
	{"10.2.3.4", "8.8.8.8", "", 53, false},
	{"10.2.3.4", "9.9.9.9", "", 53, false},
	{"2001:db8:1::9", "2001:4860:4860::8888", "", 53, false},
	{"172.16.0.1", "8.8.8.8", "", 53, false},
	// 5
	{"10.2.3.4", "203.0.113.77", "", 853, false},
	{"2001:db8:1::9", "2620:fe::fe", "", 853, false},
	// 6
	{"10.2.3.4", "203.0.113.77", "udp", 784, false},
	{"10.2.3.4", "203.0.113.77", "udp", 8853, false},
	{"2001:db8:1::9", "2620:fe::fe", "udp", 784, false},
	{"10.2.3.4", "203.0.113.77", "tcp", 8853, true},
	// 7
	{"10.2.3.4", "9.9.9.9", "", 443, false},
	{"10.2.3.4", "192.0.2.99", "", 443, false},
	{"2001:db8:1::9", "2620:fe::9", "", 443, false},
	{"10.2.3.4", "9.9.9.9", "", 80, true},
	{"10.2.3.4", "203.0.113.77", "", 443, true},
	{"2001:db8:1::9", "2001:db8:ffff::1", "", 443, true},
	// 8
	{"10.2.3.4", "203.0.113.77", "tcp", 23100, false},
	{"10.2.3.4", "203.0.113.77", "tcp", 29299, false},
	{"2001:db8:1::9", "2001:db8:ffff::1", "tcp", 27200, false},
	{"10.2.3.4", "203.0.113.77", "tcp", 23099, true},
	{"10.2.3.4", "203.0.113.77", "udp", 23100, true},
	{"172.16.0.1", "203.0.113.77", "tcp", 23100, true},
	// 9
	{"10.2.3.4", "203.0.112.200", "", 22, false},
	{"2001:db8:1::9", "2001:db8:bad::1", "", 443, false},
	{"10.2.3.4", "203.0.114.1", "", 22, true},
	// none
	{"10.2.3.4", "203.0.113.77", "", 5300, true},
	{"10.2.3.4", "203.0.113.77", "", 22, true},
}

// check compares what a firewall would do with the decisions.
func check(t *testing.T, pass func(packet) bool) {
	t.Helper()
	for _, d := range decisions {
		protos := []string{d.proto}
		if d.proto == "" {
			protos = []string{"tcp", "udp"}
		}
		for _, proto := range protos {
			p := packet{netip.MustParseAddr(d.src), netip.MustParseAddr(d.dst), proto, d.port}
			if got := pass(p); got != d.pass {
				t.Errorf("%v: passes is %v", p, got)
			}
		}
	}
}

// nft is the command that runs nft(8) in a network of its own.
func nft(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("nft")
	if err != nil {
		if path = "/usr/sbin/nft"; exec.Command(path, "--version").Run() != nil {
			t.Skip("nft is not installed: the syntax of nftables is not checked")
		}
	}
	alone := exec.Command("unshare", "--net", "true")
	if out, err := alone.CombinedOutput(); err != nil {
		t.Skipf("no network namespace of one's own (%v, %s): the syntax of nftables is not checked", err, out)
	}
	return exec.Command("unshare", append([]string{"--net", path}, args...)...)
}

// nft(8) accepts the rules, for every combination of what a plan
// may lack.
func TestNFTables(t *testing.T) {
	everything := network()
	everything.Clients = prefixes("0.0.0.0/0", "::/0")
	some := network()
	some.Rideau, some.Console = addrs("2001:db8::53"), false
	for name, p := range map[string]egress.Plan{"network": network(), "empty": {}, "any client": everything, "IPv6 alone": some} {
		path := filepath.Join(t.TempDir(), "rules.nft")
		if err := os.WriteFile(path, []byte(write(t, egress.NFTables, p)), 0o666); err != nil {
			t.Fatal(err)
		}
		if out, err := nft(t, "-c", "-f", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// Without an address of Rideau nothing refuses plain DNS, and the text says
// what to do.
func TestUnknownAddresses(t *testing.T) {
	p := network()
	p.Rideau = nil
	for _, f := range egress.Formats() {
		text := write(t, f, p)
		if !strings.Contains(text, "PUT IN BY HAND: Rideau's own addresses") || !strings.Contains(text, "--resolvers") {
			t.Errorf("%s does not say what is lacking", f)
		}
	}
	query := packet{netip.MustParseAddr("10.2.3.4"), netip.MustParseAddr("8.8.8.8"), "udp", 53}
	if !readPF(t, write(t, egress.PF, p)).pass(query) || !readCisco(t, write(t, egress.CiscoACL, p)).pass(query) {
		t.Error("plain DNS is refused though nobody is known to answer it")
	}
	query.port = 853
	if readPF(t, write(t, egress.PF, p)).pass(query) || readCisco(t, write(t, egress.CiscoACL, p)).pass(query) {
		t.Error("DoT is let through")
	}
}
