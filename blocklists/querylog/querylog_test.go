package querylog_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/miekg/dns"

	"rideau/blocklists/querylog"
	"rideau/resolver/wire"
)

func typeOf(name string) (wire.Type, bool) {
	if t, ok := dns.StringToType[name]; ok {
		return wire.Type(t), true
	}
	var n uint16
	_, err := fmt.Sscanf(name, "TYPE%d", &n)
	return wire.Type(n), err == nil
}

// read reads a log and returns its queries as text.
func read(t testing.TB, log []byte, as querylog.Format) ([]string, querylog.Stats, error) {
	t.Helper()
	var out []string
	stats, err := querylog.Read(bytes.NewReader(log), querylog.Options{File: "log", Format: as, Type: typeOf}, func(q *querylog.Query) error {
		how := "udp"
		if q.TCP {
			how = "tcp"
		}
		out = append(out, fmt.Sprintf("%s %s %s %s", q.Client, q.Name.String(), dns.Type(q.Type), how))
		return nil
	})
	return out, stats, err
}

// TestLines: one line of each kind that the programs write, or that syslog
// makes of it.
func TestLines(t *testing.T) {
	const none = ""
	for _, tt := range []struct{ line, want string }{
		{`query[A] www.example from 10.0.0.1`, "10.0.0.1 www.example. A udp"},
		{`Nov 23 08:04:12 dnsmasq[864]: query[AAAA] WWW.Example from fd00::1`, "fd00::1 www.example. AAAA udp"},
		{`Nov 23 08:04:12 gw dnsmasq[864]: 7 10.0.0.1/50583 query[type=65] a.example from 10.0.0.1`, "10.0.0.1 a.example. HTTPS udp"},
		{`2026-11-23T08:04:12+01:00 gw dnsmasq[8]: auth[SOA] a.example from 10.0.0.1`, "10.0.0.1 a.example. SOA udp"},
		{`Nov 23 08:04:12 dnsmasq[864]: query[PTR] A printer from hell._ipp.example from 10.0.0.1`, `10.0.0.1 a\032printer\032from\032hell._ipp.example. PTR udp`},
		{`Nov 23 08:04:12 dnsmasq[864]: query[A] b\c.example from 10.0.0.1`, `10.0.0.1 b\\c.example. A udp`},
		{`Nov 23 08:04:12 dnsmasq[864]: query[NS] . from 10.0.0.1`, `10.0.0.1 . NS udp`},
		{`Nov 23 08:04:12 dnsmasq[864]: forwarded a.example to 192.0.2.53`, none},
		{`Nov 23 08:04:12 dnsmasq[864]: reply a.example is 192.0.2.1`, none},

		{`client @0x7fa5626e0098 10.0.0.1#51856 (a.example): query: a.example IN HTTPS +E(0)K (127.0.0.1)`, "10.0.0.1 a.example. HTTPS udp"},
		{`23-Nov-2026 08:04:13.657 queries: info: client @0x7f 10.0.0.1#32941 (tcp.example): query: tcp.example IN AAAA +E(0)TK (127.0.0.1)`, "10.0.0.1 tcp.example. AAAA tcp"},
		{`Nov 23 08:04:13 ns1 named[99]: client @0x7f fd00::5#32941 (v.example): view inside: query: v.example IN MX - (fd00::53)`, "fd00::5 v.example. MX udp"},
		{`23-Nov-2026 08:04:13.657 client 10.0.0.1#53 (old.example): query: old.example IN TXT +EDC (127.0.0.1)`, "10.0.0.1 old.example. TXT udp"},
		{`23-Nov-2026 client 10.0.0.1#53: query: older.example IN A +`, "10.0.0.1 older.example. A udp"},
		{`client @0x7f 10.0.0.1#5/key k.example (s.example): query: s.example IN A +SE(0)D (127.0.0.1) [ECS 10.0.0.0/24/0]`, "10.0.0.1 s.example. A udp"},
		{`client @0x7f 10.0.0.1#5 (x): query: do\.t.x\(y.sp\032ace.example IN TYPE1234 +E(0) (127.0.0.1)`, `10.0.0.1 do\.t.x\(y.sp\032ace.example. TYPE1234 udp`},
		{`client @0x7f 10.0.0.1#5 (version.bind): query: version.bind CH TXT +E(0) (127.0.0.1)`, none},
		{`client @0x7f 10.0.0.1#5 (a.example): query failed (REFUSED) for a.example/IN/A at query.c:5729`, none},

		{`[1795421052] unbound[867:0] info: 10.0.0.1 a.example. HTTPS IN`, "10.0.0.1 a.example. HTTPS udp"},
		{`[1795421052] unbound[867:0] query: fe80::1%eth0 a.example. A IN`, "fe80::1 a.example. A udp"},
		{`Nov 23 08:04:13 ns1 unbound: [867:1] info: 10.0.0.1 a.example. A IN`, "10.0.0.1 a.example. A udp"},
		{`[1795421052] unbound[867:0] reply: 10.0.0.1 b.example. A IN NXDOMAIN 0.000000 1 38`, "10.0.0.1 b.example. A udp"},
		{`[1795421050] unbound[867:0] notice: init module 1: validator`, none},
		{`[1795421052] unbound[867:0] info: 10.0.0.1 version.bind. TXT CH`, none},

		{`{"time":"2026-11-23T08:04:13Z","client":"10.0.0.1","group":"all","name":"a\\.b.example.","type":"A","transport":"tcp","outcome":"cached"}`, `10.0.0.1 a\.b.example. A tcp`},
		{`{"time":"2026-11-23T08:04:13Z","level":"INFO","msg":"would have been blocked","ban":"x","name":"a.example.","type":"A","client":"10.0.0.1"}`, "10.0.0.1 a.example. A udp"},
		{`{"time":"2026-11-23T08:04:13Z","client":"10.0.0.1","group":"all","name":"a.example.","type":"A","transport":"tcp","outcome":"blocked","ban":"b"}`, "10.0.0.1 a.example. A tcp"},
		{`{"time":"2026-11-23T08:04:13Z","client":"10.0.0.1","group":"é","name":"a.example.","type":"TYPE99","transport":"udp","outcome":"cached"}`, "10.0.0.1 a.example. SPF udp"},
		{`{"type":"A","name":"a.example.","client":"10.0.0.1"}`, "10.0.0.1 a.example. A udp"},
		{`{"time":"2026-11-23T08:04:13Z","level":"INFO","msg":"reloaded"}`, none},
		{`{"time":"2026-11-23T08:04:13Z","lost":12}`, none},
	} {
		got, stats, err := read(t, []byte(tt.line+"\r\n"), "")
		if tt.want == none {
			if len(got) != 0 || stats.Other != 1 || !errors.Is(err, querylog.ErrNothing) {
				t.Errorf("%s\n\tgives %q, %+v, %v", tt.line, got, stats, err)
			}
			continue
		}
		if err != nil || len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s\n\tgives %q, %v", tt.line, got, err)
		}
	}
}

// TestUnread: what cannot be read is counted and shown, with the reason.
func TestUnread(t *testing.T) {
	log := `query[A] good.example from 10.0.0.1
garbage
Nov 23 08:04:12 dnsmasq[864]: query[A] <name unprintable> from 10.0.0.1
query[WHAT] a.example from 10.0.0.1
query[A] a..example from 10.0.0.1
query[A] a.example from here
[1] unbound[8:0] info: 10.0.0.1 sp?ace.example. A IN
{"client":"10.0.0.1","type":"A"}
{"client":
` + strings.Repeat("x", querylog.MaxLine+10) + "\nquery[A] last.example from 10.0.0.1"
	got, stats, err := read(t, []byte(log), "")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"10.0.0.1 good.example. A udp", "10.0.0.1 last.example. A udp"}; !slices.Equal(got, want) {
		t.Errorf("queries %q", got)
	}
	if stats.Lines != 11 || stats.Unread != 9 || stats.Queries != 2 || len(stats.Problems) != querylog.MaxProblems {
		t.Errorf("stats %+v", stats)
	}
	for i, want := range []querylog.Problem{{2, "garbage", "not a line of a known format"},
		{3, "Nov 23 08:04:12 dnsmasq[864]: query[A] <name unprintable> from 10.0.0.1", "dnsmasq did not write the name"},
		{4, "query[WHAT] a.example from 10.0.0.1", "its query type is not known"},
		{5, "query[A] a..example from 10.0.0.1", "name: empty label"},
		{6, "query[A] a.example from here", "its client is not an IP address"}} {
		if stats.Problems[i] != want {
			t.Errorf("problem %d is %+v", i, stats.Problems[i])
		}
	}
}

// TestNothing: a log without a readable line is an error that says what
// to do; an empty log, as there is after a rotation, is not.
func TestNothing(t *testing.T) {
	for _, tt := range []struct {
		log  string
		as   querylog.Format
		want string
	}{
		{"", "", ""},
		{"hello\nworld\n", "", `log: no query in it can be read; line 1 is "hello": not a line of a known format; give a query log of Rideau, dnsmasq, BIND or Unbound, or a capture in pcap or pcapng; name the format if it was found out wrong`},
		{"[1] unbound[8:0] notice: start\n", "", "log: no query in it can be read; set log-queries: yes in Unbound"},
		{"query[A] a.example from 10.0.0.1\n", querylog.BIND, `log: no query in it can be read; line 1 is "query[A] a.example from 10.0.0.1": not a line of bind; give`},
		{"x", "syslog", `log: unknown format "syslog"; use one of rideau, dnsmasq, bind, unbound, pcap`},
		{"x", querylog.Pcap, "log: this is neither pcap nor pcapng; leave the format out"},
		{"\xd4\xc3\xb2\xa1", querylog.BIND, "log: this is a capture of packets, and no log of bind; leave the format out"},
		{"\x1f\x8b", "", "log: unexpected EOF"},
	} {
		_, _, err := read(t, []byte(tt.log), tt.as)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%q: %v", tt.log, err)
		}
	}
}

// TestReplies: if Unbound logs queries and replies, each query counts
// once; if it logs replies only, these count.
func TestReplies(t *testing.T) {
	const q, r = "[1] unbound[8:0] info: 10.0.0.1 a.example. A IN\n", "[1] unbound[8:0] info: 10.0.0.1 a.example. A IN NOERROR 0.0 1 38\n"
	if got, stats, err := read(t, []byte(q+r+q+r), ""); len(got) != 2 || stats.Other != 2 || err != nil {
		t.Errorf("both: %q, %+v, %v", got, stats, err)
	}
	if got, _, err := read(t, []byte(r+r+r), ""); len(got) != 3 || err != nil {
		t.Errorf("replies alone: %q, %v", got, err)
	}
}

func TestCompressed(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprintln(z, "query[A] a.example from 10.0.0.1")
	z.Close()
	if got, _, err := read(t, b.Bytes(), ""); len(got) != 1 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	cut := b.Bytes()[:b.Len()-4]
	if _, _, err := read(t, cut, ""); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
}

// packet returns a packet of layers and a payload.
func packet(t testing.TB, payload []byte, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, append(ls, gopacket.Payload(payload))...); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(buf.Bytes())
}

func message(t testing.TB, name string, qtype uint16, response bool) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.Response = response
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func framed(ms ...[]byte) (out []byte) {
	for _, m := range ms {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(m))), m...)
	}
	return out
}

// frames returns packets from a network: queries, and much else.
func frames(t testing.TB) [][]byte {
	eth := func(next layers.EthernetType) *layers.Ethernet {
		return &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: next}
	}
	ip4 := &layers.IPv4{Version: 4, TTL: 9, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4(10, 0, 0, 1).To4(), DstIP: net.IPv4(10, 0, 0, 53).To4()}
	tcp4 := *ip4
	tcp4.Protocol = layers.IPProtocolTCP
	ip6 := &layers.IPv6{Version: 6, HopLimit: 9, NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("fd00::53")}
	to, from := &layers.UDP{SrcPort: 5353, DstPort: 53}, &layers.UDP{SrcPort: 53, DstPort: 5353}
	stream := &layers.TCP{SrcPort: 5353, DstPort: 53, PSH: true, ACK: true}
	vlan := &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv4}
	a, b := message(t, "a.example.", dns.TypeA, false), message(t, "b.example.", dns.TypeAAAA, false)
	return [][]byte{
		packet(t, a, eth(layers.EthernetTypeIPv4), ip4, to),
		packet(t, message(t, "a.example.", dns.TypeA, true), eth(layers.EthernetTypeIPv4), ip4, from),
		packet(t, b, eth(layers.EthernetTypeIPv6), ip6, to),
		packet(t, message(t, `do\.t.EXAMPLE.`, dns.TypeHTTPS, false), eth(layers.EthernetTypeDot1Q), vlan, ip4, to),
		packet(t, nil, eth(layers.EthernetTypeIPv4), &tcp4, stream),
		packet(t, framed(a, b), eth(layers.EthernetTypeIPv4), &tcp4, stream),
		packet(t, framed(a)[:9], eth(layers.EthernetTypeIPv4), &tcp4, stream),
		packet(t, []byte("hello"), eth(layers.EthernetTypeIPv4), ip4, to),
		packet(t, []byte("who has"), eth(layers.EthernetTypeARP)),
	}
}

var frameWants = []string{"10.0.0.1 a.example. A udp", "fd00::1 b.example. AAAA udp", `10.0.0.1 do\.t.example. HTTPS udp`,
	"10.0.0.1 a.example. A tcp", "10.0.0.1 b.example. AAAA tcp"}

func pcap(t testing.TB, link layers.LinkType, nanos bool, packets [][]byte) []byte {
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if nanos {
		w = pcapgo.NewWriterNanos(&b)
	}
	if err := w.WriteFileHeader(65535, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(p), Length: len(p)}, p); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func pcapng(t testing.TB, link layers.LinkType, packets [][]byte) []byte {
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, link)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(p), Length: len(p)}, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCapture(t *testing.T) {
	all := frames(t)
	for name, log := range map[string][]byte{"pcap": pcap(t, layers.LinkTypeEthernet, false, all),
		"pcap in nanoseconds": pcap(t, layers.LinkTypeEthernet, true, all), "pcapng": pcapng(t, layers.LinkTypeEthernet, all)} {
		got, stats, err := read(t, log, "")
		if err != nil || !slices.Equal(got, frameWants) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if stats.Lines != 9 || stats.Queries != 5 || stats.Unread != 2 || stats.Other != 3 || !slices.Equal(stats.Formats, []querylog.Format{querylog.Pcap}) {
			t.Errorf("%s: %+v", name, stats)
		}
	}
	var bare [][]byte
	for _, f := range [][]byte{all[0], all[2]} {
		bare = append(bare, f[14:])
	}
	if got, _, err := read(t, pcap(t, layers.LinkTypeRaw, false, bare), ""); err != nil || !slices.Equal(got, frameWants[:2]) {
		t.Errorf("raw: %q, %v", got, err)
	}
	for name, cut := range map[string][]byte{"pcap": pcap(t, layers.LinkTypeEthernet, false, all[:2]), "pcapng": pcapng(t, layers.LinkTypeEthernet, all[:2])} {
		for _, by := range []int{1, 5, len(all[1]) + 3} {
			got, stats, err := read(t, cut[:len(cut)-by], "")
			if err != nil || len(got) != 1 || stats.Lines != 2 || stats.Unread != 1 || !strings.Contains(stats.Problems[0].Reason, "ends within") {
				t.Errorf("%s, cut off by %d: %q, %+v, %v", name, by, got, stats, err)
			}
		}
	}
	damaged := pcap(t, layers.LinkTypeEthernet, false, all[:2])
	damaged[24+16+len(all[0])+8+3] = 0xFF // the length of the second packet
	if got, _, err := read(t, damaged, ""); err == nil || len(got) != 1 || !strings.Contains(err.Error(), "after packet 1") {
		t.Errorf("damaged: %q, %v", got, err)
	}
	if _, _, err := read(t, pcap(t, layers.LinkTypeIEEE802_11, false, all[:1]), ""); !errors.Is(err, querylog.ErrNothing) {
		t.Errorf("another link: %v", err)
	}
}

// FuzzRead: no log makes Read panic, and
// every line is counted.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"query[A] a.example from 10.0.0.1", "auth[", "client 10.0.0.1#53 (a): query: a IN A +", "client : query: ",
		"[1] unbound[8:0] info: 10.0.0.1 a.example. A IN", `{"client":"10.0.0.1","name":"a","type":"A"}`, "client @: query: "} {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"time":"t","client":"10.0.0.1","group":"all","name":"a.example.","type":"A","transport":"tcp","outcome":"blocked"}`))
	f.Add(pcap(f, layers.LinkTypeEthernet, false, frames(f)))
	f.Add(pcap(f, layers.LinkTypeLinuxSLL, false, frames(f)))
	f.Add(pcapng(f, layers.LinkTypeEthernet, frames(f)))
	f.Fuzz(func(t *testing.T, log []byte) {
		n := 0
		stats, err := querylog.Read(bytes.NewReader(log), querylog.Options{File: "log", Type: typeOf}, func(q *querylog.Query) error {
			n++
			if !q.Client.IsValid() || q.Client.Zone() != "" || q.Client.Is4In6() || q.Name.Len() == 0 {
				t.Errorf("query %q of %v", q.Name.String(), q.Client)
			}
			return nil
		})
		if n != stats.Queries || n > 0 && errors.Is(err, querylog.ErrNothing) {
			t.Errorf("%d queries, %+v, %v", n, stats, err)
		}
		if captured := slices.Contains(stats.Formats, querylog.Pcap); !captured && err == nil && stats.Lines != stats.Queries+stats.Other+stats.Unread {
			t.Errorf("%+v do not add up", stats)
		}
	})
}
