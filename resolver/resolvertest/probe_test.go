package resolvertest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/listener"
)

// probeAnswers is what the probes' upstream says.
const probeAnswers = `
example.org SOA
    answer example.org. 300 IN SOA ns.example.org. host.example.org. 1 3600 600 86400 300
www.example.org A
    answer www.example.org. 300 IN A 192.0.2.1
slow.example.org A delay=400ms
    answer slow.example.org. 300 IN A 192.0.2.1
gone.example.org A NXDOMAIN
    authority example.org. 300 IN SOA ns.example.org. host.example.org. 1 3600 600 86400 300
example.org TYPE1000
    authority example.org. 300 IN SOA ns.example.org. host.example.org. 1 3600 600 86400 300
unknown.example.org TYPE1000
    answer unknown.example.org. 300 IN TYPE1000 \# 3 010203
big.example.org TXT udp tc
big.example.org TXT tcp
    BIG
`

// wire octets of the probes' questions.
const (
	probeSOA     = "07 6578616d706c65 03 6f7267 00 0006 0001"
	probeWWW     = "03 777777 07 6578616d706c65 03 6f7267 00 0001 0001"
	probeOPT     = "00 0029 04d0 00 00 0000 0000"
	probeOptions = "0064 0000" + // unknown, and empty
		"0008 0004 0001 0000" + // ECS, of no subnet
		"0009 0000" + // EXPIRE
		"0003 0000" + // NSID
		"000a 0008 0102030405060708" + // COOKIE
		"000c 0004 00000000" // padding
)

// probes are messages and the responses that they must get. Each is sent by UDP
// and by TCP to a listener with a resolver. A response is described by its code,
// its flags, whether the question is echoed octet for octet, the number of
// answers, and the EDNS version, DO and options.
var probes = []struct {
	name  string // docs/conformance.md refers to it
	query string // octets in hexadecimal, but for the id
	want  string
}{
	// RFC 8906 section 8.1: plain DNS.
	{"8906 minimal", "0000 0001 0000 0000 0000" + probeSOA, "NOERROR qr ra echo 1"},
	{"8906 recursive", "0100 0001 0000 0000 0000" + probeSOA, "NOERROR qr rd ra echo 1"},
	{"8906 unknown type", "0100 0001 0000 0000 0000 07 6578616d706c65 03 6f7267 00 03e8 0001", "NOERROR qr rd ra echo 0"},
	{"8906 CD", "0110 0001 0000 0000 0000" + probeSOA, "NOERROR qr rd ra cd echo 1"},
	{"8906 AD", "0120 0001 0000 0000 0000" + probeSOA, "NOERROR qr rd ra echo 1"},
	{"8906 reserved bit", "0140 0001 0000 0000 0000" + probeSOA, "NOERROR qr rd ra echo 1"},
	{"8906 all meaningless bits", "07f0 0001 0000 0000 0000" + probeSOA, "NOERROR qr rd ra cd echo 1"},
	{"8906 unknown opcode", "7800 0000 0000 0000 0000", "NOTIMP qr ra 0"},
	{"8906 unknown opcode with a question", "7900 0001 0000 0000 0000" + probeSOA, "NOTIMP qr rd ra 0"},
	{"8906 IQUERY", "0900 0001 0000 0000 0000" + probeSOA, "NOTIMP qr rd ra 0"},
	{"8906 STATUS", "1100 0001 0000 0000 0000" + probeSOA, "NOTIMP qr rd ra 0"},
	{"NOTIFY", "2000 0001 0000 0000 0000" + probeSOA, "REFUSED qr ra echo 0"},
	{"UPDATE", "2800 0001 0000 0000 0000" + probeSOA, "REFUSED qr ra echo 0"},
	// RFC 8906 section 8.2: EDNS.
	{"8906 EDNS", "0100 0001 0000 0000 0001" + probeSOA + probeOPT, "NOERROR qr rd ra echo 1 edns0"},
	{"8906 unknown version", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 64 0000 0000", "BADVERS qr rd ra echo 0 edns0"},
	{"8906 unknown option", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 00 0000 0004 0064 0000", "NOERROR qr rd ra echo 1 edns0"},
	{"8906 unknown flag", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 00 0040 0000", "NOERROR qr rd ra echo 1 edns0"},
	{"8906 unknown version and flag", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 64 0040 0000", "BADVERS qr rd ra echo 0 edns0"},
	{"8906 unknown version and option", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 64 0000 0004 0064 0000", "BADVERS qr rd ra echo 0 edns0"},
	{"8906 unknown flag and option", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 00 0040 0004 0064 0000", "NOERROR qr rd ra echo 1 edns0"},
	{"8906 unknown version, flag and option", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 64 0040 0004 0064 0000", "BADVERS qr rd ra echo 0 edns0"},
	{"8906 DO", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 00 8000 0000", "NOERROR qr rd ra echo 1 edns0 do"},
	{"8906 DO and unknown version", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 01 8000 0000", "BADVERS qr rd ra echo 0 edns0 do"},
	{"8906 several options", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 00 0000 0028" + probeOptions, "NOERROR qr rd ra echo 1 edns0"},
	{"8906 unknown opcode with EDNS", "7800 0000 0000 0000 0001" + probeOPT, "NOTIMP qr ra 0"},
	// OPT (RFC 6891).
	{"OPT of a tiny size", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 0000 00 00 0000 0000", "NOERROR qr rd ra echo 1 edns0"},
	{"OPT of the largest size", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 ffff 00 00 0000 0000", "NOERROR qr rd ra echo 1 edns0"},
	{"OPT twice", "0100 0001 0000 0000 0002" + probeSOA + probeOPT + probeOPT, "FORMERR qr rd ra echo 0 edns0"},
	{"OPT of a name", "0100 0001 0000 0000 0001" + probeSOA + "01 61 00 0029 04d0 00 00 0000 0000", "FORMERR qr rd ra echo 0 edns0"},
	{"OPT with RDLEN past the end", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 00 0000 0010 0064", "FORMERR qr rd ra echo 0"},
	{"OPT with an option past RDLEN", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 00 0000 0006 0064 0008 0102", "FORMERR qr rd ra echo 0 edns0"},
	{"OPT with half an option", "0100 0001 0000 0000 0001" + probeSOA + "00 0029 04d0 00 00 0000 0003 0064 00", "FORMERR qr rd ra echo 0 edns0"},
	{"OPT in the answer section", "0100 0001 0001 0000 0000" + probeSOA + probeOPT, "FORMERR qr rd ra echo 0"},
	{"OPT in the authority section", "0100 0001 0000 0001 0000" + probeSOA + probeOPT, "FORMERR qr rd ra echo 0"},
	{"OPT after another record", "0100 0001 0000 0000 0002" + probeSOA + "01 61 00 0001 0001 0000012c 0004 c0000201" + probeOPT, "NOERROR qr rd ra echo 1 edns0"},
	{"OPT that is promised", "0100 0001 0000 0000 0001" + probeSOA, "FORMERR qr rd ra echo 0"},
	// Questions (RFC 1035 section 4.1.2, RFC 9619).
	{"no question", "0100 0000 0000 0000 0000", "FORMERR qr rd ra 0"},
	{"no question, with EDNS", "0100 0000 0000 0000 0001" + probeOPT, "FORMERR qr rd ra 0 edns0"},
	{"two questions", "0100 0002 0000 0000 0000" + probeSOA + probeWWW, "FORMERR qr rd ra 0"},
	{"two questions, with EDNS", "0100 0002 0000 0000 0001" + probeSOA + probeWWW + probeOPT, "FORMERR qr rd ra 0 edns0"},
	{"65535 questions", "0100 ffff 0000 0000 0000" + probeSOA, "FORMERR qr rd ra 0"},
	{"question cut short", "0100 0001 0000 0000 0000 07 6578616d70", "FORMERR qr rd ra 0"},
	{"question without a class", "0100 0001 0000 0000 0000 07 6578616d706c65 03 6f7267 00 0006", "FORMERR qr rd ra 0"},
	{"question that points at itself", "0100 0001 0000 0000 0000 c00c 0006 0001", "FORMERR qr rd ra 0"},
	{"question that points forward", "0100 0001 0000 0000 0000 c010 0000 00 0006 0001", "FORMERR qr rd ra 0"},
	{"question with a label of a kind there is not", "0100 0001 0000 0000 0000 41 61 00 0006 0001", "FORMERR qr rd ra 0"},
	{"question with a name of 256 octets", "0100 0001 0000 0000 0000" + strings.Repeat("3f"+strings.Repeat("61", 63), 4) + "00 0006 0001", "FORMERR qr rd ra 0"},
	{"answer in the query", "0100 0001 0001 0000 0000" + probeSOA + "c00c 0001 0001 0000012c 0004 c0000201", "FORMERR qr rd ra echo 0"},
	{"letters", "0100 0001 0000 0000 0000 07 4578416d506c65 03 4f7247 00 0006 0001", "NOERROR qr rd ra echo 1"},
	{"octets after the message", "0100 0001 0000 0000 0000" + probeSOA + "00 01 02", "NOERROR qr rd ra echo 1"},
	{"unknown type with data", "0100 0001 0000 0000 0000 07 756e6b6e6f776e 07 6578616d706c65 03 6f7267 00 03e8 0001", "NOERROR qr rd ra echo 1"},
	{"ANY", "0100 0001 0000 0000 0000 07 6578616d706c65 03 6f7267 00 00ff 0001", "NOERROR qr rd ra echo 1"},
	{"AXFR", "0100 0001 0000 0000 0000 07 6578616d706c65 03 6f7267 00 00fc 0001", "REFUSED qr rd ra echo 0"},
	{"class CH", "0100 0001 0000 0000 0000 07 76657273696f6e 04 62696e64 00 0010 0003", "REFUSED qr rd ra echo 0"},
	{"NXDOMAIN", "0100 0001 0000 0000 0000 04 676f6e65 07 6578616d706c65 03 6f7267 00 0001 0001", "NXDOMAIN qr rd ra echo 0"},
	// Messages that are no query (RFC 1035 section 4.1.1).
	{"response", "8180 0001 0000 0000 0000" + probeSOA, "silence"},
	{"response with FORMERR", "8181 0000 0000 0000 0000", "silence"},
	{"less than a header", "0100 0001 0000", "silence"},
}

// TestProbe sends each of the probes by UDP and by TCP.
func TestProbe(t *testing.T) {
	addr := probed(t, listener.Options{}).Addr().String()
	for _, network := range []string{"udp", "tcp"} { // a query without RD
		if got := probe(network, addr, unhex(t, "0100 0001 0000 0000 0000"+probeSOA)); !strings.HasPrefix(got, "NOERROR") {
			t.Fatalf("%s: %s", network, got)
		}
	}
	for _, p := range probes {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(p.name+"/"+network, func(t *testing.T) {
				t.Parallel()
				if got := probe(network, addr, unhex(t, p.query)); got != p.want {
					t.Errorf("%s\n got %s\nwant %s", p.query, got, p.want)
				}
			})
		}
	}
}

// probed serves the resolver that probes are sent to.
func probed(t *testing.T, o listener.Options) *listener.Listener {
	t.Helper()
	var u Upstream
	u.Start(t)
	var big strings.Builder
	for i := range 60 {
		fmt.Fprintf(&big, "    answer big.example.org. 300 IN TXT \"%02d%s\"\n", i, strings.Repeat("x", 200))
	}
	if err := u.Load(strings.Replace(probeAnswers, "    BIG\n", big.String(), 1)); err != nil {
		t.Fatal(err)
	}
	if len(o.Addrs) == 0 {
		o.Addrs = []string{"127.0.0.1:0"}
	}
	return serveListener(t, u.Addr(), o)
}

// unhex is the message in hexadecimal, with the id 4711.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString("1267" + strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return b
}

// probe sends octets, and describes the response.
func probe(network, addr string, q []byte) string {
	patience := 4 * time.Second
	if len(q) < 12 || q[2]&0x80 != 0 {
		patience = 300 * time.Millisecond
	}
	r := exchangeRaw(network, addr, q, patience)
	if r == nil {
		return "silence"
	}
	return probeSummary(q, r)
}

func probeSummary(q, r []byte) string {
	if len(r) < 12 || string(r[:2]) != string(q[:2]) {
		return fmt.Sprintf("%x", r)
	}
	m := new(dns.Msg)
	if err := m.Unpack(r); err != nil {
		return fmt.Sprintf("%v: %x", err, r)
	}
	out := []string{dns.RcodeToString[m.Rcode]}
	if m.Rcode == dns.RcodeBadVers {
		out[0] = "BADVERS"
	}
	flags := binary.BigEndian.Uint16(r[2:])
	for i, name := range []string{"qr", "aa", "tc", "rd", "ra", "z", "ad", "cd"} {
		if bit := []int{15, 10, 9, 8, 7, 6, 5, 4}[i]; flags>>bit&1 == 1 {
			out = append(out, name)
		}
	}
	if n := len(m.Question); n == 1 {
		end := 12 + len(probeQuestion(r))
		if len(q) >= end && string(q[12:end]) == string(r[12:end]) {
			out = append(out, "echo")
		} else {
			out = append(out, "another question")
		}
	}
	out = append(out, fmt.Sprint(len(m.Answer)))
	if o := m.IsEdns0(); o != nil {
		out = append(out, fmt.Sprintf("edns%d", o.Version()))
		if o.Do() {
			out = append(out, "do")
		}
		if o.Hdr.Ttl&0x7FFF != 0 {
			out = append(out, "flags")
		}
		for _, opt := range o.Option {
			out = append(out, fmt.Sprint("option ", opt.Option()))
		}
	}
	return strings.Join(out, " ")
}

// probeQuestion is the octets of a message's question.
func probeQuestion(m []byte) []byte {
	at := 12
	for at < len(m) && m[at] != 0 {
		at += 1 + int(m[at])
	}
	return m[12:min(at+5, len(m))]
}

// streamProbes are probes that only TCP has (RFC 7766).
var streamProbes = []struct {
	name string
	o    listener.Options
	run  func(t *testing.T, addr string)
}{
	{"segments of an octet", listener.Options{}, func(t *testing.T, addr string) {
		c := dialProbe(t, addr)
		c.(*net.TCPConn).SetNoDelay(true)
		for _, b := range frame(question4711(t, 1), question4711(t, 2)) {
			if _, err := c.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // sleeps: each octet is a segment of its own
		}
		wantIDs(t, c, 1, 2)
	}},
	{"many in a segment", listener.Options{}, func(t *testing.T, addr string) {
		c := dialProbe(t, addr)
		var all [][]byte
		var ids []uint16
		for i := range uint16(50) {
			all, ids = append(all, question4711(t, i)), append(ids, i)
		}
		if _, err := c.Write(frame(all...)); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, c, ids...)
	}},
	{"out of order", listener.Options{}, func(t *testing.T, addr string) {
		c := dialProbe(t, addr)
		slow := unhex(t, "0100 0001 0000 0000 0000 04 736c6f77 07 6578616d706c65 03 6f7267 00 0001 0001")
		binary.BigEndian.PutUint16(slow, 1)
		if _, err := c.Write(frame(slow, question4711(t, 2), question4711(t, 3))); err != nil {
			t.Fatal(err)
		}
		if got := readIDs(t, c, 3); got[2] != 1 {
			t.Errorf("answered in the order %v: the slow one was first and has to be last", got)
		}
	}},
	{"idle", listener.Options{IdleTimeout: 300 * time.Millisecond}, func(t *testing.T, addr string) {
		c := dialProbe(t, addr)
		if _, err := c.Write(frame(question4711(t, 1))); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, c, 1)
		wantEnd(t, c)
	}},
	{"slow message", listener.Options{MessageTimeout: 300 * time.Millisecond, IdleTimeout: time.Minute}, func(t *testing.T, addr string) {
		c := dialProbe(t, addr)
		if _, err := c.Write(frame(question4711(t, 1))[:9]); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, c)
	}},
	{"half closed", listener.Options{}, func(t *testing.T, addr string) {
		c := dialProbe(t, addr)
		if _, err := c.Write(frame(question4711(t, 1), question4711(t, 2))); err != nil {
			t.Fatal(err)
		}
		c.(*net.TCPConn).CloseWrite()
		wantIDs(t, c, 1, 2)
		wantEnd(t, c)
	}},
	{"keepalive", listener.Options{IdleTimeout: 7 * time.Second}, func(t *testing.T, addr string) {
		c := dialProbe(t, addr)
		if _, err := c.Write(frame(unhex(t, "0100 0001 0000 0000 0001"+probeSOA+"00 0029 04d0 00 00 0000 0004 000b 0000"))); err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(readFrame(c)); err != nil {
			t.Fatal(err)
		}
		o := m.IsEdns0()
		if o == nil || len(o.Option) != 1 || o.Option[0].(*dns.EDNS0_TCP_KEEPALIVE).Timeout != 70 {
			t.Errorf("%v", m)
		}
		if got := probe("udp", addr, unhex(t, "0100 0001 0000 0000 0001"+probeSOA+"00 0029 04d0 00 00 0000 0004 000b 0000")); got != "NOERROR qr rd ra echo 1 edns0" {
			t.Errorf("by UDP: %s", got)
		}
	}},
	{"malformed, and then not", listener.Options{}, func(t *testing.T, addr string) {
		c := dialProbe(t, addr)
		if _, err := c.Write(frame(unhex(t, "0100 0000 0000 0000 0000"), question4711(t, 2))); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, c, 4711, 2)
	}},
	{"connections of one client", listener.Options{MaxConnectionsPerClient: 4}, func(t *testing.T, addr string) {
		for i := range 8 { // idle ones are closed for those that wait
			c := dialProbe(t, addr)
			if _, err := c.Write(frame(question4711(t, 1))); err != nil || readFrame(c) == nil {
				t.Errorf("connection %d gets no answer: %v", i, err)
			}
		}
	}},
	{"truncated, and whole", listener.Options{}, func(t *testing.T, addr string) {
		q := asking{name: "big.example.org.", qtype: dns.TypeTXT, class: dns.ClassINET, rd: true, edns: true, size: 4096}
		if v := askView(addr, q); v["tc"] != "true" || v["size"] != "fits=true" {
			t.Errorf("by UDP: %v", v)
		}
		q.tcp = true
		if v := askView(addr, q); v["tc"] != "false" || strings.Count(v["answer"], ";") != 59 {
			t.Errorf("by TCP: %.300v", v)
		}
	}},
}

func TestProbeStreams(t *testing.T) {
	for _, p := range streamProbes {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.run(t, probed(t, p.o).Addr().String())
		})
	}
}

// question4711 is a minimal query with the id 4711.
func question4711(t *testing.T, id uint16) []byte {
	q := unhex(t, "0100 0001 0000 0000 0000"+probeSOA)
	binary.BigEndian.PutUint16(q, id)
	return q
}

func dialProbe(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(8 * time.Second))
	return c
}

// readIDs reads n responses, and returns their ids.
func readIDs(t *testing.T, c net.Conn, n int) (ids []uint16) {
	t.Helper()
	for range n {
		m := readFrame(c)
		if len(m) < 12 || m[2]&0x80 == 0 {
			t.Fatalf("after %v: %x", ids, m)
		}
		ids = append(ids, binary.BigEndian.Uint16(m))
	}
	return ids
}

func wantIDs(t *testing.T, c net.Conn, ids ...uint16) {
	t.Helper()
	got := readIDs(t, c, len(ids))
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		t.Errorf("answered %v, want %v", got, ids)
	}
}

func wantEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v, want EOF", err)
	}
}

// TestProbeAddresses: a response comes from the address that the query was sent
// to, whichever address of the machine that is.
func TestProbeAddresses(t *testing.T) {
	l := probed(t, listener.Options{Addrs: []string{":0"}})
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.9.8.7", "::1"} {
		if strings.HasPrefix(ip, "127.") && ip != "127.0.0.1" && runtime.GOOS != "linux" {
			continue // some hosts lack this address
		}
		if ip == "::1" {
			c, err := net.ListenPacket("udp", "[::1]:0")
			if err != nil {
				continue // no IPv6 here
			}
			c.Close()
		}
		addr := net.JoinHostPort(ip, fmt.Sprint(l.Addr().Port()))
		for _, network := range []string{"udp", "tcp"} {
			// The socket is connected: what comes from another address does not reach it.
			if got := probe(network, addr, unhex(t, "0100 0001 0000 0000 0000"+probeSOA)); got != "NOERROR qr rd ra echo 1" {
				t.Errorf("%s by %s: %s", ip, network, got)
			}
		}
	}
}
